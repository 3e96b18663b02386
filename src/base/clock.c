/*
 * clock: the two clocks of the system.
 * Must never know what the time is asked for.
 */
#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define MS_OFFSET 20 /* "2026-11-22T13:30:40." */

uint64_t clock_now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    /* A time namespace may start at zero, and zero is kept for "never". */
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000 + 1;
}

uint64_t clock_now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

int64_t clock_wall_s(void)
{
    return (int64_t)time(NULL);
}

static void write_second(time_t second, char text[CLOCK_TEXT_MAX])
{
    struct tm tm;

    gmtime_r(&second, &tm);
    snprintf(text, CLOCK_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d.000Z", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

uint64_t clock_wall_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void write_ms(unsigned ms, char text[CLOCK_TEXT_MAX])
{
    text[MS_OFFSET] = (char)('0' + ms / 100);
    text[MS_OFFSET + 1] = (char)('0' + ms / 10 % 10);
    text[MS_OFFSET + 2] = (char)('0' + ms % 10);
}

const char *clock_text(uint64_t wall_ms, char buf[CLOCK_TEXT_MAX])
{
    write_second((time_t)(wall_ms / 1000), buf);
    write_ms((unsigned)(wall_ms % 1000), buf);
    return buf;
}

const char *clock_wall_text(char buf[CLOCK_TEXT_MAX])
{
    /* Of this thread's last second. */
    static _Thread_local char text[CLOCK_TEXT_MAX];
    static _Thread_local time_t second;
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    if (ts.tv_sec != second || text[0] == '\0')
        write_second(second = ts.tv_sec, text);
    memcpy(buf, text, CLOCK_TEXT_MAX);
    write_ms((unsigned)(ts.tv_nsec / 1000000), buf);
    return buf;
}
