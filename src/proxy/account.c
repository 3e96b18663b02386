/*
 * account: a session's figures into one line. See the header. Never shows a key.
 */
#include "proxy/account.h"

#include "base/access.h"
#include "proxy/fields.h"
#include "proxy/report.h"
#include "proxy/roam.h"

static void add_line_quality(struct fields *f, const struct tally *t)
{
    uint32_t replays = t->from_client[FATE_DROP_REPLAY - FATE_DROP_JUNK];

    fields_number(f, "records", t->opened);
    fields_number(f, "lost", tally_lost(t));
    fields_number(f, "reordered", t->late);
    fields_number(f, "replayed", replays - t->too_old);
    fields_number(f, "too-old", t->too_old);
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
            fields_number(f, client_names[FATE_DROP_JUNK + i], t->from_client[i]);
    for (unsigned i = 0; i < TALLY_BACKEND_DROPS; i++)
        if (t->from_backend[i] > 0)
            fields_number(f, backend_names[BACK_DROP_TOO_BIG + i], t->from_backend[i]);
}

void account_write(const struct session *s, const struct conf_service *service,
                   const struct account_way *way, enum session_end why, uint64_t now)
{
    const struct tally *t = session_tally(s);
    struct fields f;

    fields_init(&f);
    fields_session(&f, s, service);
    fields_addr(&f, "peer", &s->peer);
    fields_addr(&f, "local", way->local);
    if (s->state == SESSION_OPEN && roam_of(&s->association) != NULL)
        fields_number(&f, "moves", roam_of(&s->association)->moves);
    fields_identity(&f, s);
    fields_text(&f, "suite", session_suite_name(s));
    fields_text(&f, "version", session_version_name(s));
    fields_text(&f, "ems", s->has_ems ? "yes" : "no");
    fields_text(&f, "reason", session_end_text(why));
    if (t != NULL) {
        fields_text(&f, "resumed", t->is_resumed ? "yes" : "no");
        fields_number(&f, "handshake-ms", t->handshake_ms);
    }
    fields_number(&f, "age-ms", now - s->opened);
    fields_traffic(&f, s);
    fields_addr(&f, "backend", way->backend);
    fields_number(&f, "backend-port", s->backend_port);
    if (service->backend_source.count > 0)
        fields_text(&f, "backend-source",
                    report_source(s, service, way->source, fields_room(&f, PREFIX_TEXT_MAX)));
    if (t != NULL) {
        add_line_quality(&f, t);
        add_drops(&f, t);
    }
    access_event("session", f.list);
}
