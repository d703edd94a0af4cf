/* SPDX-License-Identifier: Apache-2.0
 *
 * What the codings of strings share: those of a column by itself (codec_str.c), and those that look
 * at other rows and columns of the block (codec_link.c).
 */
#ifndef KP_STORAGE_CODEC_STR_H
#define KP_STORAGE_CODEC_STR_H

#include "storage/codec.h"

/* Distinct strings of a vector, in order of first use, with the code of every row. */
struct kpi_str_set {
    struct kp_str *values;
    uint32_t *slots; /* code + 1; 0 = free */
    int64_t *codes;
    uint32_t count, mask;
    size_t bytes, distinct_bytes;
};

/* Strings stay borrowed. Deinit only after success. */
kp_status kpi_str_set_collect(struct kpi_str_set *set, const struct kp_vec *vec,
                              uint32_t count) KP_MUST;
void kpi_str_set_deinit(struct kpi_str_set *set);

/* Makes the vector dictionary-coded: room for so many values, and codes of 0; memory from arena. */
kp_status kpi_vec_dict(struct kp_arena *arena, uint32_t values, uint32_t rows,
                       struct kp_str **out_values, struct kp_vec *out) KP_MUST;

#endif
