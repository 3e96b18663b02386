/*
 * source_map: which address of a prefix each identity has.
 * The same for the same identities in the same order, in every process: nothing here is random and
 * nothing is secret.
 */
#ifndef DTLSGATE_CONF_SOURCE_MAP_H
#define DTLSGATE_CONF_SOURCE_MAP_H

#include "base/prefix.h"
#include "dtls/psk.h"

#include <stdint.h>

/* The number in `prefix` of each identity of `set`, by its index there; no two share one. It goes
 * by a hash of the identity whose key is made of `name`; where that is taken by an identity before
 * it, by the next free one of a row. So identities added behind the others move nobody. There are
 * at least as many addresses as identities. The caller frees it. NULL: out of memory. */
uint32_t *source_map_new(const struct prefix *prefix, const struct psk_set *set, const char *name);

#endif
