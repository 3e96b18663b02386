/*
 * review: legal and still not wise. See the header. Never refuses anything.
 */
#include "daemon/review.h"

#include "base/log.h"
#include "dtls/psk_review.h"

static void tell(const struct conf_service *service, const struct psk_finding *finding,
                 const char *what)
{
    if (finding->count > 0)
        log_warning("%s:%u: %zu %s, this is the first; dtlsgate --genpsk makes better ones",
                    service->psk_file, (unsigned)finding->line, finding->count, what);
}

void review_keys(const struct conf *conf)
{
    for (size_t i = 0; i < conf->service_count; i++) {
        const struct conf_service *service = &conf->service[i];
        struct psk_review found;

        psk_review(service->psk, &found);
        tell(service, &found.is_short, "keys are shorter than 16 bytes");
        tell(service, &found.is_text, "keys are readable text, so may be guessed");
        tell(service, &found.is_shared, "identities have the key of another one");
    }
}
