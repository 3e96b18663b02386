/*
 * options: the rows. Adding a setting is a row here, a field in settings.h, a paragraph in
 * man/dtlsgate.ini.5 and its lines in etc/dtlsgate.ini.
 * Never parses anything.
 */
#include "conf/options.h"

#include "conf/settings.h"
#include "conf/spell.h"

#include <limits.h>
#include <string.h>

#define SECONDS(n) ((n)*UINT64_C(1000))
#define MINUTES(n) SECONDS((n)*60)
#define DAYS(n) MINUTES((n)*24 * 60)
#define KIBI(n) ((n)*UINT64_C(1024))
#define MEBI(n) KIBI((n)*1024)
#define NAME_LONGEST 32 /* of users and groups, as useradd(8) has it */
#define PATH_LONGEST (PATH_MAX - 1)
#define CIPHERS_LONGEST 2048
#define HINT_LONGEST 128 /* RFC 4279 5.3: what every client can take */
#define ADDRS_LONGEST 64
#define PREFIXES_LONGEST 64
#define SOURCES_LONGEST 32 /* a session remembers which of them in a few bits */

static const char *const log_levels[] = {"error", "warning", "info", "debug", NULL};
static const char *const log_formats[] = {"text", "json", NULL};
static const char *const versions[] = {"1.0", "1.2", NULL};
static const char *const unknowns[] = {"hide", "alert", NULL};
static const char *const offloads[] = {"off", "auto", NULL};
static const char *const source_bys[] = {"session", "identity", NULL};
static const char *const transparents[] = {"no", "yes", "client", NULL};
static const char *const proxy_protocols[] = {"off", "v2", NULL};
static const char *const ems_words[] = {"prefer", "require", NULL};

_Static_assert(LOG_LEVEL_ERROR == 0 && LOG_LEVEL_DEBUG == 3, "log_levels follows the enum");
_Static_assert(LOG_FORMAT_TEXT == 0 && LOG_FORMAT_JSON == 1, "log_formats follows the enum");
_Static_assert(CONF_DTLS10 == 0 && CONF_DTLS12 == 1, "versions follows the enum");
_Static_assert(CONF_UNKNOWN_HIDE == 0 && CONF_UNKNOWN_ALERT == 1, "unknowns follows the enum");
_Static_assert(CONF_OFFLOAD_OFF == 0 && CONF_OFFLOAD_AUTO == 1, "offloads follows the enum");
_Static_assert(CONF_SOURCE_BY_SESSION == 0 && CONF_SOURCE_BY_IDENTITY == 1,
               "source_bys follows the enum");
_Static_assert(CONF_TRANSPARENT_NO == 0 && CONF_TRANSPARENT_YES == 1 &&
                   CONF_TRANSPARENT_CLIENT == 2,
               "transparents follows the enum");
_Static_assert(CONF_PROXY_PROTOCOL_OFF == 0 && CONF_PROXY_PROTOCOL_V2 == 1,
               "proxy_protocols follows the enum");
_Static_assert(CONF_EMS_PREFER == 0 && CONF_EMS_REQUIRE == 1, "ems_words follows the enum");
_Static_assert(offsetof(struct conf_service, listen_count) ==
                   offsetof(struct conf_service, listen) + sizeof(struct addr *),
               "OPTION_ADDRS finds its count behind its array");

#define AT(field) .offset = offsetof(struct conf_daemon, field)

const struct option options_daemon[] = {
    {.key = "user",
     .type = OPTION_TEXT,
     AT(user),
     .max = NAME_LONGEST,
     .initial = "",
     .sentence = "Who to become once the sockets are bound; empty stays who started it."},
    {.key = "group",
     .type = OPTION_TEXT,
     AT(group),
     .max = NAME_LONGEST,
     .initial = "",
     .sentence = "The group to go with it; empty takes the user's own."},
    {.key = "sandbox",
     .type = OPTION_BOOL,
     AT(sandbox),
     .initial = "yes",
     .sentence = "Gives up all capabilities and all system calls but those that serving takes."},
    {.key = "workers",
     .type = OPTION_COUNT,
     AT(workers),
     .max = 256,
     .initial = "0",
     .sentence = "Threads that carry datagrams; 0 is one for each core."},
    {.key = "log",
     .type = OPTION_LOG,
     AT(log),
     .min = 1,
     .max = PATH_LONGEST,
     .initial = "stderr",
     .reloadable = true,
     .sentence = "Where log lines go."},
    {.key = "log-level",
     .type = OPTION_CHOICE,
     AT(log_level),
     .choices = log_levels,
     .initial = "info",
     .reloadable = true,
     .sentence = "The least grave lines that are still written."},
    {.key = "log-format",
     .type = OPTION_CHOICE,
     AT(log_format),
     .choices = log_formats,
     .initial = "text",
     .reloadable = true,
     .sentence = "Lines for people, or one JSON object a line."},
    {.key = "max-sessions",
     .type = OPTION_COUNT,
     AT(max_sessions),
     .min = 1,
     .max = 10000000,
     .initial = "100000",
     .reloadable = true,
     .sentence = "Sessions in all; at the cap a new one ends the one that is idle for longest."},
    {.key = "max-handshakes",
     .type = OPTION_COUNT,
     AT(max_handshakes),
     .min = 1,
     .max = 1000000,
     .initial = "1024",
     .reloadable = true,
     .sentence = "Handshakes under way in all; each one costs up to 85 KB until it is done."},
    {.key = "socket-buffer",
     .type = OPTION_SIZE,
     AT(socket_buffer),
     .min = KIBI(64),
     .max = MEBI(256),
     .initial = "4m",
     .sentence = "What each public socket asks the kernel to hold, in each direction."},
    {.key = "udp-offload",
     .type = OPTION_CHOICE,
     AT(udp_offload),
     .choices = offloads,
     .initial = "auto",
     .sentence = "Lets the kernel take and give several datagrams of one peer at a time."},
    {.key = "max-handshakes-per-prefix",
     .type = OPTION_COUNT,
     AT(max_handshakes_per_prefix),
     .min = 1,
     .max = 1000000,
     .zero = true,
     .initial = "256",
     .reloadable = true,
     .sentence = "Handshakes under way from one source prefix; 0 is no cap of its own."},
    {.key = "max-sessions-per-prefix",
     .type = OPTION_COUNT,
     AT(max_sessions_per_prefix),
     .min = 1,
     .max = 10000000,
     .zero = true,
     .initial = "0",
     .reloadable = true,
     .sentence = "Sessions from one source prefix; 0 is no cap of its own."},
    {.key = "handshake-rate",
     .type = OPTION_COUNT,
     AT(handshake_rate),
     .min = 1,
     .max = 1000000,
     .zero = true,
     .initial = "0",
     .reloadable = true,
     .sentence = "Handshakes that may begin per second in all; 0 is no limit."},
    {.key = "handshake-rate-per-prefix",
     .type = OPTION_COUNT,
     AT(handshake_rate_per_prefix),
     .min = 1,
     .max = 1000000,
     .zero = true,
     .initial = "0",
     .reloadable = true,
     .sentence = "Handshakes that may begin per second from one source prefix; 0 is no limit."},
    {.key = "prefix-v4",
     .type = OPTION_COUNT,
     AT(prefix_v4),
     .min = 8,
     .max = 32,
     .initial = "24",
     .reloadable = true,
     .sentence = "How many bits of an IPv4 address make a source prefix."},
    {.key = "prefix-v6",
     .type = OPTION_COUNT,
     AT(prefix_v6),
     .min = 16,
     .max = 128,
     .initial = "56",
     .reloadable = true,
     .sentence = "How many bits of an IPv6 address make a source prefix."},
    {.key = NULL},
};

#undef AT
#define AT(field) .offset = offsetof(struct conf_service, field)

const struct option options_service[] = {
    {.key = "listen",
     .type = OPTION_ADDRS,
     AT(listen),
     .max = ADDRS_LONGEST,
     .sentence = "Where DTLS clients come in; port 0 lets the kernel choose one."},
    {.key = "backend",
     .type = OPTION_BACKEND,
     AT(backend),
     .reloadable = true,
     .sentence = "The plain UDP service behind; a name is looked up at start and reload."},
    {.key = "psk-file",
     .type = OPTION_PATH,
     AT(psk_file),
     .min = 1,
     .max = PATH_LONGEST,
     .reloadable = true,
     .sentence = "The keys: a line of IDENTITY:HEXKEY each; must not be open to others."},
    {.key = "allow-weak-keys",
     .type = OPTION_BOOL,
     AT(allow_weak_keys),
     .initial = "no",
     .reloadable = true,
     .sentence = "Takes keys shorter than 16 bytes, too."},
    {.key = "unknown-identity",
     .type = OPTION_CHOICE,
     AT(unknown_identity),
     .choices = unknowns,
     .initial = "hide",
     .reloadable = true,
     .sentence = "Makes an unknown identity look like a wrong key, or tells the client by alert."},
    {.key = "min-version",
     .type = OPTION_CHOICE,
     AT(min_version),
     .choices = versions,
     .initial = "1.2",
     .reloadable = true,
     .sentence = "The oldest DTLS version; 1.0 is for old devices and allows CBC suites as well."},
    {.key = "ciphers",
     .type = OPTION_TEXT,
     AT(ciphers),
     .min = 1,
     .max = CIPHERS_LONGEST,
     .initial = "default",
     .reloadable = true,
     .sentence = "The cipher suites by preference, as an OpenSSL cipher string that selects PSK."},
    {.key = "identity-hint",
     .type = OPTION_TEXT,
     AT(identity_hint),
     .max = HINT_LONGEST,
     .initial = "",
     .reloadable = true,
     .sentence = "The PSK identity hint sent to clients; empty sends none."},
    {.key = "mtu",
     .type = OPTION_COUNT,
     AT(mtu),
     .min = 256,
     .max = 16384,
     .initial = "1400",
     .reloadable = true,
     .sentence = "The longest handshake datagram, in bytes of UDP payload."},
    {.key = "retransmit-first",
     .type = OPTION_TIME,
     AT(retransmit_first),
     .min = 50,
     .max = SECONDS(10),
     .initial = "300ms",
     .reloadable = true,
     .sentence = "How long to wait before a flight is repeated; doubles each time."},
    {.key = "retransmit-cap",
     .type = OPTION_TIME,
     AT(retransmit_cap),
     .min = 50,
     .max = SECONDS(60),
     .initial = "10s",
     .reloadable = true,
     .sentence = "The longest that this wait gets."},
    {.key = "retransmit-total",
     .type = OPTION_TIME,
     AT(retransmit_total),
     .min = 50,
     .max = MINUTES(10),
     .initial = "1m",
     .reloadable = true,
     .sentence = "How long one flight goes on being repeated."},
    {.key = "handshake-timeout",
     .type = OPTION_TIME,
     AT(handshake_timeout),
     .min = SECONDS(1),
     .max = MINUTES(10),
     .initial = "1m",
     .reloadable = true,
     .sentence = "How long a whole handshake may take."},
    {.key = "idle-timeout",
     .type = OPTION_TIME,
     AT(idle_timeout),
     .min = SECONDS(1),
     .max = DAYS(30),
     .initial = "1h",
     .reloadable = true,
     .sentence = "How long a session may be silent before it ends."},
    {.key = "flow-timeout",
     .type = OPTION_TIME,
     AT(flow_timeout),
     .min = SECONDS(1),
     .max = DAYS(30),
     .zero = true,
     .initial = "0",
     .reloadable = true,
     .sentence = "How long a silent session keeps its backend socket; 0 is as long as it lives."},
    {.key = "backend-source",
     .type = OPTION_SOURCE,
     AT(backend_source),
     .max = SOURCES_LONGEST,
     .initial = "",
     .sentence = "Whence to the backend: addresses, or a prefix that has one for each session."},
    {.key = "source-by",
     .type = OPTION_CHOICE,
     AT(source_by),
     .choices = source_bys,
     .initial = "session",
     .sentence = "Whether an address of the prefix is a session's, or an identity's for good."},
    {.key = "transparent",
     .type = OPTION_CHOICE,
     AT(transparent),
     .choices = transparents,
     .initial = "no",
     .sentence = "Sends to the backend from the client's own address, or from its port, too."},
    {.key = "proxy-protocol",
     .type = OPTION_CHOICE,
     AT(proxy_protocol),
     .choices = proxy_protocols,
     .initial = "off",
     .reloadable = true,
     .sentence = "Tells the backend in front of each datagram who the client is."},
    {.key = "allow",
     .type = OPTION_PREFIXES,
     AT(allow),
     .max = PREFIXES_LONGEST,
     .initial = "",
     .reloadable = true,
     .sentence = "Addresses that may come in; empty is everybody."},
    {.key = "deny",
     .type = OPTION_PREFIXES,
     AT(deny),
     .max = PREFIXES_LONGEST,
     .initial = "",
     .reloadable = true,
     .sentence = "Addresses that may not, whatever allow says."},
    {.key = "ems",
     .type = OPTION_CHOICE,
     AT(ems),
     .choices = ems_words,
     .initial = "prefer",
     .reloadable = true,
     .sentence = "Whether clients must offer the extended master secret (RFC 7627)."},
    {.key = "max-sessions-per-identity",
     .type = OPTION_COUNT,
     AT(max_sessions_per_identity),
     .min = 1,
     .max = 1000000,
     .zero = true,
     .initial = "0",
     .reloadable = true,
     .sentence = "Sessions of one identity; a further one ends the longest idle; 0 is no cap."},
    {.key = "forgery-limit",
     .type = OPTION_COUNT,
     AT(forgery_limit),
     .min = 1,
     .max = 4000000000,
     .zero = true,
     .initial = "0",
     .reloadable = true,
     .sentence = "Forged records a session lives through; 0 is what its suite bears."},
    {.key = "usage-limit",
     .type = OPTION_COUNT,
     AT(usage_limit),
     .min = 16,
     .max = 4000000000,
     .zero = true,
     .initial = "0",
     .reloadable = true,
     .sentence = "Records under one key before a session ends; 0 is what its suite bears."},
    {.key = NULL},
};

#undef AT

_Static_assert(sizeof(options_daemon) / sizeof(*options_daemon) <= OPTIONS_MAX, "OPTIONS_MAX");
_Static_assert(sizeof(options_service) / sizeof(*options_service) <= OPTIONS_MAX, "OPTIONS_MAX");

const struct option *option_find(const struct option *table, const char *key)
{
    for (; table->key; table++)
        if (strcmp(table->key, key) == 0)
            return table;
    return NULL;
}

const struct option *option_near(const struct option *table, const char *key)
{
    for (; table->key; table++)
        if (spell_near(table->key, key))
            return table;
    return NULL;
}
