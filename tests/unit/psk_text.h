/*
 * psk_text: keys from a text, as one file has them.
 */
#ifndef DTLSGATE_TESTS_PSK_TEXT_H
#define DTLSGATE_TESTS_PSK_TEXT_H

#include "dtls/psk.h"

#include <stdlib.h>
#include <string.h>

/* psk_parse_all() for one file of this name. */
static inline struct psk_set *psk_parse(const char *name, const char *text, size_t len,
                                        unsigned allow, struct errors *errors)
{
    const struct psk_text one = {(char *)(uintptr_t)name, (char *)(uintptr_t)text, len};

    return psk_parse_all(name, &one, 1, allow, errors);
}

/* Of a text in which nothing is wrong; keys may be short. */
static inline struct psk_set *keys_of(const char *text)
{
    struct errors errors = {0};
    struct psk_set *keys = psk_parse("keys", text, strlen(text), PSK_ALLOW_WEAK, &errors);

    if (keys == NULL)
        abort();
    return keys;
}

#endif
