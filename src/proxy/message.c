/*
 * message: a mailbox, and beside it those that have to wait. See the header.
 * Must never carry one out.
 */
#include "proxy/message.h"

#include <stdlib.h>

/* The rest are a part of the worker. */
static bool is_made(const struct message *m)
{
    return m->kind < MESSAGE_PING;
}

struct message *message_new(enum message_kind kind)
{
    struct message *m = calloc(1, sizeof(*m));

    if (m)
        m->kind = kind;
    return m;
}

void message_free(struct message *m)
{
    if (!is_made(m))
        return;
    if (m->kind == MESSAGE_COOKIES)
        cookie_secrets_wipe(&m->with.cookies);
    free(m);
}

bool message_is_acknowledged(const struct message *m)
{
    return m->kind != MESSAGE_END_ONE && m->kind != MESSAGE_INQUIRY && m->kind != MESSAGE_MOVING;
}

bool messages_init(struct messages *all)
{
    list_init(&all->held);
    all->is_held = false;
    return mailbox_init(&all->mailbox);
}

void messages_clear(struct messages *all)
{
    struct message *m;

    all->is_held = false;
    while ((m = messages_take(all))) {
        if (m->kind == MESSAGE_SETUP)
            relay_setup_clear(&m->with.setup);
        message_free(m);
    }
    mailbox_clear(&all->mailbox);
}

void messages_post(struct messages *all, struct message *m)
{
    mailbox_post(&all->mailbox, &m->node);
}

static struct list *first_of(struct messages *all)
{
    struct list *node = all->is_held ? NULL : list_first(&all->held);

    if (!node)
        return mailbox_take(&all->mailbox);
    list_remove(node);
    return node;
}

struct message *messages_take(struct messages *all)
{
    struct list *node;

    while ((node = first_of(all))) {
        struct message *m = list_entry(node, struct message, node);
        if (!all->is_held || !is_made(m))
            return m;
        list_append(&all->held, node);
    }
    return NULL;
}
