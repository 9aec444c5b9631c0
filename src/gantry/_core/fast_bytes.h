/* Walks over bytes that the compiled core does for every message: CRC-32, the next byte of some kinds, bytes ahead.
 *
 * Portable C does all of it; where x86-64 has better (SSE2 always, carry-less multiplication when the processor says so), that
 * is used and gives the same. Nothing here reads outside [p, p + size).
 * CRC by folding: "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009; the constants are
 * its powers of x modulo the reflected polynomial 0x1DB710641.
 */
#ifndef GANTRY_FAST_BYTES_H
#define GANTRY_FAST_BYTES_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define GANTRY_X86 1
#include <immintrin.h>
#endif

/* -- CRC-32 (zlib's) ---------------------------------------------------------------------------------------------- */

static uint32_t gantry_crc_table[8][256];
static int gantry_has_clmul;

static void gantry_crc_begin(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xEDB88320u ^ (c >> 1) : c >> 1;
        gantry_crc_table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int k = 1; k < 8; k++)
            gantry_crc_table[k][i] =
                (gantry_crc_table[k - 1][i] >> 8) ^ gantry_crc_table[0][gantry_crc_table[k - 1][i] & 0xFF];
#ifdef GANTRY_X86
    __builtin_cpu_init();
    gantry_has_clmul = __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
#endif
}

static uint32_t gantry_crc_by_table(uint32_t c, const uint8_t *p, size_t size) {
    for (; size >= 8; p += 8, size -= 8) {
        c ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        c = gantry_crc_table[7][c & 0xFF] ^ gantry_crc_table[6][(c >> 8) & 0xFF] ^ gantry_crc_table[5][(c >> 16) & 0xFF] ^
            gantry_crc_table[4][c >> 24] ^ gantry_crc_table[3][p[4]] ^ gantry_crc_table[2][p[5]] ^
            gantry_crc_table[1][p[6]] ^ gantry_crc_table[0][p[7]];
    }
    for (; size; p++, size--) c = (c >> 8) ^ gantry_crc_table[0][(c ^ *p) & 0xFF];
    return c;
}

#ifdef GANTRY_X86
#define GANTRY_LOAD(at) _mm_loadu_si128((const __m128i *)(at))

/* The CRC's state after `size` bytes, a multiple of 16 and at least 64. */
__attribute__((target("pclmul,sse4.1"))) static uint32_t gantry_crc_by_folding(uint32_t c, const uint8_t *p, size_t size) {
    const __m128i by_four = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4);
    const __m128i by_one = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    const __m128i low = _mm_setr_epi32(~0, 0, ~0, 0);
    __m128i a = _mm_xor_si128(GANTRY_LOAD(p), _mm_cvtsi32_si128((int)c));
    __m128i b = GANTRY_LOAD(p + 16), d = GANTRY_LOAD(p + 32), e = GANTRY_LOAD(p + 48), t;
#define GANTRY_FOLD(x, k, more) \
    (t = _mm_clmulepi64_si128(x, k, 0x00), _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x, k, 0x11), t), more))
    for (p += 64, size -= 64; size >= 64; p += 64, size -= 64) {
        a = GANTRY_FOLD(a, by_four, GANTRY_LOAD(p));
        b = GANTRY_FOLD(b, by_four, GANTRY_LOAD(p + 16));
        d = GANTRY_FOLD(d, by_four, GANTRY_LOAD(p + 32));
        e = GANTRY_FOLD(e, by_four, GANTRY_LOAD(p + 48));
    }
    a = GANTRY_FOLD(a, by_one, b);
    a = GANTRY_FOLD(a, by_one, d);
    a = GANTRY_FOLD(a, by_one, e);
    for (; size >= 16; p += 16, size -= 16) a = GANTRY_FOLD(a, by_one, GANTRY_LOAD(p));
#undef GANTRY_FOLD
    /* 128 bits to 64, to 32, then Barrett's reduction. */
    b = _mm_clmulepi64_si128(a, by_one, 0x10);
    a = _mm_xor_si128(_mm_srli_si128(a, 8), b);
    b = _mm_srli_si128(a, 4);
    a = _mm_clmulepi64_si128(_mm_and_si128(a, low), _mm_set_epi64x(0, 0x0163cd6124), 0x00);
    a = _mm_xor_si128(a, b);
    const __m128i reduce = _mm_set_epi64x(0x01f7011641, 0x01db710641);
    b = _mm_clmulepi64_si128(_mm_and_si128(a, low), reduce, 0x10);
    b = _mm_clmulepi64_si128(_mm_and_si128(b, low), reduce, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(a, b), 1);
}
#endif

static uint32_t gantry_crc32(const uint8_t *p, size_t size) {
    uint32_t c = 0xFFFFFFFFu;
#ifdef GANTRY_X86
    if (size >= 64 && gantry_has_clmul) {
        size_t whole = size & ~(size_t)15;
        c = gantry_crc_by_folding(c, p, whole);
        p += whole;
        size -= whole;
    }
#endif
    return ~gantry_crc_by_table(c, p, size);
}

/* -- memory that is asked for before it is needed -------------------------------------------------------------------- */

static inline void gantry_prefetch(const uint8_t *p, size_t size) {
#if defined(__GNUC__) || defined(__clang__)
    for (size_t at = 0; at < size; at += 64) __builtin_prefetch(p + at);
#else
    (void)p, (void)size;
#endif
}

/* -- the next byte of a kind, at or after `at`; `size` when there is none -------------------------------------------- */

static inline size_t gantry_next_separator(const uint8_t *p, size_t at, size_t size) { /* 0, 1 or 2 */
#ifdef GANTRY_X86
    for (const __m128i two = _mm_set1_epi8(2); at + 16 <= size; at += 16) {
        const __m128i v = _mm_loadu_si128((const __m128i *)(p + at));
        const unsigned found = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(v, two), v));
        if (found) return at + (size_t)__builtin_ctz(found);
    }
#endif
    while (at < size && p[at] > 2) at++;
    return at;
}

static inline size_t gantry_next_special(const uint8_t *p, size_t at, size_t size) { /* in a JSON string: " \ or below 32 */
#ifdef GANTRY_X86
    const __m128i quote = _mm_set1_epi8('"'), escape = _mm_set1_epi8('\\'), control = _mm_set1_epi8(31);
    for (; at + 16 <= size; at += 16) {
        const __m128i v = _mm_loadu_si128((const __m128i *)(p + at));
        const __m128i is = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, escape)),
                                        _mm_cmpeq_epi8(_mm_min_epu8(v, control), v));
        const unsigned found = (unsigned)_mm_movemask_epi8(is);
        if (found) return at + (size_t)__builtin_ctz(found);
    }
#endif
    while (at < size && p[at] != '"' && p[at] != '\\' && p[at] >= 32) at++;
    return at;
}

#endif
