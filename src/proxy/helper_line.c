/*
 * helper_line: a question and an answer, as lines. See the header.
 * Must never log what it reads: it is a key.
 */
#include "proxy/helper_line.h"

#include "base/bytes.h"

#include <string.h>

/* What stands for itself: RFC 3986's unreserved characters, whatever the locale. */
static bool is_plain(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

size_t helper_put_question(const struct helper_question *q, char out[HELPER_QUESTION_MAX])
{
    static const char digits[] = "0123456789ABCDEF";
    size_t n = 4;

    memcpy(out, "get ", n);
    for (size_t i = 0; i < q->len; i++) {
        uint8_t c = q->identity[i];
        if (is_plain(c)) {
            out[n++] = (char)c;
            continue;
        }
        out[n++] = '%';
        out[n++] = digits[c >> 4];
        out[n++] = digits[c & 15];
    }
    out[n++] = '\n';
    return n;
}

bool helper_read_answer(const char *line, size_t len, struct helper_answer *out)
{
    *out = (struct helper_answer){.verdict = HELPER_NONE};
    if (len == 4 && memcmp(line, "none", len) == 0)
        return true;
    int bytes = hex_decode(out->key, sizeof out->key, line, len);
    if (bytes < 1) {
        bytes_wipe(out, sizeof *out);
        return false;
    }
    out->verdict = HELPER_KEY;
    out->len = (size_t)bytes;
    return true;
}
