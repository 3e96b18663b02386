/*
 * udp_inbox: datagrams in batches: one system call takes many messages, each of which may hold many
 * datagrams of one sender (UDP_GRO). They come out as views, one at a time.
 */
#ifndef DTLSGATE_BASE_UDP_INBOX_H
#define DTLSGATE_BASE_UDP_INBOX_H

#include "base/udp.h"

#include <stdint.h>

/* The most messages that one call takes. */
#define UDP_BATCH_MAX 32

struct udp_datagram {
    const uint8_t *data;
    size_t len;
    struct addr peer;  /* family 0 in an inbox for connected sockets */
    struct addr local; /* the address it was sent to, with the port 0; family 0 when unknown */
};

/* One batch; may serve many sockets in turn. */
struct udp_inbox;
/* `is_connected`: for connected sockets, whose peer is known, so no addresses are read. NULL: out
 * of memory. */
struct udp_inbox *udp_inbox_new(bool is_connected);
void udp_inbox_free(struct udp_inbox *in);

/* Receives what is waiting, at most `max` messages (1 to UDP_BATCH_MAX). UDP_OK: there is at least
 * one; udp_next() gives what they hold. What the last batch still held is gone. */
enum udp_status udp_receive(int fd, struct udp_inbox *in, unsigned max);
/* How many messages the last call took. */
unsigned udp_received(const struct udp_inbox *in);
/* The next datagram of the batch, NULL at its end. Valid until the next call; the caller may change
 * its `local`, which stays so for those of the same message. */
struct udp_datagram *udp_next(struct udp_inbox *in);
/* Whether udp_next() has something left to look at. */
bool udp_has_rest(const struct udp_inbox *in);

#endif
