/*
 * fields: what one line of a log tells, put together field by field. Who adds one that has to be
 * made into text first need not keep room for it.
 * Must never know which log the line is for.
 */
#ifndef DTLSGATE_PROXY_FIELDS_H
#define DTLSGATE_PROXY_FIELDS_H

#include "base/line.h"
#include "proxy/session.h"

#define FIELDS_MAX (32 + TALLY_CLIENT_DROPS + TALLY_BACKEND_DROPS)
#define FIELDS_ROOM 2048 /* for texts: an identity, backends and a few addresses */

struct fields {
    unsigned count;
    size_t used;
    struct log_field list[FIELDS_MAX + 1]; /* ends with a NULL key at any time */
    char room[FIELDS_ROOM];
};

/* Makes it empty; memory need not be zeroed. */
void fields_init(struct fields *f);
/* `text` is borrowed. */
void fields_text(struct fields *f, const char *key, const char *text);
void fields_number(struct fields *f, const char *key, long long number);
void fields_addr(struct fields *f, const char *key, const struct addr *a);
/* An identity's bytes, escaped. */
void fields_bytes(struct fields *f, const char *key, const uint8_t *bytes, size_t len);
/* `size` bytes that last as long as the fields do. */
char *fields_room(struct fields *f, size_t size);

/* Which session it is: "id" and "service"; and whose: "identity", alone or behind "peer". */
void fields_session(struct fields *f, const struct session *s, const struct conf_service *service);
void fields_identity(struct fields *f, const struct session *s);
void fields_client(struct fields *f, const struct session *s);
/* Its datagrams and bytes both ways, "drops" and "refused". */
void fields_traffic(struct fields *f, const struct session *s);

#endif
