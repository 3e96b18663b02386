/*
 * json: writes one JSON text, member by member. Puts in the commas, escapes the strings.
 * Never knows what it tells, nor where it goes.
 */
#ifndef DTLSGATE_DAEMON_JSON_H
#define DTLSGATE_DAEMON_JSON_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX 31

struct json {
    struct text *out; /* borrowed */
    unsigned depth;
    uint32_t arrays; /* bit by depth: that level is an array */
    bool has_before; /* the next one on this level wants a comma */
};

void json_init(struct json *j, struct text *out);

/* `key` is NULL for an element of an array and for the outermost value, and has a name otherwise.
 * Keys are literals of ours: they are not escaped. */
void json_open_object(struct json *j, const char *key);
void json_open_array(struct json *j, const char *key);
/* Ends the innermost that is open. */
void json_close(struct json *j);

/* NULL gives null. What is no UTF-8 becomes U+FFFD byte by byte; '<', '>' and '&' are escaped, too,
 * so that the text does no harm inside of HTML either. */
void json_text(struct json *j, const char *key, const char *text);
void json_bytes(struct json *j, const char *key, const void *data, size_t len);
void json_number(struct json *j, const char *key, uint64_t value);
/* With up to three decimals; what is no finite number becomes null. */
void json_real(struct json *j, const char *key, double value);
void json_bool(struct json *j, const char *key, bool value);

#endif
