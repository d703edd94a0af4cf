/* SPDX-License-Identifier: Apache-2.0
 *
 * What a run of the demo knew of itself, kept beside a recording of it: one "name value" a line.
 * With it the answers of a recording are checked like those of a live run.
 */
#include "demo.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum kind { WORD, S32, S64 };

static const struct {
    const char *name;
    enum kind kind;
    size_t offset;
    size_t size;
} fields[] = {
#define FIELD(name, kind, member)                             \
    {                                                         \
        name, kind, offsetof(struct kpi_demo_result, member), \
            sizeof(((struct kpi_demo_result *)0)->member)     \
    }
    FIELD("batch_pid", S32, batch_pid),
    FIELD("batch_policy", WORD, batch_policy),
    FIELD("batch_ran_ns", S64, batch_ran),
    FIELD("state", WORD, paid.state),
    FIELD("http_status", S32, paid.http_status),
    FIELD("wall_ns", S64, paid.wall),
    FIELD("waited_longest_ns", S64, waited.longest),
    FIELD("waited_sum_ns", S64, waited.sum),
    FIELD("waited_comm", WORD, waited.comm),
    FIELD("normal_median_ns", S64, normal_median),
#undef FIELD
};

_Static_assert(sizeof(pid_t) == sizeof(int32_t), "batch_pid is kept as S32");

static void write_field(FILE *file, size_t i, const struct kpi_demo_result *result)
{
    const char *at = (const char *)result + fields[i].offset;
    int32_t s32;
    int64_t s64;
    switch (fields[i].kind) {
    case WORD:
        fprintf(file, "%s %s\n", fields[i].name, at[0] == '\0' ? "-" : at);
        break;
    case S32:
        memcpy(&s32, at, sizeof(s32));
        fprintf(file, "%s %" PRId32 "\n", fields[i].name, s32);
        break;
    case S64:
        memcpy(&s64, at, sizeof(s64));
        fprintf(file, "%s %" PRId64 "\n", fields[i].name, s64);
        break;
    }
}

kp_status kpi_demo_truth_write(const char *dir, const struct kpi_demo_result *result,
                               struct kp_error *err)
{
    char path[KPI_DEMO_PATH_MAX + 8];
    snprintf(path, sizeof(path), "%s/truth", dir);
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return kp_error_os(err, KP_IO, errno, "cannot write %s", path);
    for (size_t i = 0; i < KP_ARRAY_LEN(fields); i++)
        write_field(file, i, result);
    bool failed = ferror(file) != 0;
    return fclose(file) != 0 || failed ? kp_error_os(err, KP_IO, errno, "cannot write %s", path)
                                       : KP_OK;
}

static void read_field(size_t i, const char *value, struct kpi_demo_result *result)
{
    char *at = (char *)result + fields[i].offset;
    int64_t s64 = strtoll(value, NULL, 10);
    int32_t s32 = (int32_t)s64;
    switch (fields[i].kind) {
    case WORD:
        snprintf(at, fields[i].size, "%s", value);
        break;
    case S32:
        memcpy(at, &s32, sizeof(s32));
        break;
    case S64:
        memcpy(at, &s64, sizeof(s64));
        break;
    }
}

kp_status kpi_demo_truth_read(const char *dir, struct kpi_demo_result *result, struct kp_error *err)
{
    char path[KPI_DEMO_PATH_MAX + 8], name[24], value[24];
    snprintf(path, sizeof(path), "%s/truth", dir);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return kp_error_os(err, KP_IO, errno, "cannot read %s", path);
    while (fscanf(file, "%23s %23s", name, value) == 2) {
        for (size_t i = 0; i < KP_ARRAY_LEN(fields); i++)
            if (strcmp(fields[i].name, name) == 0)
                read_field(i, value, result);
    }
    fclose(file);
    return KP_OK;
}
