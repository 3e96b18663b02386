/*
 * farewell: the last flight once more, under new numbers. See the header.
 */
#include "dtls/farewell.h"

#include "base/bytes.h"
#include "dtls/finished.h"

#include <stdlib.h>
#include <string.h>

void handshake_farewell_clear(struct handshake_farewell *f)
{
    free(f->ticket);
    memset(f, 0, sizeof *f);
}

size_t handshake_repeat_farewell(struct handshake_farewell *f, struct record_crypt *crypt,
                                 struct association *a, uint8_t out[HANDSHAKE_FAREWELL_MAX])
{
    if (f->ticket != NULL) {
        memcpy(out, f->ticket, f->ticket_len);
        put_u48(out + 5, f->ccs_seq++);
    }
    size_t n = finished_write(f->finished, f->ccs_seq++, crypt, a, out + f->ticket_len);
    return n == 0 ? 0 : f->ticket_len + n;
}
