/*
 * spell: is one word a slip of the pen away from another? For messages that suggest.
 */
#ifndef DTLSGATE_CONF_SPELL_H
#define DTLSGATE_CONF_SPELL_H

#include <stdbool.h>

/* True when `wrong` turns into `right` by at most two single letters added, dropped or changed (one
 * in words of up to four), letter case aside. */
bool spell_near(const char *right, const char *wrong);

#endif
