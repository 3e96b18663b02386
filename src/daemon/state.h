/*
 * state: what outlives the process: a file of sessions in daemon.state-dir, replaced by each start
 * with one under keys of its own, and the key that it is sealed with. Knows the files, not what a
 * session is.
 */
#ifndef DTLSGATE_DAEMON_STATE_H
#define DTLSGATE_DAEMON_STATE_H

#include "base/errors.h"
#include "base/steer.h"
#include "conf/settings.h"
#include "dtls/cookie.h"
#include "dtls/ticket.h"
#include "proxy/keep.h"

struct state_dir;

/* Reads the key, as long as we may: before the change of user. *out is NULL where no state is
 * wanted. False: a line was added to `errors`. */
bool state_new(struct state_dir **out, const struct conf_daemon *daemon, const char *source,
               struct errors *errors) __attribute__((warn_unused_result));
/* Whether the key is to come as a credential of a service manager, and we have none. */
bool state_awaits_credential(const struct conf_daemon *daemon);
/* Closes and wipes; what is in the file stays, one that did not come to take the old one's place is
 * removed. NULL is fine. */
void state_free(struct state_dir *s);

/* `lock`: what a running process that hands over holds its folder by, or -1; taken over. False: a
 * line was added to `errors`, for an upgrade can neither add a state nor take it away. */
bool state_inherit(struct state_dir *s, bool is_heir, int lock, const char *source,
                   struct errors *errors) __attribute__((warn_unused_result));
/* As the user that we have become: holds the folder, looks through the file that is there, unless
 * it is a running process's, and makes a new one beside it. False with `why`. What is wrong with
 * the old file is logged, and nothing else. */
bool state_open(struct state_dir *s, char *why, size_t why_size)
    __attribute__((warn_unused_result));
/* For a process that takes over. */
int state_lock(const struct state_dir *s);
/* For the workers; borrowed. */
struct keep_shared *state_shared(struct state_dir *s);
/* How clients are shared out among workers, the same in each start with the same key. Before
 * state_begin(), like the rest down to there. */
struct steer state_steer(const struct state_dir *s);

/* The cookie secrets of the earlier process, where they may still be of use. */
bool state_cookies(const struct state_dir *s, struct cookie_secrets *out)
    __attribute__((warn_unused_result));
/* The keys of its tickets, the newest of which was made `age` ms ago. */
bool state_tickets(const struct state_dir *s, struct ticket_keys *out, uint64_t *age)
    __attribute__((warn_unused_result));
/* Its sessions, one after the other, those used last first; whoever gets one wipes it. False:
 * that was all. */
bool state_next(struct state_dir *s, struct keep_entry *e) __attribute__((warn_unused_result));
/* How many entries could not be read. */
size_t state_damaged(const struct state_dir *s);
/* All that is to go on is in the new file, which takes the old one's place. Before the first
 * datagram. False with `why`, and the old one is still in its place. */
bool state_begin(struct state_dir *s, char *why, size_t why_size)
    __attribute__((warn_unused_result));

/* An upgrade came to nothing: removes what the other process may have left of its file. */
void state_clear_up(struct state_dir *s);

/* These are in use now. False: libcrypto failed. */
bool state_put_cookies(struct state_dir *s, const struct cookie_secrets *cookies)
    __attribute__((warn_unused_result));
bool state_put_tickets(struct state_dir *s, const struct ticket_keys *keys, uint64_t age)
    __attribute__((warn_unused_result));
/* All workers have ended: what is in the file is final. */
void state_close(struct state_dir *s);

#endif
