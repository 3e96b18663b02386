/*
 * load_client: the sockets of dtls_load's clients. Datagrams of one client leave and come in
 * batches, so that the load costs little beside the proxy it measures. Must never know what it is
 * measured for.
 */
#include "load_client.h"

#include "args.h"
#include "load_ssl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define HANDSHAKE_LIMIT_US 20000000
#define REPEAT_US 1000000
#define BATCH 64
#define DATAGRAM_MAX (RAW_PLAIN_MAX + RAW_OVERHEAD_MAX)

/* Datagrams of one client: those that wait to leave, or those that have come. */
struct batch {
    struct client *owner;
    unsigned count;
    unsigned at;          /* the next to be looked at */
    struct raw_rest rest; /* of the one that is looked at */
    struct mmsghdr message[BATCH];
    struct iovec payload[BATCH];
    uint8_t data[BATCH][DATAGRAM_MAX];
};

static const struct client_setup *setup;
static struct batch out, in;
static uint64_t refusals;

/* --- batches --------------------------------------------------------------------------------- */

static void prepare(struct batch *b)
{
    for (int i = 0; i < BATCH; i++) {
        b->payload[i] = (struct iovec){.iov_base = b->data[i], .iov_len = DATAGRAM_MAX};
        b->message[i].msg_hdr = (struct msghdr){.msg_iov = &b->payload[i], .msg_iovlen = 1};
    }
}

/* A refusal of an earlier datagram takes the place of one that is sent: that one is tried again. */
void client_flush(void)
{
    bool again = true;

    for (unsigned at = 0; at < out.count;) {
        int n = sendmmsg(out.owner->fd, out.message + at, out.count - at, 0);
        bool refused = n < 0 && errno == ECONNREFUSED;
        refusals += refused;
        at += n > 0 ? (unsigned)n : !(refused && again);
        again = n > 0;
    }
    out.count = 0;
}

static uint8_t *room_for(struct client *c)
{
    if (out.owner != c || out.count == BATCH)
        client_flush();
    out.owner = c;
    return out.data[out.count];
}

static void add(size_t len)
{
    out.payload[out.count++].iov_len = len;
}

static void take_batch(struct client *c)
{
    int n = recvmmsg(c->fd, in.message, BATCH, 0, NULL);

    if (n < 0 && errno == ECONNREFUSED)
        refusals++;
    in.owner = c;
    in.at = 0;
    in.count = n > 0 ? (unsigned)n : 0;
}

/* False: none now. A batch that was not full was all there is. */
static bool next_datagram(struct client *c, struct raw_rest *datagram)
{
    bool was_mine = in.owner == c;

    if (was_mine && in.at == in.count && in.count > 0 && in.count < BATCH) {
        in.owner = NULL;
        return false;
    }
    if (!was_mine || in.at == in.count)
        take_batch(c);
    if (in.at == in.count) {
        in.owner = NULL;
        return false;
    }
    *datagram = (struct raw_rest){.at = in.data[in.at], .left = in.message[in.at].msg_len};
    in.at++;
    return true;
}

/* --- beginning and end ----------------------------------------------------------------------- */

static void end(struct client *c)
{
    if (out.owner == c)
        client_flush();
    if (in.owner == c)
        in.owner = NULL;
    client_forget(c);
    close(c->fd);
    *c = (struct client){.state = CLIENT_CLOSED, .fd = -1};
}

void client_init(const struct client_setup *new_setup)
{
    setup = new_setup;
    prepare(&out);
    prepare(&in);
    if (setup->kind == CLIENT_LIBSSL) {
        load_ssl_init(setup);
    } else if (setup->kind == CLIENT_RAW) {
        errno = EINVAL;
        if (!raw_crypt_init(setup->suite, setup->key, setup->key_len))
            die(setup->suite);
        raw_dtls_init(setup->identity);
    }
}

static void open_socket(struct client *c, int poller, void *who)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = who};

    c->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    if (connect(c->fd, (const struct sockaddr *)&setup->target, sizeof(setup->target)) != 0)
        die("connect");
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event) != 0)
        die("epoll_ctl");
}

static void send_flight(struct client *c)
{
    add(raw_write(c->shake, room_for(c)));
    client_flush();
}

static void start_raw(struct client *c)
{
    uint8_t random[32];

    c->shake = calloc(1, sizeof(*c->shake));
    if (!c->shake || getrandom(random, sizeof(random), 0) != sizeof(random))
        die("calloc");
    raw_start(c->shake, random);
    send_flight(c);
}

static void shake_raw(struct client *c)
{
    struct raw_rest datagram;

    while (c->shake->state != RAW_OPEN && next_datagram(c, &datagram))
        if (raw_read(c->shake, datagram.at, datagram.left))
            send_flight(c);
    in.owner = NULL; /* what comes behind the Finished in one batch is lost on the way */
    if (c->shake->state == RAW_FAILED) {
        end(c);
    } else if (c->shake->state == RAW_OPEN) {
        c->keys = c->shake->keys;
        c->state = CLIENT_OPEN;
        raw_clear(c->shake);
        free(c->shake);
        c->shake = NULL;
    }
}

static void shake_ssl(struct client *c)
{
    enum load_ssl_state state = load_ssl_shake(c);

    if (state == LOAD_SSL_DONE)
        c->state = CLIENT_OPEN;
    else if (state == LOAD_SSL_BROKEN)
        end(c);
}

void client_shake(struct client *c)
{
    if (setup->kind == CLIENT_LIBSSL)
        shake_ssl(c);
    else
        shake_raw(c);
}

void client_start(struct client *c, int poller, void *who, uint64_t now_us)
{
    c->begun_us = c->sent_us = now_us;
    open_socket(c, poller, who);
    c->state = setup->kind == CLIENT_PLAIN ? CLIENT_OPEN : CLIENT_SHAKING;
    if (setup->kind == CLIENT_LIBSSL) {
        load_ssl_start(c);
        shake_ssl(c);
    } else if (setup->kind == CLIENT_RAW) {
        start_raw(c);
    }
}

void client_tick(struct client *c, uint64_t now_us)
{
    if (now_us - c->begun_us > HANDSHAKE_LIMIT_US || (c->ssl && !load_ssl_tick(c))) {
        end(c);
    } else if (c->shake && now_us - c->sent_us > REPEAT_US) {
        c->sent_us = now_us;
        send_flight(c);
    }
}

/* --- datagrams ------------------------------------------------------------------------------- */

void client_send(struct client *c, const void *data, size_t len)
{
    if (c->ssl) {
        load_ssl_send(c, data, len);
    } else if (setup->kind == CLIENT_RAW) {
        uint8_t *to = room_for(c);
        add(raw_seal(&c->keys, RAW_DATA, data, len, to));
    } else {
        memcpy(room_for(c), data, len);
        add(len);
    }
}

static size_t receive_plain(struct client *c, void *data, size_t size)
{
    struct raw_rest datagram;

    if (!next_datagram(c, &datagram))
        return 0;
    if (datagram.left > size)
        datagram.left = size;
    memcpy(data, datagram.at, datagram.left);
    return datagram.left;
}

static size_t receive_raw(struct client *c, void *data)
{
    enum raw_verdict verdict;
    size_t len;

    if (in.owner != c)
        in.rest.left = 0;
    do {
        if (in.rest.left == 0 && !next_datagram(c, &in.rest))
            return 0;
        verdict = raw_take(&c->keys, &in.rest, data, &len);
        if (verdict == RAW_NOTHING)
            in.rest.left = 0; /* also what is no record at all */
    } while (verdict == RAW_NOTHING);
    if (verdict == RAW_PLAIN)
        return len;
    end(c);
    return 0;
}

static size_t receive_ssl(struct client *c, void *data, size_t size)
{
    size_t len;

    if (load_ssl_receive(c, data, size, &len) == LOAD_SSL_BROKEN)
        end(c);
    return len;
}

size_t client_receive(struct client *c, void *data, size_t size)
{
    if (c->ssl)
        return receive_ssl(c, data, size);
    return setup->kind == CLIENT_RAW ? receive_raw(c, data) : receive_plain(c, data, size);
}

void client_close(struct client *c)
{
    if (c->ssl)
        load_ssl_shutdown(c);
    else if (setup->kind == CLIENT_RAW && c->state == CLIENT_OPEN)
        add(raw_close(&c->keys, room_for(c)));
    end(c);
}

void client_forget(struct client *c)
{
    if (c->ssl)
        load_ssl_free(c);
    if (!c->shake)
        return;
    raw_clear(c->shake);
    free(c->shake);
    c->shake = NULL;
}

uint64_t client_refusals(void)
{
    return refusals;
}
