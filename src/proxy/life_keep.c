/*
 * life_keep: an open session put where the next start finds it. The inside of life, split off for
 * size; life.h has the contracts. Must never know what a slot or a file is.
 */
#include "base/bytes.h"
#include "proxy/life.h"
#include "proxy/report.h"
#include "proxy/session_image.h"

struct session_image_flow life_flow_image(const struct relay *r, const struct session *s)
{
    return (struct session_image_flow){
        .is_open = true,
        .is_lone = !upstream_is_shared(s->flow),
        .is_listed = life_slot(s) != BALANCE_NOBODY,
        .was_refused = life_was_refused(s),
        .source = upstream_source(s->flow),
        .port = upstream_port(s->flow),
        .backend = life_backend(r, s),
    };
}

/* An address that is not proven may be a thief's: the next start begins at the last one that is. */
static void go_home(struct session_image *image)
{
    struct session_image_moves *moves = &image->moves;

    if (!moves->has_proof)
        return;
    if (moves->is_unproven) {
        image->peer = moves->home_peer;
        image->local = moves->home_local;
        image->listener = moves->home_listener;
    }
    *moves = (struct session_image_moves){.count = moves->count};
}

/* What is not worth its room: a ticket that nobody may ask for again, for such a client makes a new
 * handshake if it lacks the end; and counts that will be old by then. */
static void leave_out(struct session_image *image)
{
    if (image->ticket_len > 0) {
        image->has_farewell = false;
        image->ticket_len = 0;
    }
    image->in_datagrams = image->in_bytes = image->out_datagrams = image->out_bytes = 0;
    image->drops = image->refused = 0;
    image->tally = (struct tally){.handshake_ms = image->tally.handshake_ms,
                                  .is_resumed = image->tally.is_resumed};
}

void life_keep(struct relay *r, struct session *s, uint64_t now)
{
    struct session_image image;

    if (r->keep == NULL || s->state != SESSION_OPEN)
        return;
    session_image_save(&image, s, now);
    image.local = *locals_at(&r->peers.locals, s->local);
    if (s->flow != NULL && life_backend(r, s).family != 0)
        image.flow = life_flow_image(r, s);
    go_home(&image);
    leave_out(&image);
    if (!keep_store(r->keep, s, life_conf(r, s)->name, &image) && s->association.lease == 0) {
        stats_add(&r->parts.stats->sessions_unkept, 1);
        report_unkept(s, life_conf(r, s), &r->unkept_lines, now);
    }
    bytes_wipe(&image, sizeof image);
}
