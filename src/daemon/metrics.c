/*
 * metrics: names, labels and units by the conventions of Prometheus. See the header.
 */
#include "daemon/metrics.h"

#include "base/access.h"
#include "base/clock.h"
#include "base/log.h"
#include "conf/value.h"
#include "daemon/process.h"
#include "dtls/tlsctx.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

/* One family: its name and what it is. */
struct family {
    const char *name, *suffix; /* behind "dtlsgate_"; the suffix may be empty */
    const char *type;
    const char *help;
};

static void begin(struct text *out, const struct family *f)
{
    text_format(out, "# HELP dtlsgate_%s%s %c%s.\n# TYPE dtlsgate_%s%s %s\n", f->name, f->suffix,
                toupper((unsigned char)f->help[0]), f->help + 1, f->name, f->suffix, f->type);
}

/* A label's value, between its quotes. */
static void add_label(struct text *out, const char *name, const char *value)
{
    text_format(out, "%s=\"", name);
    for (; *value != '\0'; value++) {
        if (*value == '\n')
            text_add(out, "\\n");
        else
            text_format(out, *value == '"' || *value == '\\' ? "\\%c" : "%c", *value);
    }
    text_add(out, "\"");
}

/* A counter or a gauge of the workers. */
static void write_item(const struct status *s, const struct stats_item *item, struct text *out)
{
    bool is_counter = item->kind == STATS_COUNTER;
    const struct family family = {item->name, is_counter ? "_total" : "",
                                  is_counter ? "counter" : "gauge", item->text};

    begin(out, &family);
    for (unsigned w = 0; w < fleet_count(s->fleet); w++)
        text_format(out, "dtlsgate_%s%s{worker=\"%u\"} %" PRIu64 "\n", family.name, family.suffix,
                    w, stats_value(fleet_stats(s->fleet, w), item));
}

/* All fates that are drops, or all that are none, as one family. */
static void write_fates(const struct status *s, bool are_drops, struct text *out)
{
    static const struct family drops = {
        "drops", "_total", "counter",
        "records from clients and datagrams from backends that were dropped, by reason"};
    static const struct family handled = {"handled", "_total", "counter",
                                          "records from clients and datagrams from backends that "
                                          "were of use, by what became of them"};
    const struct family *family = are_drops ? &drops : &handled;

    begin(out, family);
    for (const struct stats_item *item = stats_items; item->name != NULL; item++) {
        bool is_client = item->kind == STATS_FROM_CLIENT;
        if ((!is_client && item->kind != STATS_FROM_BACKEND) || stats_is_drop(item) != are_drops)
            continue;
        for (unsigned w = 0; w < fleet_count(s->fleet); w++)
            text_format(out, "dtlsgate_%s_total{worker=\"%u\",side=\"%s\",%s=\"%s\"} %" PRIu64 "\n",
                        family->name, w, is_client ? "client" : "backend",
                        are_drops ? "reason" : "fate", are_drops ? item->text + 5 : item->text,
                        stats_value(fleet_stats(s->fleet, w), item));
    }
}

static void write_value(struct text *out, const struct family *f, double value)
{
    begin(out, f);
    text_format(out, "dtlsgate_%s%s %.15g\n", f->name, f->suffix, value);
}

static void write_info(const struct status *s, struct text *out)
{
    static const struct family build = {"build_info", "", "gauge",
                                        "always 1; the labels tell the versions"};

    begin(out, &build);
    text_add(out, "dtlsgate_build_info{");
    add_label(out, "version", PACKAGE_VERSION);
    text_add(out, ",");
    add_label(out, "crypto_library", tlsctx_library_version());
    text_add(out, ",");
    add_label(out, "event_library", s->event_library);
    text_add(out, "} 1\n");
}

/* What is counted apart for each service. */
static void write_service_counters(const struct status *s, struct text *out)
{
#define ROW(NAME, word, help) {{"service_" #word, "_total", "counter", help}, SERVICE_##NAME},
    static const struct {
        struct family family;
        enum service_counter what;
    } rows[] = {STATS_OF_SERVICE(ROW)};
#undef ROW

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        begin(out, &rows[i].family);
        for (unsigned k = 0; k < s->conf->service_count; k++) {
            text_format(out, "dtlsgate_%s_total{", rows[i].family.name);
            add_label(out, "service", s->conf->service[k].name);
            text_format(out, "} %" PRIu64 "\n", fleet_service_count(s->fleet, k, rows[i].what));
        }
    }
}

static void write_services(const struct status *s, struct text *out)
{
    static const struct family info = {"service_info", "", "gauge",
                                       "always 1; the labels tell the backend of each service"};
    static const struct family identities = {"service_identities", "", "gauge",
                                             "identities in the key file of each service"};
    char text[VALUE_TEXT_MAX];

    begin(out, &info);
    for (size_t i = 0; i < s->conf->service_count; i++) {
        text_add(out, "dtlsgate_service_info{");
        add_label(out, "service", s->conf->service[i].name);
        text_add(out, ",");
        add_label(out, "backend",
                  backends_format(&s->conf->service[i].backend, text, sizeof(text)));
        text_add(out, "} 1\n");
    }
    begin(out, &identities);
    for (size_t i = 0; i < s->conf->service_count; i++) {
        text_add(out, "dtlsgate_service_identities{");
        add_label(out, "service", s->conf->service[i].name);
        text_format(out, "} %zu\n", psk_count(s->conf->service[i].psk));
    }
}

static void write_state(const struct status *s, struct text *out)
{
    static const struct family reloads = {"reloads", "_total", "counter",
                                          "reloads of the settings, by result"};
    const struct {
        struct family family;
        double value;
    } rows[] = {
        {{"ready", "", "gauge", "1 while clients are served"}, s->phase == STATUS_SERVING},
        {{"sessions_limit", "", "gauge", "sessions that there may be, of all workers"},
         s->conf->daemon.max_sessions},
        {{"handshakes_limit", "", "gauge", "handshakes that may be under way, of all workers"},
         s->conf->daemon.max_handshakes},
        {{"reload_last_successful", "", "gauge", "0 when the last reload was refused"},
         !s->reload.is_last_refused},
        {{"reload_last_success_timestamp_seconds", "", "gauge",
          "when the settings in effect were taken"},
         (double)s->reload.last_taken_at},
        {{"log_lost", "_total", "counter", "lines of the log that could not be written"},
         (double)log_lost()},
        {{"access_log_lost", "_total", "counter",
          "lines of the access log that could not be written"},
         (double)access_lost()},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        write_value(out, &rows[i].family, rows[i].value);
    begin(out, &reloads);
    text_format(out, "dtlsgate_reloads_total{result=\"taken\"} %" PRIu64 "\n", s->reload.taken);
    text_format(out, "dtlsgate_reloads_total{result=\"refused\"} %" PRIu64 "\n", s->reload.refused);
}

/* ---- backends ---- */

static double is_well(const struct status *s, const struct fleet_backend *b)
{
    return b->state == BALANCE_DRAINING ? b->up == fleet_count(s->fleet) : b->state == BALANCE_UP;
}

static double changed_at(const struct status *s, const struct fleet_backend *b)
{
    uint64_t now_ms = clock_now_ms();
    double now = (double)s->started_at + (double)(now_ms - s->started_ms) / 1000;

    return now - status_state_seconds(s, b, now_ms);
}

#define FIGURE(NAME, member)                                                                       \
    static double NAME(const struct status *s, const struct fleet_backend *b)                      \
    {                                                                                              \
        (void)s;                                                                                   \
        return (double)b->member;                                                                  \
    }
FIGURE(workers_up_of, up)
FIGURE(is_draining, is_drained)
FIGURE(is_backup, is_backup)
FIGURE(weight_of, weight)
FIGURE(flows_of, flows)
FIGURE(opened_of, opened)
FIGURE(refusals_of, refused)
FIGURE(sent_of, sent)
FIGURE(sent_bytes_of, sent_bytes)
FIGURE(received_of, received)
FIGURE(received_bytes_of, received_bytes)
#undef FIGURE

/* What is told of each backend; of one that has left the list only what its flows still do. */
static const struct backend_figure {
    struct family family;
    double (*value)(const struct status *s, const struct fleet_backend *b);
    bool is_of_gone;
} backend_figures[] = {
    {{"backend_up", "", "gauge",
      "0 while a backend refuses, does not answer the probe, or has yet "
      "to show that it is back"},
     is_well,
     false},
    {{"backend_workers_up", "", "gauge", "workers that send flows to the backend"},
     workers_up_of,
     false},
    {{"backend_draining", "", "gauge",
      "1 while the backend gets no new flows by order or settings"},
     is_draining,
     false},
    {{"backend_backup", "", "gauge", "1 for one that serves while no other is up"},
     is_backup,
     false},
    {{"backend_weight", "", "gauge", "the backend's share of the flows"}, weight_of, false},
    {{"backend_last_change_timestamp_seconds", "", "gauge",
      "when the backend's state changed last"},
     changed_at,
     false},
    {{"backend_flows", "", "gauge", "open flows of the backend"}, flows_of, true},
    {{"backend_flows_opened", "_total", "counter", "flows opened to the backend"}, opened_of, true},
    {{"backend_refusals", "_total", "counter", "datagrams that the backend refused by ICMP"},
     refusals_of,
     true},
    {{"backend_sent_datagrams", "_total", "counter", "datagrams to the backend"}, sent_of, true},
    {{"backend_sent_bytes", "_total", "counter", "plaintext to the backend"}, sent_bytes_of, true},
    {{"backend_received_datagrams", "_total", "counter", "datagrams from the backend"},
     received_of,
     true},
    {{"backend_received_bytes", "_total", "counter", "plaintext from the backend"},
     received_bytes_of,
     true},
};

static void write_figure(const struct status *s, const struct backend_figure *figure,
                         uint64_t now_ms, struct text *out)
{
    struct fleet_backend list[BALANCE_SLOTS];
    char text[ADDR_TEXT_MAX];

    begin(out, &figure->family);
    for (unsigned k = 0; k < s->conf->service_count; k++) {
        size_t count = fleet_backends(s->fleet, k, now_ms, list);
        for (const struct fleet_backend *b = list; b < list + count; b++) {
            if (b->state == BALANCE_GONE && !figure->is_of_gone)
                continue;
            text_format(out, "dtlsgate_%s%s{", figure->family.name, figure->family.suffix);
            add_label(out, "service", s->conf->service[k].name);
            text_add(out, ",");
            add_label(out, "backend", addr_format(&b->addr, text));
            text_format(out, "} %.15g\n", figure->value(s, b));
        }
    }
}

static void write_backends(const struct status *s, struct text *out)
{
    uint64_t now_ms = clock_now_ms();

    for (size_t i = 0; i < sizeof(backend_figures) / sizeof(*backend_figures); i++)
        write_figure(s, &backend_figures[i], now_ms, out);
}

/* By the names that every Prometheus client has for them. */
static void write_process(const struct status *s, struct text *out)
{
    struct process_usage usage;

    process_measure(&usage);
    const struct {
        const char *name, *type, *help;
        double value;
    } rows[] = {
        {"process_cpu_seconds_total", "counter", "User and system CPU time spent.",
         usage.cpu_seconds},
        {"process_resident_memory_bytes", "gauge", "Resident memory.",
         (double)usage.resident_bytes},
        {"process_virtual_memory_bytes", "gauge", "Virtual memory.", (double)usage.virtual_bytes},
        {"process_open_fds", "gauge", "Open file descriptors.", (double)usage.open_descriptors},
        {"process_max_fds", "gauge", "File descriptors that may be open.",
         (double)usage.max_descriptors},
        {"process_start_time_seconds", "gauge", "Start of the process, in seconds since 1970.",
         (double)s->started_at},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        text_format(out, "# HELP %s %s\n# TYPE %s %s\n%s %.15g\n", rows[i].name, rows[i].help,
                    rows[i].name, rows[i].type, rows[i].name, rows[i].value);
}

void metrics_write(const struct status *s, struct text *out)
{
    for (const struct stats_item *item = stats_items; item->name != NULL; item++)
        if (item->kind == STATS_COUNTER || item->kind == STATS_GAUGE)
            write_item(s, item, out);
    write_fates(s, true, out);
    write_fates(s, false, out);
    write_state(s, out);
    write_services(s, out);
    write_service_counters(s, out);
    write_backends(s, out);
    write_info(s, out);
    write_process(s, out);
}
