/*
 * review: legal and still not wise. See the header. Never refuses anything.
 */
#include "daemon/review.h"

#include "base/bytes.h"
#include "base/log.h"
#include "conf/options.h"
#include "conf/policies.h"
#include "conf/value.h"
#include "dtls/psk_review.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Descriptors that are neither sessions nor public sockets: event loops, mailboxes, log, files. */
#define DESCRIPTORS_PER_WORKER 8
#define DESCRIPTORS_APART 64

#define SHOWN_MAX 200 /* of a section's name */

#define TINY_BUFFER ((size_t)256 * 1024)
#define MANY_HANDSHAKES 16384
#define FEW_SESSIONS 1000
#define LONG_IDLE_MS (UINT64_C(24) * 60 * 60 * 1000)

/* What may be said of a setting, behind its value. */
struct rule {
    const char *key;
    bool (*is_odd)(const struct conf *conf, const struct conf_service *service);
    const char *what;
};

static bool has_tiny_buffer(const struct conf *conf, const struct conf_service *none)
{
    (void)none;
    return conf->daemon.socket_buffer < TINY_BUFFER;
}

static bool is_told_all(const struct conf *conf, const struct conf_service *none)
{
    (void)none;
    return conf->daemon.log_level == LOG_LEVEL_DEBUG;
}

static bool has_room_for_a_flood(const struct conf *conf, const struct conf_service *none)
{
    (void)none;
    return conf->daemon.max_handshakes > MANY_HANDSHAKES;
}

static bool has_no_prefix_cap(const struct conf *conf, const struct conf_service *none)
{
    (void)none;
    return conf->daemon.max_handshakes_per_prefix == 0;
}

static bool is_seen_from_afar(const struct conf *conf, const struct conf_service *none)
{
    (void)none;
    return conf->daemon.http.family != 0 && !addr_is_loopback(&conf->daemon.http);
}

static bool has_key_log(const struct conf *conf, const struct conf_service *none)
{
    (void)none;
    return conf->daemon.trace_keylog != NULL;
}

static const struct rule daemon_rules[] = {
    {"socket-buffer", has_tiny_buffer,
     "loses what comes in a burst of some hundred datagrams; 1m or more is better"},
    {"log-level", is_told_all,
     "tells of single records and is for finding faults; info is enough to run"},
    {"max-handshakes", has_room_for_a_flood,
     "may cost up to 85 KB each, all at once; lower it unless there is the memory"},
    {"max-handshakes-per-prefix", has_no_prefix_cap,
     "lets one network take all of max-handshakes; 256 is the default"},
    {"trace-keylog", has_key_log,
     "may get the keys of sessions, and lets them be read; set it only while a fault is looked "
     "for"},
    {"http", is_seen_from_afar,
     "is no loopback address: whoever reaches it can read who the clients are; 127.0.0.1 behind a "
     "proxy that asks for a password is safer"},
    {NULL, NULL, NULL},
};

/* Loopback, link-local and what is private by RFC 1918, 4193 and 6598. */
static bool is_near(const struct addr *a)
{
    static const char *const near[] = {
        "127.0.0.0/8",   "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
        "100.64.0.0/10", "::1",        "fc00::/7",      "fe80::/10"};

    for (size_t i = 0; i < sizeof(near) / sizeof(*near); i++) {
        struct prefix p;
        if (prefix_parse(&p, near[i]) && prefix_contains(&p, a))
            return true;
    }
    return false;
}

static bool has_public_backend(const struct conf *conf, const struct conf_service *service)
{
    (void)conf;
    for (size_t i = 0; i < service->backend.count; i++)
        if (!is_near(&service->backend.list[i].addr))
            return true;
    return false;
}

static bool takes_weak_keys(const struct conf *conf, const struct conf_service *service)
{
    (void)conf;
    return service->allow_weak_keys;
}

static bool tells_identities(const struct conf *conf, const struct conf_service *service)
{
    (void)conf;
    return service->unknown_identity == CONF_UNKNOWN_ALERT;
}

static bool takes_old_devices(const struct conf *conf, const struct conf_service *service)
{
    (void)conf;
    return service->min_version == CONF_DTLS10;
}

static bool keeps_the_gone(const struct conf *conf, const struct conf_service *service)
{
    return service->idle_timeout > LONG_IDLE_MS && conf->daemon.max_sessions < FEW_SESSIONS;
}

static const struct rule service_rules[] = {
    {"backend", has_public_backend,
     "is a public address, and datagrams go there in plaintext; run dtlsgate on the backend's host "
     "or network, or lay a tunnel"},
    {"allow-weak-keys", takes_weak_keys,
     "takes keys short enough to be guessed; replace them (dtlsgate --genpsk) and say no"},
    {"unknown-identity", tells_identities,
     "tells strangers which identities exist; say hide once all works"},
    {"min-version", takes_old_devices,
     "lets in DTLS 1.0 and CBC suites, at 70 KB a session; keep it to a service for old devices"},
    {"idle-timeout", keeps_the_gone,
     "keeps sessions of clients that are gone, and daemon.max-sessions has room for few; shorten "
     "it or raise that"},
    {NULL, NULL, NULL},
};

static void review_daemon(const struct conf *conf, const char *source, struct errors *found)
{
    char text[VALUE_TEXT_MAX];

    for (const struct rule *r = daemon_rules; r->key != NULL; r++)
        if (r->is_odd(conf, NULL))
            errors_add(found, "%s: daemon.%s: %s %s", source, r->key,
                       value_text(option_find(options_daemon, r->key), &conf->daemon, text),
                       r->what);
}

static void review_service(const struct conf *conf, const struct conf_service *service,
                           const char *source, struct errors *found)
{
    char text[VALUE_TEXT_MAX], place[16] = "";

    if (service->line > 0)
        snprintf(place, sizeof(place), ":%u", service->line);
    for (const struct rule *r = service_rules; r->key != NULL; r++)
        if (r->is_odd(conf, service))
            errors_add(found, "%s%s: service.%s.%s: %s %s",
                       service->line > 0 ? source : "command line", place, service->name, r->key,
                       value_text(option_find(options_service, r->key), service, text), r->what);
}

/* One that has an address out of a prefix needs none. */
static bool costs_descriptors(const struct conf *conf)
{
    for (size_t i = 0; i < conf->service_count; i++)
        if (prefixes_range(&conf->service[i].backend_source) == NULL)
            return true;
    return false;
}

static void tell(const struct conf_service *service, const struct psk_finding *finding,
                 const char *what, struct errors *found)
{
    const char *file;
    unsigned line;

    if (finding->count == 0)
        return;
    file = psk_place(service->psk, finding->line, &line);
    errors_add(found, "%s:%u: %s; %zu such in all; dtlsgate --genpsk makes better ones", file, line,
               what, finding->count);
}

size_t review_descriptors(const struct conf *conf)
{
    size_t per_worker = DESCRIPTORS_PER_WORKER;
    size_t flows = costs_descriptors(conf) ? conf->daemon.max_sessions : 0;

    for (size_t i = 0; i < conf->service_count; i++)
        per_worker += conf->service[i].listen_count;
    return flows + conf->daemon.workers * per_worker + DESCRIPTORS_APART;
}

void review_limits(const struct conf *conf, const char *source, size_t descriptors,
                   struct errors *found)
{
    size_t needed = review_descriptors(conf);

    if (descriptors < needed)
        errors_add(found,
                   "%s: daemon.max-sessions: %u may need %zu open files, and %zu are allowed; "
                   "raise the limit (LimitNOFILE, ulimit -n) or lower the setting",
                   source, conf->daemon.max_sessions, needed, descriptors);
}

void review_settings(const struct conf *conf, const char *source, struct errors *found)
{
    review_daemon(conf, source, found);
    for (size_t i = 0; i < conf->service_count; i++)
        review_service(conf, &conf->service[i], source, found);
}

void review_keys(const struct conf *conf, struct errors *found)
{
    for (size_t i = 0; i < conf->service_count; i++) {
        const struct conf_service *service = &conf->service[i];
        struct psk_review review;

        psk_review(service->psk, &review);
        tell(service, &review.is_short, "a key is shorter than 16 bytes", found);
        tell(service, &review.is_text, "a key is readable text and may be guessed", found);
        tell(service, &review.is_shared, "an identity has the key of another one", found);
    }
}

void review_log(const struct conf *conf, const char *source)
{
    struct errors found = {.count = 0};
    unsigned held;

    review_settings(conf, source, &found);
    review_keys(conf, &found);
    held = found.count < ERRORS_MAX ? found.count : ERRORS_MAX;
    for (unsigned i = 0; i < held; i++)
        log_warning("%s", found.line[i] != NULL ? found.line[i] : "out of memory");
    if (found.count > held)
        log_warning("... and %u more", found.count - held);
    errors_clear(&found);
}

/* Which identities a helper knows cannot be told beforehand. */
static void mark_used(const struct conf *conf, const struct conf_service *service, bool *is_used)
{
    for (size_t i = 0; i < conf->policy_count && service->psk_helper != NULL; i++)
        is_used[i] = is_used[i] || policies_is_for(&conf->policy[i], service);
    size_t count = service->policies.number != NULL ? psk_count(service->psk) : 0;

    for (size_t i = 0; i < count; i++)
        if (service->policies.number[i] > 0)
            is_used[service->policies.number[i] - 1] = true;
}

void review_policies(const struct conf *conf)
{
    bool *is_used = calloc(conf->policy_count + 1, sizeof(*is_used));
    const char *first = NULL;
    char shown[SHOWN_MAX];
    size_t unused = 0;

    if (is_used == NULL)
        return;
    for (size_t i = 0; i < conf->service_count; i++)
        mark_used(conf, &conf->service[i], is_used);
    for (size_t i = conf->policy_count; i-- > 0;)
        if (!is_used[i]) {
            unused++;
            first = conf->policy[i].name;
        }
    if (first != NULL)
        log_warning("section [identity %s] is for nobody: no identity fits, or an earlier section "
                    "does; %zu such in all",
                    bytes_escape(shown, sizeof(shown), first, strlen(first)), unused);
    free(is_used);
}
