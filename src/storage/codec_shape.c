/* SPDX-License-Identifier: Apache-2.0
 *
 * What one look at a column tells of the codecs that suit it: how far its values reach, how often
 * they change, whether they repeat. The log takes the codec that this names; sealing tries only
 * those that it leaves, because trying was most of its work.
 */
#include "base/assert.h"
#include "base/hash.h"
#include "storage/codec.h"

#define LIGHT_ROWS_MIN 256u
#define FEW_SAMPLE     128u

/* Whether values spread over the column repeat. */
bool kpi_few_values(const int64_t *values, uint32_t count)
{
    int64_t seen[2 * FEW_SAMPLE];
    bool used[2 * FEW_SAMPLE] = {false};
    uint32_t distinct = 0, sample = KP_MIN(count, FEW_SAMPLE);
    for (uint32_t i = 0; i < sample; i++) {
        int64_t value = values[(uint64_t)i * count / sample];
        uint32_t at = (uint32_t)kp_hash_mix((uint64_t)value) % (2 * FEW_SAMPLE);
        while (used[at] && seen[at] != value)
            at = (at + 1) % (2 * FEW_SAMPLE);
        distinct += !used[at];
        used[at] = true;
        seen[at] = value;
    }
    return distinct < sample / 2;
}

struct kpi_shape kpi_shape_of(const int64_t *values, uint32_t count)
{
    int64_t min = values[0], max = values[0], step_min = INT64_MAX, step_max = INT64_MIN;
    struct kpi_shape shape = {0};
    for (uint32_t i = 1; i < count; i++) {
        int64_t step = (int64_t)((uint64_t)values[i] - (uint64_t)values[i - 1]);
        min = KP_MIN(min, values[i]);
        max = KP_MAX(max, values[i]);
        step_min = KP_MIN(step_min, step);
        step_max = KP_MAX(step_max, step);
        shape.changes += step != 0;
    }
    shape.span = (uint64_t)max - (uint64_t)min;
    shape.step_span = count > 1 ? (uint64_t)step_max - (uint64_t)step_min : 0;
    return shape;
}

/* Codecs that cannot win on such values are not tried: trying is most of the work of sealing. */
bool kpi_codec_hopeful(uint8_t code, const struct kpi_shape *shape, uint32_t count, bool few)
{
    switch (code) {
    case KPI_CHUNK_RLE:
        return shape->changes <= count / 3;
    case KPI_CHUNK_DICT:
        return few && shape->span > UINT8_MAX;
    case KPI_CHUNK_RAW:
        return few && shape->span > UINT16_MAX;
    case KPI_CHUNK_CLASS:
        return shape->span > UINT8_MAX;
    case KPI_CHUNK_PACK:
        return shape->span <= UINT8_MAX;
    case KPI_CHUNK_DELTA:
    case KPI_CHUNK_DELTA_PLANES:
        return shape->step_span < shape->span / 4;
    default:
        return true;
    }
}

/* The choice without trying. Few rows: zstd around the whole finds what repeats. */
enum kpi_chunk kpi_light_choose(const int64_t *values, uint32_t count)
{
    if (kpi_ints_same(values, count))
        return KPI_CHUNK_CONST;
    struct kpi_shape shape = kpi_shape_of(values, count);
    if (shape.changes < count / 8)
        return KPI_CHUNK_RLE;
    if (shape.span <= UINT8_MAX || count < LIGHT_ROWS_MIN)
        return KPI_CHUNK_PLANES;
    return kpi_few_values(values, count) ? KPI_CHUNK_DICT : KPI_CHUNK_CLASS;
}
