/* Bob Jenkins' lookup3 as PostgreSQL runs it: the compiled twin of _lookup3.py.

Source: PostgreSQL common/hashfn.c, hash_bytes and hash_bytes_uint32. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t
rot(uint32_t x, int k)
{
    return (x << k) | (x >> (32 - k));
}

/* Words are little-endian wherever this runs, as in _lookup3.py. */
static inline uint32_t
word(const unsigned char *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16
        | (uint32_t)at[3] << 24;
}

static inline int32_t
final(uint32_t a, uint32_t b, uint32_t c)
{
    c ^= b; c -= rot(b, 14);
    a ^= c; a -= rot(c, 11);
    b ^= a; b -= rot(a, 25);
    c ^= b; c -= rot(b, 16);
    a ^= c; a -= rot(c, 4);
    b ^= a; b -= rot(a, 14);
    c ^= b; c -= rot(b, 24);
    return (int32_t)c;
}

static int32_t
hash_data(const char *data, size_t length)
{
    const unsigned char *at = (const unsigned char *)data;
    unsigned char tail[12] = {0};
    uint32_t a, b, c;

    a = b = c = 0x9e3779b9u + (uint32_t)length + 3923095u;
    for (; length >= 12; length -= 12, at += 12) {
        a += word(at);
        b += word(at + 4);
        c += word(at + 8);
        a -= c; a ^= rot(c, 4);  c += b;
        b -= a; b ^= rot(a, 6);  a += c;
        c -= b; c ^= rot(b, 8);  b += a;
        a -= c; a ^= rot(c, 16); c += b;
        b -= a; b ^= rot(a, 19); a += c;
        c -= b; c ^= rot(b, 4);  b += a;
    }
    memcpy(tail, at, length);
    /* The lowest byte of the third word is the length's. */
    return final(a + word(tail), b + word(tail + 4), c + (word(tail + 8) << 8));
}

static inline int32_t
hash_word(uint32_t value)
{
    uint32_t start = 0x9e3779b9u + 4u + 3923095u;

    return final(start + value, start, start);
}

static inline int32_t
hash_int8(int64_t value)
{
    uint32_t high = (uint32_t)((uint64_t)value >> 32);

    return hash_word((uint32_t)value ^ (value >= 0 ? high : ~high));
}
