/*
 * finished: verify_data both ways. See the header.
 */
#include "dtls/finished.h"

#include "base/bytes.h"

#include <string.h>

#define HAVE_ALL ((1u << KEYS_VERIFY) - 1)

static bool hash_message(struct transcript *t, const struct wire_message *m)
{
    uint8_t header[WIRE_MESSAGE_HEADER];

    wire_put_message_header(header, m->type, m->seq, m->length);
    return (m->offset > 0 || transcript_add(t, header, sizeof header)) &&
           transcript_add(t, m->body, m->fragment_length);
}

bool finished_hash_records(struct transcript *t, const uint8_t *records, size_t len)
{
    struct reader r = reader_of(records, len);
    struct wire_record rec;
    struct wire_message m;

    while (wire_next_record(&r, &rec)) {
        struct reader messages = reader_of(rec.body, rec.len);
        while (rec.type == WIRE_HANDSHAKE && wire_next_message(&messages, &m)) {
            if (!hash_message(t, &m))
                return false;
        }
    }
    return true;
}

/* wire_next_message() has seen to it that a fragment lies inside of its message. */
static bool take_fragment(struct finished_message *f, uint16_t seq, const struct wire_message *m)
{
    if (m->type != WIRE_FINISHED || m->seq != seq || m->length != KEYS_VERIFY)
        return false;
    memcpy(f->verify + m->offset, m->body, m->fragment_length);
    f->have |= (uint16_t)(((1u << m->fragment_length) - 1) << m->offset);
    return true;
}

enum finished_verdict finished_take(struct finished_message *f, uint16_t seq, const uint8_t *plain,
                                    size_t len)
{
    struct reader r = reader_of(plain, len);
    struct wire_message m;

    while (wire_next_message(&r, &m)) {
        if (!take_fragment(f, seq, &m))
            return FINISHED_WRONG;
    }
    if (r.bad)
        return FINISHED_WRONG;
    return f->have == HAVE_ALL ? FINISHED_WHOLE : FINISHED_PARTLY;
}

/* Over all messages up to, and not with, the Finished itself. */
static bool make_verify(const struct finished_state *s, bool is_server, uint8_t out[KEYS_VERIFY])
{
    uint8_t hash[48];

    return transcript_hash(s->transcript, NULL, 0, hash) &&
           keys_verify(s->kdf, s->suite, s->chosen->master, is_server, hash, out);
}

bool finished_answer(const struct finished_state *s, const struct finished_message *f,
                     uint8_t answer[FINISHED_SIZE])
{
    uint8_t header[WIRE_MESSAGE_HEADER], verify[KEYS_VERIFY];

    if (!transcript_add(s->transcript, s->chosen->message, s->chosen->len) ||
        !make_verify(s, false, verify) || !bytes_equal_secret(f->verify, verify, sizeof verify))
        return false;
    wire_put_message_header(header, WIRE_FINISHED, s->client_seq, KEYS_VERIFY);
    wire_put_message_header(answer, WIRE_FINISHED, s->server_seq, KEYS_VERIFY);
    return transcript_add(s->transcript, header, sizeof header) &&
           transcript_add(s->transcript, verify, sizeof verify) &&
           (s->ticket == NULL || transcript_add(s->transcript, s->ticket, s->ticket_len)) &&
           make_verify(s, true, answer + WIRE_MESSAGE_HEADER);
}

bool finished_begin(const struct finished_state *s, uint8_t message[FINISHED_SIZE])
{
    wire_put_message_header(message, WIRE_FINISHED, s->server_seq, KEYS_VERIFY);
    return make_verify(s, true, message + WIRE_MESSAGE_HEADER) &&
           transcript_add(s->transcript, message, FINISHED_SIZE);
}

bool finished_ends(const struct finished_state *s, const struct finished_message *f)
{
    uint8_t verify[KEYS_VERIFY];

    return make_verify(s, false, verify) && bytes_equal_secret(f->verify, verify, sizeof verify);
}

size_t finished_write(const uint8_t message[FINISHED_SIZE], uint64_t ccs_seq,
                      struct record_crypt *crypt, struct association *a,
                      uint8_t out[FINISHED_FLIGHT_MAX])
{
    size_t ccs = WIRE_RECORD_HEADER + 1;

    wire_put_record_header(out, WIRE_CCS, WIRE_DTLS12, ccs_seq, 1);
    out[WIRE_RECORD_HEADER] = 1;
    size_t n = record_seal(crypt, a, WIRE_HANDSHAKE, message, FINISHED_SIZE, out + ccs);
    return n == 0 ? 0 : ccs + n;
}
