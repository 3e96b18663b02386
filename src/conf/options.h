/*
 * options: THE table. One row is one setting: where it lives, what it may be, what it is by
 * default, whether a reload takes it. The parser, the printer, the reload check and the build's
 * lint of manual and example file all read it.
 */
#ifndef DTLSGATE_CONF_OPTIONS_H
#define DTLSGATE_CONF_OPTIONS_H

#include "conf/settings.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_type {
    OPTION_TEXT,     /* char *; empty means NULL */
    OPTION_PATH,     /* char *, absolute or relative to the working directory; not empty */
    OPTION_LOG,      /* char *; "stderr", "syslog" or an absolute path; with .zero empty as well */
    OPTION_COUNT,    /* unsigned */
    OPTION_SIZE,     /* size_t; "64k", "4m" */
    OPTION_TIME,     /* uint64_t ms; "300ms", "30s", "5m", "2h", "1d"; a bare number is seconds */
    OPTION_BOOL,     /* bool; yes/no, on/off, true/false, 1/0 */
    OPTION_MODE,     /* unsigned; permission bits in octal, "0600" */
    OPTION_CHOICE,   /* enum (int-sized); one of `choices`, in the enum's order */
    OPTION_ADDR,     /* struct addr; empty is none */
    OPTION_ADDRS,    /* struct addr array + size_t count behind it; comma separated */
    OPTION_BACKEND,  /* struct addr; a name is resolved; empty is none where `zero` says so */
    OPTION_BACKENDS, /* struct backends; comma separated, names are resolved */
    OPTION_PROBE,    /* char *; "none", which is NULL, or udp:HEX */
    OPTION_DATE,     /* uint64_t ms since 1970 UTC, the last second meant; empty is 0 */
    OPTION_PREFIXES, /* struct prefixes; comma separated, empty is none */
    OPTION_SOURCE,   /* the same; addresses alone, or one prefix */
};

struct option {
    const char *key;
    enum option_type type;
    size_t offset;
    uint64_t min,
        max;   /* of numbers, sizes (bytes), times (ms), and the length of texts and lists */
    bool zero; /* 0 is fine, too, though below min */
    const char *initial;        /* the default as it would stand in the file; NULL: must be given */
    const char *const *choices; /* NULL-ended */
    bool reloadable;
    const char *sentence; /* what it is, one line */
};

/* No table has more rows. */
#define OPTIONS_MAX CONF_KEYS_MAX

/* All end with a row whose key is NULL. */
/* Units and bounds of rows in more than one section. */
#define KIBI(n) ((n)*UINT64_C(1024))
#define MEBI(n) KIBI((n)*1024)
#define CIPHERS_LONGEST 2048
#define PREFIXES_LONGEST 64

extern const struct option options_daemon[];
extern const struct option options_service[];
extern const struct option options_identity[];

const struct option *option_find(const struct option *table, const char *key);
/* The row whose key someone may have meant who wrote `key`, or NULL. */
const struct option *option_near(const struct option *table, const char *key);

#endif
