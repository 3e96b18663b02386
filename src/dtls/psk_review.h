/*
 * psk_review: what is legal in a set of keys, and still worth a warning.
 */
#ifndef DTLSGATE_DTLS_PSK_REVIEW_H
#define DTLSGATE_DTLS_PSK_REVIEW_H

#include "dtls/psk.h"

#include <stddef.h>
#include <stdint.h>

/* How many identities it holds for, and the line of the first, for psk_place(). */
struct psk_finding {
    size_t count;
    uint32_t line;
};

struct psk_review {
    struct psk_finding is_short; /* a key of under PSK_KEY_MIN bytes, as allow_weak lets in */
    struct psk_finding is_text;  /* all bytes printable: a password, not a key */
    struct psk_finding
        is_shared; /* the key of an earlier identity (RFC 9257 6: one key, two parties) */
};

/* Looks at every key. Takes memory for a while; when there is none, is_shared stays empty. */
void psk_review(const struct psk_set *set, struct psk_review *out);

#endif
