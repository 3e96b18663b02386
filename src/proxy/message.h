/*
 * message: what a worker is told, by the master and by other workers, and in which order it hears
 * of it. Knows not what a message means.
 */
#ifndef DTLSGATE_PROXY_MESSAGE_H
#define DTLSGATE_PROXY_MESSAGE_H

#include "dtls/cookie.h"
#include "dtls/ticket.h"
#include "proxy/inquiry.h"
#include "proxy/mailbox.h"
#include "proxy/moving.h"
#include "proxy/parts.h"
#include "proxy/setup.h"

#include <stdatomic.h>

/* Records that may wait at once, so that other workers cannot fill the memory. */
#define MESSAGE_RECORDS_MAX 1024

enum message_kind {
    MESSAGE_SETUP,
    MESSAGE_COOKIES,
    MESSAGE_TICKETS,
    MESSAGE_BACKEND,
    MESSAGE_DRAIN,
    MESSAGE_UNDRAIN,
    MESSAGE_INQUIRY, /* answered, not acknowledged */
    MESSAGE_END_ONE, /* of another worker; not acknowledged */
    MESSAGE_RECORD,  /* the same */
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
        struct ticket_keys tickets;
        struct inquiry *inquiry;
        struct moving *moving;
        struct relay_order backend;
        struct {
            struct relay_identity who;
            unsigned asked; /* so many workers have none to end */
        } end_one;
        struct relay_record record; /* its data lie behind the message */
    } with;
};

/* Harmless on one that is a part of the worker. */
void message_free(struct message *m);
/* Whether whoever sent it is told that it was carried out. */
bool message_is_acknowledged(const struct message *m);

struct messages {
    struct mailbox mailbox;
    struct list held;    /* taken out of it, and waiting */
    bool is_held;        /* the worker's: those that can wait have to */
    atomic_uint records; /* that wait in either */
};

/* False: no eventfd is to be had. */
bool messages_init(struct messages *all) __attribute__((warn_unused_result));
/* Frees those that nobody will carry out; an inquiry stays its asker's. */
void messages_clear(struct messages *all);
/* From any thread. */
void messages_post(struct messages *all, struct message *m);
/* The same with a copy that lasts until message_free(). False: out of memory. */
bool messages_post_copy(struct messages *all, const struct message *what);
/* The same of a record, with what it holds. False: too many are waiting, or out of memory. */
bool messages_pass(struct messages *all, const struct relay_record *record)
    __attribute__((warn_unused_result));
/* The oldest that may be carried out now, or NULL. */
struct message *messages_take(struct messages *all);
/* The next one is of those that had to wait, which mailbox_fd() does not tell of. */
bool messages_have_waited(const struct messages *all);
/* The oldest record of those that wait, or NULL. What nobody has taken yet is none of them. */
struct message *messages_take_record(struct messages *all);

#endif
