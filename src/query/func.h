/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables of functions, one per subject. A new function is one row in one of them.
 */
#ifndef KP_QUERY_FUNC_H
#define KP_QUERY_FUNC_H

#include "query/expr.h"

struct kpi_func_table {
    const struct kpi_func *funcs;
    uint32_t count;
};

extern const struct kpi_func_table kpi_funcs_arith, kpi_funcs_compare, kpi_funcs_text,
    kpi_funcs_time, kpi_funcs_convert, kpi_funcs_flow, kpi_funcs_json, kpi_funcs_regex,
    kpi_funcs_array, kpi_funcs_net, kpi_funcs_code, kpi_funcs_series, kpi_funcs_number,
    kpi_funcs_set, kpi_funcs_decimal;

/* --- what kernels make their answers with (func_make.c) --- */

/* A buffer that holds no more than the query may still use, so that what does not fit fails early;
 * and the answer that it makes. The buffer is gone afterwards. */
struct kp_buf kpi_buf(const struct kpi_eval *eval);
void kpi_set_buf(struct kpi_call *call, uint32_t row, struct kp_buf *text);
/* qsort() that ends early, in any order, when the query is to end. Equal items stay in order. */
void kpi_sort(struct kpi_eval *eval, void *items, size_t count, size_t item_bytes,
              int (*compare)(const void *, const void *));

/* --- shared by some tables --- */

/* Does a text hold a term, case ignored? (func_text.c) */
bool kpi_text_has(struct kpi_ctx *ctx, struct kp_str text, struct kp_str term);

/* JSON text (func_json.c): the member of an object or the element of an array. Gives the raw text
 * of the value, {NULL,0} when it is not there. */
struct kp_str kpi_json_member(struct kp_str json, struct kp_str key);
struct kp_str kpi_json_element(struct kp_str json, int64_t index);
/* Elements of an array, or members of an object, one by one; `next` gives false at the end. Keys
 * are as written, without their quotes. False when the text begins neither. */
struct kpi_json_walk {
    const char *at, *end;
};
bool kpi_json_array(struct kp_str json, struct kpi_json_walk *out);
bool kpi_json_next(struct kpi_json_walk *walk, struct kp_str *out_value);
bool kpi_json_object(struct kp_str json, struct kpi_json_walk *out);
bool kpi_json_next_member(struct kpi_json_walk *walk, struct kp_str *out_key,
                          struct kp_str *out_value);
/* Appends any value as JSON. */
void kpi_json_value(const struct kpi_value *value, struct kp_buf *out);
/* A JSON string without quotes and escapes (into scratch), any other value as it is; null is empty.
 */
struct kp_str kpi_json_plain(struct kpi_eval *eval, struct kp_str json);
/* Appends text as a JSON string. */
void kpi_json_quote(struct kp_str text, struct kp_buf *out);

/* Date parts of an instant (UTC), used by func_time.c and func_convert.c. */
struct kpi_date {
    int64_t year;
    unsigned month, day, hour, minute, second, ns, weekday, yearday;
};
struct kpi_date kpi_date_of(kp_time t);
/* Start of a civil day; months may be out of range and carry over. */
bool kpi_date_time(int64_t year, int64_t month, int64_t day, kp_time *out);
/* [-][d.]hh:mm:ss[.fffffffff] */
void kpi_timespan_text(kp_dur d, struct kp_buf *out);

#endif
