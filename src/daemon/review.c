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
        log_warning("%s:%u: %s; %zu such in all; dtlsgate --genpsk makes better ones",
                    service->psk_file, (unsigned)finding->line, what, finding->count);
}

void review_keys(const struct conf *conf)
{
    for (size_t i = 0; i < conf->service_count; i++) {
        const struct conf_service *service = &conf->service[i];
        struct psk_review found;

        psk_review(service->psk, &found);
        tell(service, &found.is_short, "a key is shorter than 16 bytes");
        tell(service, &found.is_text, "a key is readable text and may be guessed");
        tell(service, &found.is_shared, "an identity has the key of another one");
    }
}

void review_http(const struct conf *conf)
{
    const struct addr *at = &conf->daemon.http;
    char text[ADDR_TEXT_MAX];

    if (at->family != 0 && !addr_is_loopback(at))
        log_warning("daemon.http: %s is no loopback address: whoever reaches it can read who the "
                    "clients are; 127.0.0.1 behind a proxy that asks for a password is safer",
                    addr_format(at, text));
}
