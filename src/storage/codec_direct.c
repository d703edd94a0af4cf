/* SPDX-License-Identifier: Apache-2.0
 *
 * DIRECT: numbers under one adaptive model, for cold segments. Each bit has one chance, learned
 * under the number's kind and the bits of the number before it; there are no contexts of other
 * numbers and nothing is mixed (codec_range.c does both). Times between events have no memory worth
 * its price: under the pair of kinds at both ends this takes 4 % fewer bytes than five mixed models
 * and a quarter of their time. Chances follow quickly: what a machine does changes within a page.
 *
 * Invariant: as of RANGE, the reader never reads outside the body and says CORRUPT when the coded
 * bits end before the numbers do.
 */
#include "storage/direct_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

#define REST_CODED 2u  /* bits of the rest under the model, in large numbers */
#define REST_ALL   10u /* rests of so few bits are coded whole */
#define TABLE_MIN  10u /* bits */
#define TABLE_MAX  17u

/* ---------- chances ---------- */

kp_status kpi_direct_init(struct kpi_direct *direct, uint32_t count)
{
    uint32_t bits = KP_MAX(TABLE_MIN, KP_MIN(TABLE_MAX, kpi_bits_of(count)));
    direct->mask = (1u << bits) - 1;
    direct->slots = malloc(sizeof(*direct->slots) << bits);
    if (direct->slots == NULL)
        return KP_NO_MEMORY;
    for (uint32_t i = 0; i <= direct->mask; i++)
        direct->slots[i] = 1u << 31;
    for (uint32_t n = 0; n < 1u << KPI_DIRECT_COUNT_BITS; n++)
        direct->step[n] = (uint16_t)(65536 * 2 / (2 * n + 3));
    return KP_OK;
}

void kpi_direct_deinit(struct kpi_direct *direct)
{
    free(direct->slots);
}

/* ---------- numbers ---------- */

static unsigned rest_coded(unsigned rest)
{
    return rest <= REST_ALL ? rest : REST_CODED;
}

/* Codes the symbol and the first bits of the rest; *value holds them when written, and gets them
 * when read (plain bits 0). False: there is no such number. */
static inline bool number_code(struct kpi_coder *coder, struct kpi_direct *direct, uint64_t *value)
{
    bool reads = coder->out == NULL;
    uint32_t symbol =
        kpi_direct_bits(coder, direct, 1, 8, reads ? 0 : kpi_range_symbol(*value)) & 0xff;
    uint64_t floor;
    unsigned rest = kpi_range_rest((uint8_t)symbol, &floor), coded = rest_coded(rest);
    if (rest > KPI_RANGE_WIDE)
        return false;
    uint64_t top = reads ? 0 : (*value - floor) >> (rest - coded);
    uint32_t tree = (256 + symbol) << REST_ALL, got = 1;
    for (unsigned bit = coded; bit-- > 0;)
        got = got << 1 | kpi_direct_bit(coder, direct, tree + got, top >> bit & 1);
    if (reads)
        *value = floor + ((uint64_t)(got - (1u << coded)) << (rest - coded));
    return true;
}

/* ---------- writing ---------- */

static kp_status coded_add(const int64_t *values, const uint16_t *kinds, uint32_t count,
                           uint64_t base, struct kp_buf *out)
{
    struct kpi_direct direct = {0};
    struct kpi_coder coder = {.high = UINT32_MAX, .out = out};
    kp_status status = kpi_direct_init(&direct, count);
    for (uint32_t i = 0; i < count && status == KP_OK; i++) {
        uint64_t value = (uint64_t)values[i] - base;
        direct.base = kpi_direct_base(kinds == NULL ? 0 : kinds[i]);
        if (!number_code(&coder, &direct, &value))
            status = KP_LIMIT; /* wider than 63 bits */
    }
    kpi_coder_end(&coder);
    kpi_direct_deinit(&direct);
    return status == KP_OK && out->failed ? KP_NO_MEMORY : status;
}

/* ---------- reading ---------- */

static kp_status coded_read(struct kpi_coder *coder, const uint16_t *kinds, uint32_t count,
                            int64_t *out)
{
    struct kpi_direct direct = {0};
    kp_status status = kpi_direct_init(&direct, count);
    for (uint32_t i = 0; i < count && status == KP_OK; i++) {
        uint64_t value;
        direct.base = kpi_direct_base(kinds == NULL ? 0 : kinds[i]);
        if (!number_code(coder, &direct, &value) || coder->beyond > KPI_RANGE_SLACK)
            status = KP_CORRUPT;
        else
            out[i] = (int64_t)value;
    }
    kpi_direct_deinit(&direct);
    return status;
}

/* ---------- chunks ---------- */

static const struct kpi_model model = {coded_add, coded_read, rest_coded};

kp_status kpi_direct_encode(const int64_t *values, const uint16_t *kinds, uint32_t count,
                            struct kp_buf *out)
{
    return kpi_model_encode(&model, values, kinds, count, out);
}

kp_status kpi_direct_decode(struct kp_reader *in, const uint16_t *kinds, uint32_t count,
                            int64_t *out)
{
    return kpi_model_decode(&model, in, kinds, count, out);
}

kp_status kpi_direct_body_encode(const int64_t *values, uint32_t count, enum kpi_level level,
                                 struct kp_buf *out)
{
    return level == KPI_LEVEL_COLD ? kpi_direct_encode(values, NULL, count, out) : KP_LIMIT;
}

kp_status kpi_direct_body_decode(struct kp_reader *in, uint32_t count, int64_t *out)
{
    return kpi_direct_decode(in, NULL, count, out);
}
