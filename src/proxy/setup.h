/*
 * setup: what a worker works by: a snapshot of the settings and the TLS contexts made from it.
 * Made by the master, whole, before any worker is told; so a reload fails as a whole or not at all.
 */
#ifndef DTLSGATE_PROXY_SETUP_H
#define DTLSGATE_PROXY_SETUP_H

#include "conf/conf.h"
#include "dtls/tlsctx.h"

#include <stdbool.h>
#include <stddef.h>

struct relay_setup {
    const struct conf *conf; /* one reference, owned */
    struct tlsctx **tls;     /* one per service, owned */
};

/* Makes one from a snapshot, taking a reference of its own. False with `why`; nothing is left then.
 */
bool relay_setup_make(struct relay_setup *setup, const struct conf *conf, char *why,
                      size_t why_size) __attribute__((warn_unused_result));
void relay_setup_clear(struct relay_setup *setup);

#endif
