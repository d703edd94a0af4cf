/* SPDX-License-Identifier: Apache-2.0
 *
 * Decoders against what encoders were given, over many random and adverse columns: every width from
 * 0 to 64 bits, every length from 0 to 2049, every vector unit of this machine against the plain
 * loop. Input ends, and output begins and ends, where memory that must not be touched begins: one
 * byte too far is a crash.
 *
 * KP_CODEC_VECTORS: how many vectors; 1000000 unless set. `make soak-codec` asks for many more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <sys/mman.h>

#include "base/assert.h"
#include "storage/codec_wide.h"

#define LENGTH_MAX 2049u
#define ROOM       (LENGTH_MAX * 8 + 4096) /* of bytes for one encoded column, and more */

static uint64_t seed = 0x9e3779b97f4a7c15ull;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static uint64_t vectors_wanted(void)
{
    const char *text = getenv("KP_CODEC_VECTORS");
    return text == NULL ? 1000000 : strtoull(text, NULL, 10);
}

/* ---------- memory with walls ---------- */

struct walled {
    uint8_t *first, *end; /* between two pages that cannot be touched */
};

static struct walled walled_make(size_t room)
{
    size_t page = 4096, size = (room + page - 1) / page * page;
    uint8_t *map = mmap(NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    assert_int_equal(mprotect(map + page, size, PROT_READ | PROT_WRITE), 0);
    return (struct walled){map + page, map + page + size};
}

static void walled_free(struct walled *memory)
{
    munmap(memory->first - 4096, (size_t)(memory->end - memory->first) + 2 * 4096);
}

/* Room for exactly `count` values before the wall. */
static uint64_t *values_before(const struct walled *memory, uint32_t count)
{
    return (uint64_t *)(void *)(memory->end - (size_t)count * 8);
}

/* A copy whose last byte is the last one before the wall. */
static const uint8_t *bytes_before(const struct walled *memory, const void *bytes, size_t size)
{
    kp_assert(size <= (size_t)(memory->end - memory->first));
    if (size > 0)
        memcpy(memory->end - size, bytes, size);
    return memory->end - size;
}

/* ---------- columns ---------- */

static uint64_t mask_of(unsigned width)
{
    return width == 0 ? 0 : UINT64_MAX >> (64 - width);
}

/* What is hard for one codec or another. */
static void column_make(uint64_t *values, uint32_t count, unsigned width, unsigned shape)
{
    uint64_t before = next_random(), mask = mask_of(width);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t any = next_random();
        if (shape == 0)
            before = any & mask; /* all of a width */
        else if (shape == 1)
            before += any & mask; /* a walk, over the end of the range too */
        else if (shape == 2)
            before = any % 11 == 0 ? any & mask : before; /* runs */
        else if (shape == 3)
            before = any % 64 == 0 ? any : any & mask; /* outliers */
        else if (shape == 4)
            before = i % 2 == 0 ? mask : ~mask; /* from one end to the other */
        else if (shape == 5)
            before = (any % 5) * mask; /* few values */
        else
            before = mask; /* one value */
        values[i] = before;
    }
}
#define SHAPES 7u

/* Most columns are short, so that there can be many; every length occurs. */
static uint32_t length_of(uint64_t number)
{
    return number % 32 == 0 ? (uint32_t)(number / 32 % (LENGTH_MAX + 1))
                            : (uint32_t)(next_random() % 65);
}

/* ---------- bits ---------- */

/* The layout once more, a bit at a time. */
static uint64_t bits_reference(const uint8_t *bytes, uint64_t first, unsigned step, unsigned width)
{
    uint64_t value = 0;
    for (unsigned bit = 0; bit < width; bit++) {
        uint64_t at = first + bit + (first % 64 + bit) / 64 * step;
        value |= (uint64_t)(bytes[at / 8] >> at % 8 & 1) << bit;
    }
    return value;
}

/* A full vector: lane i % 16 holds it at bit i / 16 * width, lanes interleaved by word. */
static void vector_check(const uint64_t *values, unsigned width, const uint8_t *bytes,
                         const struct walled *out)
{
    uint64_t *back = values_before(out, KPI_VECTOR_ROWS);
    for (enum kpi_wide_unit unit = 0; unit <= kpi_wide_unit(); unit++) {
        memset(back, 0xa5, KPI_VECTOR_ROWS * sizeof(*back));
        kpi_bits_unpack_on(unit, bytes, width, back);
        assert_memory_equal(back, values, KPI_VECTOR_ROWS * sizeof(*back));
    }
    for (uint32_t i = 0; i < KPI_VECTOR_ROWS; i += 61) {
        uint64_t bit = (uint64_t)(i / 16) * width;
        uint64_t first = bit / 64 * 1024 + i % 16 * 64 + bit % 64;
        assert_true(bits_reference(bytes, first, 15 * 64, width) == values[i]);
    }
}

static void bits_come_back(void **state)
{
    uint64_t values[LENGTH_MAX], wanted = vectors_wanted() / 4 * 3;
    uint8_t packed[LENGTH_MAX * 8];
    struct walled in = walled_make(ROOM), out = walled_make(ROOM);
    (void)state;
    for (uint64_t n = 0; n < wanted; n++) {
        unsigned width = (unsigned)(n % 65);
        bool full = n % 128 == 0;
        uint32_t count = full ? KPI_VECTOR_ROWS : length_of(n);
        size_t size = ((size_t)count * width + 7) / 8;
        column_make(values, count, width, 0);
        if (full)
            kpi_bits_pack(values, width, packed);
        else
            kpi_bits_pack_tail(values, count, width, packed);
        const uint8_t *bytes = bytes_before(&in, packed, size);
        uint64_t *back = values_before(&out, count);
        if (full) {
            vector_check(values, width, bytes, &out);
            continue;
        }
        kpi_bits_unpack_tail(bytes, count, width, back);
        assert_true(count == 0 || memcmp(back, values, count * sizeof(*back)) == 0);
    }
    walled_free(&in);
    walled_free(&out);
}

/* ---------- planes ---------- */

static void planes_are_equal_on_every_unit(void **state)
{
    uint8_t planes[LENGTH_MAX * 8];
    struct walled in = walled_make(ROOM), out = walled_make(ROOM);
    (void)state;
    for (uint32_t count = 0; count <= LENGTH_MAX; count += count < 300 ? 1 : 53)
        for (unsigned width = 0; width <= 8; width++) {
            uint64_t base = next_random();
            for (size_t i = 0; i < (size_t)width * count; i++)
                planes[i] = (uint8_t)next_random();
            const uint8_t *bytes = bytes_before(&in, planes, (size_t)width * count);
            uint64_t *back = values_before(&out, count);
            for (enum kpi_wide_unit unit = 0; unit <= kpi_wide_unit(); unit++) {
                kpi_planes_join_on(unit, bytes, width, count, base, back);
                for (uint32_t i = 0; i < count; i++) {
                    uint64_t value = base;
                    for (unsigned plane = 0; plane < width; plane++)
                        value += (uint64_t)planes[(size_t)plane * count + i] << (8 * plane);
                    assert_true(back[i] == value);
                }
            }
        }
    walled_free(&in);
    walled_free(&out);
}

/* ---------- whole chunks ---------- */

static void chunk_check(const struct kp_buf *chunk, const uint64_t *values, uint32_t count,
                        const struct walled *in, const struct walled *out)
{
    int64_t *back = (int64_t *)values_before(out, count);
    const uint8_t *bytes = bytes_before(in, chunk->data, chunk->size);
    assert_int_equal(kpi_ints_decode(bytes, chunk->size, count, back), KP_OK);
    assert_memory_equal(back, values, count * sizeof(*back));
}

/* Cut off anywhere or changed anywhere: CORRUPT or other values, never a byte too far. */
static void chunk_harm(struct kp_buf *chunk, uint32_t count, const struct walled *in,
                       const struct walled *out)
{
    int64_t *back = (int64_t *)values_before(out, count);
    size_t cut = next_random() % chunk->size;
    kp_status status = kpi_ints_decode(bytes_before(in, chunk->data, cut), cut, count, back);
    bool is_const = chunk->data[0] == KPI_CHUNK_CONST; /* without a body it stands for 0 */
    assert_true(status == KP_CORRUPT || (status == KP_OK && is_const && cut == 1));
    chunk->data[next_random() % chunk->size] ^= (char)(1 << next_random() % 8);
    status = kpi_ints_decode(bytes_before(in, chunk->data, chunk->size), chunk->size, count, back);
    assert_true(status == KP_OK || status == KP_CORRUPT);
}

static void chunks_come_back(void **state)
{
    uint64_t values[LENGTH_MAX], wanted = vectors_wanted() / 4;
    struct walled in = walled_make(ROOM * 4), out = walled_make(ROOM);
    struct kp_buf chunk = {0};
    (void)state;
    for (uint64_t n = 0; n < wanted; n++) {
        uint32_t count = n % 256 == 0 ? (uint32_t)(n / 256 % LENGTH_MAX) + 1
                                      : (uint32_t)(next_random() % 24) + 1;
        column_make(values, count, (unsigned)(next_random() % 65), (unsigned)(n / 3 % SHAPES));
        kp_buf_clear(&chunk);
        assert_int_equal(kpi_ints_encode((const int64_t *)values, count,
                                         n % 64 == 0 ? KPI_LEVEL_SEALED : KPI_LEVEL_HOT, &chunk),
                         KP_OK);
        chunk_check(&chunk, values, count, &in, &out);
        if (chunk.size > 1 && n % 8 == 0)
            chunk_harm(&chunk, count, &in, &out);
    }
    kp_buf_deinit(&chunk);
    walled_free(&in);
    walled_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_come_back),
        cmocka_unit_test(planes_are_equal_on_every_unit),
        cmocka_unit_test(chunks_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
