/*
 * draft: what file and command line say, as text, each with the place it came from.
 * Knows sections and keys; takes no value for anything but text.
 */
#ifndef DTLSGATE_CONF_DRAFT_H
#define DTLSGATE_CONF_DRAFT_H

#include "base/errors.h"
#include "base/hash.h"
#include "conf/options.h"

#include <stdbool.h>
#include <stddef.h>

struct draft_value {
    char *text;    /* owned; NULL: not given */
    unsigned line; /* 0: the command line */
    bool is_wrong; /* an error told of it already */
};

struct draft_section {
    const struct option *table;
    struct table_link link;                /* of identities, by name */
    char *name;                            /* of a service or an identity; NULL: [daemon] */
    unsigned line;                         /* of its header; 0: the command line */
    bool is_partial;                       /* lines that were meant for it could not be taken */
    struct draft_value value[OPTIONS_MAX]; /* by row of the table */
};

struct draft {
    const char *path; /* NULL: no file */
    struct errors *errors;
    struct draft_section daemon;
    struct draft_section *service;
    size_t service_count;
    struct draft_section **identity; /* in the order of the file; there may be many */
    size_t identity_count;
    struct table identities; /* not made before the first */
    struct hash_key key;
    bool is_partial;             /* lines could not be taken for those of a section */
    bool is_astray[OPTIONS_MAX]; /* by row of a service's table: stands in another section */
};

/* `path` and `errors` are borrowed for as long as the draft lives. */
void draft_init(struct draft *d, const char *path, struct errors *errors);
void draft_clear(struct draft *d);

/* Reads d->path. False when it could not be read at all. */
bool draft_read(struct draft *d) __attribute__((warn_unused_result));
/* Takes one "SECTION.KEY=VALUE", which wins over what is there. */
void draft_override(struct draft *d, const char *assignment);

struct draft_value *draft_value(struct draft_section *s, const struct option *o);

/* Adds "FILE:LINE: section.key: …", where the value stands, or the section where it is not given.
 * `o` NULL: "FILE:LINE: section: …". Marks the value as wrong. */
struct draft_place {
    struct draft_section *section;
    const struct option *option;
};
void draft_error(const struct draft *d, struct draft_place at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
