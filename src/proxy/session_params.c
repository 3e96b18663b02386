/*
 * session_params: settings to parameters. See the header.
 */
#include "proxy/session_params.h"

#include "proxy/policy.h"

#include <string.h>

struct key_source session_key_source(const struct session_service *service)
{
    return (struct key_source){service->conf, service->keyring,
                               (unsigned)(service->conf - service->snapshot->service),
                               service->wall0};
}

struct handshake_params session_params(const struct session_service *service, const uint8_t *cid)
{
    const struct conf_service *conf = service->conf;
    const struct key_source source = session_key_source(service);
    struct handshake_params params = {
        .tls = service->tls,
        .keys = conf->psk,
        .crypt = service->crypt,
        .kdf = service->kdf,
        .mtu = conf->mtu,
        .require_ems = conf->ems == CONF_EMS_REQUIRE,
        .may_ask = key_source_has_helper(&source),
        .alert_unknown = conf->unknown_identity == CONF_UNKNOWN_ALERT,
        .retransmit_first = conf->retransmit_first,
        .retransmit_cap = conf->retransmit_cap,
        .retransmit_total = conf->retransmit_total,
        .timeout = conf->handshake_timeout,
        .wall0 = service->wall0,
        .offers_cid = cid != NULL,
    };

    if (cid != NULL)
        memcpy(params.own_cid, cid, WIRE_OWN_CID);
    if (conf->resumption && service->tickets != NULL && service->tickets->is_set)
        params.resumption = (struct resumption){service->tickets, conf->name, conf->ticket_lifetime,
                                                policy_may_resume, conf};
    return params;
}
