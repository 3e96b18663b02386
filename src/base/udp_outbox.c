/*
 * udp_outbox: sendmmsg, and joining what goes the same way.
 * A parcel is what leaves as one message: datagrams of one way and one length, the last of which
 * may be shorter. Must never know what a datagram holds, nor wait, nor lose one because the kernel
 * does not like how it was joined with others.
 */
#include "base/udp_outbox.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PIECES_MAX 256
#define ARENA_SIZE (256 * 1024)

/* The kernel's bounds on one message; the second is the longest IP packet less all headers. */
#define JOINED_PIECES_MAX 64
#define JOINED_BYTES_MAX 65000

/* Pending ICMP errors that one message steps over; each costs a system call. */
#define SEND_TRIES 4

#define NONE UINT16_MAX

/* Ways that are remembered, each at one of a few places. */
#define WAYS 256
#define FEW 4

/* Room for a local address of either family, and the length of the pieces. */
union control {
    struct cmsghdr align;
    uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(uint16_t))];
};

/* What one struct mmsghdr points to. */
struct envelope {
    struct sockaddr_storage peer;
    union control control;
};

/* One datagram. */
struct piece {
    uint8_t *data; /* in the arena */
    size_t len;
    uint16_t next; /* of its parcel */
};

struct parcel {
    int fd, family;
    struct addr peer, local; /* where family is not 0 */
    void *owner;
    uint16_t first, last; /* pieces */
    uint16_t count;
    uint16_t next;  /* parcel of the same socket */
    uint16_t place; /* in by_way, maybe another's by now */
    bool is_led;    /* another one's next */
    bool is_full;   /* takes no more pieces */
    size_t size;    /* of each piece but the last */
    size_t bytes;
};

struct udp_outbox {
    bool joins;
    udp_refused_fn on_refused;
    void *arg;
    uint16_t piece_count, parcel_count;
    uint8_t *room;   /* reserved last */
    size_t reserved; /* bytes of it */
    size_t used;     /* bytes of the arena that queued datagrams take */
    size_t refused;
    uint16_t by_way[WAYS]; /* newest parcel, or NONE */
    /* Newest parcel. What stands there from before the last flush is of no harm: it points behind
     * the parcels, or to one that turns out to go elsewhere. */
    uint8_t by_socket[256];
    struct parcel parcel[PIECES_MAX];
    struct piece piece[PIECES_MAX];
    uint16_t packed[PIECES_MAX]; /* which parcel is in message[i] */
    struct mmsghdr message[PIECES_MAX];
    struct envelope envelope[PIECES_MAX];
    struct iovec iovec[PIECES_MAX];
    uint8_t arena[ARENA_SIZE];
};

_Static_assert(PIECES_MAX - 1 <= UINT8_MAX, "the places of all parcels fit by_socket");

/* ---- packing ---- */

static void add_control(struct msghdr *m, union control *control, int level, int type,
                        const void *data, size_t len)
{
    struct cmsghdr *c = (struct cmsghdr *)(void *)(control->bytes + m->msg_controllen);

    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(len);
    memcpy(CMSG_DATA(c), data, len);
    m->msg_control = control;
    m->msg_controllen += CMSG_SPACE(len);
}

/* IPv4 has its own control message also on an AF_INET6 socket, where the kernel takes both. */
static void add_local(struct msghdr *m, union control *control, const struct addr *local)
{
    struct sockaddr_storage name;

    addr_to_sockaddr(local, local->family, &name);
    if (local->family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&name;
        struct in_pktinfo info = {.ipi_spec_dst = v4->sin_addr};
        add_control(m, control, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    } else {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&name;
        struct in6_pktinfo info = {.ipi6_addr = v6->sin6_addr, .ipi6_ifindex = v6->sin6_scope_id};
        add_control(m, control, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    }
}

/* `at`: which message and envelope. What it holds comes from `payload`. */
static struct msghdr *pack(struct udp_outbox *out, size_t at, const struct parcel *p,
                           struct iovec *payload, size_t payload_count)
{
    struct msghdr *m = &out->message[at].msg_hdr;
    struct envelope *e = &out->envelope[at];

    *m = (struct msghdr){.msg_iov = payload, .msg_iovlen = payload_count};
    if (p->family == 0)
        return m;
    m->msg_name = &e->peer;
    m->msg_namelen = addr_to_sockaddr(&p->peer, p->family, &e->peer);
    if (p->local.family != 0)
        add_local(m, &e->control, &p->local);
    return m;
}

/* Pieces that lie side by side make one iovec. Returns how many there are. */
static size_t gather(struct udp_outbox *out, const struct parcel *p, struct iovec *iovec)
{
    size_t n = 0;

    for (uint16_t i = p->first; i != NONE; i = out->piece[i].next) {
        const struct piece *piece = &out->piece[i];
        if (n > 0 && (uint8_t *)iovec[n - 1].iov_base + iovec[n - 1].iov_len == piece->data)
            iovec[n - 1].iov_len += piece->len;
        else
            iovec[n++] = (struct iovec){.iov_base = piece->data, .iov_len = piece->len};
    }
    return n;
}

/* Returns how many iovecs it took. */
static size_t pack_parcel(struct udp_outbox *out, size_t at, const struct parcel *p,
                          struct iovec *iovec)
{
    size_t n = gather(out, p, iovec);
    struct msghdr *m = pack(out, at, p, iovec, n);
    uint16_t size = (uint16_t)p->size;

    if (p->count > 1)
        add_control(m, &out->envelope[at].control, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size));
    return n;
}

/* ---- sending ---- */

/* A plain one costs less to send plainly. */
static ssize_t send_message(int fd, const struct msghdr *m)
{
    if (m->msg_name || m->msg_control)
        return sendmsg(fd, m, MSG_DONTWAIT);
    return send(fd, m->msg_iov->iov_base, m->msg_iov->iov_len, MSG_DONTWAIT);
}

/* What an earlier datagram on a connected socket has met: the message itself has not been tried.
 * One that is too long to be joined is not among them, and control messages are for joined ones
 * there. */
static bool is_late(const struct parcel *p, const struct msghdr *m, int error)
{
    return p->family == 0 && udp_status_of(error) == UDP_REFUSED &&
           !(error == EMSGSIZE && m->msg_control);
}

/* Returns 0 or the last error. */
static int send_one(struct udp_outbox *out, const struct parcel *p, const struct msghdr *m)
{
    int error = 0;

    for (unsigned tries = 0; tries < SEND_TRIES; tries++) {
        if (send_message(p->fd, m) >= 0)
            return 0;
        error = errno;
        if (!is_late(p, m, error))
            return error;
        if (error == ECONNREFUSED && out->on_refused)
            out->on_refused(out->arg, p->owner, 1);
    }
    return error;
}

/* One by one, in the place of a message that has failed. */
static void send_pieces(struct udp_outbox *out, const struct parcel *p, size_t at)
{
    for (uint16_t i = p->first; i != NONE; i = out->piece[i].next) {
        struct iovec payload = {.iov_base = out->piece[i].data, .iov_len = out->piece[i].len};
        if (send_one(out, p, pack(out, at, p, &payload, 1)) != 0)
            out->refused++;
    }
}

/* A joined message may fail where its pieces do not: longer than the path takes without being cut,
 * which joined ones never are; a device that cannot do sums (EIO); a filter. */
static void take_failure(struct udp_outbox *out, const struct parcel *p, size_t at, int error)
{
    if (p->count == 1 || udp_status_of(error) == UDP_EMPTY) {
        out->refused += p->count;
        return;
    }
    if (error == EIO)
        out->joins = false;
    send_pieces(out, p, at);
}

/* One call each, for in a sendmmsg the kernel swallows the refusals behind the first message. */
static void send_connected(struct udp_outbox *out, const struct parcel *p)
{
    int error;

    pack_parcel(out, 0, p, out->iovec);
    error = send_one(out, p, &out->message[0].msg_hdr);
    if (error != 0)
        take_failure(out, p, 0, error);
}

static void send_shared(struct udp_outbox *out, uint16_t first)
{
    const struct parcel *p;
    size_t count = 0, iovecs = 0;

    for (uint16_t i = first; i != NONE; i = p->next) {
        p = &out->parcel[i];
        iovecs += pack_parcel(out, count, p, out->iovec + iovecs);
        out->packed[count++] = i;
    }
    /* Each round sends or gives up at least one message, so it ends. */
    for (size_t at = 0; at < count;) {
        int sent = sendmmsg(out->parcel[first].fd, &out->message[at], (unsigned)(count - at),
                            MSG_DONTWAIT);
        if (sent > 0) {
            at += (size_t)sent;
            continue;
        }
        take_failure(out, &out->parcel[out->packed[at]], at, errno);
        at++;
    }
}

static void flush(struct udp_outbox *out)
{
    for (uint16_t i = 0; i < out->parcel_count; i++) {
        const struct parcel *p = &out->parcel[i];
        if (p->family == 0)
            send_connected(out, p);
        else if (!p->is_led)
            send_shared(out, i);
        out->by_way[p->place] = NONE;
    }
    out->parcel_count = out->piece_count = 0;
    out->used = 0;
}

/* ---- queueing ---- */

static uint64_t mix(uint64_t hash, uint64_t value)
{
    return (hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
}

static uint64_t mix_address(uint64_t hash, const struct addr *a)
{
    uint64_t half[2];

    memcpy(half, a->ip, sizeof(half));
    hash = mix(hash, half[0]);
    return mix(hash ^ hash >> 32, half[1] ^ a->port);
}

static uint64_t hash_way(const struct udp_way *way)
{
    uint64_t hash = mix(0, (uint64_t)way->fd);

    if (way->family == 0)
        return hash;
    hash = mix_address(hash, way->peer);
    return way->local ? mix_address(hash, way->local) : hash;
}

static bool is_local(const struct parcel *p, const struct addr *local)
{
    return local ? addr_equal(&p->local, local) : p->local.family == 0;
}

static bool goes(const struct parcel *p, const struct udp_way *way)
{
    return p->fd == way->fd &&
           (way->family == 0 || (addr_equal(&p->peer, way->peer) && is_local(p, way->local)));
}

/* The place of a way's newest parcel, one of a few; it has NONE or another's when there is none
 * yet. Whoever contrives more ways of the same few finds that they are joined less, no more. */
static uint16_t *place_of(struct udp_outbox *out, const struct udp_way *way)
{
    uint64_t hash = hash_way(way);
    uint16_t *few = &out->by_way[(hash >> 32) % (WAYS / FEW) * FEW];
    uint16_t *found = &few[(hash >> 48) % FEW];

    for (size_t i = 0; i < FEW; i++) {
        if (few[i] == NONE)
            found = &few[i];
        else if (goes(&out->parcel[few[i]], way))
            return &few[i];
    }
    return found;
}

static bool takes(const struct udp_outbox *out, const struct parcel *p, size_t len)
{
    return out->joins && !p->is_full && len > 0 && len <= p->size &&
           p->bytes + len <= JOINED_BYTES_MAX;
}

/* Behind those of its socket, so that they leave in one call. */
static void chain(struct udp_outbox *out, uint16_t index)
{
    struct parcel *p = &out->parcel[index];
    uint8_t *newest = &out->by_socket[(unsigned)p->fd % sizeof(out->by_socket)];

    if (*newest < index && out->parcel[*newest].fd == p->fd) {
        out->parcel[*newest].next = index;
        p->is_led = true;
    }
    *newest = (uint8_t)index;
}

static struct parcel *begin(struct udp_outbox *out, const struct udp_way *way, size_t len)
{
    uint16_t index = out->parcel_count++;
    struct parcel *p = &out->parcel[index];

    p->fd = way->fd;
    p->family = way->family;
    p->owner = way->owner;
    p->local.family = 0;
    if (way->family != 0) {
        p->peer = *way->peer;
        if (way->local)
            p->local = *way->local;
    }
    p->first = p->last = p->next = NONE;
    p->count = 0;
    p->is_led = p->is_full = false;
    p->size = len;
    p->bytes = 0;
    chain(out, index);
    return p;
}

static void add(struct udp_outbox *out, struct parcel *p, size_t len)
{
    uint16_t index = out->piece_count++;

    out->piece[index] = (struct piece){.data = out->room, .len = len, .next = NONE};
    if (p->count++ == 0)
        p->first = index;
    else
        out->piece[p->last].next = index;
    p->last = index;
    p->bytes += len;
    p->is_full = len < p->size || p->count == JOINED_PIECES_MAX;
}

struct udp_outbox *udp_outbox_new(bool joins, udp_refused_fn on_refused, void *arg)
{
    struct udp_outbox *out = calloc(1, sizeof(*out));

    if (!out)
        return NULL;
    memset(out->by_way, 0xff, sizeof(out->by_way)); /* NONE */
    out->joins = joins;
    out->on_refused = on_refused;
    out->arg = arg;
    return out;
}

void udp_outbox_free(struct udp_outbox *out)
{
    free(out);
}

uint8_t *udp_outbox_reserve(struct udp_outbox *out, size_t max)
{
    assert(max <= UDP_PAYLOAD_MAX);
    if (out->piece_count == PIECES_MAX || max > ARENA_SIZE - out->used)
        flush(out);
    out->room = out->arena + out->used;
    out->reserved = max;
    return out->room;
}

void udp_outbox_commit(struct udp_outbox *out, size_t len, const struct udp_way *way)
{
    uint16_t *place = place_of(out, way);
    struct parcel *p = *place != NONE ? &out->parcel[*place] : NULL;

    assert(len <= out->reserved && out->piece_count < PIECES_MAX && way->fd >= 0);
    if (!p || !goes(p, way) || !takes(out, p, len)) {
        p = begin(out, way, len);
        p->place = (uint16_t)(place - out->by_way);
        *place = (uint16_t)(p - out->parcel);
    }
    add(out, p, len);
    out->used = (size_t)(out->room - out->arena) + len;
    out->room += len;
    out->reserved = 0;
}

size_t udp_outbox_flush(struct udp_outbox *out)
{
    size_t refused;

    flush(out);
    refused = out->refused;
    out->refused = 0;
    return refused;
}
