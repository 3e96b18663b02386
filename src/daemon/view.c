/*
 * view: figures and names into an answer. See the header.
 * Must never change what it looks at, nor know who asked.
 */
#include "daemon/view.h"

#include "base/access.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "conf/value.h"
#include "dtls/psk.h"
#include "dtls/tlsctx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void show_counter(void *arg, const char *name, uint64_t value)
{
    struct show *s = arg;

    if (value != 0 || s->form == SHOW_JSON)
        show_number(s, name, value);
}

/* As many as the settings list, with the ports that they really have. */
static void show_addresses(struct show *s, const struct view *v, unsigned service)
{
    struct text list = {0};
    char one[ADDR_TEXT_MAX];

    for (size_t i = 0; v->sockets != NULL && i < v->sockets->per_worker; i++)
        if (v->sockets->list[i].service == service)
            text_format(&list, "%s%s", list.len > 0 ? "," : "",
                        addr_format(&v->sockets->list[i].bound, one));
    show_word(s, "listen", list.data != NULL ? list.data : "");
    text_clear(&list);
}

/* As all workers together see it. */
static void show_backend(struct show *s, const struct view *v, unsigned service,
                         const struct fleet_backend *b, uint64_t now)
{
    char text[ADDR_TEXT_MAX];

    show_item(s);
    show_word(s, "service", v->conf->service[service].name);
    show_word(s, "address", addr_format(&b->addr, text));
    show_word(s, "state", fleet_backend_state(b));
    show_number(s, "state-ms", b->since == 0 || b->since > now ? v->uptime_ms : now - b->since);
    show_number(s, "weight", b->weight);
    show_flag(s, "backup", b->is_backup);
    show_flag(s, "draining", b->is_drained);
    show_number(s, "workers-up", b->up);
    show_number(s, "flows", b->flows);
    show_number(s, "flows-opened", b->opened);
    show_number(s, "sent-datagrams", b->sent);
    show_number(s, "sent-bytes", b->sent_bytes);
    show_number(s, "received-datagrams", b->received);
    show_number(s, "received-bytes", b->received_bytes);
    show_number(s, "refused", b->refused);
    show_item_end(s);
}

static void show_services(struct show *s, const struct view *v)
{
    char backend[VALUE_TEXT_MAX];

    show_list(s, "services", "service");
    for (unsigned i = 0; i < v->conf->service_count; i++) {
        const struct conf_service *service = &v->conf->service[i];
        show_item(s);
        show_word(s, "name", service->name);
        show_addresses(s, v, i);
        show_word(s, "backend", backends_format(&service->backend, backend, sizeof(backend)));
        show_number(s, "identities", service->psk != NULL ? psk_count(service->psk) : 0);
        show_item_end(s);
    }
    show_list_end(s);
}

static uint64_t value_of(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void show_workers(struct show *s, const struct view *v)
{
    show_list(s, "workers", "worker");
    for (unsigned i = 0; v->fleet != NULL && i < fleet_count(v->fleet); i++) {
        const struct stats *stats = fleet_stats(v->fleet, i);
        show_item(s);
        show_number(s, "index", i);
        show_number(s, "sessions", value_of(&stats->sessions));
        show_number(s, "handshakes", value_of(&stats->handshakes));
        show_number(s, "flows", value_of(&stats->flows));
        show_number(s, "client_datagrams", value_of(&stats->client_datagrams));
        show_number(s, "backend_datagrams", value_of(&stats->backend_datagrams));
        show_item_end(s);
    }
    show_list_end(s);
}

void view_backends(struct show *s, const struct view *v, const char *service)
{
    struct fleet_backend list[BALANCE_SLOTS];
    uint64_t now = clock_now_ms();

    show_list(s, "backends", "backend");
    for (unsigned i = 0; v->fleet != NULL && i < v->conf->service_count; i++) {
        if (service != NULL && strcmp(service, v->conf->service[i].name) != 0)
            continue;
        size_t count = fleet_backends(v->fleet, i, now, list);
        for (size_t n = 0; n < count; n++)
            show_backend(s, v, i, &list[n], now);
    }
    show_list_end(s);
}

void view_status(struct show *s, const struct view *v)
{
    static const char *const levels[] = {
        [LOG_LEVEL_ERROR] = "error",
        [LOG_LEVEL_WARNING] = "warning",
        [LOG_LEVEL_INFO] = "info",
        [LOG_LEVEL_DEBUG] = "debug",
    };
    struct stats total = {0};

    if (v->fleet != NULL)
        fleet_sum(v->fleet, &total);
    show_word(s, "version", PACKAGE_VERSION);
    show_number(s, "pid", (uint64_t)getpid());
    show_word(s, "state", v->state);
    show_flag(s, "draining", v->is_draining);
    show_number(s, "uptime-ms", v->uptime_ms);
    show_number(s, "reloads", v->reloads);
    show_number(s, "failed-reloads", v->failed_reloads);
    show_word(s, "log-level", levels[v->log_level]);
    show_number(s, "max-sessions", v->conf->daemon.max_sessions);
    show_number(s, "max-handshakes", v->conf->daemon.max_handshakes);
    show_services(s, v);
    view_backends(s, v, NULL);
    show_workers(s, v);
    show_open(s, "counters");
    stats_each(&total, show_counter, s);
    show_counter(s, "log_lost", log_lost());
    show_counter(s, "access_log_lost", access_lost());
    show_close(s);
}

/* By these its records are found in a capture. */
static void show_cid(struct show *s, const struct inquiry_row *row)
{
    char own[2 * WIRE_OWN_CID + 1], peer[2 * WIRE_CID_MAX + 1];

    hex_encode(own, row->own_cid, sizeof row->own_cid);
    hex_encode(peer, row->peer_cid, row->peer_cid_len);
    show_word(s, "cid", own);
    show_word(s, "peer-cid", peer);
    show_number(s, "moves", row->moves);
}

void view_session(struct show *s, const struct inquiry_row *row, const struct conf *conf)
{
    char peer[ADDR_TEXT_MAX], local[ADDR_TEXT_MAX], backend[ADDR_TEXT_MAX];

    show_number(s, "id", row->id);
    show_word(s, "service", conf->service[row->service].name);
    show_word(s, "peer", addr_format(&row->peer, peer));
    show_word(s, "local", addr_format(&row->local, local));
    show_bytes(s, "identity", row->identity, row->identity_len);
    show_word(s, "suite", row->suite);
    show_word(s, "version", row->version);
    show_flag(s, "ems", row->has_ems);
    show_number(s, "age-ms", row->age);
    show_number(s, "idle-ms", row->idle);
    show_number(s, "in-datagrams", row->in_datagrams);
    show_number(s, "in-bytes", row->in_bytes);
    show_number(s, "out-datagrams", row->out_datagrams);
    show_number(s, "out-bytes", row->out_bytes);
    show_number(s, "drops", row->drops);
    show_number(s, "refused", row->refused);
    show_word(s, "backend", row->backend.family != 0 ? addr_format(&row->backend, backend) : "-");
    show_number(s, "backend-port", row->backend_port);
    if (row->backend_source[0] != '\0')
        show_word(s, "backend-source", row->backend_source);
    if (row->has_cid)
        show_cid(s, row);
}

void view_version(struct show *s, const char *event_library)
{
    show_word(s, "dtlsgate", PACKAGE_VERSION);
    show_word(s, "tls-library", tlsctx_library_version());
    show_word(s, "event-library", event_library);
}

static void add_setting(void *arg, const char *section, const char *key, const char *value)
{
    struct show *s = arg;

    show_item(s);
    show_word(s, "section", section);
    show_word(s, "key", key);
    show_word(s, "value", value);
    show_item_end(s);
}

static void add_ini(struct text *to, const struct conf *conf)
{
    char *ini = NULL;
    size_t len = 0;
    FILE *stream = open_memstream(&ini, &len);

    if (stream == NULL) {
        to->is_short = true;
        return;
    }
    conf_print(conf, stream);
    to->is_short |= fclose(stream) != 0;
    text_add_bytes(to, ini, len);
    free(ini);
}

void view_settings(struct show *s, const struct conf *conf)
{
    if (s->form == SHOW_TEXT) {
        add_ini(&s->text, conf);
        return;
    }
    show_list(s, "settings", "");
    conf_each(conf, add_setting, s);
    show_list_end(s);
}
