/* SPDX-License-Identifier: Apache-2.0
 *
 * Regular expressions by PCRE2. All its memory comes from the query's arena and goes with it, so
 * nothing is freed here and the memory limit counts it.
 *
 * PCRE2 limits steps from one place of a text, but a text has many places and a step may pass over
 * all of it. So each pattern has two forms: the quick one gets so few steps that it ends within
 * some ms whatever it is; what it does not finish, and every long text, goes to the patient one,
 * which calls us at every item of the pattern, so that the query can be ended in the middle of a
 * search.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "query/regex.h"

#include <pcre2.h>

#include "base/assert.h"

#define PATTERN_BYTES_MAX (16 * 1024)
#define PATIENT_BYTES     (4 * 1024) /* of a pattern, which 64 KiB hold with calls at every item */
#define MATCH_STEPS_MAX   1000000
#define MATCH_DEPTH_MAX   10000
#define MATCH_HEAP_KIB    8192

/* Of the quick form: longest text, most steps from a place, and places x steps x bytes. */
#define QUICK_BYTES_MAX 2048u
#define QUICK_STEPS_MAX 4096u
#define QUICK_WORK_MAX  (1u << 27)

struct form {
    pcre2_code *code; /* NULL = not compiled yet */
    pcre2_match_context *limits;
};

struct kpi_regex {
    struct kp_str pattern; /* own copy */
    pcre2_general_context *memory;
    struct form quick, patient;
    pcre2_match_data *data;
    uint32_t groups;
    uint32_t quick_bits;        /* of the text length that the limit of the quick form is for */
    uint32_t tried, unfinished; /* searches by the quick form, and how many it did not finish */
    int found;                  /* of the last search: ovector pairs, or <= 0 */
    struct kpi_place place;
};

/* Zeroed, so that its pages are there: PCRE2 begins each search with a memset() of its frames,
 * often of no bytes, which takes 150 ns on a page that nobody has written to. */
static void *arena_malloc(size_t size, void *ctx)
{
    return kp_arena_zalloc(((struct kpi_ctx *)ctx)->arena, 1, size);
}

static void arena_free(void *at, void *ctx)
{
    (void)at;
    (void)ctx; /* the arena goes as a whole */
}

/* Called before each item of the patient form: since the last call it went over the text once. */
static int each_item(pcre2_callout_block *at, void *ctx)
{
    uint64_t rest = at->subject_length - at->current_position;
    return kpi_go_on(ctx, rest + 1) ? 0 : PCRE2_ERROR_CALLOUT;
}

static bool make_limits(struct kpi_ctx *ctx, struct kpi_regex *regex, struct form *form)
{
    form->limits = pcre2_match_context_create(regex->memory);
    if (form->limits == NULL) {
        kpi_fail_memory(ctx);
        return false;
    }
    pcre2_set_match_limit(form->limits, MATCH_STEPS_MAX);
    pcre2_set_depth_limit(form->limits, MATCH_DEPTH_MAX);
    pcre2_set_heap_limit(form->limits, MATCH_HEAP_KIB);
    if (form == &regex->patient)
        pcre2_set_callout(form->limits, each_item, ctx);
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

/* False with the error of PCRE2 in *out_code, or with the query's set. */
static bool compile_form(struct kpi_ctx *ctx, struct kpi_regex *regex, uint32_t flags,
                         struct form *form, int *out_code, PCRE2_SIZE *out_at)
{
    pcre2_compile_context *compile = pcre2_compile_context_create(regex->memory);
    *out_code = PCRE2_ERROR_HEAP_FAILED;
    if (compile != NULL) {
        pcre2_set_max_pattern_length(compile, PATTERN_BYTES_MAX);
        form->code =
            pcre2_compile((PCRE2_SPTR)regex->pattern.ptr, regex->pattern.len,
                          PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C | flags,
                          out_code, out_at, compile);
    }
    if (form->code != NULL)
        return make_limits(ctx, regex, form);
    if (*out_code == PCRE2_ERROR_HEAP_FAILED)
        kpi_fail_memory(ctx);
    return false;
}

struct kpi_regex *kpi_regex_compile(struct kpi_ctx *ctx, struct kp_str pattern,
                                    struct kpi_place place)
{
    int code;
    PCRE2_SIZE at = 0;
    struct kpi_regex *regex = kpi_new(ctx, 1, sizeof(*regex));
    if (regex == NULL)
        return NULL;
    regex->place = place;
    regex->pattern = kp_arena_str(ctx->arena, pattern);
    regex->memory = pcre2_general_context_create(arena_malloc, arena_free, ctx);
    if (regex->pattern.ptr == NULL || regex->memory == NULL) {
        kpi_fail_memory(ctx);
        return NULL;
    }
    if (!compile_form(ctx, regex, 0, &regex->quick, &code, &at)) {
        if (ctx->status == KP_OK)
            refuse(ctx, code, at, place);
        return NULL;
    }
    regex->data = pcre2_match_data_create_from_pattern(regex->quick.code, regex->memory);
    if (regex->data == NULL) {
        kpi_fail_memory(ctx);
        return NULL;
    }
    pcre2_pattern_info(regex->quick.code, PCRE2_INFO_CAPTURECOUNT, &regex->groups);
    return regex;
}

static int match(struct kpi_regex *regex, const struct form *form, struct kp_str text,
                 uint32_t from)
{
    return pcre2_match(form->code, (PCRE2_SPTR)(text.len == 0 ? "" : text.ptr), text.len, from, 0,
                       regex->data, form->limits);
}

/* Patterns that mostly go on to the patient form go there at once. */
static bool worth_a_try(const struct kpi_regex *regex, struct kp_str text)
{
    return text.len <= QUICK_BYTES_MAX && regex->unfinished <= 8 + regex->tried / 2;
}

static int match_quickly(struct kpi_regex *regex, struct kp_str text, uint32_t from)
{
    uint32_t bits = 32u - (uint32_t)__builtin_clz(text.len | 1);
    if (bits != regex->quick_bits) {
        regex->quick_bits = bits;
        pcre2_set_match_limit(regex->quick.limits,
                              KP_MIN(QUICK_WORK_MAX >> 2 * bits, QUICK_STEPS_MAX));
    }
    int found = match(regex, &regex->quick, text, from);
    regex->tried++;
    regex->unfinished += found == PCRE2_ERROR_MATCHLIMIT;
    return found;
}

static int match_patiently(struct kpi_ctx *ctx, struct kpi_regex *regex, struct kp_str text,
                           uint32_t from)
{
    int code;
    PCRE2_SIZE at;
    if (regex->patient.code == NULL &&
        !compile_form(ctx, regex, PCRE2_AUTO_CALLOUT, &regex->patient, &code, &at)) {
        kpi_fail(ctx, KP_LIMIT, regex->place,
                 "the regular expression is too long for texts that need many steps");
        kpi_hint(ctx, "make it shorter: %u bytes are never too many", (unsigned)PATIENT_BYTES);
        return PCRE2_ERROR_MATCHLIMIT;
    }
    return match(regex, &regex->patient, text, from);
}

uint32_t kpi_regex_search(struct kpi_ctx *ctx, struct kpi_regex *regex, struct kp_str text,
                          uint32_t from)
{
    regex->found = PCRE2_ERROR_MATCHLIMIT;
    if (!kpi_go_on(ctx, KPI_WORK_MAX / (text.len <= 64 ? 32 : 8)))
        return 0;
    if (worth_a_try(regex, text))
        regex->found = match_quickly(regex, text, from);
    if (regex->found == PCRE2_ERROR_MATCHLIMIT)
        regex->found = match_patiently(ctx, regex, text, from);
    if (regex->found > 0)
        return regex->groups + 1;
    if (regex->found == PCRE2_ERROR_NOMATCH || ctx->status != KP_OK)
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
    int found = pcre2_substring_number_from_name(regex->quick.code, (PCRE2_SPTR)copy);
    return found > 0 ? (uint32_t)found : 0;
}

uint32_t kpi_regex_groups(const struct kpi_regex *regex)
{
    return regex->groups;
}
