/*
 * report: a session's life in the log. See the header. Never shows a key.
 */
#include "proxy/report.h"

#include "proxy/fields.h"
#include "proxy/policy.h"
#include "proxy/roam.h"

#define FORGED_TOLD 1024 /* from so many on, a power of two */
#define BACKEND_TEXT_MAX 320

/* One line on its way. */
struct line {
    enum log_level level;
    bool is_limited;
    uint32_t skipped;
    struct fields fields;
};

/* False: it is not wanted, or there were too many like it. `limit` may be NULL. */
static bool begin(struct line *l, enum log_level level, struct log_limit *limit, uint64_t now)
{
    l->level = level;
    l->is_limited = limit != NULL;
    fields_init(&l->fields);
    return log_wants(level) && (limit == NULL || log_allowed(limit, now, &l->skipped));
}

static void end(struct line *l, const char *subject)
{
    if (l->is_limited)
        fields_number(&l->fields, "left-out", l->skipped);
    log_event(l->level, subject, l->fields.list);
}

/* "-" where its flow has to tell which of several. */
static void add_backend(struct fields *f, const struct session *s,
                        const struct conf_service *service)
{
    const struct addr *own = policy_backend(service, s);

    if (own != NULL)
        fields_addr(f, "backend", own);
    else if (service->backend.count == 1)
        fields_text(
            f, "backend",
            backends_format(&service->backend, fields_room(f, BACKEND_TEXT_MAX), BACKEND_TEXT_MAX));
    else
        fields_text(f, "backend", "-");
}

/* Who is there, and by what. */
static void add_opening(struct fields *f, const struct session *s, const struct addr *to,
                        const struct conf_service *service)
{
    fields_session(f, s, service);
    fields_addr(f, "peer", &s->peer);
    fields_addr(f, "local", to);
    fields_identity(f, s);
    fields_text(f, "suite", session_suite_name(s));
}

void report_open(const struct session *s, const struct addr *to, const struct conf_service *service)
{
    struct line l;

    if (!begin(&l, LOG_LEVEL_INFO, NULL, 0))
        return;
    add_opening(&l.fields, s, to, service);
    fields_text(&l.fields, "version", session_version_name(s));
    fields_text(&l.fields, "ems", s->has_ems ? "yes" : "no");
    fields_text(&l.fields, "resumed", s->pending->tickets.is_resumed ? "yes" : "no");
    add_backend(&l.fields, s, service);
    fields_number(&l.fields, "handshake-ms", s->opened - s->pending->born);
    end(&l, "session open");
}

void report_restored(const struct session *s, const struct addr *to,
                     const struct conf_service *service, uint64_t now)
{
    struct line l;

    if (!begin(&l, LOG_LEVEL_INFO, NULL, now))
        return;
    add_opening(&l.fields, s, to, service);
    fields_number(&l.fields, "idle-s", (now - s->used) / 1000);
    end(&l, "session restored");
}

void report_not_restored(const struct session_image *image, const char *why)
{
    struct line l;

    if (!begin(&l, LOG_LEVEL_INFO, NULL, 0))
        return;
    fields_number(&l.fields, "id", image->id);
    fields_addr(&l.fields, "peer", &image->peer);
    fields_bytes(&l.fields, "identity", image->identity, image->identity_len);
    fields_text(&l.fields, "reason", why);
    end(&l, "session not restored");
}

void report_unkept(const struct session *s, const struct conf_service *service,
                   struct log_limit *limit, uint64_t now)
{
    struct line l;

    if (!begin(&l, LOG_LEVEL_WARNING, limit, now))
        return;
    fields_session(&l.fields, s, service);
    end(&l, "session not kept: no room in state-dir");
}

const char *report_source(const struct session *s, const struct conf_service *service,
                          uint32_t source, char buf[PREFIX_TEXT_MAX])
{
    const struct prefixes *list = &service->backend_source;
    const struct prefix *range = prefixes_range(list);
    struct prefix one = {.bits = 128};

    if (s->backend_port == 0)
        return prefix_format(&one, buf);
    if (range != NULL) {
        struct addr a = prefix_host(range, source);
        one = prefix_of(&a, 128);
    } else if (source < list->count) {
        one = list->list[source];
    }
    return prefix_format(&one, buf);
}

/* The service's settings alone do not say where this flow goes. */
static bool leaves_choice(const struct backends *b, const struct addr *to)
{
    return b->count > 1 ||
           (b->count == 1 && (b->list[0].name != NULL || !addr_equal(&b->list[0].addr, to)));
}

/* How the backend knows it. */
static void add_port(struct fields *f, const struct session *s, const struct conf_service *service,
                     uint32_t source)
{
    fields_number(f, "backend-port", s->backend_port);
    if (service->backend_source.count > 0)
        fields_text(f, "backend-source",
                    report_source(s, service, source, fields_room(f, PREFIX_TEXT_MAX)));
}

void report_flow(const struct session *s, const struct conf_service *service,
                 const struct report_way *way, struct log_limit *limit, uint64_t now)
{
    struct line l;

    if (!begin(&l, LOG_LEVEL_INFO, limit, now))
        return;
    fields_session(&l.fields, s, service);
    add_port(&l.fields, s, service, way->source);
    if (leaves_choice(&service->backend, &way->backend))
        fields_addr(&l.fields, "backend", &way->backend);
    end(&l, "session flow");
}

void report_keys(const struct session *s, const struct conf_service *service, bool is_written)
{
    struct line l;

    if (!begin(&l, LOG_LEVEL_WARNING, NULL, 0))
        return;
    fields_session(&l.fields, s, service);
    fields_client(&l.fields, s);
    end(&l, is_written ? "keys written" : "keys not written");
}

void report_move(const struct session *s, const struct conf_service *service,
                 const struct addr *before, struct log_limit *limit, uint64_t now)
{
    struct line l;

    if (!begin(&l, LOG_LEVEL_INFO, limit, now))
        return;
    fields_session(&l.fields, s, service);
    fields_addr(&l.fields, "peer", &s->peer);
    fields_addr(&l.fields, "before", before);
    fields_identity(&l.fields, s);
    fields_number(&l.fields, "moves", roam_of(&s->association)->moves);
    end(&l, "session move");
}

void report_end(const struct session *s, const struct conf_service *service, uint32_t source,
                enum session_end why, uint64_t now)
{
    struct line l;

    if (!begin(&l, LOG_LEVEL_INFO, NULL, now))
        return;
    fields_session(&l.fields, s, service);
    fields_client(&l.fields, s);
    fields_text(&l.fields, "reason", session_end_text(why));
    fields_number(&l.fields, "age-ms", now - s->opened);
    fields_traffic(&l.fields, s);
    add_port(&l.fields, s, service, source);
    end(&l, "session end");
}

void report_failed(const struct session *s, const struct conf_service *service,
                   enum session_end why, struct log_limit *limit, uint64_t now)
{
    struct line l;

    if (!begin(&l, LOG_LEVEL_INFO, limit, now))
        return;
    fields_session(&l.fields, s, service);
    fields_client(&l.fields, s);
    fields_text(&l.fields, "reason", session_end_text(why));
    fields_text(&l.fields, "detail", session_why(s));
    fields_number(&l.fields, "age-ms", now - s->pending->born);
    end(&l, "handshake failed");
}

void report_shared(const struct session *s, const struct conf_service *service, unsigned count,
                   struct log_limit *limit, uint64_t now)
{
    struct line l;

    if (!begin(&l, LOG_LEVEL_INFO, limit, now))
        return;
    fields_session(&l.fields, s, service);
    fields_client(&l.fields, s);
    fields_number(&l.fields, "sessions", count);
    end(&l, "identity shared");
}

void report_forgeries(const struct session *s, const struct conf_service *service,
                      struct log_limit *limit, uint64_t now)
{
    uint64_t forged = s->association.forged;
    struct line l;

    if (forged < FORGED_TOLD || (forged & (forged - 1)) != 0 ||
        !begin(&l, LOG_LEVEL_WARNING, limit, now))
        return;
    fields_session(&l.fields, s, service);
    fields_addr(&l.fields, "peer", &s->peer);
    fields_text(&l.fields, "suite", session_suite_name(s));
    fields_number(&l.fields, "forged", forged);
    end(&l, "session forgeries");
}

void report_backend(const struct conf_service *service, const struct report_news *news,
                    struct log_limit *limit, uint64_t now)
{
    struct line l;

    if (!begin(&l, news->is_up ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, limit, now))
        return;
    fields_text(&l.fields, "service", service->name);
    fields_addr(&l.fields, "backend", news->backend);
    fields_text(&l.fields, "reason", news->why);
    end(&l, news->is_up ? "backend up" : "backend down");
}

void report_refused(const struct session *s, const struct conf_service *service,
                    const struct addr *backend, struct log_limit *limit, uint64_t now)
{
    struct line l;

    if (!begin(&l, LOG_LEVEL_WARNING, limit, now))
        return;
    fields_session(&l.fields, s, service);
    fields_addr(&l.fields, "backend", backend);
    fields_number(&l.fields, "refused", s->refused);
    end(&l, "backend refuses");
}

void report_doubt(const struct session *s, const struct conf_service *service,
                  struct log_limit *limit, uint64_t now)
{
    struct line l;

    if (!begin(&l, LOG_LEVEL_INFO, limit, now))
        return;
    fields_session(&l.fields, s, service);
    fields_client(&l.fields, s);
    fields_text(&l.fields, "detail",
                "no Finished opens: a wrong key, an unknown identity or a forgery");
    end(&l, "handshake in doubt");
}

static const char *fate_text(enum fate fate)
{
#define FATE_TEXT(name, text) text,
    static const char *const texts[] = {FATES_FROM_CLIENT(FATE_TEXT)};
#undef FATE_TEXT
    return texts[fate];
}

void report_fate(const struct session_route *route, const struct wire_record *rec, enum fate fate,
                 struct log_limit *limit, uint64_t now)
{
    struct line l;

    if (!begin(&l, LOG_LEVEL_DEBUG, limit, now))
        return;
    fields_addr(&l.fields, "peer", &route->peer);
    fields_text(&l.fields, "fate", fate_text(fate));
    fields_number(&l.fields, "type", rec != NULL ? rec->type : -1);
    fields_number(&l.fields, "epoch", rec != NULL ? rec->epoch : -1);
    fields_number(&l.fields, "bytes", rec != NULL ? (long long)rec->len : -1);
    end(&l, "record");
}
