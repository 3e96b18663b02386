/*
 * message: a mailbox, and beside it those that have to wait. See the header.
 * Must never carry one out.
 */
#include "proxy/message.h"

#include <stdlib.h>
#include <string.h>

/* The rest are a part of the worker. */
static bool is_made(const struct message *m)
{
    return m->kind < MESSAGE_PING;
}

void message_free(struct message *m)
{
    if (!is_made(m))
        return;
    if (m->kind == MESSAGE_COOKIES)
        cookie_secrets_wipe(&m->with.cookies);
    if (m->kind == MESSAGE_TICKETS)
        ticket_keys_wipe(&m->with.tickets);
    free(m);
}

bool message_is_acknowledged(const struct message *m)
{
    return m->kind != MESSAGE_END_ONE && m->kind != MESSAGE_RECORD && m->kind != MESSAGE_INQUIRY &&
           m->kind != MESSAGE_MOVING;
}

bool messages_init(struct messages *all)
{
    list_init(&all->held);
    all->is_held = false;
    atomic_init(&all->records, 0);
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

/* `what` and room behind it. NULL: out of memory. */
static struct message *copy_of(const struct message *what, size_t room)
{
    struct message *m = malloc(sizeof(*m) + room);

    if (m)
        *m = *what;
    return m;
}

bool messages_post_copy(struct messages *all, const struct message *what)
{
    struct message *m = copy_of(what, 0);

    if (m)
        messages_post(all, m);
    return m != NULL;
}

/* Runs in the thread of the sender. */
bool messages_pass(struct messages *all, const struct relay_record *record)
{
    const struct message what = {.kind = MESSAGE_RECORD, .with.record = *record};
    struct message *m = NULL;

    if (atomic_fetch_add(&all->records, 1) < MESSAGE_RECORDS_MAX)
        m = copy_of(&what, record->len);
    if (!m) {
        atomic_fetch_sub(&all->records, 1);
        return false;
    }
    m->with.record.data = memcpy(m + 1, record->data, record->len);
    messages_post(all, m);
    return true;
}

static struct message *taken(struct messages *all, struct message *m)
{
    if (m->kind == MESSAGE_RECORD)
        atomic_fetch_sub(&all->records, 1);
    return m;
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
            return taken(all, m);
        list_append(&all->held, node);
    }
    return NULL;
}

bool messages_have_waited(const struct messages *all)
{
    return !all->is_held && !list_is_empty(&all->held);
}

struct message *messages_take_record(struct messages *all)
{
    for (struct list *node = all->held.next; node != &all->held; node = node->next) {
        struct message *m = list_entry(node, struct message, node);
        if (m->kind != MESSAGE_RECORD)
            continue;
        list_remove(node);
        return taken(all, m);
    }
    return NULL;
}
