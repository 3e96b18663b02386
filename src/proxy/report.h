/*
 * report: the lines the log gets about a session's life. Lines that a stranger can cause are
 * limited.
 */
#ifndef DTLSGATE_PROXY_REPORT_H
#define DTLSGATE_PROXY_REPORT_H

#include "base/log.h"
#include "proxy/session_image.h"

/* The address that the backend sees, by its number in the list or the prefix of the service's
 * backend_source. "-": there is none yet, or the kernel has chosen it. */
const char *report_source(const struct session *s, const struct conf_service *service,
                          uint32_t source, char buf[PREFIX_TEXT_MAX]);
/* One line when a session opens, while it still has ->pending; `to`: the address the client wrote
 * to. */
void report_open(const struct session *s, const struct addr *to,
                 const struct conf_service *service);
/* The same when one is taken up again from before the start. */
void report_restored(const struct session *s, const struct addr *to,
                     const struct conf_service *service, uint64_t now);
/* One line when one that was kept stays away. */
void report_not_restored(const struct session_image *image, const char *why);
/* A warning that it cannot be kept for the next start; a few per second at most. */
void report_unkept(const struct session *s, const struct conf_service *service,
                   struct log_limit *limit, uint64_t now);
/* Between where a flow is. */
struct report_way {
    uint32_t source; /* the number of its address in the list or the prefix of backend-source */
    struct addr backend;
};
/* One line each time a backend socket is opened for it (its first datagram, or one after
 * flow-timeout), or a shared one leads elsewhere; with `limit`, which may be NULL, at most a few
 * per second. The backend is told where the settings leave a choice. */
void report_flow(const struct session *s, const struct conf_service *service,
                 const struct report_way *way, struct log_limit *limit, uint64_t now);
/* A warning that its keys were written to the key log, or could not be. */
void report_keys(const struct session *s, const struct conf_service *service, bool is_written);
/* One line when a session has moved from the address `before`; a few per second at most. */
void report_move(const struct session *s, const struct conf_service *service,
                 const struct addr *before, struct log_limit *limit, uint64_t now);
/* One line when an open session ends; `source` is the number of its address. */
void report_end(const struct session *s, const struct conf_service *service, uint32_t source,
                enum session_end why, uint64_t now);
/* One line when an identity has a further session beside others: `count` in all. */
void report_shared(const struct session *s, const struct conf_service *service, unsigned count,
                   struct log_limit *limit, uint64_t now);
/* A warning that a session's backend refuses datagrams; a few per second at most. */
void report_refused(const struct session *s, const struct conf_service *service,
                    const struct addr *backend, struct log_limit *limit, uint64_t now);
/* What is new of a backend, and why: a worker has had a datagram of it or a refusal, or a probe
 * says so. */
struct report_news {
    const struct addr *backend;
    bool is_up;
    const char *why;
};
/* One line when a backend is taken for down, or for up again; a few per second at most. */
void report_backend(const struct conf_service *service, const struct report_news *news,
                    struct log_limit *limit, uint64_t now);
/* One line for a handshake whose Finished does not open: a wrong key, an unknown identity, or a
 * forgery. The handshake goes on. */
void report_doubt(const struct session *s, const struct conf_service *service,
                  struct log_limit *limit, uint64_t now);
/* At debug level: what became of a record. */
void report_fate(const struct session_route *route, const struct wire_record *rec, enum fate fate,
                 struct log_limit *limit, uint64_t now);
/* A warning at the 1024th forged record of a session, and each time that number doubles. */
void report_forgeries(const struct session *s, const struct conf_service *service,
                      struct log_limit *limit, uint64_t now);
/* One line for a handshake that led to nothing; at most a few per second. */
void report_failed(const struct session *s, const struct conf_service *service,
                   enum session_end why, struct log_limit *limit, uint64_t now);

#endif
