/*
 * opener: from candidates to the one whose keys open a record. See the header.
 * Must never take a time that tells whether an identity is known.
 */
#include "dtls/opener.h"

#include "base/bytes.h"

/* What may be a Finished makes us derive keys: 10 us for plain PSK, 70 with ECDHE, 3 ms with DHE.
 * Only DHE is bounded: a bound lets forgeries shut the client out, and one for unknown names alone
 * would tell which these are. */
#define DERIVE_PER_SECOND 20
#define DERIVE_BURST 8

/* The master secret that a candidate would lead to. One whose identity is unknown gets a key that
 * nobody has, at the same cost. */
static bool derive_master(const struct opener *o, const struct candidate *k,
                          uint8_t out[KEYS_MASTER])
{
    uint8_t session_hash[48], decoy[PSK_KEY_MAX], shared[KEYS_SHARED_MAX];
    struct keys_secrets secrets = {.psk = decoy};
    bool fine = true;

    /* Made for every name, so that its time tells nothing. */
    secrets.psk_len = psk_decoy(o->keys, k->identity, k->identity_len, decoy);
    if (k->psk != NULL) {
        secrets.psk = k->psk->key;
        secrets.psk_len = k->psk->key_len;
    }
    if (o->exchange != EXCHANGE_PSK) {
        secrets.shared = shared;
        secrets.shared_len =
            engine_shared_secret(o->engine, k->public_value, k->public_len, shared);
        fine = secrets.shared_len > 0;
    }
    if (o->transcript != NULL)
        fine = fine && transcript_hash(o->transcript, k->message, k->len, session_hash);
    fine = fine && keys_master(o->kdf, o->suite, &secrets, &o->randoms,
                               o->transcript != NULL ? session_hash : NULL, out);
    bytes_wipe(decoy, sizeof decoy);
    bytes_wipe(shared, sizeof shared);
    return fine;
}

static bool derive(const struct opener *o, struct candidate *k, uint64_t now)
{
    if (k->asking == CANDIDATE_ASKED)
        return false;
    if (k->is_derived || k->is_bad)
        return k->is_derived;
    if (o->exchange == EXCHANGE_DHE_PSK &&
        !rate_take(o->derivations, DERIVE_PER_SECOND, DERIVE_BURST, now, NULL))
        return false;
    bool fine = derive_master(o, k, k->master) &&
                keys_expand(o->kdf, o->suite, k->master, &o->randoms, &k->association.keys);
    k->association.suite = o->suite;
    k->is_derived = fine;
    k->is_bad = !fine; /* a public value that is none: not to be tried again */
    return fine;
}

void opener_equip(const struct candidate *k, const struct association_cid *cid,
                  union association_room *out)
{
    out->association = k->association;
    if (cid != NULL)
        association_set_cid(&out->association, cid);
}

/* True when the record is sealed with the candidate's keys. Its window stays as it is: a record
 * that will be held comes again. A key that is a decoy opens nothing, by whatever chance. */
static bool does_open(const struct opener *o, const struct candidate *k,
                      const struct wire_record *rec, struct opened *out)
{
    union association_room trial;
    struct wire_record inner = *rec;

    opener_equip(k, o->cid, &trial);
    bool opens =
        record_open(o->crypt, &trial.association, &inner, out->plain, &out->len) == RECORD_OK;
    out->type = inner.type;
    bytes_wipe(&trial, sizeof trial);
    return opens && k->psk != NULL;
}

/* The newest is the likeliest. */
struct candidate *opener_find(const struct opener *o, const struct wire_record *rec,
                              struct opened *out, uint64_t now)
{
    for (unsigned age = 0; age < CANDIDATE_COUNT; age++) {
        struct candidate *k = candidates_recent(o->candidates, age);
        if (k == NULL || (o->chosen != NULL && k != o->chosen))
            continue;
        if (derive(o, k, now) && does_open(o, k, rec, out))
            return k;
    }
    return NULL;
}
