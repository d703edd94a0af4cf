/* SPDX-License-Identifier: Apache-2.0
 *
 * The parser over opts.def: --name VALUE, --name=VALUE, -c VALUE, -cVALUE, and "--" before a
 * command that is not ours to read.
 */
#include "opts.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/version.h"

const struct kpi_opt kpi_opt_table[KPI_OPT_COUNT] = {
#define KPI_OPT(ID, name, letter, arg, commands, dflt, help) \
    [KPI_OPT_##ID] = {name, letter, arg, commands, dflt, help},
#include "opts.def"
#undef KPI_OPT
};

enum kpi_opt_id kpi_opts_find(unsigned command, const char *prefix, struct kp_str name,
                              struct kp_error *err)
{
    const char *nearest = NULL;
    uint32_t best = 3;
    for (int i = 0; i < KPI_OPT_COUNT; i++) {
        const struct kpi_opt *opt = &kpi_opt_table[i];
        if ((opt->commands & command) == 0)
            continue;
        if (kp_str_equal(name, kp_str_from(opt->name)))
            return (enum kpi_opt_id)i;
        uint32_t distance = kp_str_distance(name, kp_str_from(opt->name));
        if (distance < best) {
            best = distance;
            nearest = opt->name;
        }
    }
    if (nearest != NULL)
        kp_error_hint(err, "did you mean %s%s?", prefix, nearest);
    else
        kp_error_hint(err, "--help lists what there is");
    return KPI_OPT_COUNT;
}

static enum kpi_opt_id find_letter(unsigned command, char letter)
{
    for (int i = 0; i < KPI_OPT_COUNT; i++)
        if ((kpi_opt_table[i].commands & command) != 0 && kpi_opt_table[i].letter == letter)
            return (enum kpi_opt_id)i;
    return KPI_OPT_COUNT;
}

struct cursor {
    int argc;
    char **argv;
    int at;
};

/* Gives flag `id` its value: what came after "=", or the next word when it needs one. */
static kp_status take_value(struct cursor *cursor, enum kpi_opt_id id, const char *attached,
                            struct kpi_opts *opts, struct kp_error *err)
{
    const struct kpi_opt *opt = &kpi_opt_table[id];
    bool takes = opt->arg[0] != '\0', optional = opt->arg[0] == '[';
    if (attached != NULL && !takes)
        return kp_error_set(err, KP_USAGE, "--%s takes no value", opt->name);
    if (opts->value[id] != NULL)
        return kp_error_set(err, KP_USAGE, "--%s is given twice", opt->name);
    if (attached == NULL && takes && !optional) {
        if (cursor->at + 1 >= cursor->argc)
            return kp_error_set(err, KP_USAGE, "--%s needs a value (%s)", opt->name, opt->arg);
        attached = cursor->argv[++cursor->at];
    }
    opts->value[id] = attached != NULL ? attached : "";
    return KP_OK;
}

static kp_status parse_long(struct cursor *cursor, struct kpi_opts *opts, struct kp_error *err)
{
    const char *word = cursor->argv[cursor->at] + 2;
    const char *equals = strchr(word, '=');
    struct kp_str name = {word,
                          (uint32_t)(equals != NULL ? (size_t)(equals - word) : strlen(word))};
    kp_error_set(err, KP_USAGE, "unknown flag --%.*s", (int)name.len, name.ptr);
    enum kpi_opt_id id = kpi_opts_find(opts->command, "--", name, err);
    if (id == KPI_OPT_COUNT)
        return KP_USAGE;
    return take_value(cursor, id, equals != NULL ? equals + 1 : NULL, opts, err);
}

static kp_status parse_short(struct cursor *cursor, struct kpi_opts *opts, struct kp_error *err)
{
    const char *word = cursor->argv[cursor->at];
    enum kpi_opt_id id = find_letter(opts->command, word[1]);
    if (id == KPI_OPT_COUNT) {
        kp_error_set(err, KP_USAGE, "unknown flag -%c", word[1]);
        kp_error_hint(err, "--help lists what there is");
        return KP_USAGE;
    }
    return take_value(cursor, id, word[2] != '\0' ? word + 2 : NULL, opts, err);
}

kp_status kpi_opts_parse(int argc, char **argv, unsigned command, struct kpi_opts *out,
                         struct kp_error *err)
{
    struct cursor cursor = {argc, argv, 1};
    struct kpi_opts opts = {.command = command};
    for (; cursor.at < argc; cursor.at++) {
        char *word = argv[cursor.at];
        kp_status status = KP_OK;
        if (strcmp(word, "--") == 0) {
            opts.rest = argv + cursor.at + 1;
            break;
        }
        if (word[0] == '-' && word[1] == '-')
            status = parse_long(&cursor, &opts, err);
        else if (word[0] == '-' && word[1] != '\0')
            status = parse_short(&cursor, &opts, err);
        else if (opts.args_count == KPI_ARGS_MAX)
            status = kp_error_set(err, KP_USAGE, "too many arguments: '%s'", word);
        else
            opts.args[opts.args_count++] = word;
        if (status != KP_OK)
            return status;
    }
    *out = opts;
    return KP_OK;
}

void kpi_opts_list(FILE *out, unsigned command)
{
    for (int i = 0; i < KPI_OPT_COUNT; i++) {
        const struct kpi_opt *opt = &kpi_opt_table[i];
        if ((opt->commands & command) == 0)
            continue;
        char left[64], letter[8] = "    ";
        if (opt->letter != 0)
            snprintf(letter, sizeof(letter), "-%c, ", opt->letter);
        snprintf(left, sizeof(left), "%s--%s%s%s", letter, opt->name,
                 opt->arg[0] == '\0' || opt->arg[0] == '[' ? "" : " ", opt->arg);
        fprintf(out, "  %-29s %s", left, opt->help);
        if (opt->dflt[0] != '\0')
            fprintf(out, " [%s]", opt->dflt);
        fputc('\n', out);
    }
}

bool kpi_opts_answered(const struct kpi_opts *opts, const char *help)
{
    if (opts->value[KPI_OPT_HELP] != NULL) {
        fputs(help, stdout);
        kpi_opts_list(stdout, opts->command);
        return true;
    }
    if (opts->value[KPI_OPT_VERSION] != NULL) {
        printf("%s %s\n", opts->command == KPI_KPD ? "kpd" : "kpq", kp_version());
        return true;
    }
    return false;
}

kp_status kpi_opts_dur(const struct kpi_opts *opts, enum kpi_opt_id id, kp_dur unset, kp_dur *out,
                       struct kp_error *err)
{
    const char *value = opts->value[id];
    kp_dur parsed = unset;
    if (value != NULL && (!kp_dur_parse(kp_str_from(value), &parsed) || parsed < 0)) {
        kp_error_set(err, KP_USAGE, "--%s: '%s' is not a duration", kpi_opt_table[id].name, value);
        kp_error_hint(err, "a number and ns, us, ms, s, m, h or d, as 500ms");
        return KP_USAGE;
    }
    *out = parsed;
    return KP_OK;
}

static bool parse_bytes(const char *text, uint64_t *out)
{
    uint64_t value = 0, unit = 1;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return false;
    if (at == text)
        return false;
    static const char units[] = "KMGT";
    const char *found = *at == '\0' ? NULL : strchr(units, *at & ~32);
    if (found != NULL) {
        unit = 1ull << (10 * (found - units + 1));
        at++;
    }
    if (strcmp(at, "") != 0 && strcmp(at, "B") != 0 && strcmp(at, "iB") != 0)
        return false;
    return !__builtin_mul_overflow(value, unit, out);
}

kp_status kpi_opts_bytes(const struct kpi_opts *opts, enum kpi_opt_id id, uint64_t *out,
                         struct kp_error *err)
{
    const char *value = opts->value[id] != NULL ? opts->value[id] : kpi_opt_table[id].dflt;
    uint64_t parsed = 0;
    if (value[0] == '\0' && opts->value[id] == NULL) {
        *out = 0;
        return KP_OK;
    }
    if (!parse_bytes(value, &parsed)) {
        kp_error_set(err, KP_USAGE, "--%s: '%s' is not a size", kpi_opt_table[id].name, value);
        kp_error_hint(err, "a number of bytes, or with K, M or G, as 256M");
        return KP_USAGE;
    }
    *out = parsed;
    return KP_OK;
}

kp_status kpi_opts_threads(const struct kpi_opts *opts, uint32_t *out, struct kp_error *err)
{
    const char *value = opts->value[KPI_OPT_THREADS];
    char *end = NULL;
    unsigned long threads = value == NULL ? 0 : strtoul(value, &end, 10);
    if (value != NULL &&
        (value[0] < '0' || value[0] > '9' || *end != '\0' || threads < 1 || threads > 64))
        return kp_error_set(err, KP_USAGE, "--threads is a number from 1 to 64, not '%s'", value);
    *out = (uint32_t)threads;
    return KP_OK;
}

/* Not given: 10 s. */
static kp_status read_seals(const struct kpi_opts *opts, struct kp_store_opts *out,
                            struct kp_error *err)
{
    const char *every = opts->value[KPI_OPT_SEAL_EVERY];
    if (every != NULL && strcmp(every, "off") == 0)
        return KP_OK;
    kp_status status = kpi_opts_dur(opts, KPI_OPT_SEAL_EVERY, 10 * KP_SEC, &out->seal_every, err);
    if (status == KP_OK && (out->seal_every < KP_SEC || out->seal_every > KP_HOUR))
        return kp_error_set(err, KP_USAGE, "--seal-every is 1s to 1h, or off");
    return status;
}

/* Not given: 24 h. */
static kp_status read_cold(const struct kpi_opts *opts, struct kp_store_opts *out,
                           struct kp_error *err)
{
    const char *after = opts->value[KPI_OPT_COLD_AFTER];
    if (after != NULL && strcmp(after, "off") == 0)
        return KP_OK;
    kp_status status = kpi_opts_dur(opts, KPI_OPT_COLD_AFTER, KP_DAY, &out->cold_after, err);
    if (status == KP_OK && out->cold_after < KP_SEC)
        return kp_error_set(err, KP_USAGE, "--cold-after is 1s or more, or off");
    return status == KP_OK ? kpi_opts_bytes(opts, KPI_OPT_COLD_RATE, &out->cold_rate, err) : status;
}

/* Not given: 7 days. */
static kp_status read_scrub(const struct kpi_opts *opts, struct kp_store_opts *out,
                            struct kp_error *err)
{
    const char *every = opts->value[KPI_OPT_SCRUB_EVERY];
    if (every != NULL && strcmp(every, "off") == 0)
        return KP_OK;
    kp_status status = kpi_opts_dur(opts, KPI_OPT_SCRUB_EVERY, 7 * KP_DAY, &out->scrub_every, err);
    if (status == KP_OK && out->scrub_every < KP_SEC)
        return kp_error_set(err, KP_USAGE, "--scrub-every is 1s or more, or off");
    return status;
}

/* Group commit, within bounds that make sense. */
static kp_status read_commit(const struct kpi_opts *opts, struct kp_store_opts *out,
                             struct kp_error *err)
{
    kp_dur after;
    uint64_t bytes;
    kp_status status = kpi_opts_dur(opts, KPI_OPT_COMMIT_AFTER, 5 * KP_MS, &after, err);
    if (status == KP_OK)
        status = kpi_opts_bytes(opts, KPI_OPT_COMMIT_BYTES, &bytes, err);
    if (status != KP_OK)
        return status;
    if (after < KP_MS || after > 10 * KP_SEC)
        return kp_error_set(err, KP_USAGE, "--commit-after is 1ms to 10s");
    if (bytes < (4u << 10) || bytes > (4u << 20))
        return kp_error_set(err, KP_USAGE, "--commit-bytes is 4K to 4M");
    out->commit_after = after;
    out->commit_bytes = (uint32_t)bytes;
    return KP_OK;
}

kp_status kpi_opts_store(const struct kpi_opts *opts, struct kp_store_opts *out,
                         struct kp_error *err)
{
    kp_dur age;
    uint64_t bytes;
    kp_status status = kpi_opts_dur(opts, KPI_OPT_RETAIN_AGE, 0, &age, err);
    if (status == KP_OK)
        status = kpi_opts_bytes(opts, KPI_OPT_RETAIN_BYTES, &bytes, err);
    if (status != KP_OK)
        return status;
    out->retention_age = age;
    out->retention_bytes = bytes;
    status = read_cold(opts, out, err);
    if (status == KP_OK)
        status = read_scrub(opts, out, err);
    if (status == KP_OK)
        status = read_seals(opts, out, err);
    return status == KP_OK ? read_commit(opts, out, err) : status;
}
