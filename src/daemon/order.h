/*
 * order: one line of the control socket into an order, and an order into its answer.
 * The table of commands is here. Knows no connection and no event loop, so a fuzzer can have it
 * whole; whoever carries on asks workers and waits for reloads.
 */
#ifndef DTLSGATE_DAEMON_ORDER_H
#define DTLSGATE_DAEMON_ORDER_H

#include "base/errors.h"
#include "daemon/show.h"
#include "daemon/upgrade.h"
#include "daemon/view.h"
#include "proxy/inquiry.h"
#include "proxy/parts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What commands can do by themselves; the master's. */
struct order_hooks {
    void (*look)(void *arg, struct view *v);
    bool (*reopen_log)(void *arg, char *why, size_t why_size);
    void (*set_log_level)(void *arg, enum log_level level);
    unsigned (*drain)(void *arg, bool is_on); /* returns how many workers could not be told */
    unsigned (*tell_backend)(void *arg, const struct relay_order *order); /* the same */
    void (*forget)(void *arg); /* the stop that follows keeps no sessions */
    const char *event_library;
    void *arg;
};

enum order_kind {
    ORDER_ANSWERED, /* the answer is complete */
    ORDER_WALK, /* ask the workers, one after the other, and give what they tell to order_slice() */
    ORDER_RELOAD,  /* reload, and give what came of it to order_reloaded() */
    ORDER_UPGRADE, /* hand over to a new process; order_upgraded() */
    ORDER_STOP,    /* the answer is complete; stop once it is sent */
    ORDER_TRACE,   /* ask all workers again and again, and give what they tell to order_slice() */
};

struct order {
    enum order_kind kind;
    const char *name;  /* of the command; "": there is none such */
    bool is_change;    /* worth a line in the log */
    struct show show;  /* the answer as far as it is made; owned */
    bool wants_keys;   /* of ORDER_TRACE: in the key log; worth a warning */
    uint64_t trace_ms; /* of ORDER_TRACE: how long; 0: until nobody listens */
    /* of ORDER_WALK and ORDER_TRACE */
    enum inquiry_kind ask;
    struct inquiry_filter filter;
    bool is_single;      /* one session is meant */
    bool is_handed_over; /* another process goes on, and cannot go on with this */
    uint64_t limit;      /* of sessions, for INQUIRY_RECENT of each worker's; 0: none */
    uint64_t count;      /* of those told or ended so far */
};

/* Understands `len` bytes, which need not end with a NUL, and does what can be done at once.
 * Whatever is wrong becomes the answer. order_clear() ends it. */
void order_take(struct order *o, const void *line, size_t len, const struct order_hooks *hooks);
void order_clear(struct order *o);

/* The answer becomes a refusal, unless some of it was taken out already. */
void order_refuse(struct order *o, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* How many rows the next slice may have. */
size_t order_rows(const struct order *o);
/* What a worker has told. `conf`: of the same services as the workers'. */
void order_slice(struct order *o, const struct inquiry *q, const struct conf *conf);
/* Nothing more can come of other workers or slices. */
bool order_is_satisfied(const struct order *o);
/* All workers have told all. */
void order_finish(struct order *o);
/* The reload was done, or refused for these errors (NULL: none). */
void order_reloaded(struct order *o, const struct errors *errors);
/* The same for an upgrade; one of the two is not NULL. */
void order_upgraded(struct order *o, const struct errors *errors,
                    const struct upgrade_report *report);

#endif
