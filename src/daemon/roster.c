/*
 * roster: walks, and keeps the best of what it meets. See the header.
 */
#include "daemon/roster.h"

#include "base/bytes.h"
#include "proxy/mailbox.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for an identity of which each byte is escaped. */
#define NAME_MAX_TEXT (4 * PSK_IDENTITY_MAX + 1)

struct roster {
    struct fleet *fleet;
    const struct conf *const *conf;
    struct list asking; /* all censuses */
    unsigned count;
    struct mailbox replies;
};

struct census {
    struct list node;
    struct roster *roster;
    struct roster_question question;
    roster_done done; /* NULL: forgotten */
    void *arg;
    unsigned worker, slices;
    bool is_cut;     /* there may be more than it has looked at */
    uint64_t looked; /* sessions */
    size_t count;
    uint8_t place[ROSTER_ROWS_MAX]; /* indexes of `kept`, the best first */
    struct inquiry_row kept[ROSTER_ROWS_MAX];
    struct inquiry inquiry; /* a worker's while it is out */
};

/* ---- which ones ---- */

static bool is_better(enum roster_order order, const struct inquiry_row *a,
                      const struct inquiry_row *b)
{
    switch (order) {
    case ROSTER_ACTIVE:
        return a->idle < b->idle;
    case ROSTER_NEWEST:
        return a->age < b->age;
    case ROSTER_BUSIEST:
        return a->in_datagrams + a->out_datagrams > b->in_datagrams + b->out_datagrams;
    }
    return false;
}

static bool is_found(const struct census *c, const struct inquiry_row *row)
{
    const struct conf *conf = *c->roster->conf;
    const char *search = c->question.search;
    char name[NAME_MAX_TEXT], peer[ADDR_TEXT_MAX], id[24];

    if (*search == '\0')
        return true;
    snprintf(id, sizeof(id), "%" PRIu64, row->id);
    return strcmp(id, search) == 0 || strcasestr(conf->service[row->service].name, search) ||
           strcasestr(addr_format(&row->peer, peer), search) ||
           strcasestr(bytes_escape(name, sizeof(name), row->identity, row->identity_len), search);
}

/* Puts the row where it belongs among the kept, if it does; the last may fall out. */
static void keep(struct census *c, const struct inquiry_row *row)
{
    size_t at = c->count;
    uint8_t slot;

    while (at > 0 && is_better(c->question.order, row, &c->kept[c->place[at - 1]]))
        at--;
    if (at >= c->question.limit)
        return;
    if (c->count < c->question.limit)
        slot = (uint8_t)c->count++;
    else
        slot = c->place[c->count - 1];
    memmove(&c->place[at + 1], &c->place[at], c->count - 1 - at);
    c->place[at] = slot;
    c->kept[slot] = *row;
}

/* ---- the walk ---- */

static void census_free(struct census *c)
{
    list_remove(&c->node);
    c->roster->count--;
    free(c);
}

static void finish(struct census *c)
{
    if (c->done != NULL)
        c->done(c->arg, c);
    census_free(c);
}

/* The next slice of this worker, or of the next one. False: nothing is left to ask, or nobody. */
static bool ask(struct census *c)
{
    struct roster *r = c->roster;

    for (; c->worker < fleet_count(r->fleet); c->worker++) {
        if (c->slices++ < ROSTER_SLICES_MAX && fleet_inquire(r->fleet, c->worker, &c->inquiry))
            return true;
        c->is_cut = true;
    }
    return false;
}

static void take_slice(struct census *c)
{
    const struct inquiry *q = &c->inquiry;

    c->looked += q->count;
    for (size_t i = 0; i < q->count; i++)
        if (is_found(c, &q->row[i]))
            keep(c, &q->row[i]);
    if (q->cursor == 0)
        c->worker++;
    if (c->done == NULL || !ask(c))
        finish(c);
}

/* Those used last are at hand, as long as any will do. */
static enum inquiry_kind kind_of(const struct roster_question *q)
{
    bool is_at_hand = q->order == ROSTER_ACTIVE && q->search[0] == '\0' && q->limit <= INQUIRY_ROWS;

    return is_at_hand ? INQUIRY_RECENT : INQUIRY_LIST;
}

int roster_fd(const struct roster *r)
{
    return mailbox_fd(&r->replies);
}

void roster_turn(struct roster *r)
{
    struct list *node;

    while ((node = mailbox_take(&r->replies)) != NULL) {
        struct inquiry *q = list_entry(node, struct inquiry, node);
        take_slice(q->owner);
    }
}

struct census *roster_ask(struct roster *r, const struct roster_question *q, roster_done done,
                          void *arg)
{
    struct census *c = r->count < ROSTER_ASKERS_MAX ? calloc(1, sizeof(*c)) : NULL;

    if (c == NULL)
        return NULL;
    c->roster = r;
    c->question = *q;
    c->done = done;
    c->arg = arg;
    c->inquiry.kind = kind_of(q);
    c->inquiry.limit = c->inquiry.kind == INQUIRY_RECENT ? q->limit : INQUIRY_ROWS;
    c->inquiry.owner = c;
    c->inquiry.replies = &r->replies;
    list_append(&r->asking, &c->node);
    r->count++;
    if (ask(c))
        return c;
    census_free(c);
    return NULL;
}

void roster_forget(struct census *c)
{
    c->done = NULL;
}

static void write_row(const struct inquiry_row *row, const struct conf *conf, struct json *j)
{
    char name[NAME_MAX_TEXT], address[ADDR_TEXT_MAX];

    json_open_object(j, NULL);
    json_number(j, "id", row->id);
    json_text(j, "service", conf->service[row->service].name);
    json_text(j, "identity", bytes_escape(name, sizeof(name), row->identity, row->identity_len));
    json_text(j, "peer", addr_format(&row->peer, address));
    json_text(j, "local", addr_format(&row->local, address));
    json_text(j, "suite", row->suite);
    json_text(j, "version", row->version);
    json_bool(j, "ems", row->has_ems);
    json_real(j, "age_seconds", (double)row->age / 1000);
    json_real(j, "idle_seconds", (double)row->idle / 1000);
    json_number(j, "in_datagrams", row->in_datagrams);
    json_number(j, "in_bytes", row->in_bytes);
    json_number(j, "out_datagrams", row->out_datagrams);
    json_number(j, "out_bytes", row->out_bytes);
    json_number(j, "drops", row->drops);
    json_number(j, "refused", row->refused);
    json_text(j, "backend", row->backend.family != 0 ? addr_format(&row->backend, address) : "-");
    json_number(j, "backend_port", row->backend_port);
    if (row->backend_source[0] != '\0')
        json_text(j, "backend_source", row->backend_source);
    json_close(j);
}

void roster_write(const struct census *c, struct json *j)
{
    json_open_object(j, NULL);
    json_number(j, "looked_at", c->looked);
    json_bool(j, "is_cut", c->is_cut);
    json_open_array(j, "sessions");
    for (size_t i = 0; i < c->count; i++)
        write_row(&c->kept[c->place[i]], *c->roster->conf, j);
    json_close(j);
    json_close(j);
}

void roster_free(struct roster *r)
{
    struct list *node;

    if (r == NULL)
        return;
    while (mailbox_take(&r->replies) != NULL)
        continue;
    while ((node = list_first(&r->asking)) != NULL)
        census_free(list_entry(node, struct census, node));
    mailbox_clear(&r->replies);
    free(r);
}

struct roster *roster_new(struct fleet *fleet, const struct conf *const *conf)
{
    struct roster *r = calloc(1, sizeof(*r));

    if (r == NULL || !mailbox_init(&r->replies)) {
        free(r);
        return NULL;
    }
    r->fleet = fleet;
    r->conf = conf;
    list_init(&r->asking);
    return r;
}
