/*
 * helper_health: when a helper that failed may be asked again. See the header.
 * Must never log without bound: helpers come and go, and strangers cause the questions.
 */
#include "proxy/helper_health.h"

#define BACK_OFF_FIRST 100 /* ms; doubled each time */
#define BACK_OFF_LAST 10000

bool helper_health_may_ask(const struct helper_health *h, uint64_t now)
{
    return now >= h->retry_at;
}

static void tell(struct helper_health *h, const struct conf_service *conf, const char *why,
                 uint64_t now)
{
    uint32_t left_out;

    if (h->is_down || conf->psk_helper == NULL || !log_allowed(&h->lines, now, &left_out))
        return;
    h->is_down = true;
    log_warning("service %s: psk-helper %s: %s; identities that are not in psk-file count as "
                "unknown meanwhile",
                conf->name, conf->psk_helper, why);
}

void helper_health_fail(struct helper_health *h, const struct conf_service *conf, const char *why,
                        uint64_t now)
{
    if (now < h->retry_at)
        return;
    h->back_off = h->back_off == 0 ? BACK_OFF_FIRST : 2 * h->back_off;
    if (h->back_off > BACK_OFF_LAST)
        h->back_off = BACK_OFF_LAST;
    h->retry_at = now + h->back_off;
    tell(h, conf, why, now);
}

void helper_health_answer(struct helper_health *h, const struct conf_service *conf)
{
    if (h->is_down)
        log_info("service %s: psk-helper answers again", conf->name);
    h->retry_at = h->back_off = 0;
    h->is_down = false;
}
