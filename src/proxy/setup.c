/*
 * setup: a snapshot and its TLS contexts. See the header.
 */
#include "proxy/setup.h"

#include <stdio.h>
#include <stdlib.h>

bool relay_setup_make(struct relay_setup *setup, const struct conf *conf, char *why,
                      size_t why_size)
{
    setup->conf = conf_ref(conf);
    setup->tls = calloc(conf->service_count, sizeof(*setup->tls));
    if (setup->tls == NULL) {
        snprintf(why, why_size, "out of memory");
        relay_setup_clear(setup);
        return false;
    }
    for (size_t i = 0; i < conf->service_count; i++) {
        const struct conf_service *service = &conf->service[i];
        const struct tlsctx_params params = {
            .ciphers = service->ciphers,
            .old_devices = service->min_version == CONF_DTLS10,
            .hint = service->identity_hint,
            .cid = service->cid,
        };
        setup->tls[i] = tlsctx_new(&params, why, why_size);
        if (setup->tls[i] == NULL) {
            relay_setup_clear(setup);
            return false;
        }
    }
    return true;
}

void relay_setup_clear(struct relay_setup *setup)
{
    for (size_t i = 0; setup->tls != NULL && i < setup->conf->service_count; i++)
        tlsctx_free(setup->tls[i]);
    free(setup->tls);
    conf_unref(setup->conf);
    *setup = (struct relay_setup){0};
}
