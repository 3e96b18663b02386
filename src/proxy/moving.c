/*
 * moving: which sessions go, in which order, and what stays behind. See the header.
 * Must never send a record between packing and the verdict, nor keep one of a session it let go.
 */
#include "proxy/moving.h"

#include "base/bytes.h"
#include "base/log.h"
#include "proxy/fields.h"
#include "proxy/life.h"
#include "proxy/policy.h"
#include "proxy/session_image.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum content { SESSIONS = 1, HELLOS, SUMMARY };

/* ---- out ---- */

struct packing {
    struct relay *relay;
    int socket;
    struct parcel *parcel;
    struct writer w;
    uint64_t now;
    size_t sessions; /* sent, or in the parcel */
    size_t rest;     /* not to be sent */
    bool is_broken;
};

static void begin(struct packing *p, enum content what)
{
    p->w = parcel_writer(p->parcel);
    write_u8(&p->w, MOVING_PARCEL);
    write_u16(&p->w, (uint16_t)p->relay->parts.worker);
    write_u8(&p->w, (uint8_t)what);
}

static void send_off(struct packing *p)
{
    if (!p->is_broken && (!parcel_wrote(p->parcel, &p->w) ||
                          parcel_send(p->socket, p->parcel, MOVING_PATIENCE_MS) != PARCEL_OK))
        p->is_broken = true;
}

/* A flow whose backend cannot be told any more is left; the client's next datagram opens another.
 */
static void pack_session(struct packing *p, struct session *s)
{
    struct parcel *parcel = p->parcel;
    struct session_image image;

    if (p->w.left < SESSION_IMAGE_MAX || parcel->fds == PARCEL_FDS) {
        send_off(p);
        begin(p, SESSIONS);
    }
    session_image_save(&image, s, p->now);
    image.local = peers_route(&p->relay->peers, s).local;
    if (s->flow != NULL && life_backend(p->relay, s).family != 0)
        image.flow = life_flow_image(p->relay, s);
    if (image.flow.is_lone)
        parcel->fd[parcel->fds++] = upstream_socket(s->flow);
    session_image_write(&p->w, &image);
    bytes_wipe(&image, sizeof image);
    p->sessions++;
}

/* Those used last come first: where the new settings have less room, the longest idle stay. */
static void pack_open(struct session *s, void *arg)
{
    struct packing *p = arg;

    if (s->state != SESSION_OPEN)
        p->rest++;
    else if (!p->is_broken)
        pack_session(p, s);
}

static void add_hello(void *arg, uint64_t print)
{
    struct packing *p = arg;

    if (p->w.left < 8) {
        send_off(p);
        begin(p, HELLOS);
    }
    write_u64(&p->w, print);
}

static void forget_hello(struct session *s, void *arg)
{
    const struct packing *p = arg;

    if (s->state == SESSION_HANDSHAKE)
        seen_forget(p->relay->seen, s->pending->hello_print);
}

static void note_hello(struct session *s, void *arg)
{
    const struct packing *p = arg;

    if (s->state == SESSION_HANDSHAKE)
        seen_add(p->relay->seen, s->pending->hello_print);
}

/* The hello of a handshake that is given up has to be welcome when it comes again. */
static void pack_hellos(struct packing *p)
{
    struct relay *r = p->relay;

    begin(p, HELLOS);
    peers_each(&r->peers, forget_hello, p);
    seen_each(r->seen, add_hello, p);
    peers_each(&r->peers, note_hello, p);
    send_off(p);
}

/* What the old process ends itself, for the new one's books. */
struct rest {
    unsigned service;
    uint32_t sessions, flows, handshakes;
};

static void count_rest(struct session *s, void *arg)
{
    struct rest *rest = arg;

    if (s->service != rest->service || s->state == SESSION_OPEN)
        return;
    rest->sessions += s->state == SESSION_LEGACY;
    rest->handshakes += s->state == SESSION_HANDSHAKE;
    rest->flows += s->flow != NULL;
}

static void write_counter(void *arg, const char *name, uint64_t value)
{
    struct writer *w = arg;

    if (value == 0)
        return;
    write_u8(w, (uint8_t)strlen(name));
    write_bytes(w, name, strlen(name));
    write_u64(w, value);
}

#define SERVICE_NAME(NAME, name, text) #name,
static const char *const service_counters[] = {STATS_OF_SERVICE(SERVICE_NAME)};
#undef SERVICE_NAME

static void write_service(struct packing *p, unsigned service)
{
    const struct relay *r = p->relay;
    struct rest rest = {.service = service};

    peers_each(&p->relay->peers, count_rest, &rest);
    write_u32(&p->w, rest.sessions);
    write_u32(&p->w, rest.flows);
    write_u32(&p->w, rest.handshakes);
    for (int i = 0; r->parts.services != NULL && i < SERVICE_COUNTERS; i++)
        write_counter(
            &p->w, service_counters[i],
            atomic_load_explicit(&r->parts.services[service].count[i], memory_order_relaxed));
    write_u8(&p->w, 0);
}

/* The next id (6), whether it takes no handshakes (1), counters by name up to an empty one, then
 * for each service what stays behind (4 each) and counters again. */
static void pack_summary(struct packing *p)
{
    const struct relay *r = p->relay;

    begin(p, SUMMARY);
    write_u48(&p->w, r->next_id);
    write_u8(&p->w, r->is_draining);
    stats_each(r->parts.stats, write_counter, &p->w);
    write_u8(&p->w, 0);
    for (unsigned i = 0; i < r->service_count; i++)
        write_service(p, i);
    send_off(p);
}

static void pack(struct relay *r, struct moving *m, uint64_t now)
{
    struct packing p = {.relay = r,
                        .socket = m->socket,
                        .parcel = malloc(sizeof(struct parcel)),
                        .now = now,
                        .is_broken = false};

    m->is_done = false;
    if (p.parcel == NULL)
        return;
    pack_summary(&p);
    pack_hellos(&p);
    begin(&p, SESSIONS);
    peers_each_open(&r->peers, pack_open, &p);
    send_off(&p);
    bytes_wipe(p.parcel, sizeof *p.parcel); /* longer ones were there before the last */
    free(p.parcel);                         /* descriptors stay ours until they are let go */
    m->is_done = !p.is_broken;
    m->sessions = p.sessions;
    m->rest = p.rest;
}

/* ---- let go ---- */

struct parting {
    struct relay *relay;
    struct moving *moving;
    uint64_t now;
};

static int compare_ids(const void *a, const void *b)
{
    uint64_t one = *(const uint64_t *)a, other = *(const uint64_t *)b;

    return one < other ? -1 : one > other;
}

static void part_from(struct session *s, void *arg)
{
    const struct parting *p = arg;
    struct moving *m = p->moving;
    uint64_t id = s->id;
    bool is_left = s->state == SESSION_LEGACY ||
                   (s->state == SESSION_OPEN && m->id_count > 0 &&
                    bsearch(&id, m->ids, m->id_count, sizeof id, compare_ids) != NULL);

    if (!is_left) {
        life_forget(p->relay, s);
        return;
    }
    life_end(p->relay, s, SESSION_END_LEFT_BEHIND, p->now);
    m->sessions++;
}

static void let_go(struct relay *r, struct moving *m, uint64_t now)
{
    struct parting p = {.relay = r, .moving = m, .now = now};

    m->sessions = 0;
    peers_each(&r->peers, part_from, &p);
}

void moving_carry_out(struct relay *r, struct moving *m, uint64_t now)
{
    m->is_done = true;
    switch (m->step) {
    case MOVING_SETTLE:
        r->is_settling = true;
        break;
    case MOVING_STOP:
        break;
    case MOVING_PACK:
        pack(r, m, now);
        break;
    case MOVING_GO_ON:
        r->is_settling = false;
        break;
    case MOVING_LET_GO:
        let_go(r, m, now);
        break;
    }
}

/* ---- in ---- */

static void count_goodbye(struct relay *r, unsigned service, const struct rest *rest)
{
    struct stats *stats = r->parts.stats;
    _Atomic uint64_t *count = r->parts.services != NULL ? r->parts.services[service].count : NULL;

    stats_add(&stats->client_sent, rest->sessions);
    stats_add(&stats->sessions_ended, rest->sessions);
    stats_add(&stats->flows_closed, rest->flows);
    stats_add(&stats->handshakes_failed, rest->handshakes);
    if (count == NULL)
        return;
    stats_add(&count[SERVICE_SESSIONS_ENDED], rest->sessions);
    stats_add(&count[SERVICE_FLOWS_CLOSED], rest->flows);
    stats_add(&count[SERVICE_HANDSHAKES_FAILED], rest->handshakes);
}

/* What stays behind without the old process's doing. */
static void log_left(const struct relay *r, const struct session_image *image, const char *why)
{
    struct fields f;

    fields_init(&f);
    fields_text(&f, "service", r->services[image->service].conf->name);
    fields_number(&f, "session", (long long)image->id);
    fields_addr(&f, "peer", &image->peer);
    fields_bytes(&f, "identity", image->identity, image->identity_len);
    fields_text(&f, "reason", why);
    log_event(LOG_LEVEL_INFO, "session not taken over", f.list);
}

/* With connection ids it may share its address with others. */
static bool is_taken(const struct relay *r, const struct session_image *image)
{
    const struct session_route route = {image->peer, image->local, image->listener};
    const struct session *there;

    if (image->has_cid)
        return peers_find_cid(&r->peers, image->cid.own) != NULL;
    there = peers_find_open(&r->peers, &route);
    return there != NULL && !there->association.has_cid;
}

/* A helper's key is what it was until that one says something else, as behind a reload. */
static bool is_helpers(const struct session_service *service, const struct session_image *image,
                       const struct psk *psk)
{
    return psk == NULL && image->key_len > 0 && service->conf->psk_helper != NULL;
}

/* Why its key is none any more, or NULL. `psk` is what the files have. */
static const char *key_fault(const struct session_service *service,
                             const struct session_image *image, const struct psk *psk)
{
    uint8_t print[SESSION_SECRET_PRINT];

    if (is_helpers(service, image, psk))
        return NULL;
    if (psk == NULL)
        return session_end_text(SESSION_END_IDENTITY_REMOVED);
    session_image_print(&image->association, psk, print);
    return bytes_equal_secret(print, image->secret_print, sizeof print)
               ? NULL
               : session_end_text(SESSION_END_KEY_CHANGED);
}

/* Why a session has no place here, or NULL. The cap of a prefix refuses an open session nothing, as
 * wherever one moves to. */
static const char *refusal(const struct relay *r, const struct session_image *image,
                           const struct psk *psk)
{
    const char *why = key_fault(&r->services[image->service], image, psk);

    if (why != NULL)
        return why;
    if (r->peers.open.count >= r->peers.open_max)
        return session_end_text(SESSION_END_EVICTED);
    return is_taken(r, image) ? session_end_text(SESSION_END_REPLACED) : NULL;
}

/* The keyring asks for it again soon. False: the helper has said something else by now. */
static bool take_key(struct relay *r, struct session *s, const struct session_image *image)
{
    const struct psk psk = {.identity = image->identity,
                            .identity_len = (uint16_t)image->identity_len,
                            .key = image->key,
                            .key_len = (uint8_t)image->key_len};

    s->psk = keyring_use(r->keyring, image->service, &psk);
    s->is_given = s->psk != NULL;
    return s->is_given;
}

/* It has its route. As one that opens, but that nobody is told of it and nobody makes room. */
static const char *enter(struct relay *r, struct session *s, uint64_t now)
{
    const struct conf_service *conf = life_conf(r, s);
    enum session_end fault = policy_fault(conf, s, r->expiry.wall0 + now);
    unsigned cap = policy_session_cap(conf, s);

    if (fault != SESSION_END_NOT_YET)
        return session_end_text(fault);
    if (life_enter_identity(r, s) > cap && cap > 0) {
        identities_leave(&r->identities, s, conf);
        return session_end_text(SESSION_END_ELSEWHERE);
    }
    gate_enter(r->gate, &s->peer);
    peers_add_idlest(&r->peers, s);
    return NULL;
}

const char *moving_admit(struct relay *r, const struct session_image *image, uint64_t now,
                         struct session **out)
{
    const struct session_service *service = &r->services[image->service];
    const struct psk *psk = psk_find(service->conf->psk, image->identity, image->identity_len);
    const struct session_route route = {image->peer, image->local, image->listener};
    const char *why = refusal(r, image, psk);
    struct session *s;

    if (why != NULL)
        return why;
    s = session_image_restore(image, service, psk, now);
    if (s == NULL)
        return "out of memory";
    s->service = image->service & UINT16_MAX;
    if (psk == NULL && !take_key(r, s, image))
        why = session_end_text(SESSION_END_KEY_CHANGED);
    else
        why = peers_set_route(&r->peers, s, &route) ? enter(r, s, now) : "out of memory";
    if (why != NULL) {
        peers_forget_route(&r->peers, s);
        session_free(s);
        return why;
    }
    *out = s;
    return NULL;
}

/* Its flow, too: false: the descriptor is still the parcel's. */
static void take_one(struct relay *r, struct moving_arrival *a, const struct session_image *image,
                     uint64_t now, unsigned *next_fd)
{
    unsigned number = *next_fd;
    struct session *s = NULL;
    const char *why = moving_admit(r, image, now, &s);
    bool has_flow = false;

    *next_fd += image->flow.is_lone;
    if (why != NULL) {
        const struct rest rest = {.sessions = 1, .flows = image->flow.is_open};
        log_left(r, image, why);
        a->left(a->arg, image->id);
        count_goodbye(r, image->service, &rest);
        return;
    }
    a->sessions++;
    if (image->flow.is_open)
        has_flow =
            life_take_flow(r, s, &image->flow, image->flow.is_lone ? a->parcel->fd[number] : -1);
    if (has_flow && image->flow.is_lone)
        (void)parcel_take(a->parcel, number);
    if (has_flow)
        peers_flow_idlest(&r->peers, s);
    if (image->flow.is_open && !has_flow) {
        const struct rest rest = {.flows = 1};
        count_goodbye(r, image->service, &rest);
    }
    life_keep(r, s, now);
}

static bool is_of_ours(const struct relay *r, const struct moving_arrival *a,
                       const struct session_image *image, unsigned next_fd)
{
    if (image->service >= r->service_count || image->listener >= r->parts.listener_count ||
        image->moves.home_listener >= r->parts.listener_count)
        return false;
    if (image->has_cid && image->cid.own[0] != r->parts.worker) /* nothing would find its way */
        return false;
    return !image->flow.is_lone || next_fd < a->parcel->fds;
}

static const char *unpack_sessions(struct relay *r, struct moving_arrival *a, uint64_t now)
{
    struct session_image image;
    unsigned next_fd = 0;
    bool is_fine = true;

    while (is_fine && a->content.left > 0) {
        is_fine = session_image_read(&a->content, &image) && is_of_ours(r, a, &image, next_fd);
        if (is_fine)
            take_one(r, a, &image, now, &next_fd);
    }
    bytes_wipe(&image, sizeof image);
    life_update_gauges(r);
    return is_fine ? NULL : "a session of a kind that is not known here";
}

static const char *unpack_hellos(struct relay *r, struct moving_arrival *a)
{
    while (a->content.left >= 8)
        seen_add(r->seen, read_u64(&a->content));
    return a->content.left == 0 ? NULL : "a list of hellos that is cut";
}

/* A counter that nobody has any more is nobody's loss. */
static void take_counter(struct relay *r, int service, const uint8_t *name, size_t len,
                         uint64_t value)
{
    if (service < 0) {
        (void)stats_take_over(r->parts.stats, (const char *)name, len, value);
        return;
    }
    for (int i = 0; r->parts.services != NULL && i < SERVICE_COUNTERS; i++)
        if (strlen(service_counters[i]) == len && memcmp(service_counters[i], name, len) == 0)
            stats_add(&r->parts.services[service].count[i], value);
}

static void unpack_counters(struct relay *r, struct reader *in, int service)
{
    size_t len;

    while ((len = read_u8(in)) > 0) {
        const uint8_t *name = read_bytes(in, len);
        uint64_t value = read_u64(in);
        if (in->bad)
            return;
        take_counter(r, service, name, len, value);
    }
}

static const char *unpack_summary(struct relay *r, struct moving_arrival *a)
{
    struct reader *in = &a->content;

    r->next_id = read_u48(in);
    r->is_draining = read_u8(in) != 0;
    unpack_counters(r, in, -1);
    for (unsigned i = 0; i < r->service_count && !in->bad; i++) {
        struct rest rest = {.sessions = read_u32(in)};
        rest.flows = read_u32(in);
        rest.handshakes = read_u32(in);
        unpack_counters(r, in, (int)i);
        count_goodbye(r, i, &rest);
    }
    /* Ids tell workers apart by their remainder. */
    bool is_fine = !in->bad && in->left == 0 && r->next_id > 0 &&
                   (r->next_id - 1) % r->parts.worker_count == r->parts.worker;
    return is_fine ? NULL : "a summary of a kind that is not known here";
}

bool moving_unpack(struct relay *r, struct moving_arrival *a, uint64_t now, const char **why)
{
    switch (read_u8(&a->content)) {
    case SESSIONS:
        *why = unpack_sessions(r, a, now);
        break;
    case HELLOS:
        *why = unpack_hellos(r, a);
        break;
    case SUMMARY:
        *why = unpack_summary(r, a);
        break;
    default:
        *why = "something that is not known here";
        break;
    }
    return *why == NULL;
}
