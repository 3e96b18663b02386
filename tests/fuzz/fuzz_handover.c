/*
 * fuzz_handover: any bytes as the words of another process. Checked: what is read comes out again
 * as it was, and no name runs over its end.
 */
#include "daemon/handover.h"

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

static void try_sockets(struct reader r)
{
    uint8_t again[HANDOVER_SOCKET_MAX];
    struct handover_socket s;

    for (;;) {
        const uint8_t *from = r.at;
        if (!handover_read_socket(&r, &s))
            return;
        struct writer w = writer_of(again, sizeof again);
        handover_write_socket(&w, &s);
        require(!w.bad && (size_t)(w.at - again) == (size_t)(r.at - from));
        require(memcmp(again, from, (size_t)(w.at - again)) == 0);
        require(s.name[s.name_len] == '\0');
    }
}

static void try_cookies(struct reader r)
{
    struct cookie_secrets s;
    uint8_t again[33];
    struct writer w = writer_of(again, sizeof again);
    const uint8_t *from = r.at;

    if (!handover_read_cookies(&r, &s))
        return;
    handover_write_cookies(&w, &s);
    require(!w.bad && w.left == 0 && memcmp(again, from, sizeof again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader r = reader_of(data, size);
    struct handover_hello hello;

    if (handover_read_hello(&r, &hello) && hello.version == HANDOVER_VERSION)
        require(!r.bad);
    try_sockets(reader_of(data, size));
    try_cookies(reader_of(data, size));
    return 0;
}
