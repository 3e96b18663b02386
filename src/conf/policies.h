/*
 * policies: which [identity PATTERN] section each identity of a service has, found out once, when a
 * snapshot is made.
 */
#ifndef DTLSGATE_CONF_POLICIES_H
#define DTLSGATE_CONF_POLICIES_H

#include "conf/settings.h"

#include <stdbool.h>
#include <stdint.h>

/* Takes a section's name apart: what stands before its first '/' is a service if there is one of
 * that name. False: out of memory. */
bool policies_name(struct conf_policy *p, const char *name, const struct conf *c)
    __attribute__((warn_unused_result));

/* Finds the first section that fits each of the service's identities, and tells the keys which of
 * them have an end. False: out of memory. */
bool policies_resolve(struct conf_service *s, const struct conf *c)
    __attribute__((warn_unused_result));
void policies_clear(struct policies *p);

/* The section is for identities of this service. */
bool policies_is_for(const struct conf_policy *p, const struct conf_service *s);

/* At `wall`, ms since 1970 UTC, the time of those whose policy it is is over. */
bool policies_is_over(const struct conf_policy *p, uint64_t wall);

/* An identity's policy, or NULL. Also when `psk` is not of the service's keys. */
const struct conf_policy *policies_find(const struct conf_service *s, const struct psk *psk);

/* Draws one datagram of `len` bytes from what the identity's clients may send now, over all its
 * sessions and workers. False: that is too much. */
bool policies_draw(const struct conf_service *s, const struct psk *psk, size_t len, uint64_t now);

/* The same for an identity that the service's keys lack, for a helper knows it: the number of its
 * policy, 0 for none, found out anew by one pattern after the other; and what a number stands for.
 */
uint16_t policies_match(const struct conf_service *s, const struct psk *named);
const struct conf_policy *policies_at(const struct conf_service *s, uint16_t number);
bool policies_draw_given(const struct conf_service *s, uint16_t number, const struct psk *named,
                         size_t len, uint64_t now);

#endif
