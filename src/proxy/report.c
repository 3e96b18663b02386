/*
 * report: a session's life in the log. See the header. Never shows a key.
 */
#include "proxy/report.h"

#include "base/bytes.h"
#include "proxy/policy.h"
#include "proxy/roam.h"

#include <stdio.h>

#define FORGED_TOLD 1024 /* from so many on, a power of two */
#define BACKEND_TEXT_MAX 320
#define IDENTITY_TEXT_MAX (4 * PSK_IDENTITY_MAX + 1)

static const char *identity_text(const struct session *s, char buf[IDENTITY_TEXT_MAX])
{
    size_t len;
    const uint8_t *identity = session_identity(s, &len);
    return bytes_escape(buf, IDENTITY_TEXT_MAX, identity != NULL ? identity : (const uint8_t *)"",
                        len);
}

/* "-" where its flow has to tell which of several. */
static const char *backend_text(const struct session *s, const struct conf_service *service,
                                char buf[BACKEND_TEXT_MAX])
{
    const struct addr *own = policy_backend(service, s);

    if (own != NULL)
        return addr_format(own, buf);
    return service->backend.count == 1 ? backends_format(&service->backend, buf, BACKEND_TEXT_MAX)
                                       : "-";
}

void report_open(const struct session *s, const struct addr *to, const struct conf_service *service)
{
    char peer[ADDR_TEXT_MAX], local[ADDR_TEXT_MAX], backend[BACKEND_TEXT_MAX];
    char identity[IDENTITY_TEXT_MAX];

    if (!log_wants(LOG_LEVEL_INFO))
        return;
    const struct log_field fields[] = {
        {"id", NULL, (long long)s->id},
        {"service", service->name, 0},
        {"peer", addr_format(&s->peer, peer), 0},
        {"local", addr_format(to, local), 0},
        {"identity", identity_text(s, identity), 0},
        {"suite", session_suite_name(s), 0},
        {"version", session_version_name(s), 0},
        {"ems", s->has_ems ? "yes" : "no", 0},
        {"resumed", s->pending->tickets.is_resumed ? "yes" : "no", 0},
        {"backend", backend_text(s, service, backend), 0},
        {"handshake-ms", NULL, (long long)(s->opened - s->pending->born)},
        {NULL, NULL, 0},
    };
    log_event(LOG_LEVEL_INFO, "session open", fields);
}

void report_restored(const struct session *s, const struct addr *to,
                     const struct conf_service *service, uint64_t now)
{
    char peer[ADDR_TEXT_MAX], local[ADDR_TEXT_MAX];
    char identity[IDENTITY_TEXT_MAX];

    if (!log_wants(LOG_LEVEL_INFO))
        return;
    const struct log_field fields[] = {
        {"id", NULL, (long long)s->id},
        {"service", service->name, 0},
        {"peer", addr_format(&s->peer, peer), 0},
        {"local", addr_format(to, local), 0},
        {"identity", identity_text(s, identity), 0},
        {"suite", session_suite_name(s), 0},
        {"idle-s", NULL, (long long)((now - s->used) / 1000)},
        {NULL, NULL, 0},
    };
    log_event(LOG_LEVEL_INFO, "session restored", fields);
}

void report_not_restored(const struct session_image *image, const char *why)
{
    char peer[ADDR_TEXT_MAX], identity[IDENTITY_TEXT_MAX];

    if (!log_wants(LOG_LEVEL_INFO))
        return;
    bytes_escape(identity, sizeof identity, image->identity, image->identity_len);
    const struct log_field fields[] = {
        {"id", NULL, (long long)image->id},
        {"peer", addr_format(&image->peer, peer), 0},
        {"identity", identity, 0},
        {"reason", why, 0},
        {NULL, NULL, 0},
    };
    log_event(LOG_LEVEL_INFO, "session not restored", fields);
}

void report_unkept(const struct session *s, const struct conf_service *service,
                   struct log_limit *limit, uint64_t now)
{
    uint32_t skipped;

    if (!log_allowed(limit, now, &skipped))
        return;
    const struct log_field fields[] = {
        {"id", NULL, (long long)s->id},
        {"service", service->name, 0},
        {"left-out", NULL, skipped},
        {NULL, NULL, 0},
    };
    log_event(LOG_LEVEL_WARNING, "session not kept: no room in state-dir", fields);
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

void report_flow(const struct session *s, const struct conf_service *service,
                 const struct report_way *way, struct log_limit *limit, uint64_t now)
{
    struct log_field fields[7] = {
        {"id", NULL, (long long)s->id},
        {"service", service->name, 0},
        {"backend-port", NULL, (long long)s->backend_port},
    };
    struct log_field *end = &fields[3]; /* the rest is zero, and so ends the list */
    char from[PREFIX_TEXT_MAX], to[ADDR_TEXT_MAX];
    uint32_t skipped = 0;

    if (!log_wants(LOG_LEVEL_INFO) || (limit != NULL && !log_allowed(limit, now, &skipped)))
        return;
    if (service->backend_source.count > 0)
        *end++ =
            (struct log_field){"backend-source", report_source(s, service, way->source, from), 0};
    if (leaves_choice(&service->backend, &way->backend))
        *end++ = (struct log_field){"backend", addr_format(&way->backend, to), 0};
    if (limit != NULL)
        *end++ = (struct log_field){"left-out", NULL, skipped};
    log_event(LOG_LEVEL_INFO, "session flow", fields);
}

void report_keys(const struct session *s, const struct conf_service *service, bool is_written)
{
    char peer[ADDR_TEXT_MAX], identity[IDENTITY_TEXT_MAX];
    const struct log_field fields[] = {
        {"id", NULL, (long long)s->id},
        {"service", service->name, 0},
        {"peer", addr_format(&s->peer, peer), 0},
        {"identity", identity_text(s, identity), 0},
        {NULL, NULL, 0},
    };

    log_event(LOG_LEVEL_WARNING, is_written ? "keys written" : "keys not written", fields);
}

void report_move(const struct session *s, const struct conf_service *service,
                 const struct addr *before, struct log_limit *limit, uint64_t now)
{
    char from[ADDR_TEXT_MAX], peer[ADDR_TEXT_MAX], identity[IDENTITY_TEXT_MAX];
    uint32_t skipped;

    if (!log_wants(LOG_LEVEL_INFO) || !log_allowed(limit, now, &skipped))
        return;
    const struct log_field fields[] = {
        {"id", NULL, (long long)s->id},
        {"service", service->name, 0},
        {"peer", addr_format(&s->peer, peer), 0},
        {"before", addr_format(before, from), 0},
        {"identity", identity_text(s, identity), 0},
        {"moves", NULL, roam_of(&s->association)->moves},
        {"left-out", NULL, skipped},
        {NULL, NULL, 0},
    };
    log_event(LOG_LEVEL_INFO, "session move", fields);
}

void report_end(const struct session *s, const struct conf_service *service, uint32_t source,
                enum session_end why, uint64_t now)
{
    bool is_chosen = service->backend_source.count > 0;
    char peer[ADDR_TEXT_MAX], from[PREFIX_TEXT_MAX];
    char identity[IDENTITY_TEXT_MAX];

    if (!log_wants(LOG_LEVEL_INFO))
        return;
    const struct log_field fields[] = {
        {"id", NULL, (long long)s->id},
        {"service", service->name, 0},
        {"peer", addr_format(&s->peer, peer), 0},
        {"identity", identity_text(s, identity), 0},
        {"reason", session_end_text(why), 0},
        {"age-ms", NULL, (long long)(now - s->opened)},
        {"in-datagrams", NULL, (long long)s->in_datagrams},
        {"in-bytes", NULL, (long long)s->in_bytes},
        {"out-datagrams", NULL, (long long)s->out_datagrams},
        {"out-bytes", NULL, (long long)s->out_bytes},
        {"drops", NULL, (long long)s->drops},
        {"refused", NULL, (long long)s->refused},
        {"backend-port", NULL, (long long)s->backend_port},
        {is_chosen ? "backend-source" : NULL,
         is_chosen ? report_source(s, service, source, from) : "", 0},
        {NULL, NULL, 0},
    };
    log_event(LOG_LEVEL_INFO, "session end", fields);
}

void report_failed(const struct session *s, const struct conf_service *service,
                   enum session_end why, struct log_limit *limit, uint64_t now)
{
    char peer[ADDR_TEXT_MAX];
    char identity[IDENTITY_TEXT_MAX];
    uint32_t skipped;

    if (!log_wants(LOG_LEVEL_INFO) || !log_allowed(limit, now, &skipped))
        return;
    const struct log_field fields[] = {
        {"id", NULL, (long long)s->id},
        {"service", service->name, 0},
        {"peer", addr_format(&s->peer, peer), 0},
        {"identity", identity_text(s, identity), 0},
        {"reason", session_end_text(why), 0},
        {"detail", session_why(s), 0},
        {"age-ms", NULL, (long long)(now - s->pending->born)},
        {"left-out", NULL, skipped},
        {NULL, NULL, 0},
    };
    log_event(LOG_LEVEL_INFO, "handshake failed", fields);
}

void report_shared(const struct session *s, const struct conf_service *service, unsigned count,
                   struct log_limit *limit, uint64_t now)
{
    char peer[ADDR_TEXT_MAX];
    char identity[IDENTITY_TEXT_MAX];
    uint32_t skipped;

    if (!log_wants(LOG_LEVEL_INFO) || !log_allowed(limit, now, &skipped))
        return;
    const struct log_field fields[] = {
        {"id", NULL, (long long)s->id},
        {"service", service->name, 0},
        {"peer", addr_format(&s->peer, peer), 0},
        {"identity", identity_text(s, identity), 0},
        {"sessions", NULL, count},
        {"left-out", NULL, skipped},
        {NULL, NULL, 0},
    };
    log_event(LOG_LEVEL_INFO, "identity shared", fields);
}

void report_forgeries(const struct session *s, const struct conf_service *service,
                      struct log_limit *limit, uint64_t now)
{
    char peer[ADDR_TEXT_MAX];
    uint64_t forged = s->association.forged;
    uint32_t skipped;

    if (forged < FORGED_TOLD || (forged & (forged - 1)) != 0 || !log_wants(LOG_LEVEL_WARNING) ||
        !log_allowed(limit, now, &skipped))
        return;
    const struct log_field fields[] = {
        {"id", NULL, (long long)s->id},
        {"service", service->name, 0},
        {"peer", addr_format(&s->peer, peer), 0},
        {"suite", session_suite_name(s), 0},
        {"forged", NULL, (long long)forged},
        {"left-out", NULL, skipped},
        {NULL, NULL, 0},
    };
    log_event(LOG_LEVEL_WARNING, "session forgeries", fields);
}

void report_backend(const struct conf_service *service, const struct addr *backend, bool is_up,
                    struct log_limit *limit, uint64_t now)
{
    char text[ADDR_TEXT_MAX];
    uint32_t skipped;

    if (!log_allowed(limit, now, &skipped))
        return;
    const struct log_field fields[] = {
        {"service", service->name, 0},
        {"backend", addr_format(backend, text), 0},
        {"reason", is_up ? "answers" : "refused", 0},
        {"left-out", NULL, skipped},
        {NULL, NULL, 0},
    };
    log_event(is_up ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, is_up ? "backend up" : "backend down",
              fields);
}

void report_refused(const struct session *s, const struct conf_service *service,
                    const struct addr *backend, struct log_limit *limit, uint64_t now)
{
    char text[ADDR_TEXT_MAX];
    uint32_t skipped;

    if (!log_wants(LOG_LEVEL_WARNING) || !log_allowed(limit, now, &skipped))
        return;
    const struct log_field fields[] = {
        {"id", NULL, (long long)s->id},
        {"service", service->name, 0},
        {"backend", addr_format(backend, text), 0},
        {"refused", NULL, (long long)s->refused},
        {"left-out", NULL, skipped},
        {NULL, NULL, 0},
    };
    log_event(LOG_LEVEL_WARNING, "backend refuses", fields);
}

void report_doubt(const struct session *s, const struct conf_service *service,
                  struct log_limit *limit, uint64_t now)
{
    char peer[ADDR_TEXT_MAX];
    char identity[IDENTITY_TEXT_MAX];
    uint32_t skipped;

    if (!log_wants(LOG_LEVEL_INFO) || !log_allowed(limit, now, &skipped))
        return;
    const struct log_field fields[] = {
        {"id", NULL, (long long)s->id},
        {"service", service->name, 0},
        {"peer", addr_format(&s->peer, peer), 0},
        {"identity", identity_text(s, identity), 0},
        {"detail", "no Finished opens: a wrong key, an unknown identity or a forgery", 0},
        {"left-out", NULL, skipped},
        {NULL, NULL, 0},
    };
    log_event(LOG_LEVEL_INFO, "handshake in doubt", fields);
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
    char peer[ADDR_TEXT_MAX];
    uint32_t skipped;

    if (!log_wants(LOG_LEVEL_DEBUG) || !log_allowed(limit, now, &skipped))
        return;
    const struct log_field fields[] = {
        {"peer", addr_format(&route->peer, peer), 0},
        {"fate", fate_text(fate), 0},
        {"type", NULL, rec != NULL ? rec->type : -1},
        {"epoch", NULL, rec != NULL ? rec->epoch : -1},
        {"bytes", NULL, rec != NULL ? (long long)rec->len : -1},
        {"left-out", NULL, skipped},
        {NULL, NULL, 0},
    };
    log_event(LOG_LEVEL_DEBUG, "record", fields);
}
