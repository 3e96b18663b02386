/*
 * args: numbers, addresses and keys of the command line; limits and the clock.
 */
#include "args.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define BUFFER_BYTES (4 * 1024 * 1024)

void die(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
    exit(1);
}

bool args_address(const char *text, struct sockaddr_in *out)
{
    const char *colon = strrchr(text, ':');
    char host[INET_ADDRSTRLEN], *end;

    if (!colon || (size_t)(colon - text) >= sizeof(host))
        return false;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    unsigned long port = strtoul(colon + 1, &end, 10);
    *out = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    return end != colon + 1 && *end == '\0' && port <= 65535 &&
           inet_pton(AF_INET, host, &out->sin_addr) == 1;
}

uint64_t args_number(const char *text, uint64_t min, uint64_t max)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);

    if (end == text || *end != '\0' || n < min || n > max) {
        fprintf(stderr, "%s: %s: a number from %" PRIu64 " to %" PRIu64 " is needed\n",
                program_invocation_short_name, text, min, max);
        exit(2);
    }
    return n;
}

size_t args_hex(const char *text, uint8_t *out, size_t size)
{
    size_t len = strlen(text) / 2;

    if (strlen(text) % 2 != 0 || len > size || strspn(text, "0123456789abcdefABCDEF") != 2 * len)
        return 0;
    for (size_t i = 0; i < len; i++)
        (void)sscanf(text + 2 * i, "%2hhx", &out[i]);
    return len;
}

void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("setrlimit");
}

void listen_at(int fd, struct sockaddr_in at)
{
    int bytes = BUFFER_BYTES;
    socklen_t len = sizeof(at);
    char host[INET_ADDRSTRLEN];

    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0)
        die("bind");
    if (getsockname(fd, (struct sockaddr *)&at, &len) != 0)
        die("getsockname");
    printf("listening on %s:%u\n", inet_ntop(AF_INET, &at.sin_addr, host, sizeof(host)),
           ntohs(at.sin_port));
    fflush(stdout);
}

void wait_for_go(void)
{
    char line[16];

    printf("ready\n");
    fflush(stdout);
    if (!fgets(line, sizeof(line), stdin))
        exit(1);
}

uint64_t clock_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
