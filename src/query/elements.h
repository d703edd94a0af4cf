/* SPDX-License-Identifier: Apache-2.0
 *
 * What the functions over arrays and bags share (func_array.c): reading the elements of a JSON
 * array, and writing one.
 */
#ifndef KP_QUERY_ELEMENTS_H
#define KP_QUERY_ELEMENTS_H

#include "query/func.h"

/* The elements of one array, as text. */
struct kpi_elements {
    struct kp_str *values;
    int64_t count;
};

/* False when the text is no array, or there is no memory. */
bool kpi_array_read(struct kpi_call *call, struct kp_str json, struct kpi_elements *out);
bool kpi_array_holds(struct kpi_call *call, const struct kpi_elements *set, struct kp_str value);
/* Begins an array or a bag, adds to it, and makes it the answer of a row. */
void kpi_array_begin(struct kp_buf *out, char bracket);
void kpi_array_add(struct kp_buf *out, struct kp_str value);
void kpi_bag_add(struct kp_buf *out, struct kp_str key, struct kp_str value);
void kpi_array_finish(struct kpi_call *call, uint32_t row, struct kp_buf *out, char bracket);
/* Arguments: as text, as a number (with one for when it is not given), as JSON of any type. */
struct kp_str kpi_text_arg(const struct kpi_call *call, uint32_t arg, uint32_t row);
int64_t kpi_long_arg(const struct kpi_call *call, uint32_t arg, uint32_t row, int64_t otherwise);
struct kp_str kpi_json_arg(struct kpi_call *call, uint32_t arg, uint32_t row);
bool kpi_json_number(struct kp_str text, double *out);
/* Order of two values (struct kp_str), for qsort: numbers by value, before texts by their bytes. */
int kpi_json_order(const void *left, const void *right);

#endif
