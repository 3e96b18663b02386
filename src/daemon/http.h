/*
 * http: tells of the process to browsers, to Prometheus and to whoever asks for its health.
 * Runs in the master's loop; each answer is made whole from what is at hand and sent as the client
 * takes it, so nothing waits for a client. Changes nothing, ever.
 *
 * libevent's evhttp is not used: in 2.1 it can bound neither how many connections there are nor how
 * long one takes in all.
 */
#ifndef DTLSGATE_DAEMON_HTTP_H
#define DTLSGATE_DAEMON_HTTP_H

#include "base/errors.h"
#include "daemon/status.h"

struct event_base;
struct http;

/* The socket for `at`, bound and not listening yet; before the drop of privileges. `source` names
 * the settings in the line that a failure adds to `errors`; -1 then. */
int http_bind(const struct addr *at, const char *source, struct errors *errors);

/* Listens on `fd`, which it owns from now on, from the next turn of the loop. `status` is borrowed
 * and read at each request. NULL: out of memory, or the socket cannot listen. */
struct http *http_new(struct event_base *base, int fd, const struct status *status);
/* Its listening socket; and whether it takes connections, which else wait. */
int http_socket(const struct http *h);
void http_listen(struct http *h, bool is_on);
/* Ends all connections; behind the end of all workers. NULL is fine. */
void http_free(struct http *h);
/* One line with the address that it really has. */
void http_log(const struct http *h);

#endif
