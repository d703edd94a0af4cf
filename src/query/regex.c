/* SPDX-License-Identifier: Apache-2.0
 *
 * Regular expressions by PCRE2. All its memory comes from the query's arena and goes with it, so
 * nothing is freed here and the memory limit counts it.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "query/regex.h"

#include <pcre2.h>

#define PATTERN_BYTES_MAX (16 * 1024)
#define MATCH_STEPS_MAX   1000000
#define MATCH_DEPTH_MAX   10000
#define MATCH_HEAP_KIB    8192

struct kpi_regex {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *limits;
    uint32_t groups;
    int found; /* of the last search: ovector pairs, or <= 0 */
    struct kpi_place place;
};

static void *arena_malloc(size_t size, void *ctx)
{
    return kp_arena_alloc(((struct kpi_ctx *)ctx)->arena, size);
}

static void arena_free(void *at, void *ctx)
{
    (void)at;
    (void)ctx; /* the arena goes as a whole */
}

static bool make_limits(struct kpi_ctx *ctx, struct kpi_regex *regex, pcre2_general_context *memory)
{
    regex->data = pcre2_match_data_create_from_pattern(regex->code, memory);
    regex->limits = pcre2_match_context_create(memory);
    if (regex->data == NULL || regex->limits == NULL) {
        kpi_fail_memory(ctx);
        return false;
    }
    pcre2_set_match_limit(regex->limits, MATCH_STEPS_MAX);
    pcre2_set_depth_limit(regex->limits, MATCH_DEPTH_MAX);
    pcre2_set_heap_limit(regex->limits, MATCH_HEAP_KIB);
    return true;
}

static void refuse(struct kpi_ctx *ctx, int code, size_t at, struct kpi_place place)
{
    PCRE2_UCHAR text[160];
    if (pcre2_get_error_message(code, text, sizeof(text)) < 0)
        text[0] = '\0';
    kpi_fail(ctx, KP_INVALID, place, "the regular expression is wrong at byte %zu: %s", at,
             (const char *)text);
    kpi_hint(ctx, "write patterns as @'...', so that \\ needs no doubling");
}

struct kpi_regex *kpi_regex_compile(struct kpi_ctx *ctx, struct kp_str pattern,
                                    struct kpi_place place)
{
    int code;
    PCRE2_SIZE at;
    struct kpi_regex *regex = kpi_new(ctx, 1, sizeof(*regex));
    pcre2_general_context *memory = pcre2_general_context_create(arena_malloc, arena_free, ctx);
    pcre2_compile_context *compile = memory == NULL ? NULL : pcre2_compile_context_create(memory);
    if (regex == NULL || compile == NULL) {
        kpi_fail_memory(ctx);
        return NULL;
    }
    pcre2_set_max_pattern_length(compile, PATTERN_BYTES_MAX);
    regex->place = place;
    regex->code = pcre2_compile((PCRE2_SPTR)(pattern.len == 0 ? "" : pattern.ptr), pattern.len,
                                PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C,
                                &code, &at, compile);
    if (regex->code == NULL && code == PCRE2_ERROR_HEAP_FAILED)
        kpi_fail_memory(ctx);
    else if (regex->code == NULL)
        refuse(ctx, code, at, place);
    if (regex->code == NULL || !make_limits(ctx, regex, memory))
        return NULL;
    pcre2_pattern_info(regex->code, PCRE2_INFO_CAPTURECOUNT, &regex->groups);
    return regex;
}

uint32_t kpi_regex_search(struct kpi_ctx *ctx, struct kpi_regex *regex, struct kp_str text,
                          uint32_t from)
{
    regex->found = pcre2_match(regex->code, (PCRE2_SPTR)(text.len == 0 ? "" : text.ptr), text.len,
                               from, 0, regex->data, regex->limits);
    if (regex->found > 0)
        return regex->groups + 1;
    if (regex->found == PCRE2_ERROR_NOMATCH)
        return 0;
    kpi_fail(ctx, KP_LIMIT, regex->place,
             "the regular expression needs more than %d steps on one text", MATCH_STEPS_MAX);
    kpi_hint(ctx, "make it simpler: avoid repeats of repeats such as (a+)+");
    return 0;
}

bool kpi_regex_group(const struct kpi_regex *regex, uint32_t group, uint32_t *out_from,
                     uint32_t *out_to)
{
    const PCRE2_SIZE *pairs = pcre2_get_ovector_pointer(regex->data);
    bool took_part = regex->found > 0 && group < (uint32_t)regex->found &&
                     pairs[2 * group] != PCRE2_UNSET && pairs[2 * group] <= pairs[2 * group + 1];
    if (!took_part)
        return false;
    *out_from = (uint32_t)pairs[2 * group];
    *out_to = (uint32_t)pairs[2 * group + 1];
    return true;
}

uint32_t kpi_regex_named(const struct kpi_regex *regex, struct kp_str name)
{
    char copy[64];
    if (name.len == 0 || name.len >= sizeof(copy))
        return 0;
    memcpy(copy, name.ptr, name.len);
    copy[name.len] = '\0';
    int found = pcre2_substring_number_from_name(regex->code, (PCRE2_SPTR)copy);
    return found > 0 ? (uint32_t)found : 0;
}

uint32_t kpi_regex_groups(const struct kpi_regex *regex)
{
    return regex->groups;
}
