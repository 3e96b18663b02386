/*
 * account: a session's figures into one line. See the header. Never shows a key.
 */
#include "proxy/account.h"

#include "base/access.h"
#include "base/bytes.h"
#include "proxy/report.h"
#include "proxy/roam.h"

#define FIELDS_MAX 32 /* beside those of drops */

struct fields {
    struct log_field list[FIELDS_MAX + TALLY_CLIENT_DROPS + TALLY_BACKEND_DROPS];
    unsigned count;
};

static void add_text(struct fields *f, const char *key, const char *text)
{
    f->list[f->count++] = (struct log_field){key, text, 0};
}

static void add_number(struct fields *f, const char *key, uint64_t number)
{
    f->list[f->count++] = (struct log_field){key, NULL, (long long)number};
}

static void add_traffic(struct fields *f, const struct session *s)
{
    add_number(f, "in-datagrams", s->in_datagrams);
    add_number(f, "in-bytes", s->in_bytes);
    add_number(f, "out-datagrams", s->out_datagrams);
    add_number(f, "out-bytes", s->out_bytes);
    add_number(f, "drops", s->drops);
    add_number(f, "refused", s->refused);
}

static void add_line_quality(struct fields *f, const struct tally *t)
{
    uint32_t replays = t->from_client[FATE_DROP_REPLAY - FATE_DROP_JUNK];

    add_number(f, "records", t->opened);
    add_number(f, "lost", tally_lost(t));
    add_number(f, "reordered", t->late);
    add_number(f, "replayed", replays - t->too_old);
    add_number(f, "too-old", t->too_old);
}

/* By the names that they have elsewhere; a reason that there was none for is left out. */
static void add_drops(struct fields *f, const struct tally *t)
{
#define CLIENT_NAME(name, text) "client." text,
#define BACKEND_NAME(name, text) "backend." text,
    static const char *const client_names[] = {FATES_FROM_CLIENT(CLIENT_NAME)};
    static const char *const backend_names[] = {FATES_FROM_BACKEND(BACKEND_NAME)};
#undef CLIENT_NAME
#undef BACKEND_NAME

    for (unsigned i = 0; i < TALLY_CLIENT_DROPS; i++)
        if (t->from_client[i] > 0)
            add_number(f, client_names[FATE_DROP_JUNK + i], t->from_client[i]);
    for (unsigned i = 0; i < TALLY_BACKEND_DROPS; i++)
        if (t->from_backend[i] > 0)
            add_number(f, backend_names[BACK_DROP_TOO_BIG + i], t->from_backend[i]);
}

void account_write(const struct session *s, const struct conf_service *service,
                   const struct account_way *way, enum session_end why, uint64_t now)
{
    char peer[ADDR_TEXT_MAX], local[ADDR_TEXT_MAX], backend[ADDR_TEXT_MAX], from[PREFIX_TEXT_MAX];
    char identity[4 * PSK_IDENTITY_MAX + 1];
    const struct tally *t = session_tally(s);
    const struct roam *roam = s->state == SESSION_OPEN ? roam_of(&s->association) : NULL;
    struct fields f = {.count = 0};
    size_t len;
    const uint8_t *name = session_identity(s, &len);

    add_number(&f, "id", s->id);
    add_text(&f, "service", service->name);
    add_text(&f, "peer", addr_format(&s->peer, peer));
    add_text(&f, "local", addr_format(way->local, local));
    if (roam != NULL)
        add_number(&f, "moves", roam->moves);
    add_text(&f, "identity", bytes_escape(identity, sizeof identity, name, len));
    add_text(&f, "suite", session_suite_name(s));
    add_text(&f, "version", session_version_name(s));
    add_text(&f, "ems", s->has_ems ? "yes" : "no");
    add_text(&f, "reason", session_end_text(why));
    if (t != NULL) {
        add_text(&f, "resumed", t->is_resumed ? "yes" : "no");
        add_number(&f, "handshake-ms", t->handshake_ms);
    }
    add_number(&f, "age-ms", now - s->opened);
    add_traffic(&f, s);
    add_text(&f, "backend", way->backend != NULL ? addr_format(way->backend, backend) : "-");
    add_number(&f, "backend-port", s->backend_port);
    if (service->backend_source.count > 0)
        add_text(&f, "backend-source", report_source(s, service, way->source, from));
    if (t != NULL) {
        add_line_quality(&f, t);
        add_drops(&f, t);
    }
    f.list[f.count] = (struct log_field){NULL, NULL, 0};
    access_event("session", f.list);
}
