/*
 * flight: records on their way out and when to repeat them. See the header.
 */
#include "dtls/flight.h"

#include "base/bytes.h"
#include "dtls/wire.h"

#include <string.h>

#define SEQ_OFFSET 5 /* of the 48-bit number in a record header */

void flight_init(struct flight *f, uint64_t first_seq)
{
    memset(f, 0, sizeof *f);
    f->next_seq = first_seq;
    f->repeat_at = UINT64_MAX;
}

static void stop_timer(struct flight *f)
{
    f->repeat_at = UINT64_MAX;
}

void flight_clear(struct flight *f)
{
    f->len = f->sent = 0;
    stop_timer(f);
}

void flight_add(struct flight *f, const uint8_t *record, size_t len)
{
    if (len > sizeof f->records - f->len) {
        f->is_overflown = true;
        return;
    }
    memcpy(f->records + f->len, record, len);
    f->len += len;
}

void flight_cut(struct flight *f, size_t len)
{
    f->len = len;
}

void flight_resend(struct flight *f, uint64_t now)
{
    struct reader r = reader_of(f->records, f->len);
    struct wire_record rec;

    while (wire_next_record_to(&r, f->cid_len, &rec)) {
        if (rec.epoch == 0)
            put_u48(f->records + (rec.whole - f->records) + SEQ_OFFSET, f->next_seq++);
    }
    f->sent = 0;
    f->sent_at = now;
}

void flight_send(struct flight *f, const struct flight_timing *timing, uint64_t now)
{
    flight_resend(f, now);
    f->repeat_after = timing->first;
    f->repeat_at = now + timing->first;
    f->repeat_until = now + timing->total;
}

void flight_on_timer(struct flight *f, const struct flight_timing *timing, uint64_t now)
{
    if (now < f->repeat_at)
        return;
    if (now >= f->repeat_until)
        return stop_timer(f);
    flight_resend(f, now);
    f->repeat_after = f->repeat_after * 2 < timing->cap ? f->repeat_after * 2 : timing->cap;
    f->repeat_at = now + f->repeat_after;
}

size_t flight_take(struct flight *f, size_t mtu, uint8_t *out)
{
    struct reader r = reader_of(f->records + f->sent, f->len - f->sent);
    struct wire_record rec;
    size_t len = 0;

    while (wire_next_record_to(&r, f->cid_len, &rec)) {
        size_t n = wire_record_size(&rec);
        if (len + n > mtu)
            break;
        memcpy(out + len, rec.whole, n);
        len += n;
    }
    f->sent += len;
    return len;
}
