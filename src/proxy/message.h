/*
 * message: what a worker is told, by the master and by other workers. Knows not what it means.
 */
#ifndef DTLSGATE_PROXY_MESSAGE_H
#define DTLSGATE_PROXY_MESSAGE_H

#include "dtls/cookie.h"
#include "dtls/ticket.h"
#include "proxy/inquiry.h"
#include "proxy/mailbox.h"
#include "proxy/parts.h"
#include "proxy/setup.h"

enum message_kind {
    MESSAGE_SETUP,
    MESSAGE_COOKIES,
    MESSAGE_TICKETS,
    MESSAGE_BACKEND,
    MESSAGE_DRAIN,
    MESSAGE_PING,
    MESSAGE_UNDRAIN,
    MESSAGE_INQUIRY, /* answered, not acknowledged */
    MESSAGE_END_ONE, /* of another worker; not acknowledged */
    MESSAGE_RECORD,  /* the same */
    MESSAGE_STOP,
};

struct message {
    struct list node;
    enum message_kind kind;
    union {
        struct relay_setup setup;
        struct cookie_secrets cookies;
        struct ticket_keys tickets;
        struct inquiry *inquiry;
        struct relay_order backend;
        struct {
            struct relay_identity who;
            unsigned asked; /* so many workers have none to end */
        } end_one;
        struct relay_record record; /* its data lie behind the message */
    } with;
};

/* NULL: out of memory. */
struct message *message_new(enum message_kind kind);
/* Harmless on one that is a part of the worker. */
void message_free(struct message *m);
/* Whether whoever sent it is told that it was carried out. */
bool message_is_acknowledged(const struct message *m);
/* Frees those that nobody will carry out; an inquiry stays its asker's. */
void message_clear(struct mailbox *mailbox);

#endif
