/* SPDX-License-Identifier: Apache-2.0
 *
 * Expressions over vectors. A bound expression is a tree of columns, constants and calls; each call
 * owns the vector it fills, made once before the first batch. Evaluation touches only the selected
 * rows and leaves results at the same row numbers as their inputs, so selections need no copying.
 *
 * Nulls: a kernel of a strict function never sees the question; rows with a null argument are null
 * before it runs (it may compute garbage there). Strings are never null.
 *
 * Fed by bind.c, used by op_*.c; functions live in func_*.c.
 */
#ifndef KP_QUERY_EXPR_H
#define KP_QUERY_EXPR_H

#include "base/assert.h"
#include "query/query_int.h"

#define KPI_NULL_WORDS (KP_VECTOR_ROWS / 64)

/* Text of one batch: grows chunk by chunk inside the query's arena and is reused for the next. */
struct kpi_scratch_chunk {
    struct kpi_scratch_chunk *next;
    size_t capacity;
};

/* What evaluation needs beside the rows; one per operator. */
struct kpi_eval {
    struct kpi_ctx *ctx;
    struct kpi_scratch_chunk *first, *current;
    size_t used; /* bytes of the current chunk */
};

struct kpi_call;
typedef void (*kpi_kernel)(struct kpi_call *call);

enum {
    KPI_FUNC_NULLS = 1,   /* handles null arguments itself */
    KPI_FUNC_VARYING = 2, /* not the same for the same arguments: never folded */
};

/* One overload. Types in args and result, one letter each: b bool, l long, r real, s string,
 * t datetime, d timespan, y dynamic, m decimal (money), T any (all T the same), . any; `*` repeats
 * the letter before it any number of times. */
struct kpi_func {
    const char *name;
    const char *args;
    char result;
    uint8_t flags;
    kpi_kernel kernel;
    const char *doc; /* on the first overload only */
};

enum kpi_expr_kind { KPI_EXPR_CONST, KPI_EXPR_COLUMN, KPI_EXPR_CALL };

struct kpi_expr {
    enum kpi_expr_kind kind;
    enum kp_type type;
    enum kp_unit unit;
    struct kpi_place place;
    struct kp_str name;     /* columns: for auto names and explain */
    uint32_t column;        /* COLUMN: index in the input */
    struct kpi_value value; /* CONST */
    const struct kpi_func *func;
    struct kpi_expr **args;
    uint32_t args_count;
    uint32_t depth;    /* of calls in calls */
    struct kp_vec vec; /* CONST and CALL: the answer */
    uint64_t *nulls;   /* room for vec.nulls */
    void *state;       /* a kernel's own, e.g. the sorted list of `in` */
};

/* One run of a kernel. Rows to do: sel[first..count) or first..count. */
struct kpi_call {
    struct kpi_expr *expr;
    const struct kp_vec *const *args;
    uint32_t args_count;
    struct kp_vec *out;
    const uint16_t *sel;
    uint32_t first, count;
    struct kpi_eval *eval;
};

#define KPI_ARGS_MAX 64

/* Runs body for each row of a call; two loops, so that the dense one can be vectorised. */
#define KPI_EACH(call, row, ...)                                             \
    do {                                                                     \
        if ((call)->sel == NULL) {                                           \
            for (uint32_t row = (call)->first; row < (call)->count; row++) { \
                __VA_ARGS__;                                                 \
            }                                                                \
        } else {                                                             \
            for (uint32_t i_ = (call)->first; i_ < (call)->count; i_++) {    \
                uint32_t row = (call)->sel[i_];                              \
                __VA_ARGS__;                                                 \
            }                                                                \
        }                                                                    \
    } while (0)

/* Marks a row of the answer null. */
void kpi_set_null(struct kpi_call *call, uint32_t row);
/* The same because the result does not fit; counted once unless the row was null anyway. */
void kpi_set_overflow(struct kpi_call *call, uint32_t row);
/* Text that lives until the batch is done; NULL when the memory limit is hit (ctx has the error).
 */
char *kpi_scratch(struct kpi_eval *eval, size_t size);
void kpi_set_str(struct kpi_call *call, uint32_t row, const char *ptr, size_t len);
/* Copies text into scratch memory and answers with it. */
void kpi_set_copy(struct kpi_call *call, uint32_t row, const char *ptr, size_t len);

/* Starts a batch: text of the batch before is gone. */
void kpi_eval_begin(struct kpi_eval *eval);
/* Makes the vectors of an expression, `rows` long. */
bool kpi_expr_prepare(struct kpi_ctx *ctx, struct kpi_expr *expr, uint32_t rows);
/* Values of an expression for the selected rows of a batch; valid until the next evaluation. Errors
 * are left in eval->ctx->status. */
const struct kp_vec *kpi_expr_eval(struct kpi_expr *expr, const struct kp_batch *batch,
                                   struct kpi_eval *eval);
/* Value of an expression without columns. */
bool kpi_expr_constant(struct kpi_ctx *ctx, struct kpi_expr *expr, struct kpi_value *out);
/* Sets need[i] for every input column it reads. */
void kpi_expr_columns(const struct kpi_expr *expr, bool *need);
/* Readable text of a bound expression. */
void kpi_expr_text(const struct kpi_expr *expr, struct kp_buf *out);

/* --- vectors and values --- */

/* Makes room for `rows` values and a null set (not yet attached). */
bool kpi_vec_alloc(struct kpi_ctx *ctx, enum kp_type type, uint32_t rows, struct kp_vec *out,
                   uint64_t **out_nulls);
struct kpi_value kpi_vec_value(const struct kp_vec *vec, uint32_t row);
/* Writes a value, 0 or the empty text for null; whether it is null is up to the caller. */
void kpi_vec_set(struct kp_vec *vec, uint32_t row, const struct kpi_value *value);
void kpi_value_text(const struct kpi_value *value, struct kp_buf *out);

/* --- functions (func.c) --- */

/* Letter of a type and back. */
char kpi_type_letter(enum kp_type type);
enum kp_type kpi_letter_type(char letter);
/* Adds the arguments of a table row as a reader wants them: "any, int64, ...". */
void kpi_letters_text(const char *args, struct kp_buf *out);
/* The overload that fits best; NULL with the error set (unknown name, or no overload fits). */
const struct kpi_func *kpi_func_resolve(struct kpi_ctx *ctx, struct kp_str name,
                                        struct kpi_place place, struct kpi_expr *const *args,
                                        uint32_t args_count, enum kp_type *out_result,
                                        enum kp_type *out_generic);
/* Type that argument i must have, given the generic one; NULL type = leave as it is. */
enum kp_type kpi_func_arg_type(const struct kpi_func *func, uint32_t i, enum kp_type generic);
/* The function that turns one type into another implicitly; NULL when there is none. */
const struct kpi_func *kpi_func_cast(enum kp_type from, enum kp_type to);
/* Is there a function of this name? If not, the error is set with the nearest one. */
bool kpi_func_known(struct kpi_ctx *ctx, struct kp_str name, struct kpi_place place);
/* Overloads in table order; NULL past the last. */
const struct kpi_func *kpi_func_at(uint32_t index);

#endif
