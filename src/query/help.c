/* SPDX-License-Identifier: Apache-2.0
 *
 * What one word of the language means, for \help: from the tables of the parser and the functions,
 * with an example where the word is a statement or an operator; and which word was meant.
 */
#include <ctype.h>

#include "query/aggregate.h"
#include "query/func.h"
#include "query/parse.h"
#include "query/query.h"

static const struct {
    const char *name, *text;
} examples[] = {
#define KPI_EXAMPLE(name, text) {name, text},
#include "query/examples.def"
#undef KPI_EXAMPLE
};

const char *kp_query_example(struct kp_str word)
{
    for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++)
        if (kp_str_equal_nocase(word, kp_str_from(examples[i].name)))
            return examples[i].text;
    return NULL;
}

static bool help_word(enum kpi_word_place place, struct kp_str word, struct kp_buf *out)
{
    const char *doc, *name;
    for (uint32_t i = 0; (name = kpi_word_name(place, i, &doc)) != NULL; i++) {
        if (!kp_str_equal_nocase(word, kp_str_from(name)))
            continue;
        kp_buf_printf(out, "%s%s: %s\n", place == KPI_WORD_OPERATOR ? "| " : "", name, doc);
        return true;
    }
    return false;
}

/* One line a form; the meaning stands behind the first. */
static bool help_function(struct kp_str word, struct kp_buf *out)
{
    const struct kpi_func *func;
    const struct kpi_aggregate_func *aggregate;
    bool found = false;
    for (uint32_t i = 0; (func = kpi_func_at(i)) != NULL; i++) {
        if (func->doc == NULL || !kp_str_equal(word, kp_str_from(func->name)))
            continue;
        kp_buf_printf(out, "%s(", func->name);
        kpi_letters_text(func->args, out);
        kp_buf_printf(out, ")%s%s\n", found ? "" : ": ", found ? "" : func->doc);
        found = true;
    }
    for (uint32_t i = 0; (aggregate = kpi_aggregate_at(i)) != NULL; i++) {
        if (aggregate->doc == NULL || !kp_str_equal(word, kp_str_from(aggregate->name)))
            continue;
        kp_buf_printf(out, "%s(", aggregate->name);
        kpi_letters_text(aggregate->args, out);
        kp_buf_printf(out, ") of a group: %s\n", aggregate->doc);
        found = true;
    }
    return found;
}

bool kpi_hint_verb(struct kpi_ctx *ctx, const struct kpi_token *token)
{
    const char *end = token->text.ptr, *begin = ctx->text.ptr;
    char word[16];
    uint32_t length = 0;
    if (token->code == 0 || !kp_str_equal_nocase(token->text, KP_STR("OF")))
        return false;
    while (end > begin && end[-1] == ' ')
        end--;
    while (end - length > begin && isalpha((unsigned char)end[-1 - (int)length]) &&
           length < sizeof(word))
        length++;
    for (uint32_t i = 0; i < length; i++)
        word[i] = (char)toupper((unsigned char)end[(int)i - (int)length]);
    struct kpi_nearest nearest = {.wanted = {word, length}};
    const char *name, *doc;
    for (uint32_t i = 0; (name = kpi_word_name(KPI_WORD_START, i, &doc)) != NULL; i++)
        kpi_nearest_offer(&nearest, kp_str_from(name));
    if (nearest.best.len == 0 || nearest.distance == 0)
        return false;
    kpi_hint(ctx, "did you mean '%s OF'?", nearest.best.ptr);
    return true;
}

const char *kp_query_help_near(struct kp_str word)
{
    static const enum kpi_word_place places[] = {KPI_WORD_START, KPI_WORD_OPERATOR, KPI_WORD_VERB};
    struct kpi_nearest nearest = {.wanted = word};
    const char *doc, *name;
    for (size_t place = 0; place < sizeof(places) / sizeof(places[0]); place++)
        for (uint32_t i = 0; (name = kpi_word_name(places[place], i, &doc)) != NULL; i++)
            kpi_nearest_offer(&nearest, kp_str_from(name));
    const struct kpi_aggregate_func *aggregate;
    for (uint32_t i = 0; (aggregate = kpi_aggregate_at(i)) != NULL; i++)
        if (aggregate->doc != NULL)
            kpi_nearest_offer(&nearest, kp_str_from(aggregate->name));
    const struct kpi_func *func;
    for (uint32_t i = 0; (func = kpi_func_at(i)) != NULL; i++)
        if (func->doc != NULL)
            kpi_nearest_offer(&nearest, kp_str_from(func->name));
    return nearest.best.len == 0 ? NULL : nearest.best.ptr;
}

bool kp_query_help(struct kp_str word, struct kp_buf *out)
{
    bool found = help_word(KPI_WORD_START, word, out);
    found |= help_word(KPI_WORD_OPERATOR, word, out);
    found |= help_word(KPI_WORD_VERB, word, out);
    found |= help_function(word, out);
    const char *example = kp_query_example(word);
    if (example != NULL)
        kp_buf_printf(out, "\n  %s\n", example);
    return found;
}
