/*
 * conf: all settings as one immutable snapshot.
 * Built whole from a file and the command line, cross-checked, then only read: by any thread that
 * holds a reference. A reload makes a new snapshot and never touches an old one.
 */
#ifndef DTLSGATE_CONF_CONF_H
#define DTLSGATE_CONF_CONF_H

#include "base/errors.h"
#include "conf/settings.h"

#include <stddef.h>
#include <stdio.h>

/* Where settings come from. `overrides`: "SECTION.KEY=VALUE"; later ones win over earlier ones, and
 * all win over the file. */
struct conf_source {
    const char *path; /* NULL: no file */
    const char *const *overrides;
    size_t override_count;
};

/* Builds a snapshot, loads the key files, resolves backend names (may block). All mistakes land in
 * `errors`, as "FILE:LINE: section.key: what is wrong, what would be right", with "command line"
 * for FILE:LINE where an override is to blame; NULL when there was any. The services are ordered by
 * name, so that the same set has the same indexes in each snapshot. The result has one reference.
 */
struct conf *conf_load(const struct conf_source *source, struct errors *errors)
    __attribute__((warn_unused_result));

struct conf *conf_ref(const struct conf *c);
/* Drops a reference; the last one wipes the keys and frees. NULL is fine. */
void conf_unref(const struct conf *c);

/* Adds a line to `errors` for each setting that differs and cannot change while running: the set of
 * services, and every option whose row says it is not reloadable. */
void conf_check_reload(const struct conf *running, const struct conf *next, const char *source,
                       struct errors *errors);

/* Calls fn for each key of each section ("daemon", "service coap", "identity meter-*") in order,
 * with the value as text. */
typedef void (*conf_fn)(void *arg, const char *section, const char *key, const char *value);
void conf_each(const struct conf *c, conf_fn fn, void *arg);

/* The effective settings as INI that conf_load() reads back, every key, no secrets. */
void conf_print(const struct conf *c, FILE *to);

#endif
