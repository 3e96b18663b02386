/*
 * own: handshake's inside: what suites of our own have for themselves: the end by keys derived
 * here, tickets and session ids, and handshakes that begin with one. For handshake.c alone.
 */
#ifndef DTLSGATE_DTLS_OWN_H
#define DTLSGATE_DTLS_OWN_H

#include "base/rate.h"
#include "dtls/candidate.h"
#include "dtls/engine.h"
#include "dtls/farewell.h"
#include "dtls/finished.h"
#include "dtls/flight.h"
#include "dtls/handshake_parts.h"
#include "dtls/opener.h"
#include "dtls/resume.h"
#include "dtls/terms.h"

/* Room for a client's Finished under any suite, CBC padding included. */
#define HELD_MAX 512
struct handshake {
    struct handshake_params params;
    struct flight_timing timing;
    struct engine *engine;
    enum handshake_state state;
    const char *why;
    char engine_why[96];
    uint64_t deadline;

    uint8_t client_random[WIRE_RANDOM];
    uint16_t next_message; /* message_seq of the ClientKeyExchange */
    struct terms terms;
    enum suite_exchange exchange;
    bool has_cid;
    struct association_cid cid;
    enum resume_offer offer; /* what the ServerHello may promise, */
    bool is_promised;        /* and whether it does */
    uint8_t id[CACHE_ID];    /* promised, or what is resumed by */
    bool is_by_id;           /* the latter */
    struct handshake_tickets tickets;
    size_t hello_len;              /* resumed: of the flight, what is not sealed */
    size_t asked_len;              /* of the client's hello, all but session id and ticket */
    struct transcript *transcript; /* ClientHello to ServerHelloDone; for suites of our own */

    struct candidates candidates;
    struct candidate *chosen;           /* the client's; its place is not taken any more */
    union association_room association; /* its own, once its Finished is right */
    struct rate dhe_derivations;
    bool ccs_came, ccs_fed;
    uint8_t held[HELD_MAX]; /* a Finished that came too early */
    size_t held_len;
    struct finished_message finished; /* the client's */

    struct flight flight; /* what goes to the client, and may have to go again */
    uint64_t fed_seq;     /* next number of a plaintext record to libssl */
    struct handshake_farewell farewell;
};

/* It has failed; the first reason counts. */
void handshake_fail(struct handshake *h, const char *why);
/* Gives up and tells the client so; whatever libssl had to say is left unsaid. */
void handshake_refuse(struct handshake *h, uint8_t description, const char *why, uint64_t now);
/* One record of the first flight, whoever writes it: a greeting_fn and an engine_fn. */
void handshake_on_record(void *arg, const uint8_t *record, size_t len);

/* Hashes what an extended master secret and the Finished cover so far: the hello and the flight it
 * led to, whose fragments stand in order. */
bool own_begin_transcript(struct handshake *h, const struct wire_record *hello)
    __attribute__((warn_unused_result));

/* What has opened under the chosen keys says whether both ends have seen the same handshake. */
void own_take_finished(struct handshake *h, const struct opened *opened, uint64_t now);

/* How long the record of its hello is without what a resumption puts there. */
size_t own_hello_rest(const struct wire_record *rec, const struct wire_hello *hello);
/* What a client's hello may be promised for the next time, which is kept where the suite is one
 * with an exchange. A ticket only where one of 0 bytes has room beside its connection id. */
enum resume_offer own_offer(const struct handshake *h, const struct wire_hello *hello,
                            bool offers_cid);
/* What becomes of the hello's ticket or session id, if there is one. *old is to be wiped. */
enum resume_verdict own_judge(struct handshake *h, const struct wire_hello *hello,
                              struct resumed *old, uint64_t now);
/* A good one: writes the ServerHello and derives the keys... */
void own_resume(struct handshake *h, const struct resumed *old, const uint8_t *own_cid);
/* ... and then, where that did not fail, the Finished, which connection ids have their say in. */
void own_speak_first(struct handshake *h, uint64_t now);
/* Before a flight is sent again: what is sealed gets new numbers, for the client would take the
 * same ones for a replay. */
void own_seal_anew(struct handshake *h);

#endif
