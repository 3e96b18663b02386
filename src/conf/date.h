/*
 * date: a point in time as an operator writes it: "2031-12-31" or "2031-12-31T12:00:00Z", always
 * UTC. Never reads a clock.
 */
#ifndef DTLSGATE_CONF_DATE_H
#define DTLSGATE_CONF_DATE_H

#include <stdbool.h>
#include <stdint.h>

/* ms since 1970. A date alone is the last second of its day. False: no date, or none that there is
 * behind the start of 1970; *ms is as it was. */
bool date_parse(const char *text, uint64_t *ms) __attribute__((warn_unused_result));

/* The long form, which date_parse() reads back; 0 is empty. Returns `buf`, DATE_TEXT_MAX bytes. */
#define DATE_TEXT_MAX 32
const char *date_text(uint64_t ms, char buf[DATE_TEXT_MAX]);

#endif
