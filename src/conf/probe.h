/*
 * probe: the text of the setting that says how a backend is asked whether it is there.
 */
#ifndef DTLSGATE_CONF_PROBE_H
#define DTLSGATE_CONF_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROBE_DATAGRAMS_MAX 8
#define PROBE_TEXT_MAX 2048
#define PROBE_MAX (PROBE_TEXT_MAX / 2) /* bytes of one datagram */

/* Whether it is "udp:HEX[,HEX…]": the datagrams to send, each of a byte at least. */
bool probe_is_valid(const char *text);
/* Number `i` of them, from 0 on. Returns its length; 0: there are no more. */
size_t probe_datagram(const char *text, unsigned i, uint8_t out[PROBE_MAX]);

#endif
