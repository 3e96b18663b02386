/*
 * date: digits to time and back, by the C library's calendar. See the header.
 */
#include "conf/date.h"

#include <ctype.h>
#include <time.h>

/* As long as the form, and a digit where it has one. */
static bool has_form(const char *text, const char *form)
{
    for (; *form && *text; text++, form++)
        if (*form == '0' ? !isdigit((unsigned char)*text) : *text != *form)
            return false;
    return !*form && !*text;
}

static int number_at(const char *digits, int count)
{
    int n = 0;

    while (count-- > 0)
        n = n * 10 + (*digits++ - '0');
    return n;
}

/* A date alone is the last second of its day. */
bool date_parse(const char *text, uint64_t *ms)
{
    struct tm tm = {.tm_hour = 23, .tm_min = 59, .tm_sec = 59}, back;
    bool has_time = has_form(text, "0000-00-00T00:00:00Z");
    time_t t;

    if (!has_time && !has_form(text, "0000-00-00"))
        return false;
    tm.tm_year = number_at(text, 4) - 1900;
    tm.tm_mon = number_at(text + 5, 2) - 1;
    tm.tm_mday = number_at(text + 8, 2);
    if (has_time) {
        tm.tm_hour = number_at(text + 11, 2);
        tm.tm_min = number_at(text + 14, 2);
        tm.tm_sec = number_at(text + 17, 2);
    }
    back = tm;
    t = timegm(&back); /* which makes the 30th of February a day of March */
    if (t <= 0 || back.tm_mon != tm.tm_mon || back.tm_hour != tm.tm_hour ||
        back.tm_min != tm.tm_min || back.tm_sec != tm.tm_sec)
        return false;
    *ms = (uint64_t)t * 1000;
    return true;
}

const char *date_text(uint64_t ms, char buf[DATE_TEXT_MAX])
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;

    *buf = '\0';
    if (ms > 0 && gmtime_r(&t, &tm))
        strftime(buf, DATE_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm);
    return buf;
}
