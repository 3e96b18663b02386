/*
 * bytes: bounded reading and writing of big-endian fields, hex, secrets.
 * A reader or writer that runs over its end turns `bad` and stays so; nothing past the end is
 * ever touched. The caller checks `bad` once, at the end.
 */
#ifndef DTLSGATE_BASE_BYTES_H
#define DTLSGATE_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct reader {
    const uint8_t *at;
    size_t left;
    bool bad;
};

struct writer {
    uint8_t *at;
    size_t left;
    bool bad;
};

struct reader reader_of(const void *data, size_t len);
uint8_t read_u8(struct reader *r); /* 0 once bad */
uint16_t read_u16(struct reader *r);
uint32_t read_u24(struct reader *r);
uint32_t read_u32(struct reader *r);
uint64_t read_u48(struct reader *r);
uint64_t read_u64(struct reader *r);
const uint8_t *read_bytes(struct reader *r, size_t n); /* NULL once bad; borrows from the input */
/* A vector behind a length of 1 or 2 bytes, as a reader of its own; that one is bad when this is.
 */
struct reader read_vec8(struct reader *r);
struct reader read_vec16(struct reader *r);

struct writer writer_of(void *data, size_t size);
void write_u8(struct writer *w, uint8_t v);
void write_u16(struct writer *w, uint16_t v);
void write_u24(struct writer *w, uint32_t v);
void write_u32(struct writer *w, uint32_t v);
void write_u48(struct writer *w, uint64_t v);
void write_u64(struct writer *w, uint64_t v);
void write_bytes(struct writer *w, const void *data, size_t n);

/* In-place forms for fixed buffers whose size the caller has checked. */
void put_u16(uint8_t p[2], uint16_t v);
void put_u48(uint8_t p[6], uint64_t v);
void put_u64(uint8_t p[8], uint64_t v);

/* Lower-case hex and a NUL; `out` holds 2 * n + 1 bytes. */
void hex_encode(char *out, const void *data, size_t n);
/* Hex of either case to bytes. Returns the number of bytes, or -1: odd length, a character that is
 * no hex digit, or more than `size` bytes. */
int hex_decode(uint8_t *out, size_t size, const char *hex, size_t hex_len)
    __attribute__((warn_unused_result));

/* A number in decimal, no NUL. Returns its length. */
#define DECIMAL_MAX 20
size_t decimal_encode(char out[DECIMAL_MAX], uint64_t v);

/* Compare without telling by time where they differ. */
bool bytes_equal_secret(const void *a, const void *b, size_t n);
/* Overwrite a secret; never optimised away. */
void bytes_wipe(void *p, size_t n);
/* Fill from the kernel's generator; aborts when it cannot, for there is no fallback. */
void bytes_random(void *p, size_t n);

/* Bytes of unknown content as printable ASCII for a log line: anything outside 0x20..0x7e, and
 * `"` and `\`, becomes \xNN. Cut with "..." when `size` is short; always ends with NUL. Returns
 * `out`. */
const char *bytes_escape(char *out, size_t size, const void *data, size_t n);
/* The way back: each \xNN becomes its byte, anything else stays. Returns the number of bytes, or
 * -1: a backslash with anything else behind it, or more than `size` bytes. */
int bytes_unescape(void *out, size_t size, const char *text, size_t len)
    __attribute__((warn_unused_result));

#endif
