/*
 * review: legal and still not wise. See the header. Never refuses anything.
 */
#include "daemon/review.h"

#include "base/bytes.h"
#include "base/log.h"
#include "dtls/psk_review.h"

#include <stdlib.h>
#include <string.h>

#define SHOWN_MAX 200

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

static void mark_used(const struct conf_service *service, bool *is_used)
{
    size_t count = service->policies.number != NULL ? psk_count(service->psk) : 0;

    for (size_t i = 0; i < count; i++)
        if (service->policies.number[i] > 0)
            is_used[service->policies.number[i] - 1] = true;
}

void review_policies(const struct conf *conf)
{
    bool *is_used = calloc(conf->policy_count + 1, sizeof(*is_used));
    const char *first = NULL;
    char shown[SHOWN_MAX];
    size_t unused = 0;

    if (is_used == NULL)
        return;
    for (size_t i = 0; i < conf->service_count; i++)
        mark_used(&conf->service[i], is_used);
    for (size_t i = conf->policy_count; i-- > 0;)
        if (!is_used[i]) {
            unused++;
            first = conf->policy[i].name;
        }
    if (first != NULL)
        log_warning("section [identity %s] is for nobody: no identity fits, or an earlier section "
                    "does; %zu such in all",
                    bytes_escape(shown, sizeof(shown), first, strlen(first)), unused);
    free(is_used);
}
