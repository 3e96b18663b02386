/*
 * sockets: the fixed set of public sockets: for each listen address one per worker, all opened at
 * the start and kept for the life of the process, for a change to a SO_REUSEPORT group moves live
 * flows to other workers.
 * Must never know what comes in through them.
 */
#ifndef DTLSGATE_DAEMON_SOCKETS_H
#define DTLSGATE_DAEMON_SOCKETS_H

#include "base/errors.h"
#include "conf/conf.h"
#include "proxy/worker.h"

#include <stdbool.h>
#include <stddef.h>

struct sockets {
    struct worker_socket *list; /* worker by worker, each in the order of the settings; owned */
    size_t per_worker;
    unsigned workers;
    size_t buffer;              /* bytes of the smallest receive buffer that the kernel granted */
    struct udp_offload offload; /* what the kernel can do and the settings allow */
    bool are_taken;             /* another process reads them until it lets go (daemon/heir) */
    size_t services;
    int *shared; /* sockets that flows share, worker by worker, each by service; 0: none. Owned, and
                    the workers' once they are made. NULL: are_taken is false */
};

/* Opens them all, or none; a socket that was passed for an address (daemon/passed) takes the place
 * of one of them, and one that fits no address is a mistake. Port 0: the kernel picks one for all
 * workers. `[::]` takes IPv4, too, unless an IPv4 address with the same port is listed anywhere.
 * Each address that cannot be bound adds a line to `errors`, with `path` as the settings' file;
 * false when there was any. */
bool sockets_open(struct sockets *s, const struct conf *conf, const char *path,
                  struct errors *errors) __attribute__((warn_unused_result));
/* The same, but that `claim` fills s->list and s->shared with sockets that another process has had,
 * and adds what is wrong to `errors`. */
typedef bool (*sockets_claim_fn)(struct sockets *s, const struct conf *conf, const char *path,
                                 struct errors *errors);
bool sockets_claim(struct sockets *s, const struct conf *conf, const char *path,
                   sockets_claim_fn claim, struct errors *errors)
    __attribute__((warn_unused_result));
/* Closes all; harmless on a zeroed one. */
void sockets_close(struct sockets *s);

/* The shared sockets of one worker, by service; NULL: there are none. */
const int *sockets_shared(const struct sockets *s, unsigned worker);
/* The sockets of one worker, s->per_worker of them. */
const struct worker_socket *sockets_of(const struct sockets *s, unsigned worker);
/* Records with a connection id go to the worker whose session it is. */
struct udp_steering sockets_steering(const struct sockets *s);
/* Warns, once, when the kernel granted smaller buffers than the settings ask for. */
void sockets_check_buffers(const struct sockets *s, const struct conf *conf);
/* Warns of each address of a backend-source that this host does not have (yet), of a prefix of IPv4
 * by its first. Those of an IPv6 prefix are no interface's, so there it cannot be told. */
void sockets_check_sources(const struct conf *conf);
/* One line per listen address, with the port it really has, and one on offloading. */
void sockets_log(const struct sockets *s, const struct conf *conf);

#endif
