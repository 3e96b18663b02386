/*
 * status: the JSON of all that is told. See the header.
 */
#include "daemon/status.h"

#include "base/access.h"
#include "base/log.h"
#include "conf/value.h"
#include "daemon/process.h"
#include "dtls/tlsctx.h"

#include <string.h>

/* What is open now is the difference of two counters, which are read one after the other. */
static uint64_t still_open(uint64_t closed, uint64_t opened)
{
    return opened > closed ? opened - closed : 0;
}

static void write_service_counters(const struct fleet *f, unsigned service, struct json *j)
{
#define COUNT(NAME) fleet_service_count(f, service, SERVICE_##NAME)
#define TELL(NAME, name, text) json_number(j, #name, COUNT(NAME));
    STATS_OF_SERVICE(TELL)
    json_number(j, "sessions", still_open(COUNT(SESSIONS_ENDED), COUNT(SESSIONS_OPENED)));
    json_number(j, "flows", still_open(COUNT(FLOWS_CLOSED), COUNT(FLOWS_OPENED)));
#undef TELL
#undef COUNT
}

double status_state_seconds(const struct status *s, const struct fleet_backend *b, uint64_t now_ms)
{
    uint64_t since = b->since != 0 ? b->since : s->started_ms;

    return now_ms > since ? (double)(now_ms - since) / 1000 : 0;
}

static void write_backends(const struct status *s, unsigned service, uint64_t now_ms,
                           struct json *j)
{
    struct fleet_backend list[BALANCE_SLOTS];
    size_t count = fleet_backends(s->fleet, service, now_ms, list);
    char text[ADDR_TEXT_MAX];

    json_open_array(j, "backends");
    for (const struct fleet_backend *b = list; b < list + count; b++) {
        json_open_object(j, NULL);
        json_text(j, "address", addr_format(&b->addr, text));
        json_text(j, "state", fleet_backend_state(b));
        json_real(j, "state_seconds", status_state_seconds(s, b, now_ms));
        json_number(j, "weight", b->weight);
        json_bool(j, "backup", b->is_backup);
        json_bool(j, "draining", b->is_drained);
        json_number(j, "workers_up", b->up);
        json_number(j, "flows", b->flows);
        json_number(j, "flows_opened", b->opened);
        json_number(j, "sent_datagrams", b->sent);
        json_number(j, "sent_bytes", b->sent_bytes);
        json_number(j, "received_datagrams", b->received);
        json_number(j, "received_bytes", b->received_bytes);
        json_number(j, "refused", b->refused);
        json_close(j);
    }
    json_close(j);
}

static void write_services(const struct status *s, uint64_t now_ms, struct json *j)
{
    char text[VALUE_TEXT_MAX];

    json_open_array(j, "services");
    for (size_t i = 0; i < s->conf->service_count; i++) {
        const struct conf_service *service = &s->conf->service[i];
        json_open_object(j, NULL);
        json_text(j, "name", service->name);
        json_open_array(j, "listen");
        for (size_t k = 0; k < s->sockets->per_worker; k++)
            if (s->sockets->list[k].service == i)
                json_text(j, NULL, addr_format(&s->sockets->list[k].bound, text));
        json_close(j);
        json_text(j, "backend", backends_format(&service->backend, text, sizeof(text)));
        json_number(j, "identities", psk_count(service->psk));
        write_backends(s, (unsigned)i, now_ms, j);
        write_service_counters(s->fleet, (unsigned)i, j);
        json_close(j);
    }
    json_close(j);
}

static void write_stats(const struct stats *stats, struct json *j)
{
    for (const struct stats_item *item = stats_items; item->name != NULL; item++)
        json_number(j, item->name, stats_value(stats, item));
}

static void write_workers(const struct status *s, struct json *j)
{
    json_open_array(j, "workers");
    for (unsigned i = 0; i < fleet_count(s->fleet); i++) {
        const struct stats *stats = fleet_stats(s->fleet, i);
        json_open_object(j, NULL);
        json_number(j, "drops", status_drops(stats));
        write_stats(stats, j);
        json_close(j);
    }
    json_close(j);
}

static void write_process(struct json *j)
{
    struct process_usage usage;

    process_measure(&usage);
    json_open_object(j, "process");
    json_real(j, "cpu_seconds", usage.cpu_seconds);
    json_number(j, "resident_bytes", usage.resident_bytes);
    json_number(j, "open_descriptors", usage.open_descriptors);
    json_number(j, "max_descriptors", usage.max_descriptors);
    json_close(j);
}

const char *status_phase_name(enum status_phase phase)
{
    static const char *const names[] = {
        [STATUS_STARTING] = "starting",
        [STATUS_SERVING] = "serving",
        [STATUS_DRAINING] = "draining",
        [STATUS_STOPPING] = "stopping",
    };

    return names[phase];
}

uint64_t status_drops(const struct stats *s)
{
    uint64_t drops = 0;

    for (const struct stats_item *item = stats_items; item->name != NULL; item++)
        if (stats_is_drop(item))
            drops += stats_value(s, item);
    return drops;
}

void status_write(const struct status *s, uint64_t now_ms, struct json *j)
{
    struct stats sum;

    fleet_sum(s->fleet, &sum);
    json_open_object(j, NULL);
    json_text(j, "version", PACKAGE_VERSION);
    json_text(j, "crypto_library", tlsctx_library_version());
    json_text(j, "event_library", s->event_library);
    json_text(j, "state", status_phase_name(s->phase));
    json_number(j, "started_at", (uint64_t)s->started_at);
    json_real(j, "uptime_seconds", (double)(now_ms - s->started_ms) / 1000);
    json_open_object(j, "reload");
    json_number(j, "taken", s->reload.taken);
    json_number(j, "refused", s->reload.refused);
    json_bool(j, "last_refused", s->reload.is_last_refused);
    json_number(j, "last_taken_at", (uint64_t)s->reload.last_taken_at);
    json_close(j);
    json_open_object(j, "limits");
    json_number(j, "sessions", s->conf->daemon.max_sessions);
    json_number(j, "handshakes", s->conf->daemon.max_handshakes);
    json_close(j);
    write_process(j);
    json_open_object(j, "logs");
    json_number(j, "log_lost", log_lost());
    json_number(j, "access_log_lost", access_lost());
    json_close(j);
    write_services(s, now_ms, j);
    write_workers(s, j);
    json_open_object(j, "totals");
    json_number(j, "drops", status_drops(&sum));
    write_stats(&sum, j);
    json_close(j);
    json_close(j);
}
