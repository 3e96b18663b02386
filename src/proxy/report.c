/*
 * report: a session's life in the log. See the header. Never shows a key.
 */
#include "proxy/report.h"

#include "base/bytes.h"
#include "proxy/policy.h"

#include <stdio.h>

#define FORGED_TOLD 1024 /* from so many on, a power of two */
#define IDENTITY_TEXT_MAX (4 * PSK_IDENTITY_MAX + 1)

static const char *identity_text(const struct session *s, char buf[IDENTITY_TEXT_MAX])
{
    size_t len;
    const uint8_t *identity = session_identity(s, &len);
    return bytes_escape(buf, IDENTITY_TEXT_MAX, identity != NULL ? identity : (const uint8_t *)"",
                        len);
}

void report_open(const struct session *s, const struct addr *to, const struct conf_service *service)
{
    char peer[ADDR_TEXT_MAX], local[ADDR_TEXT_MAX], backend[ADDR_TEXT_MAX];
    char identity[IDENTITY_TEXT_MAX];
    const struct log_field fields[] = {
        {"id", NULL, (long long)s->id},
        {"service", service->name, 0},
        {"peer", addr_format(&s->peer, peer), 0},
        {"local", addr_format(to, local), 0},
        {"identity", identity_text(s, identity), 0},
        {"suite", session_suite_name(s), 0},
        {"version", session_version_name(s), 0},
        {"ems", s->has_ems ? "yes" : "no", 0},
        {"backend", addr_format(policy_backend(service, s), backend), 0},
        {"handshake-ms", NULL, (long long)(s->opened - s->pending->born)},
        {NULL, NULL, 0},
    };
    log_event(LOG_LEVEL_INFO, "session open", fields);
}

void report_flow(const struct session *s, const struct conf_service *service,
                 struct log_limit *limit, uint64_t now)
{
    uint32_t skipped = 0;

    if (!log_wants(LOG_LEVEL_INFO) || (limit != NULL && !log_allowed(limit, now, &skipped)))
        return;
    const struct log_field fields[] = {
        {"id", NULL, (long long)s->id},
        {"service", service->name, 0},
        {"backend-port", NULL, (long long)s->backend_port},
        {limit != NULL ? "left-out" : NULL, NULL, skipped},
        {NULL, NULL, 0},
    };
    log_event(LOG_LEVEL_INFO, "session flow", fields);
}

void report_end(const struct session *s, const struct conf_service *service, enum session_end why,
                uint64_t now)
{
    char peer[ADDR_TEXT_MAX];
    char identity[IDENTITY_TEXT_MAX];
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

void report_refused(const struct session *s, const struct conf_service *service,
                    struct log_limit *limit, uint64_t now)
{
    char backend[ADDR_TEXT_MAX];
    uint32_t skipped;

    if (!log_wants(LOG_LEVEL_WARNING) || !log_allowed(limit, now, &skipped))
        return;
    const struct log_field fields[] = {
        {"id", NULL, (long long)s->id},
        {"service", service->name, 0},
        {"backend", addr_format(policy_backend(service, s), backend), 0},
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
