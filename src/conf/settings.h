/*
 * settings: the plain structs that a snapshot of all settings is made of.
 * No functions; conf.h has those.
 */
#ifndef DTLSGATE_CONF_SETTINGS_H
#define DTLSGATE_CONF_SETTINGS_H

#include "base/addr.h"
#include "base/log.h"
#include "base/meter.h"
#include "base/prefix.h"
#include "conf/backends.h"
#include "dtls/psk.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conf_version { CONF_DTLS10, CONF_DTLS12 };
enum conf_unknown { CONF_UNKNOWN_HIDE, CONF_UNKNOWN_ALERT };
enum conf_offload { CONF_OFFLOAD_OFF, CONF_OFFLOAD_AUTO };
enum conf_source_by { CONF_SOURCE_BY_SESSION, CONF_SOURCE_BY_IDENTITY };
enum conf_balance { CONF_BALANCE_IDENTITY, CONF_BALANCE_ADDRESS, CONF_BALANCE_ROUND_ROBIN };
enum conf_proxy_protocol { CONF_PROXY_PROTOCOL_OFF, CONF_PROXY_PROTOCOL_V2 };
enum conf_transparent { CONF_TRANSPARENT_NO, CONF_TRANSPARENT_YES, CONF_TRANSPARENT_CLIENT };
enum conf_ems { CONF_EMS_PREFER, CONF_EMS_REQUIRE };

#define CONF_KEYS_MAX 48 /* rows of an option table */

/* By row of the table: the line of the file where a value stands, or of its section where it does
 * not; 0: the command line, or no file. */
struct conf_lines {
    unsigned at[CONF_KEYS_MAX];
};

struct conf_daemon {
    char *user;       /* NULL: stay who we are */
    char *group;      /* NULL: the user's */
    bool sandbox;     /* give up capabilities and most system calls */
    unsigned workers; /* 0 in the file means one per core; here it is the number */
    char *log;        /* stderr, syslog, or a path */
    enum log_level log_level;
    enum log_format log_format;
    char *access_log; /* NULL: none; else as `log` */
    enum log_format access_log_format;
    char *trace_keylog;      /* NULL: none is permitted */
    unsigned max_sessions;   /* in all; each worker holds its share */
    unsigned max_handshakes; /* pending ones, in all; each worker holds its share */
    size_t socket_buffer;    /* bytes asked for each public socket and way */
    enum conf_offload udp_offload;
    unsigned prefix_v4, prefix_v6; /* bits of an address that make a source prefix */
    unsigned max_handshakes_per_prefix, max_sessions_per_prefix; /* 0: no cap */
    unsigned handshake_rate, handshake_rate_per_prefix;          /* begun per second; 0: no limit */
    char *control_socket;                                        /* NULL: none */
    unsigned control_mode;                                       /* its permission bits */
    char *control_group;                                         /* NULL: the one we run as */
    struct addr http;                                            /* family 0: none */
    char *http_name;                                             /* NULL: none */
    char *state_dir;           /* NULL: no session outlives the process */
    char *state_key;           /* NULL: the service manager's credential */
    uint64_t resolve_interval; /* ms; 0: names are looked up at start and reload alone */
    unsigned resumption_cache; /* sessions to be resumed by their id, of all services; 0: none */
    struct conf_lines lines;
};

/* What holds for some identities, beside what their service says. */
struct conf_policy {
    char *name;                 /* as in the section's header */
    const char *pattern;        /* of the identities, inside of `name` */
    char *service;              /* NULL: any */
    struct addr backend;        /* family 0: the service's */
    struct prefixes allow_from; /* empty: everywhere */
    unsigned max_sessions;      /* 0: what the service says */
    unsigned rate_datagrams;    /* per second; 0: no limit */
    size_t rate_bytes;          /* per second; 0: no limit */
    uint64_t not_after;         /* the last second, ms since 1970 UTC; 0: none */
    char *ciphers;              /* an OpenSSL cipher string; NULL: what the service says */
    char *suites;               /* those it selects, joined by ':' */
};

#define CONF_POLICY_MAX (UINT16_MAX - 1)

/* Which policy each identity of a service has. */
struct policies {
    const struct conf_policy *list; /* the snapshot's */
    size_t count;                   /* of them */
    uint16_t *number; /* by index in the service's keys: of its policy in the list, from 1 on; 0:
                         it has none. NULL: none has one */
    struct meter *meters; /* by the same index, two each: datagrams and bytes of its clients. NULL:
                             none has a rate. The one thing in a snapshot that changes */
    struct meters *given; /* the same for identities that a helper knows; NULL: there are none */
};

struct conf_service {
    char *name;
    struct addr *listen;
    size_t listen_count; /* stands behind `listen`: the option table counts on it */
    struct backends backend;
    enum conf_balance balance;
    uint64_t backend_retry;  /* ms that a backend is down behind a refusal */
    char *probe;             /* as conf/probe.h reads it; NULL: none */
    uint64_t probe_interval; /* ms */
    /* Where datagrams to the backend come from: nothing, single addresses, or one prefix. */
    struct prefixes backend_source;
    enum conf_source_by source_by;
    enum conf_transparent transparent; /* datagrams to the backend bear the client's address */
    enum conf_proxy_protocol proxy_protocol;
    char *psk_file;   /* or a folder of such */
    char *psk_helper; /* socket of a program that knows further keys; NULL: none */
    uint64_t psk_helper_timeout, psk_helper_cache; /* ms */
    bool allow_weak_keys;
    enum conf_unknown unknown_identity;
    enum conf_version min_version;
    char *ciphers;       /* an OpenSSL cipher string; "default" is spelt out here */
    char *identity_hint; /* NULL: none */
    unsigned mtu;        /* of the public link, for handshake datagrams; bytes of UDP payload */
    uint64_t retransmit_first, retransmit_cap, retransmit_total; /* ms */
    uint64_t handshake_timeout, idle_timeout;                    /* ms */
    uint64_t flow_timeout;                                       /* ms; 0: as long as the session */
    struct prefixes allow, deny;                                 /* allow empty: everybody */
    enum conf_ems ems;
    bool cid;                 /* connection ids may be negotiated */
    bool resumption;          /* by tickets, and by ids where there is a cache */
    uint64_t ticket_lifetime; /* ms, from the first handshake on */
    unsigned forgery_limit;   /* records that fail to authenticate under one key; 0: by the suite */
    unsigned usage_limit;     /* records under one key, both ways; 0: by the suite */
    unsigned max_sessions_per_identity; /* 0: no cap */
    struct psk_set *psk;                /* loaded */
    struct policies policies;
    uint32_t *identity_source; /* by index in `psk`: the number of its address in the prefix of
                                  backend_source; NULL unless source_by says identity */
    unsigned line;             /* of the section in the file, for messages; 0: the command line */
    struct conf_lines lines;
};

/* Addresses of all services to listen on: their indexes, and those of services, have 16 bits. */
#define CONF_LISTEN_MAX UINT16_MAX

struct conf {
    struct conf_daemon daemon;
    struct conf_service *service; /* ordered by name */
    size_t service_count;
    struct conf_policy *policy; /* in the order of the file */
    size_t policy_count;
    int references; /* atomic; use conf_ref() and conf_unref() */
};

#endif
