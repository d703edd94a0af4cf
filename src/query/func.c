/* SPDX-License-Identifier: Apache-2.0
 *
 * Finds the function a call means. Among the overloads of a name the one with the cheapest implicit
 * casts wins; ties go to the earlier row, so the order of the tables is part of the language.
 */
#include "query/func.h"
#include "query/aggregate.h"

static const struct kpi_func_table *const tables[] = {
    &kpi_funcs_arith, &kpi_funcs_decimal, &kpi_funcs_compare, &kpi_funcs_flow,
    &kpi_funcs_text,  &kpi_funcs_convert, &kpi_funcs_time,    &kpi_funcs_json,
    &kpi_funcs_regex, &kpi_funcs_array,   &kpi_funcs_set,     &kpi_funcs_net,
    &kpi_funcs_code,  &kpi_funcs_series,  &kpi_funcs_number};

static const char letters[] = "blrstdym";
static const enum kp_type letter_types[] = {KP_TYPE_BOOL, KP_TYPE_I64, KP_TYPE_F64, KP_TYPE_STR,
                                            KP_TYPE_TIME, KP_TYPE_DUR, KP_TYPE_DYN, KP_TYPE_DEC};

char kpi_type_letter(enum kp_type type)
{
    for (size_t i = 0; i < KP_ARRAY_LEN(letter_types); i++)
        if (letter_types[i] == type)
            return letters[i];
    return '?';
}

enum kp_type kpi_letter_type(char letter)
{
    const char *at = strchr(letters, letter);
    return at == NULL || letter == '\0' ? KP_TYPE_NULL : letter_types[at - letters];
}

void kpi_letters_text(const char *args, struct kp_buf *out)
{
    for (const char *at = args; *at != '\0'; at++) {
        if (*at == '*') {
            kp_buf_text(out, " ...");
            continue;
        }
        kp_buf_text(out, at > args ? ", " : "");
        kp_buf_text(out, *at == '.' || *at == 'T' ? "any"
                         : *at == 'c'             ? "a constant number"
                                                  : kp_type_name(kpi_letter_type(*at)));
    }
}

const struct kpi_func *kpi_func_at(uint32_t index)
{
    for (size_t i = 0; i < KP_ARRAY_LEN(tables); i++) {
        if (index < tables[i]->count)
            return &tables[i]->funcs[index];
        index -= tables[i]->count;
    }
    return NULL;
}

/* Letter that argument i meets, following `*`; '\0' when there is no such argument. */
static char argument_letter(const struct kpi_func *func, uint32_t i)
{
    const char *at = func->args;
    for (;; i--) {
        if (*at == '\0')
            return '\0';
        if (at[1] == '*')
            return *at;
        if (i == 0)
            return *at;
        at++;
    }
}

static bool count_fits(const struct kpi_func *func, uint32_t count)
{
    uint32_t fixed = 0;
    bool open = false;
    for (const char *at = func->args; *at != '\0'; at++) {
        open |= *at == '*';
        fixed += *at != '*' && at[1] != '*';
    }
    return open ? count >= fixed : count == fixed;
}

#define NO_CAST 1000

static int cast_cost(enum kp_type from, enum kp_type to)
{
    if (from == to)
        return 0;
    if (from == KP_TYPE_NULL)
        return 1;
    if (from == KP_TYPE_I64 && (to == KP_TYPE_F64 || to == KP_TYPE_DEC))
        return 2;
    if (from == KP_TYPE_BOOL && to == KP_TYPE_I64)
        return 3;
    if (from == KP_TYPE_DYN)
        return to == KP_TYPE_STR    ? 6
               : to == KP_TYPE_F64  ? 4
               : to == KP_TYPE_DEC  ? 5
               : to == KP_TYPE_I64  ? 7
               : to == KP_TYPE_BOOL ? 8
                                    : NO_CAST;
    return NO_CAST;
}

/* The type all `T` arguments can meet in; NO_TYPE (KP_TYPE_ENUM) when there is none. */
#define NO_TYPE KP_TYPE_ENUM
static enum kp_type generic_type(const struct kpi_func *func, struct kpi_expr *const *args,
                                 uint32_t count)
{
    enum kp_type type = KP_TYPE_NULL;
    for (uint32_t i = 0; i < count; i++) {
        if (argument_letter(func, i) != 'T' || args[i]->type == KP_TYPE_NULL)
            continue;
        if (type == KP_TYPE_NULL || cast_cost(type, args[i]->type) < NO_CAST)
            type = args[i]->type;
        else if (cast_cost(args[i]->type, type) == NO_CAST)
            return NO_TYPE;
    }
    return type == KP_TYPE_NULL ? KP_TYPE_STR : type;
}

static int overload_cost(const struct kpi_func *func, struct kpi_expr *const *args, uint32_t count,
                         enum kp_type *out_generic)
{
    if (!count_fits(func, count))
        return NO_CAST;
    enum kp_type generic = generic_type(func, args, count);
    if (generic == NO_TYPE)
        return NO_CAST;
    int total = 0;
    for (uint32_t i = 0; i < count; i++) {
        char letter = argument_letter(func, i);
        enum kp_type wanted = letter == 'T' ? generic : kpi_letter_type(letter);
        total += letter == '.' ? 1 : cast_cost(args[i]->type, wanted);
        if (total >= NO_CAST)
            return NO_CAST;
    }
    *out_generic = generic;
    return total;
}

static void list_types(struct kp_buf *out, struct kpi_expr *const *args, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        kp_buf_printf(out, "%s%s", i > 0 ? ", " : "", kp_type_name(args[i]->type));
}

static void list_overloads(struct kp_buf *out, struct kp_str name)
{
    uint32_t shown = 0;
    const struct kpi_func *func;
    for (uint32_t i = 0; (func = kpi_func_at(i)) != NULL && shown < 6; i++) {
        if (!kp_str_equal(name, kp_str_from(func->name)))
            continue;
        kp_buf_text(out, shown++ > 0 ? ", or (" : "(");
        kpi_letters_text(func->args, out);
        kp_buf_char(out, ')');
    }
}

/* Kusto functions we do not have: refused by name, with what to write instead. One that ends with _
 * stands for all that begin so. */
static const struct {
    const char *name, *instead;
} missing[] = {
#define REFUSED_FUNCTION(name, instead) {name, instead},
#include "query/refused.def"
};

static const char *missing_hint(struct kp_str name)
{
    for (size_t i = 0; i < KP_ARRAY_LEN(missing); i++)
        if (kp_str_equal(name, kp_str_from(missing[i].name)))
            return missing[i].instead;
    for (size_t i = 0; i < KP_ARRAY_LEN(missing); i++) {
        struct kp_str start = kp_str_from(missing[i].name);
        if (start.ptr[start.len - 1] == '_' && name.len > start.len &&
            memcmp(name.ptr, start.ptr, start.len) == 0)
            return missing[i].instead;
    }
    return NULL;
}

static void fail_unknown(struct kpi_ctx *ctx, struct kp_str name, struct kpi_place place)
{
    int len = (int)KP_MIN(name.len, 60u);
    const char *instead = missing_hint(name);
    if (instead != NULL) {
        kpi_fail(ctx, KP_UNSUPPORTED, place, "'%.*s' is not supported", len, name.ptr);
        kpi_hint(ctx, "nearest form: %s", instead);
        return;
    }
    struct kpi_nearest nearest = {.wanted = name};
    const struct kpi_aggregate_func *aggregate; /* first: cont is count, not cot */
    for (uint32_t i = 0; (aggregate = kpi_aggregate_at(i)) != NULL; i++)
        if (aggregate->name[0] != '(')
            kpi_nearest_offer(&nearest, kp_str_from(aggregate->name));
    const struct kpi_func *func;
    for (uint32_t i = 0; (func = kpi_func_at(i)) != NULL; i++)
        if (func->name[0] >= 'a' && func->name[0] <= 'z')
            kpi_nearest_offer(&nearest, kp_str_from(func->name));
    kpi_nearest_offer(&nearest, KP_STR("percentiles"));
    kpi_fail(ctx, KP_INVALID, place, "unknown function '%.*s'", len, name.ptr);
    if (nearest.best.len != 0)
        kpi_hint(ctx, "did you mean '%s'?", nearest.best.ptr);
    else
        kpi_hint(ctx, "docs/language.md lists the functions");
}

bool kpi_func_known(struct kpi_ctx *ctx, struct kp_str name, struct kpi_place place)
{
    const struct kpi_func *func;
    for (uint32_t i = 0; (func = kpi_func_at(i)) != NULL; i++)
        if (kp_str_equal(name, kp_str_from(func->name)))
            return true;
    fail_unknown(ctx, name, place);
    return false;
}

static bool mixes(struct kpi_expr *const *args, uint32_t count)
{
    bool decimal = false, real = false;
    for (uint32_t i = 0; i < count; i++) {
        decimal |= args[i]->type == KP_TYPE_DEC;
        real |= args[i]->type == KP_TYPE_F64;
    }
    return decimal && real;
}

static void fail_types(struct kpi_ctx *ctx, struct kp_str name, struct kpi_place place,
                       struct kpi_expr *const *args, uint32_t count)
{
    struct kp_buf types = {0}, forms = {0};
    list_types(&types, args, count);
    list_overloads(&forms, name);
    kpi_fail(ctx, KP_INVALID, place, "'%.*s' does not take (%s)", (int)name.len, name.ptr,
             kp_buf_cstr(&types));
    if (mixes(args, count))
        kpi_hint(ctx, "decimals are exact and reals are not: write todecimal(x) or toreal(x)");
    else
        kpi_hint(ctx, "it takes %s", kp_buf_cstr(&forms));
    kp_buf_deinit(&types);
    kp_buf_deinit(&forms);
}

const struct kpi_func *kpi_func_resolve(struct kpi_ctx *ctx, struct kp_str name,
                                        struct kpi_place place, struct kpi_expr *const *args,
                                        uint32_t args_count, enum kp_type *out_result,
                                        enum kp_type *out_generic)
{
    const struct kpi_func *best = NULL, *func;
    int best_cost = NO_CAST;
    if (!kpi_func_known(ctx, name, place))
        return NULL;
    for (uint32_t i = 0; (func = kpi_func_at(i)) != NULL; i++) {
        if (!kp_str_equal(name, kp_str_from(func->name)))
            continue;
        enum kp_type generic = KP_TYPE_NULL;
        int cost = overload_cost(func, args, args_count, &generic);
        if (cost >= best_cost)
            continue;
        best_cost = cost;
        best = func;
        *out_generic = generic;
    }
    if (best == NULL)
        fail_types(ctx, name, place, args, args_count);
    else
        *out_result = best->result == 'T' ? *out_generic : kpi_letter_type(best->result);
    return best;
}

enum kp_type kpi_func_arg_type(const struct kpi_func *func, uint32_t i, enum kp_type generic)
{
    char letter = argument_letter(func, i);
    return letter == 'T' ? generic : kpi_letter_type(letter);
}

const struct kpi_func *kpi_func_cast(enum kp_type from, enum kp_type to)
{
    static const struct {
        enum kp_type to;
        const char *name;
    } casts[] = {{KP_TYPE_F64, "toreal"},     {KP_TYPE_I64, "tolong"},
                 {KP_TYPE_STR, "tostring"},   {KP_TYPE_BOOL, "tobool"},
                 {KP_TYPE_DUR, "totimespan"}, {KP_TYPE_TIME, "todatetime"},
                 {KP_TYPE_DEC, "todecimal"}};
    const struct kpi_func *func;
    for (size_t c = 0; c < KP_ARRAY_LEN(casts); c++) {
        for (uint32_t i = 0; casts[c].to == to && (func = kpi_func_at(i)) != NULL; i++) {
            bool takes = func->args[0] == kpi_type_letter(from) || func->args[0] == '.';
            if (takes && func->args[1] == '\0' && strcmp(func->name, casts[c].name) == 0)
                return func;
        }
    }
    return NULL;
}
