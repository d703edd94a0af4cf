/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of src/query share about text: places, tokens, the tree, and the context every
 * stage works in. Nothing here outlives the query's arena.
 *
 * Invariant: a function that can fail returns a status or NULL after kpi_fail() filled ctx->err;
 * the first error wins, later ones are ignored.
 */
#ifndef KP_QUERY_QUERY_INT_H
#define KP_QUERY_QUERY_INT_H

#include "base/arena.h"
#include "query/query.h"

/* Limits on what a text may ask for. */
#define KPI_TEXT_BYTES_MAX  (256 * 1024)
#define KPI_DEPTH_MAX       200  /* nesting of an expression; the binder recurses this deep */
#define KPI_DEPTH_BOUND_MAX 1000 /* the same after casts and case() were written out */
#define KPI_STAGES_MAX      200  /* operators in one pipe */
#define KPI_COLUMNS_MAX     512
#define KPI_LET_DEPTH_MAX   20 /* names that use names, functions that call functions */

struct kpi_place {
    uint32_t at;  /* byte offset in the query text */
    uint32_t len; /* bytes */
};

/* One scalar. Strings are never null: an absent string is empty, as in Kusto. */
struct kpi_value {
    enum kp_type type;
    bool null;
    union {
        int64_t i64;
        double f64;
        kp_dec dec;
        struct kp_str str;
    };
};

/* Context of one query text from parse to plan. */
struct kpi_ctx {
    struct kp_arena *arena;
    struct kp_str text; /* NUL-terminated copy */
    struct kp_error *err;
    kp_status status;   /* first failure */
    uint64_t work;      /* since it was last asked whether the query is to end (kpi_go_on) */
    uint64_t overflows; /* results that did not fit and became null */
    bool ended_early;   /* the failure is that the text stops where it may not */
    kp_time now;        /* one instant for the whole query */
};

/* --- errors --- */

/* Sets the error of the context, with its place; returns code. The first one wins. */
kp_status kpi_fail(struct kpi_ctx *ctx, kp_status code, struct kpi_place place, const char *fmt,
                   ...) __attribute__((format(printf, 4, 5)));
/* Gives the error that another folder filled a place in the text, when it has none; returns code.
 */
kp_status kpi_fail_here(struct kpi_ctx *ctx, kp_status code, struct kpi_place place);
/* Adds a hint to the error just set by kpi_fail (not to an earlier one of other origin). */
void kpi_hint(struct kpi_ctx *ctx, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Out of memory under the arena's cap. Returns the code. */
kp_status kpi_fail_memory(struct kpi_ctx *ctx);
/* Counts the work of a loop within one batch, in bytes looked at or steps of about a ns, and asks
 * every now and then whether the query is to end. False after any failure. */
#define KPI_WORK_MAX ((uint64_t)64 * 1024)
bool kpi_work_check(struct kpi_ctx *ctx);
static inline bool kpi_go_on(struct kpi_ctx *ctx, uint64_t work)
{
    ctx->work += work;
    return ctx->work < KPI_WORK_MAX ? ctx->status == KP_OK : kpi_work_check(ctx);
}
/* Zeroed arena memory; NULL after kpi_fail_memory, or when the query is to end. */
void *kpi_new(struct kpi_ctx *ctx, size_t count, size_t item_bytes);

/* Collects the nearest of the names offered; `best` stays empty when none is near. */
struct kpi_nearest {
    struct kp_str wanted;
    struct kp_str best;
    uint32_t distance;
};
void kpi_nearest_offer(struct kpi_nearest *nearest, struct kp_str name);

#endif
