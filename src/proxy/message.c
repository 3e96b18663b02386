/*
 * message: made and freed. See the header.
 * Must never carry one out.
 */
#include "proxy/message.h"

#include <stdlib.h>

struct message *message_new(enum message_kind kind)
{
    struct message *m = calloc(1, sizeof(*m));

    if (m)
        m->kind = kind;
    return m;
}

void message_free(struct message *m)
{
    if (m->kind == MESSAGE_STOP || m->kind == MESSAGE_PING)
        return;
    if (m->kind == MESSAGE_COOKIES)
        cookie_secrets_wipe(&m->with.cookies);
    if (m->kind == MESSAGE_TICKETS)
        ticket_keys_wipe(&m->with.tickets);
    free(m);
}

bool message_is_acknowledged(const struct message *m)
{
    return m->kind != MESSAGE_END_ONE && m->kind != MESSAGE_RECORD && m->kind != MESSAGE_INQUIRY;
}

void message_clear(struct mailbox *mailbox)
{
    struct list *node;

    while ((node = mailbox_take(mailbox))) {
        struct message *m = list_entry(node, struct message, node);
        if (m->kind == MESSAGE_SETUP)
            relay_setup_clear(&m->with.setup);
        message_free(m);
    }
}
