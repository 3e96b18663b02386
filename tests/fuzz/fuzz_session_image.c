/*
 * fuzz_session_image: any bytes as sessions that were handed over. Checked: what is read holds what
 * a session can be, and comes out again as the same bytes, but for their order.
 */
#include "proxy/roam.h"
#include "proxy/session_image.h"

#include <stdlib.h>
#include <string.h>

/* What a fuzzer and a replay call; libFuzzer has no header for it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Not assert(): a build without assertions would check nothing. */
static void require(bool holds)
{
    if (!holds)
        abort();
}

static void require_sane(const struct session_image *image)
{
    const struct association *a = &image->association;

    require(a->suite != NULL && a->write_seq > 0 && a->write_seq <= WIRE_SEQ_MAX);
    require(a->window.top <= WIRE_SEQ_MAX);
    require(!record_window_allows(&a->window, a->window.top));
    require(image->identity_len > 0 && image->identity_len <= PSK_IDENTITY_MAX);
    require(image->id > 0 && image->id <= WIRE_SEQ_MAX && image->idle <= image->age);
    require(image->plain_max > 0 && image->plain_max <= WIRE_PLAINTEXT_MAX);
    require(!image->flow.is_lone || image->flow.is_open);
    require(!a->has_cid);
    require(image->has_cid || (!image->moves.is_unproven && !image->moves.has_proof));
    require(!image->moves.has_proof || image->moves.home_peer.family != 0);
    require(image->moves.left <= ROAM_PROOF_MS && image->key_len <= PSK_KEY_MAX);
    require(image->ticket_len <= RESUME_RECORD_MAX &&
            (image->ticket_len == 0 || image->has_farewell));
    require(image->farewell.ticket == NULL && image->farewell.ticket_len == 0);
    require(image->has_tally || !image->tally.is_resumed);
    require(image->tally.too_old <= image->tally.from_client[FATE_DROP_REPLAY - FATE_DROP_JUNK]);
}

static size_t write_one(const struct session_image *image, uint8_t out[SESSION_IMAGE_MAX])
{
    struct writer w = writer_of(out, SESSION_IMAGE_MAX);

    session_image_write(&w, image);
    require(!w.bad);
    return SESSION_IMAGE_MAX - w.left;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(data, size);
    uint8_t first[SESSION_IMAGE_MAX], second[SESSION_IMAGE_MAX];
    struct session_image image, again;

    while (r.left > 0 && session_image_read(&r, &image)) {
        size_t len = write_one(&image, first);
        struct reader copy = reader_of(first, len);
        require_sane(&image);
        require(session_image_read(&copy, &again) && copy.left == 0);
        require(write_one(&again, second) == len && memcmp(first, second, len) == 0);
    }
    return 0;
}
