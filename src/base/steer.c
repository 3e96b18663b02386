/*
 * steer: the same arithmetic twice, in C and as a program of the kernel's packet filter.
 * Must never differ between the two.
 */
#include "base/steer.h"

#include "base/bytes.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* Odd, with bits set evenly. */
#define TIMES_WORD 0x9e3779b1u
#define TIMES_PORT 0x85ebca77u
#define TIMES_LAST 0xc2b2ae3du

#define PROGRAM_MAX 96
#define NET(offset) ((uint32_t)SKF_NET_OFF + (offset))
#define HELD 0 /* the scratch cell with the hash so far */

struct program {
    struct sock_filter code[PROGRAM_MAX];
    unsigned short len;
};

static uint32_t mix(uint32_t hash, uint32_t by, unsigned shift)
{
    hash *= by;
    return hash ^ hash >> shift;
}

unsigned steer_index(const struct steer *s, const struct addr *from, unsigned count)
{
    unsigned words = from->family == AF_INET ? 1 : 4;
    struct reader r = reader_of(from->ip, sizeof(from->ip));
    uint32_t hash = s->key[0];

    for (unsigned i = 0; i < words; i++)
        hash = mix(hash ^ read_u32(&r), TIMES_WORD, 15);
    hash = mix((hash ^ from->port) + s->key[1], TIMES_PORT, 13);
    return mix(hash, TIMES_LAST, 16) % count;
}

static void add(struct program *p, uint16_t code, uint32_t k)
{
    p->code[p->len++] = (struct sock_filter){.code = code, .k = k};
}

/* Over the next `no` instructions when the accumulator is something else than k. */
static void add_unless(struct program *p, uint32_t k, uint8_t no)
{
    p->code[p->len++] = (struct sock_filter){BPF_JMP | BPF_JEQ | BPF_K, 0, no, k};
}

static void add_mix(struct program *p, uint32_t by, unsigned shift)
{
    add(p, BPF_ALU | BPF_MUL | BPF_K, by);
    add(p, BPF_MISC | BPF_TAX, 0);
    add(p, BPF_ALU | BPF_RSH | BPF_K, shift);
    add(p, BPF_ALU | BPF_XOR | BPF_X, 0);
}

/* The accumulator holds what was loaded last; afterwards the hash so far. */
static void add_held(struct program *p)
{
    add(p, BPF_LDX | BPF_MEM, HELD);
    add(p, BPF_ALU | BPF_XOR | BPF_X, 0);
}

static void add_words(struct program *p, const struct steer *s, uint32_t at, unsigned words)
{
    add(p, BPF_LD | BPF_IMM, s->key[0]);
    for (unsigned i = 0; i < words; i++) {
        add(p, BPF_ST, HELD);
        add(p, BPF_LD | BPF_W | BPF_ABS, NET(at + 4 * i));
        add_held(p);
        add_mix(p, TIMES_WORD, 15);
    }
    add(p, BPF_ST, HELD);
}

/* The accumulator holds the port. */
static void add_end(struct program *p, const struct steer *s, unsigned count)
{
    add_held(p);
    add(p, BPF_ALU | BPF_ADD | BPF_K, s->key[1]);
    add_mix(p, TIMES_PORT, 13);
    add_mix(p, TIMES_LAST, 16);
    add(p, BPF_ALU | BPF_MOD | BPF_K, count);
    add(p, BPF_RET | BPF_A, 0);
}

static void add_ipv4(struct program *p, const struct steer *s, unsigned count)
{
    add_words(p, s, 12, 1);
    add(p, BPF_LDX | BPF_B | BPF_MSH, NET(0)); /* the header's length */
    add(p, BPF_LD | BPF_H | BPF_IND, NET(0));
    add_end(p, s, count);
}

static void add_ipv6(struct program *p, const struct steer *s, unsigned count)
{
    add(p, BPF_LD | BPF_B | BPF_ABS, NET(6));
    add_unless(p, IPPROTO_UDP, 0);
    struct sock_filter *jump = &p->code[p->len - 1];
    unsigned short from = p->len;
    add_words(p, s, 8, 4);
    add(p, BPF_LD | BPF_H | BPF_ABS, NET(40));
    add_end(p, s, count);
    jump->jf = (uint8_t)(p->len - from);
    add(p, BPF_RET | BPF_K, UINT32_MAX); /* no such index: the kernel chooses */
}

bool steer_attach(const struct steer *s, int fd, const struct udp_steering *first)
{
    struct program p = {.len = UDP_STEERING_CODE};
    struct sock_filter *jump;
    unsigned short from;

    udp_steering_code(first, p.code);
    add(&p, BPF_LD | BPF_B | BPF_ABS, NET(0));
    add(&p, BPF_ALU | BPF_RSH | BPF_K, 4);
    add_unless(&p, 4, 0);
    jump = &p.code[p.len - 1];
    from = p.len;
    add_ipv4(&p, s, first->count);
    jump->jf = (uint8_t)(p.len - from);
    add_ipv6(&p, s, first->count);

    const struct sock_fprog all = {.len = p.len, .filter = p.code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &all, sizeof(all)) == 0;
}
