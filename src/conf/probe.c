/*
 * probe: hex to datagrams. See the header. Never sends one.
 */
#include "conf/probe.h"

#include "base/bytes.h"

#include <string.h>

static const char scheme[] = "udp:";

/* Where number `i` begins, or NULL. */
static const char *find(const char *text, unsigned i)
{
    const char *at = text + sizeof(scheme) - 1;

    if (strncmp(text, scheme, sizeof(scheme) - 1) != 0)
        return NULL;
    for (; at != NULL && i > 0; i--) {
        at = strchr(at, ',');
        at = at != NULL ? at + 1 : NULL;
    }
    return at;
}

size_t probe_datagram(const char *text, unsigned i, uint8_t out[PROBE_MAX])
{
    const char *hex = find(text, i);
    int n = hex != NULL ? hex_decode(out, PROBE_MAX, hex, strcspn(hex, ",")) : 0;

    return n > 0 ? (size_t)n : 0;
}

bool probe_is_valid(const char *text)
{
    uint8_t datagram[PROBE_MAX];
    unsigned count = 0;

    while (count <= PROBE_DATAGRAMS_MAX && find(text, count) != NULL)
        if (probe_datagram(text, count++, datagram) == 0)
            return false;
    return count > 0 && count <= PROBE_DATAGRAMS_MAX && strlen(text) <= PROBE_TEXT_MAX;
}
