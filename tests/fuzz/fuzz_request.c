/*
 * fuzz_request: any bytes as the head of a request.
 * Checked: what is taken is a whole one, its parts are texts of printable ASCII within their
 * bounds, and no argument is longer than its place.
 */
#include "daemon/request.h"

#include <stdint.h>
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

static void check_text(const char *text, size_t size)
{
    size_t len = strnlen(text, size);

    require(len < size);
    for (size_t i = 0; i < len; i++)
        require(text[i] > 0x20 && text[i] < 0x7f);
}

static void check_arguments(const struct request *r)
{
    static const char *const names[] = {"search", "limit", "order", "since", "a"};
    char value[16];

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        memset(value, 'x', sizeof(value));
        bool is_there = request_argument(r, names[i], value, sizeof(value));
        require(strnlen(value, sizeof(value)) < sizeof(value));
        require(is_there || value[0] == '\0');
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    size_t len = request_head_len(bytes, size);
    struct request r;

    require(len <= size);
    if (len == 0)
        len = size;
    else
        require(bytes[len - 1] == '\n');
    if (request_parse(&r, bytes, len) != REQUEST_FINE)
        return 0;
    check_text(r.path, sizeof(r.path));
    check_text(r.query, sizeof(r.query));
    check_text(r.host, sizeof(r.host));
    require(r.path[0] == '/' && r.host[0] != '\0');
    require(!r.is_host_literal || request_is_for_us(&r, NULL));
    check_arguments(&r);
    return 0;
}
