/* SPDX-License-Identifier: Apache-2.0
 *
 * Order of precedence: flag, environment, file, default. A switch (--no-realtime) is written as
 * `no-realtime = true` in the file and the environment.
 */
#include "settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES_MAX 4096

/* Where one program has its settings. */
struct place {
    unsigned command;
    const char *prefix; /* of its variables */
};

static const struct place place_kpd = {KPI_KPD, "KPD_"}, place_query = {KPI_QUERY, "KPQ_"};

/* Not the flags that are about one command line. */
static bool is_setting(const struct place *place, enum kpi_opt_id id)
{
    const struct kpi_opt *opt = &kpi_opt_table[id];
    return (opt->commands & place->command) != 0 && opt->commands != KPI_ALL &&
           id != KPI_OPT_COMMAND && id != KPI_OPT_FILE && strstr(opt->name, "config") == NULL;
}

/* Gives flag `id` a value that came as text; a switch takes true and false. */
static kp_status set_value(struct kpi_opts *opts, enum kpi_opt_id id, struct kp_str text,
                           struct kp_arena *arena, struct kp_error *err)
{
    const struct kpi_opt *opt = &kpi_opt_table[id];
    struct kp_str copy = kp_arena_str(arena, text);
    if (copy.ptr == NULL)
        return kp_error_set(err, KP_NO_MEMORY, "no memory for the configuration");
    if (opt->arg[0] != '\0') {
        opts->value[id] = copy.ptr;
        return KP_OK;
    }
    if (strcmp(copy.ptr, "true") != 0 && strcmp(copy.ptr, "false") != 0)
        return kp_error_set(err, KP_USAGE, "%s is true or false, not '%s'", opt->name, copy.ptr);
    opts->value[id] = strcmp(copy.ptr, "true") == 0 ? "" : NULL;
    return KP_OK;
}

static kp_status read_environment(struct kpi_opts *opts, const struct place *place,
                                  struct kp_arena *arena, struct kp_error *err)
{
    for (int i = 0; i < KPI_OPT_COUNT; i++) {
        char name[64];
        const struct kpi_opt *opt = &kpi_opt_table[i];
        bool config = i == KPI_OPT_CONFIG && (opt->commands & place->command) != 0;
        if (!is_setting(place, (enum kpi_opt_id)i) && !config)
            continue;
        size_t at = (size_t)snprintf(name, sizeof(name), "%s", place->prefix);
        for (const char *c = opt->name; *c != '\0' && at + 1 < sizeof(name); c++)
            name[at++] = (char)(*c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? *c - 32 : *c);
        name[at] = '\0';
        const char *value = getenv(name);
        if (value == NULL || opts->value[i] != NULL)
            continue;
        kp_status status = set_value(opts, (enum kpi_opt_id)i, kp_str_from(value), arena, err);
        if (status != KP_OK)
            return status;
    }
    return KP_OK;
}

static struct kp_str trim(struct kp_str text)
{
    while (text.len > 0 && strchr(" \t\r\n", text.ptr[text.len - 1]) != NULL)
        text.len--;
    while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t')) {
        text.ptr++;
        text.len--;
    }
    return text;
}

static kp_status bad_key(const struct place *place, struct kp_str key, struct kp_error *err)
{
    kp_error_set(err, KP_USAGE, "unknown key '%.*s'", (int)key.len, key.ptr);
    if (kpi_opts_find(place->command, "", key, err) != KPI_OPT_COUNT)
        kp_error_hint(err, "--%.*s is for the command line only", (int)key.len, key.ptr);
    return KP_USAGE;
}

/* One line of the file; `seen` are the keys of earlier lines. */
static kp_status read_line(struct kpi_opts *opts, const struct place *place, struct kp_str line,
                           bool *seen, struct kp_arena *arena, struct kp_error *err)
{
    line = trim(line);
    if (line.len == 0 || line.ptr[0] == '#')
        return KP_OK;
    const char *equals = memchr(line.ptr, '=', line.len);
    if (equals == NULL) {
        kp_error_set(err, KP_USAGE, "'%.*s' is not key = value", (int)line.len, line.ptr);
        return KP_USAGE;
    }
    struct kp_str key = trim((struct kp_str){line.ptr, (uint32_t)(equals - line.ptr)});
    struct kp_str value =
        trim((struct kp_str){equals + 1, (uint32_t)(line.ptr + line.len - equals - 1)});
    enum kpi_opt_id id = kpi_opts_find(place->command, "", key, NULL);
    if (id == KPI_OPT_COUNT || !is_setting(place, id))
        return bad_key(place, key, err);
    if (seen[id])
        return kp_error_set(err, KP_USAGE, "key '%s' is given twice", kpi_opt_table[id].name);
    seen[id] = true;
    return opts->value[id] != NULL ? KP_OK : set_value(opts, id, value, arena, err);
}

static kp_status read_file(struct kpi_opts *opts, const struct place *place, const char *path,
                           struct kp_arena *arena, struct kp_error *err)
{
    bool seen[KPI_OPT_COUNT] = {false};
    char line[LINE_BYTES_MAX];
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return kp_error_os(err, KP_USAGE, errno, "cannot read configuration '%s'", path);
    kp_status status = KP_OK;
    for (unsigned number = 1; status == KP_OK && fgets(line, sizeof(line), file) != NULL;
         number++) {
        status = read_line(opts, place, kp_str_from(line), seen, arena, err);
        if (status != KP_OK) {
            struct kp_error cause = *err;
            kp_error_set(err, status, "%.200s:%u: %.250s", path, number, cause.text);
            if (cause.hint[0] != '\0')
                kp_error_hint(err, "%.500s", cause.hint);
        }
    }
    fclose(file);
    return status;
}

static void fill_defaults(struct kpi_opts *opts, const struct place *place)
{
    for (int i = 0; i < KPI_OPT_COUNT; i++)
        if (is_setting(place, (enum kpi_opt_id)i) && opts->value[i] == NULL &&
            kpi_opt_table[i].dflt[0] != '\0')
            opts->value[i] = kpi_opt_table[i].dflt;
}

kp_status kpi_settings_kpd(struct kpi_opts *opts, struct kp_arena *arena, struct kp_error *err)
{
    kp_status status = read_environment(opts, &place_kpd, arena, err);
    if (status == KP_OK && opts->value[KPI_OPT_CONFIG] != NULL)
        status = read_file(opts, &place_kpd, opts->value[KPI_OPT_CONFIG], arena, err);
    fill_defaults(opts, &place_kpd);
    return status;
}

/* False: no place for such a file. */
static bool query_file(char *out, size_t out_size)
{
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int length = -1;
    if (config != NULL && config[0] == '/')
        length = snprintf(out, out_size, "%s/kprobe/kpq.conf", config);
    else if (home != NULL && home[0] == '/')
        length = snprintf(out, out_size, "%s/.config/kprobe/kpq.conf", home);
    return length > 0 && (size_t)length < out_size;
}

kp_status kpi_settings_query(struct kpi_opts *opts, struct kp_arena *arena, struct kp_error *err)
{
    char path[1024];
    kp_status status = read_environment(opts, &place_query, arena, err);
    if (status == KP_OK && query_file(path, sizeof(path)) && access(path, F_OK) == 0)
        status = read_file(opts, &place_query, path, arena, err);
    fill_defaults(opts, &place_query);
    return status;
}

void kpi_settings_print(const struct kpi_opts *opts)
{
    for (int i = 0; i < KPI_OPT_COUNT; i++) {
        const struct kpi_opt *opt = &kpi_opt_table[i];
        if (!is_setting(&place_kpd, (enum kpi_opt_id)i))
            continue;
        printf("# %s\n", opt->help);
        if (opt->arg[0] == '\0')
            printf("%s = %s\n", opt->name, opts->value[i] != NULL ? "true" : "false");
        else
            printf("%s%s = %s\n", opts->value[i] == NULL ? "#" : "", opt->name,
                   opts->value[i] == NULL ? "" : opts->value[i]);
    }
}
