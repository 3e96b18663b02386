/*
 * fuzz_helper: any bytes as a helper's answer, and as the identity of a question.
 * Checked: a key has a length that keys have, what is no answer leaves nothing behind, and a
 * question is one line of characters that are safe anywhere.
 */
#include "proxy/helper_line.h"

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

static void check_answer(const char *line, size_t len)
{
    static const struct helper_answer nothing;
    struct helper_answer answer;

    memset(&answer, 'x', sizeof answer);
    if (!helper_read_answer(line, len, &answer)) {
        require(memcmp(answer.key, nothing.key, sizeof answer.key) == 0 && answer.len == 0);
        return;
    }
    if (answer.verdict == HELPER_NONE)
        require(len == 4 && memcmp(line, "none", 4) == 0);
    else
        require(answer.verdict == HELPER_KEY && answer.len >= 1 && answer.len <= PSK_KEY_MAX &&
                len == 2 * answer.len);
}

static void check_question(const uint8_t *identity, size_t len)
{
    const struct helper_question q = {.identity = identity, .len = len};
    char out[HELPER_QUESTION_MAX];
    size_t n = helper_put_question(&q, out);

    require(n <= sizeof out && n >= 4 + len + 1 && memcmp(out, "get ", 4) == 0);
    require(memchr(out, '\n', n) == out + n - 1);
    for (size_t i = 4; i < n - 1; i++)
        require(out[i] > ' ' && out[i] < 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_answer((const char *)data, size);
    if (size > 0)
        check_question(data, size < PSK_IDENTITY_MAX ? size : PSK_IDENTITY_MAX);
    return 0;
}
