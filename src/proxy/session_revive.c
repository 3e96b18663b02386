/*
 * session_revive: a session's image taken, and a session made of one; session_image.h has the
 * contracts. Must never know where the bytes go.
 */
#include "base/bytes.h"
#include "proxy/roam.h"
#include "proxy/session_image.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void session_image_print(const struct association *a, const struct psk *psk,
                         uint8_t out[SESSION_SECRET_PRINT])
{
    struct hash_key key;

    memcpy(key.bytes, keys_server_key(&a->keys, a->suite), sizeof key.bytes);
    siphash128(&key, psk->key, psk->key_len, out);
    bytes_wipe(&key, sizeof key);
}

static void save_proof(struct session_image_moves *moves, const struct roam_proof *proof,
                       uint64_t now)
{
    moves->has_proof = true;
    moves->home_peer = proof->home.peer;
    moves->home_local = proof->home.local;
    moves->home_listener = proof->home.listener;
    moves->asked = proof->asked;
    memcpy(moves->cookie, proof->cookie, sizeof moves->cookie);
    moves->asked_ago = now - proof->asked_at;
    moves->left = proof->until > now ? proof->until - now : 0;
}

static void save_ids(struct session_image *image, const struct session *s, uint64_t now)
{
    const struct association_cid *cid = association_cid(&s->association);
    const struct roam *roam = roam_of(&s->association);

    image->has_cid = true;
    memcpy(&image->cid, cid, association_cid_size(cid->peer_len));
    image->moves.count = roam->moves;
    image->moves.is_unproven = roam->is_unproven;
    image->moves.budget = roam->budget;
    if (roam->proof != NULL)
        save_proof(&image->moves, roam->proof, now);
}

static void save_farewell(struct session_image *image, const struct handshake_farewell *farewell)
{
    image->farewell = *farewell;
    image->farewell.ticket = NULL; /* the session's */
    image->farewell.ticket_len = 0;
    image->ticket = farewell->ticket;
    image->ticket_len = farewell->ticket_len;
}

static void save_key(struct session_image *image, const struct psk *psk)
{
    image->key_len = psk->key_len;
    memcpy(image->key, psk->key, psk->key_len);
}

void session_image_save(struct session_image *image, const struct session *s, uint64_t now)
{
    assert(s->is_placed && s->state == SESSION_OPEN);
    *image = (struct session_image){
        .service = s->service,
        .listener = s->listener,
        .peer = s->peer,
        .identity_len = s->psk->identity_len,
        .id = s->id,
        .age = now - s->opened,
        .idle = now - s->used,
        .hello_print = s->hello_print,
        .plain_max = s->plain_max,
        .has_ems = s->has_ems,
        .in_datagrams = s->in_datagrams,
        .in_bytes = s->in_bytes,
        .out_datagrams = s->out_datagrams,
        .out_bytes = s->out_bytes,
        .drops = s->drops,
        .refused = s->refused,
        .flow = {.source = s->backend_source, .port = s->backend_port},
        .has_farewell = session_tail_has_farewell(s->tail),
        .has_tally = s->has_tally,
    };
    memcpy(image->identity, s->psk->identity, s->psk->identity_len);
    memcpy(&image->association, &s->association, association_size(s->association.suite));
    session_image_print(&s->association, s->psk, image->secret_print);
    image->association.has_cid = false; /* there is no room for them behind it */
    image->association.lease = 0;       /* is where it was taken */
    if (image->has_farewell)
        save_farewell(image, &s->tail->farewell);
    if (s->has_tally)
        image->tally = *session_tally(s);
    if (s->association.has_cid)
        save_ids(image, s, now);
    if (s->is_given)
        save_key(image, s->psk);
}

/* A clock that began with this host may be younger than the session. */
static uint64_t before(uint64_t now, uint64_t age)
{
    return age < now ? now - age : 1;
}

static void restore_proof(struct roam_proof *proof, const struct session_image_moves *moves,
                          uint64_t now)
{
    proof->home = (struct roam_place){moves->home_peer, moves->home_local, moves->home_listener};
    proof->asked = moves->asked;
    memcpy(proof->cookie, moves->cookie, sizeof proof->cookie);
    proof->asked_at = before(now, moves->asked_ago);
    proof->until = now + moves->left;
}

/* Without memory for its proof it is as one that moved when there was none. No datagram is the one
 * that moved it, for all records of that have been dealt with. */
static void restore_moves(struct roam *roam, const struct session_image_moves *moves,
                          struct session_memory *memory, uint64_t now)
{
    roam->moves = moves->count;
    roam->is_unproven = moves->is_unproven;
    roam->budget = moves->budget;
    if (moves->has_proof)
        roam->proof = slab_take(&memory->proofs);
    if (roam->proof != NULL)
        restore_proof(roam->proof, moves, now);
}

/* Without memory there is none: such a client makes a new handshake if it lacks the end. */
static void restore_farewell(struct session *s, const struct session_image *image,
                             struct session_memory *memory, uint64_t now)
{
    struct handshake_farewell farewell = image->farewell;

    if (image->ticket_len > 0) {
        farewell.ticket = malloc(image->ticket_len);
        if (farewell.ticket == NULL)
            return;
        memcpy(farewell.ticket, image->ticket, image->ticket_len);
        farewell.ticket_len = (uint16_t)image->ticket_len;
    }
    session_tail_make(&s->tail, memory, &farewell, now);
    handshake_farewell_clear(&farewell); /* of one that nobody has taken */
}

struct session *session_image_restore(const struct session_image *image,
                                      const struct session_service *service, const struct psk *psk,
                                      uint64_t now)
{
    const struct suite *suite = image->association.suite;
    struct session *s = session_take_room(service->memory, suite,
                                          image->has_cid ? &image->cid : NULL, image->has_tally);

    if (s == NULL)
        return NULL;
    list_init(&s->idle);
    s->psk = psk;
    s->state = SESSION_OPEN;
    s->is_placed = true;
    s->has_ems = image->has_ems;
    s->opened = before(now, image->age);
    s->used = before(now, image->idle);
    s->plain_max = image->plain_max;
    s->id = image->id;
    s->hello_print = image->hello_print;
    s->backend_source = image->flow.source & 31;
    s->backend_port = image->flow.port;
    s->in_datagrams = image->in_datagrams;
    s->out_datagrams = image->out_datagrams;
    s->in_bytes = image->in_bytes;
    s->out_bytes = image->out_bytes;
    s->drops = image->drops;
    s->refused = image->refused;
    memcpy(&s->association, &image->association, association_size(suite));
    s->association.has_cid = image->has_cid;
    if (image->has_cid)
        restore_moves(roam_of(&s->association), &image->moves, service->memory, now);
    if (image->has_tally)
        *session_tally(s) = image->tally;
    if (image->has_farewell)
        restore_farewell(s, image, service->memory, now);
    return s;
}
