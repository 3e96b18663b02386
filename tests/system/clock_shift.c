/*
 * clock_shift: loaded in front of the C library: the wall clock is CLOCK_SHIFT seconds ahead. No
 * other clock is.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *out)
{
    const char *shift = getenv("CLOCK_SHIFT");
    int result = (int)syscall(SYS_clock_gettime, clock, out);

    if (result == 0 && clock == CLOCK_REALTIME && shift)
        out->tv_sec += atol(shift);
    return result;
}
