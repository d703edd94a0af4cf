/* SPDX-License-Identifier: Apache-2.0
 *
 * The three share their frame: blocks of 64 bytes, the last ones padded with 0x80, zeros and the
 * length in bits (little-endian for MD5, big-endian for the others).
 */
#include "base/digest.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define BLOCK_BYTES 64

typedef void block_fn(uint32_t *state, const unsigned char *block);

static void each_block(const unsigned char *bytes, size_t size, bool little, uint32_t *state,
                       block_fn *block)
{
    unsigned char tail[2 * BLOCK_BYTES] = {0};
    size_t whole = size / BLOCK_BYTES * BLOCK_BYTES, rest = size - whole;
    for (size_t at = 0; at < whole; at += BLOCK_BYTES)
        block(state, bytes + at);
    if (rest > 0)
        memcpy(tail, bytes + whole, rest);
    tail[rest] = 0x80;
    size_t end = rest + 9 <= BLOCK_BYTES ? BLOCK_BYTES : sizeof(tail);
    for (int i = 0; i < 8; i++)
        tail[end - 8 + (size_t)i] =
            (unsigned char)((uint64_t)size * 8 >> (8 * (little ? i : 7 - i)));
    for (size_t at = 0; at < end; at += BLOCK_BYTES)
        block(state, tail + at);
}

static uint32_t left(uint32_t x, unsigned by)
{
    return x << by | x >> (32 - by);
}

static uint32_t right(uint32_t x, unsigned by)
{
    return x >> by | x << (32 - by);
}

static uint32_t big(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint32_t small(const unsigned char *at)
{
    return (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

static void put(const uint32_t *state, unsigned words, bool little, unsigned char *out)
{
    for (unsigned i = 0; i < words * 4; i++)
        out[i] = (unsigned char)(state[i / 4] >> (8 * (little ? i % 4 : 3 - i % 4)));
}

static void md5_block(uint32_t *state, const unsigned char *block)
{
    static const unsigned shifts[4][4] = {
        {7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    for (unsigned i = 0; i < 64; i++) {
        unsigned round = i / 16;
        uint32_t mixed = round == 0   ? (b & c) | (~b & d)
                         : round == 1 ? (d & b) | (~d & c)
                         : round == 2 ? b ^ c ^ d
                                      : c ^ (b | ~d);
        unsigned word = round == 0   ? i
                        : round == 1 ? (5 * i + 1) % 16
                        : round == 2 ? (3 * i + 5) % 16
                                     : 7 * i % 16;
        uint32_t constant = (uint32_t)(fabs(sin(i + 1)) * 4294967296.0);
        uint32_t sum = a + mixed + constant + small(block + (size_t)word * 4);
        a = d;
        d = c;
        c = b;
        b += left(sum, shifts[round][i % 4]);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
}

void kp_md5(const void *bytes, size_t size, unsigned char out[KP_MD5_BYTES])
{
    uint32_t state[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    each_block(bytes, size, true, state, md5_block);
    put(state, 4, true, out);
}

static void sha1_block(uint32_t *state, const unsigned char *block)
{
    uint32_t w[80], s[5];
    memcpy(s, state, sizeof(s));
    for (unsigned i = 0; i < 80; i++)
        w[i] = i < 16 ? big(block + (size_t)i * 4)
                      : left(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (unsigned i = 0; i < 80; i++) {
        uint32_t mixed = i < 20   ? ((s[1] & s[2]) | (~s[1] & s[3])) + 0x5a827999
                         : i < 40 ? (s[1] ^ s[2] ^ s[3]) + 0x6ed9eba1
                         : i < 60 ? ((s[1] & s[2]) | (s[1] & s[3]) | (s[2] & s[3])) + 0x8f1bbcdc
                                  : (s[1] ^ s[2] ^ s[3]) + 0xca62c1d6;
        uint32_t next = left(s[0], 5) + mixed + s[4] + w[i];
        s[4] = s[3];
        s[3] = s[2];
        s[2] = left(s[1], 30);
        s[1] = s[0];
        s[0] = next;
    }
    for (unsigned i = 0; i < 5; i++)
        state[i] += s[i];
}

void kp_sha1(const void *bytes, size_t size, unsigned char out[KP_SHA1_BYTES])
{
    uint32_t state[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    each_block(bytes, size, false, state, sha1_block);
    put(state, 5, false, out);
}

static const uint32_t sha256_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static void sha256_block(uint32_t *state, const unsigned char *block)
{
    uint32_t w[64], s[8];
    memcpy(s, state, sizeof(s));
    for (unsigned i = 0; i < 64; i++) {
        if (i < 16) {
            w[i] = big(block + (size_t)i * 4);
            continue;
        }
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (right(a, 7) ^ right(a, 18) ^ a >> 3) +
               (right(b, 17) ^ right(b, 19) ^ b >> 10);
    }
    for (unsigned i = 0; i < 64; i++) {
        uint32_t first = s[7] + (right(s[4], 6) ^ right(s[4], 11) ^ right(s[4], 25)) +
                         ((s[4] & s[5]) ^ (~s[4] & s[6])) + sha256_constants[i] + w[i];
        uint32_t second = (right(s[0], 2) ^ right(s[0], 13) ^ right(s[0], 22)) +
                          ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof(s[0]));
        s[4] += first;
        s[0] = first + second;
    }
    for (unsigned i = 0; i < 8; i++)
        state[i] += s[i];
}

void kp_sha256(const void *bytes, size_t size, unsigned char out[KP_SHA256_BYTES])
{
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    each_block(bytes, size, false, state, sha256_block);
    put(state, 8, false, out);
}
