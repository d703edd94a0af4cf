/* SPDX-License-Identifier: Apache-2.0
 *
 * Any bytes through the lexer, in each of its three ways of reading; every token lies inside the
 * text and moves forward.
 */
#include "base/assert.h"
#include "query/parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(struct kpi_ctx *ctx, void (*read)(struct kpi_lexer *, struct kpi_token *))
{
    struct kpi_lexer lexer = kpi_lexer_init(ctx);
    struct kpi_token token;
    uint32_t end = 0;
    do {
        read(&lexer, &token);
        kp_assert(token.place.at >= end || token.code <= 0);
        kp_assert(token.place.at + token.place.len <= ctx->text.len);
        end = token.place.at + token.place.len;
    } while (token.code > 0 && lexer.at < lexer.end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kp_arena arena;
    struct kp_error err;
    struct kp_str text = {(const char *)data, (uint32_t)size};
    kp_arena_init(&arena, 16 * 1024 * 1024);
    struct kpi_ctx ctx = {.arena = &arena, .err = &err};
    ctx.text = kp_arena_str(&arena, text);
    if (ctx.text.ptr != NULL) {
        read_all(&ctx, kpi_lex);
        ctx.status = KP_OK;
        read_all(&ctx, kpi_lex_word);
        ctx.status = KP_OK;
        read_all(&ctx, kpi_lex_operator);
    }
    kp_arena_deinit(&arena);
    return 0;
}
