/* SPDX-License-Identifier: Apache-2.0
 *
 * RANGE: binary arithmetic coding with mixed adaptive models, as PAQ does it (Mahoney 2005). A
 * value is split as CLASS does (codec_class.c): a symbol for its size and two bits below the
 * highest, then the rest. The symbol is coded bit by bit, highest first; so are the next bits of
 * the rest, as far as they may carry information. What is left is noise, stored as it is.
 *
 *   zigzag varint base, varint size, coded bits, plain bits
 *
 * Each bit has a probability in MODELS tables, one for each context: the kind of the number alone,
 * with the last one or two numbers of the same kind, with the last one or two numbers of any kind.
 * Their votes are weighed by a small network that learns which to trust. Integers only: writer and
 * reader compute the same on every machine.
 *
 * Invariant: the reader never reads outside the body, whatever is in it; it says CORRUPT when the
 * coded bits end before the numbers do.
 */
#include "storage/range_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define MODELS      5u
#define REST_CODED  3u  /* bits of the rest under the model, in large values */
#define REST_ALL    10u /* rests of so few bits are coded whole */
#define TABLE_MIN   10u /* bits */
#define TABLE_MAX   15u /* 18 would save 1.5 % and cost twice the time: it leaves the caches */
#define KINDS       65536u
#define WEIGHT_SETS (256u + 64u)
#define COUNT_BITS  10u
#define COUNT_LIMIT 250u
#define LEARN_SHIFT 10

struct model {
    uint32_t *slots[MODELS]; /* probability of a 1 in 22 bits, then how often it was asked */
    uint32_t mask;
    uint32_t bases[MODELS]; /* of the present number */
    uint32_t *at[MODELS];   /* slots of the present bit */
    int32_t votes[MODELS];
    int32_t weights[WEIGHT_SETS][MODELS];
    int32_t *weight;
    uint32_t chance;    /* of a 1, in 4096ths */
    uint8_t (*last)[2]; /* symbols of each kind */
    uint8_t before[2];
    int16_t stretch[4096];
    uint16_t step[1u << COUNT_BITS]; /* 65536 / (n + 1.5) */
};

/* ---------- the model ---------- */

/* 4096 / (1 + e^(-x / 256)), interpolated. */
static int32_t squash(int32_t x)
{
    static const int16_t points[33] = {1,    2,    3,    6,    10,   16,   27,   45,   73,
                                       120,  194,  310,  488,  747,  1101, 1546, 2047, 2549,
                                       2994, 3348, 3607, 3785, 3901, 3975, 4024, 4050, 4068,
                                       4079, 4085, 4089, 4092, 4093, 4094};
    if (x > 2047)
        return 4095;
    if (x < -2047)
        return 0;
    int32_t part = x & 127, at = (x >> 7) + 16;
    return (points[at] * (128 - part) + points[at + 1] * part + 64) >> 7;
}

static kp_status model_init(struct model *model, uint32_t count)
{
    uint32_t bits = KP_MAX(TABLE_MIN, KP_MIN(TABLE_MAX, kpi_bits_of(count) + 3));
    model->mask = (1u << bits) - 1;
    model->last = calloc(KINDS, sizeof(*model->last));
    bool whole = model->last != NULL;
    for (uint32_t m = 0; m < MODELS; m++) {
        model->slots[m] = malloc(sizeof(**model->slots) << bits);
        whole = whole && model->slots[m] != NULL;
    }
    if (!whole)
        return KP_NO_MEMORY;
    for (uint32_t m = 0; m < MODELS; m++)
        for (uint32_t i = 0; i <= model->mask; i++)
            model->slots[m][i] = 1u << 31;
    for (uint32_t set = 0; set < WEIGHT_SETS; set++)
        for (uint32_t m = 0; m < MODELS; m++)
            model->weights[set][m] = 65536 * 3 / 10;
    for (int32_t x = -2047, next = 0; x <= 2047; x++)
        for (int32_t p = squash(x); next <= p; next++)
            model->stretch[next] = (int16_t)x;
    for (int32_t p = squash(2047) + 1; p < 4096; p++)
        model->stretch[p] = 2047;
    for (uint32_t n = 0; n < 1u << COUNT_BITS; n++)
        model->step[n] = (uint16_t)(65536 * 2 / (2 * n + 3));
    return KP_OK;
}

static void model_deinit(struct model *model)
{
    for (uint32_t m = 0; m < MODELS; m++)
        free(model->slots[m]);
    free(model->last);
}

static inline uint32_t mix(uint32_t a, uint32_t b)
{
    uint32_t x = (a + 0x9e3779b9u) * 0x85ebca6bu ^ (b + 1) * 0xc2b2ae35u;
    return x ^ x >> 15;
}

/* Contexts of the next number. */
static inline void model_begin(struct model *model, uint32_t kind)
{
    const uint8_t *last = model->last[kind];
    model->bases[0] = mix(kind, 0);
    model->bases[1] = mix(kind, 256u + last[0]);
    model->bases[2] = mix(kind, 65536u + last[0] * 256u + last[1]);
    model->bases[3] = mix(kind, 512u + model->before[0]);
    model->bases[4] = mix(kind, 131072u + model->before[0] * 256u + model->before[1]);
}

static inline void model_end(struct model *model, uint32_t kind, uint8_t symbol)
{
    uint8_t *last = model->last[kind];
    last[1] = last[0];
    last[0] = symbol;
    model->before[1] = model->before[0];
    model->before[0] = symbol;
}

/* The chance of the bit at a node; set: whose weights count. */
static inline void model_ask(struct model *model, uint32_t node, uint32_t set)
{
    int64_t sum = 0;
    model->weight = model->weights[set];
    for (uint32_t m = 0; m < MODELS; m++) {
        uint32_t place = model->bases[m] ^ node * 0x9e3779b1u;
        model->at[m] = &model->slots[m][(place ^ place >> 16) & model->mask];
        model->votes[m] = model->stretch[*model->at[m] >> 20];
        sum += (int64_t)model->votes[m] * model->weight[m];
    }
    int32_t chance = squash((int32_t)(KP_MAX(-2047 * 65536ll, KP_MIN(2047 * 65536ll, sum)) >> 16));
    model->chance = (uint32_t)KP_MAX(1, KP_MIN(4094, chance));
}

static inline void model_learn(struct model *model, uint32_t bit)
{
    int32_t error = ((int32_t)(bit << 12) - (int32_t)model->chance) * 7;
    for (uint32_t m = 0; m < MODELS; m++) {
        uint32_t slot = *model->at[m], n = slot & ((1u << COUNT_BITS) - 1);
        uint32_t chance = slot >> COUNT_BITS, aim = bit ? (1u << 22) - 1 : 0;
        int64_t toward = ((int64_t)aim - chance) * model->step[n] >> 16;
        *model->at[m] = (uint32_t)(chance + toward) << COUNT_BITS | (n + (n < COUNT_LIMIT));
        model->weight[m] += (model->votes[m] * error + (1 << (LEARN_SHIFT - 1))) >> LEARN_SHIFT;
    }
}

/* ---------- bits ---------- */

/* One bit, written or read. */
static inline uint32_t coder_bit(struct kpi_coder *coder, struct model *model, uint32_t bit)
{
    bit = kpi_coder_bit(coder, model->chance, bit);
    model_learn(model, bit);
    return bit;
}

/* ---------- numbers ---------- */

/* So many of the rest's bits are coded. */
static inline unsigned rest_coded(unsigned rest)
{
    return rest <= REST_ALL ? rest : REST_CODED;
}

/* Codes the symbol and the first bits of the rest; *value holds them when written, and gets them
 * when read (plain bits 0). False: there is no such number. */
static inline bool number_code(struct kpi_coder *coder, struct model *model, uint64_t *value)
{
    bool reads = coder->out == NULL;
    uint32_t symbol = reads ? 0 : kpi_range_symbol(*value), node = 1;
    for (int bit = 7; bit >= 0; bit--) {
        model_ask(model, node, node);
        node = node << 1 | coder_bit(coder, model, symbol >> bit & 1);
    }
    symbol = node & 0xff;
    uint64_t floor;
    unsigned rest = kpi_range_rest((uint8_t)symbol, &floor), coded = rest_coded(rest);
    if (rest > KPI_RANGE_WIDE)
        return false;
    uint64_t top = reads ? 0 : (*value - floor) >> (rest - coded);
    node = 256 + symbol;
    uint32_t got = 0;
    for (unsigned bit = coded; bit-- > 0;) {
        model_ask(model, (node << 11) + (1u << (coded - bit - 1)) + got, 256 + KP_MIN(bit, 63u));
        got = got << 1 | coder_bit(coder, model, top >> bit & 1);
    }
    if (reads)
        *value = floor + ((uint64_t)got << (rest - coded));
    return true;
}

/* ---------- writing ---------- */

static kp_status coded_add(const int64_t *values, const uint16_t *kinds, uint32_t count,
                           uint64_t base, struct kp_buf *out)
{
    struct model *model = calloc(1, sizeof(*model));
    kp_status status = model == NULL ? KP_NO_MEMORY : model_init(model, count);
    struct kpi_coder coder = {.high = UINT32_MAX, .out = out};
    for (uint32_t i = 0; i < count && status == KP_OK; i++) {
        uint64_t value = (uint64_t)values[i] - base;
        uint32_t kind = kinds == NULL ? 0 : kinds[i];
        model_begin(model, kind);
        if (!number_code(&coder, model, &value))
            status = KP_LIMIT; /* wider than 63 bits */
        model_end(model, kind, kpi_range_symbol(value));
    }
    kpi_coder_end(&coder);
    if (model != NULL)
        model_deinit(model);
    free(model);
    return status == KP_OK && out->failed ? KP_NO_MEMORY : status;
}

/* ---------- reading ---------- */

static kp_status numbers_read(struct kpi_coder *coder, struct model *model, const uint16_t *kinds,
                              uint32_t count, int64_t *out)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t kind = kinds == NULL ? 0 : kinds[i];
        uint64_t value;
        model_begin(model, kind);
        if (!number_code(coder, model, &value) || coder->beyond > KPI_RANGE_SLACK)
            return KP_CORRUPT;
        model_end(model, kind, kpi_range_symbol(value));
        out[i] = (int64_t)value;
    }
    return KP_OK;
}

static kp_status coded_read(struct kpi_coder *coder, const uint16_t *kinds, uint32_t count,
                            int64_t *out)
{
    struct model *model = calloc(1, sizeof(*model));
    if (model == NULL)
        return KP_NO_MEMORY;
    kp_status status = model_init(model, count);
    if (status == KP_OK)
        status = numbers_read(coder, model, kinds, count, out);
    model_deinit(model);
    free(model);
    return status;
}

/* ---------- chunks ---------- */

static const struct kpi_model mixed = {coded_add, coded_read, rest_coded};

kp_status kpi_range_encode(const int64_t *values, const uint16_t *kinds, uint32_t count,
                           struct kp_buf *out)
{
    return kpi_model_encode(&mixed, values, kinds, count, out);
}

kp_status kpi_range_decode(struct kp_reader *in, const uint16_t *kinds, uint32_t count,
                           int64_t *out)
{
    return kpi_model_decode(&mixed, in, kinds, count, out);
}

kp_status kpi_range_body_encode(const int64_t *values, uint32_t count, enum kpi_level level,
                                struct kp_buf *out)
{
    return level == KPI_LEVEL_COLD ? kpi_range_encode(values, NULL, count, out) : KP_LIMIT;
}

kp_status kpi_range_body_decode(struct kp_reader *in, uint32_t count, int64_t *out)
{
    return kpi_range_decode(in, NULL, count, out);
}
