/*
 * udp_echo: a UDP service that sends each datagram back to where it came from; the backend of the
 * measurements. Takes up to 64 datagrams per system call, so that it costs little beside a proxy.
 *
 *     udp_echo [ADDR:PORT]      default 127.0.0.1:0
 *
 * Prints "listening on ADDR:PORT" and then serves until a signal ends it.
 */
#include "args.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define BATCH 64
#define DATAGRAM_MAX 65536

static uint8_t room[BATCH][DATAGRAM_MAX];

/* What one peer does not take is dropped, as a network would. */
static void send_all(int fd, struct mmsghdr *message, unsigned count)
{
    for (unsigned at = 0; at < count;) {
        int sent = sendmmsg(fd, message + at, count - at, 0);
        at += sent > 0 ? (unsigned)sent : 1;
    }
}

static _Noreturn void serve(int fd)
{
    static struct mmsghdr message[BATCH];
    static struct iovec payload[BATCH];
    static struct sockaddr_in peer[BATCH];

    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            payload[i] = (struct iovec){.iov_base = room[i], .iov_len = DATAGRAM_MAX};
            message[i].msg_hdr = (struct msghdr){.msg_name = &peer[i],
                                                 .msg_namelen = sizeof(peer[i]),
                                                 .msg_iov = &payload[i],
                                                 .msg_iovlen = 1};
        }
        int n = recvmmsg(fd, message, BATCH, MSG_WAITFORONE, NULL);
        if (n < 0 && errno != EINTR && errno != ECONNREFUSED)
            die("recvmmsg");
        for (int i = 0; i < n; i++)
            payload[i].iov_len = message[i].msg_len;
        if (n > 0)
            send_all(fd, message, (unsigned)n);
    }
}

int main(int argc, char **argv)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at;

    if (argc > 2 || !args_address(argc == 2 ? argv[1] : "127.0.0.1:0", &at)) {
        fprintf(stderr, "usage: udp_echo [ADDR:PORT]\n");
        return 2;
    }
    if (fd < 0)
        die("socket");
    listen_at(fd, at);
    serve(fd);
}
