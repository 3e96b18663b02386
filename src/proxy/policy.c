/*
 * policy: a session against its identity's settings. See the header.
 * Must never end a session.
 */
#include "proxy/policy.h"

#include "conf/policies.h"
#include "proxy/keyring.h"

#include <string.h>

/* `suites`: names joined by ':'. */
static bool has_suite(const char *suites, const char *name)
{
    size_t len = strlen(name);

    for (const char *at = suites; at != NULL; at = strchr(at, ':')) {
        at += *at == ':';
        if (strncmp(at, name, len) == 0 && (at[len] == ':' || at[len] == '\0'))
            return true;
    }
    return false;
}

static const struct conf_policy *find(const struct conf_service *conf, const struct session *s)
{
    return s->is_given ? policies_at(conf, keyring_policy(s->psk)) : policies_find(conf, s->psk);
}

bool policy_is_over(const struct conf_service *conf, const struct session *s, uint64_t wall)
{
    const struct conf_policy *p;

    if (s->is_given) {
        p = find(conf, s);
        return p != NULL && policies_is_over(p, wall);
    }
    return wall >= psk_end(conf->psk, s->psk);
}

bool policy_allows(const struct conf_service *conf, const struct session *s,
                   const struct addr *peer)
{
    const struct conf_policy *p = find(conf, s);

    return p == NULL || p->allow_from.count == 0 || prefixes_contain(&p->allow_from, peer);
}

enum session_end policy_fault(const struct conf_service *conf, const struct session *s,
                              uint64_t wall)
{
    const struct conf_policy *p = find(conf, s);

    if (p == NULL)
        return SESSION_END_NOT_YET;
    if (policy_is_over(conf, s, wall))
        return SESSION_END_EXPIRED;
    if (!policy_allows(conf, s, &s->peer))
        return SESSION_END_NOT_FROM_THERE;
    if (p->suites != NULL && !has_suite(p->suites, session_suite_name(s)))
        return SESSION_END_SUITE;
    return SESSION_END_NOT_YET;
}

bool policy_may_resume(const void *service, const struct psk *psk, const struct suite *suite,
                       uint64_t wall)
{
    const struct conf_service *conf = service;
    const struct conf_policy *p = policies_find(conf, psk);

    return wall < psk_end(conf->psk, psk) &&
           (p == NULL || p->suites == NULL || has_suite(p->suites, suite->name));
}

const struct addr *policy_backend(const struct conf_service *conf, const struct session *s)
{
    const struct conf_policy *p = find(conf, s);

    return p != NULL && p->backend.family != 0 ? &p->backend : NULL;
}

unsigned policy_session_cap(const struct conf_service *conf, const struct session *s)
{
    const struct conf_policy *p = find(conf, s);

    return p != NULL && p->max_sessions > 0 ? p->max_sessions : conf->max_sessions_per_identity;
}

bool policy_has_rate(const struct conf_service *conf, const struct session *s)
{
    const struct conf_policy *p = find(conf, s);

    return p != NULL && (p->rate_datagrams > 0 || p->rate_bytes > 0);
}

bool policy_draw(const struct conf_service *conf, const struct session *s, size_t len, uint64_t now)
{
    if (s->is_given)
        return policies_draw_given(conf, keyring_policy(s->psk), s->psk, len, now);
    return policies_draw(conf, s->psk, len, now);
}
