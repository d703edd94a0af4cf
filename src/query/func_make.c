/* SPDX-License-Identifier: Apache-2.0
 *
 * What kernels make their answers with: buffers that end where the query's memory ends, and a sort
 * that ends when the query does. A merge sort, because it can be left between any two steps and
 * never takes more than n log n of them.
 */
#include "query/func.h"

struct kp_buf kpi_buf(const struct kpi_eval *eval)
{
    const struct kp_arena *arena = eval->ctx->arena;
    size_t room = arena->cap_bytes == 0 ? SIZE_MAX : arena->cap_bytes - arena->used_bytes;
    return (struct kp_buf){.limit = eval->ctx->status == KP_OK ? KP_MAX(room, (size_t)1) : 1};
}

void kpi_set_buf(struct kpi_call *call, uint32_t row, struct kp_buf *text)
{
    if (text->failed) {
        call->eval->ctx->arena->refused_bytes = text->size + 1;
        kpi_fail_memory(call->eval->ctx);
    } else {
        kpi_set_copy(call, row, text->data, text->size);
    }
    kp_buf_deinit(text);
}

/* Merges items[from, middle) and items[middle, to), each in order, into `out`. */
static bool merge(struct kpi_ctx *ctx, const char *items, size_t from, size_t middle, size_t to,
                  size_t item_bytes, int (*compare)(const void *, const void *), char *out)
{
    size_t left = from, right = middle;
    for (size_t at = from; at < to; at++) {
        bool take_left = right == to || (left < middle && compare(items + left * item_bytes,
                                                                  items + right * item_bytes) <= 0);
        size_t taken = take_left ? left++ : right++;
        memcpy(out + at * item_bytes, items + taken * item_bytes, item_bytes);
        if (!kpi_go_on(ctx, 64))
            return false;
    }
    return true;
}

void kpi_sort(struct kpi_eval *eval, void *items, size_t count, size_t item_bytes,
              int (*compare)(const void *, const void *))
{
    char *from = items, *to = kpi_scratch(eval, count * item_bytes);
    for (size_t run = 1; to != NULL && run < count; run *= 2) {
        for (size_t at = 0; at < count; at += 2 * run)
            if (!merge(eval->ctx, from, at, KP_MIN(at + run, count), KP_MIN(at + 2 * run, count),
                       item_bytes, compare, to))
                return;
        char *held = from;
        from = to;
        to = held;
    }
    if (from != (char *)items)
        memcpy(items, from, count * item_bytes);
}
