/* SPDX-License-Identifier: Apache-2.0
 *
 * The context of a query text: its first error with its place, and its memory.
 */
#include "query/query_int.h"

#include "base/assert.h"

#include <stdarg.h>
#include <stdio.h>

/* Line and column of a byte: lines end with \n, columns count bytes from 1. */
static void locate(struct kp_str text, uint32_t at, uint32_t *out_line, uint32_t *out_column)
{
    uint32_t line = 1, start = 0;
    for (uint32_t i = 0; i < at && i < text.len; i++) {
        if (text.ptr[i] == '\n') {
            line++;
            start = i + 1;
        }
    }
    *out_line = line;
    *out_column = at - start + 1;
}

kp_status kpi_fail(struct kpi_ctx *ctx, kp_status code, struct kpi_place place, const char *fmt,
                   ...)
{
    if (ctx->status != KP_OK)
        return ctx->status;
    ctx->status = code;
    char text[KP_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    kp_error_set(ctx->err, code, "%s", text);
    if (ctx->err == NULL)
        return code;
    uint32_t line, column;
    locate(ctx->text, place.at, &line, &column);
    kp_error_place(ctx->err, line, column, place.len == 0 ? 1 : place.len);
    return code;
}

kp_status kpi_fail_here(struct kpi_ctx *ctx, kp_status code, struct kpi_place place)
{
    if (ctx->status == KP_OK)
        ctx->status = code;
    if (ctx->err == NULL || ctx->err->line != 0 || code == KP_CORRUPT)
        return code;
    uint32_t line, column;
    locate(ctx->text, place.at, &line, &column);
    kp_error_place(ctx->err, line, column, place.len == 0 ? 1 : place.len);
    return code;
}

void kpi_hint(struct kpi_ctx *ctx, const char *fmt, ...)
{
    if (ctx->err == NULL || ctx->err->hint[0] != '\0')
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(ctx->err->hint, sizeof(ctx->err->hint), fmt, args);
    va_end(args);
}

kp_status kpi_fail_memory(struct kpi_ctx *ctx)
{
    if (ctx->status == KP_OK)
        ctx->status = kp_arena_error(ctx->arena, ctx->err);
    return ctx->status;
}

bool kpi_work_check(struct kpi_ctx *ctx)
{
    const struct kp_stop *stop = ctx->arena->stop;
    ctx->work = 0;
    if (ctx->status == KP_OK && stop != NULL)
        stop->check(stop->ctx, ctx->err);
    return ctx->status == KP_OK;
}

/* New pages take the kernel about a ms for so many bytes when it is busy. */
#define ZEROED_AT_ONCE ((size_t)1024 * 1024)

void *kpi_new(struct kpi_ctx *ctx, size_t count, size_t item_bytes)
{
    if (ctx->status != KP_OK)
        return NULL;
    size_t size = 0;
    bool fits = !__builtin_mul_overflow(count == 0 ? 1 : count, item_bytes, &size);
    char *at = kp_arena_alloc(ctx->arena, fits ? size : SIZE_MAX);
    if (at == NULL) {
        kpi_fail_memory(ctx);
        return NULL;
    }
    for (size_t done = 0; done < size; done += ZEROED_AT_ONCE) {
        memset(at + done, 0, KP_MIN(size - done, ZEROED_AT_ONCE));
        if (size > ZEROED_AT_ONCE && !kpi_go_on(ctx, KPI_WORK_MAX))
            return NULL;
    }
    return at;
}

void kpi_nearest_offer(struct kpi_nearest *nearest, struct kp_str name)
{
    uint32_t distance = kp_str_distance(nearest->wanted, name);
    uint32_t allowed = nearest->wanted.len <= 3 ? 1 : nearest->wanted.len <= 7 ? 2 : 3;
    if (distance > allowed || (nearest->best.len != 0 && distance >= nearest->distance))
        return;
    nearest->best = name;
    nearest->distance = distance;
}
