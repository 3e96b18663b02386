/*
 * flight: the records of one handshake flight on their way out, their numbers, and when to repeat
 * them (RFC 6347 4.2.4). Plaintext records get their sequence number here, a fresh one each time
 * they are sent.
 */
#ifndef DTLSGATE_DTLS_FLIGHT_H
#define DTLSGATE_DTLS_FLIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FLIGHT_MAX 4096

struct flight_timing {
    uint64_t first, cap, total; /* ms: first repeat after, longest wait, how long it goes on */
};

struct flight {
    uint8_t records[FLIGHT_MAX];
    size_t len;
    size_t sent;       /* how much of it flight_take() has given out */
    bool is_overflown; /* a record did not fit */
    uint64_t next_seq; /* of the next plaintext record */
    uint8_t cid_len;   /* of the peer's connection id, in what is sealed */
    uint64_t sent_at, repeat_at, repeat_after, repeat_until; /* ms; repeat_at UINT64_MAX: never */
};

void flight_init(struct flight *f, uint64_t first_seq);
/* Forgets the records, which are not repeated any more: the next flight follows. */
void flight_clear(struct flight *f);
/* Appends whole records. */
void flight_add(struct flight *f, const uint8_t *record, size_t len);
/* Forgets all but its first `len` bytes, which are whole records. */
void flight_cut(struct flight *f, size_t len);
/* Ready to be taken, for the first time. */
void flight_send(struct flight *f, const struct flight_timing *timing, uint64_t now);
/* Ready to be taken once more, without touching the timer. */
void flight_resend(struct flight *f, uint64_t now);
/* Repeats it when that is due and backs off. */
void flight_on_timer(struct flight *f, const struct flight_timing *timing, uint64_t now);
/* The next datagram of whole records, at most `mtu` bytes, into `out`. 0: all taken. No record may
 * be longer than `mtu`: it would stay for ever. */
size_t flight_take(struct flight *f, size_t mtu, uint8_t *out);

#endif
