/*
 * message: what a worker is told, by the master and by other workers, and in which order it hears
 * of it. Knows not what a message means.
 */
#ifndef DTLSGATE_PROXY_MESSAGE_H
#define DTLSGATE_PROXY_MESSAGE_H

#include "dtls/cookie.h"
#include "proxy/inquiry.h"
#include "proxy/mailbox.h"
#include "proxy/moving.h"
#include "proxy/parts.h"
#include "proxy/setup.h"

enum message_kind {
    MESSAGE_SETUP,
    MESSAGE_COOKIES,
    MESSAGE_BACKEND,
    MESSAGE_DRAIN,
    MESSAGE_UNDRAIN,
    MESSAGE_INQUIRY, /* answered, not acknowledged */
    MESSAGE_END_ONE, /* of another worker; not acknowledged */
    /* These are a part of the worker, and do not wait. */
    MESSAGE_PING,
    MESSAGE_MOVING, /* comes back, not acknowledged */
    MESSAGE_STOP,
};

struct message {
    struct list node;
    enum message_kind kind;
    union {
        struct relay_setup setup;
        struct cookie_secrets cookies;
        struct inquiry *inquiry;
        struct moving *moving;
        struct relay_order backend;
        struct {
            struct relay_identity who;
            unsigned asked; /* so many workers have none to end */
        } end_one;
    } with;
};

/* NULL: out of memory. */
struct message *message_new(enum message_kind kind);
/* Harmless on one that is a part of the worker. */
void message_free(struct message *m);
/* Whether whoever sent it is told that it was carried out. */
bool message_is_acknowledged(const struct message *m);

struct messages {
    struct mailbox mailbox;
    struct list held; /* taken out of it, and waiting */
    bool is_held;     /* the worker's: those that can wait have to */
};

/* False: no eventfd is to be had. */
bool messages_init(struct messages *all) __attribute__((warn_unused_result));
/* Frees those that nobody will carry out; an inquiry stays its asker's. */
void messages_clear(struct messages *all);
/* From any thread. */
void messages_post(struct messages *all, struct message *m);
/* The oldest that may be carried out now, or NULL. */
struct message *messages_take(struct messages *all);

#endif
