/* SPDX-License-Identifier: Apache-2.0
 *
 * What the store says about payment 98721, read through the query library like any other client,
 * and reduced to the figures that can be checked against the truth.
 */
#include "demo.h"

#include <stdio.h>
#include <string.h>

#include "query/query.h"

#define MEMORY_MAX ((size_t)512 << 20)

typedef void (*row_fn)(void *ctx, const struct kp_schema *schema, const struct kp_batch *batch,
                       uint32_t row);

static kp_status each_row(struct kp_snapshot *snapshot, const char *text, row_fn each, void *ctx,
                          struct kp_error *err)
{
    struct kp_query_opts opts = {.memory_bytes_max = MEMORY_MAX};
    struct kp_query *query = NULL;
    const struct kp_batch *batch;
    kp_status status = kp_query_open(snapshot, kp_str_from(text), &opts, &query, err);
    if (status != KP_OK)
        return status;
    while ((status = kp_query_next(query, &batch, err)) == KP_OK)
        for (uint32_t i = 0; i < kp_batch_count(batch); i++)
            each(ctx, kp_query_schema(query), batch, kp_batch_row(batch, i));
    kp_query_close(query);
    return status == KP_END ? KP_OK : status;
}

/* A number or a truth value; 0 when the column is missing or null. */
static int64_t number(const struct kp_schema *schema, const struct kp_batch *batch, uint32_t row,
                      const char *name)
{
    int column = kp_schema_find(schema, kp_str_from(name));
    bool none = column < 0 || kp_vec_null(&batch->cols[column], row);
    return none ? 0 : batch->cols[column].i64[row];
}

static void text(const struct kp_schema *schema, const struct kp_batch *batch, uint32_t row,
                 const char *name, char *out, size_t size)
{
    int column = kp_schema_find(schema, kp_str_from(name));
    struct kp_str value = {0};
    if (column >= 0 && !kp_vec_null(&batch->cols[column], row))
        value = kp_vec_str(&batch->cols[column], row);
    snprintf(out, size, "%.*s", (int)value.len, value.len == 0 ? "" : value.ptr);
}

static void take_cause(void *ctx, const struct kp_schema *schema, const struct kp_batch *batch,
                       uint32_t row)
{
    struct kpi_demo_answer *answer = ctx;
    answer->rows++;
    answer->sum += number(schema, batch, row, "dur");
    if (number(schema, batch, row, "root") == 0 || answer->has_root)
        return;
    answer->has_root = true;
    answer->dur = number(schema, batch, row, "dur");
    answer->culprit_pid = number(schema, batch, row, "culprit_pid");
    text(schema, batch, row, "kind", answer->kind, sizeof(answer->kind));
    text(schema, batch, row, "comm", answer->comm, sizeof(answer->comm));
    text(schema, batch, row, "culprit_comm", answer->culprit_comm, sizeof(answer->culprit_comm));
    text(schema, batch, row, "strength", answer->strength, sizeof(answer->strength));
}

static void take_span(void *ctx, const struct kp_schema *schema, const struct kp_batch *batch,
                      uint32_t row)
{
    struct kpi_demo_answer *answer = ctx;
    char service[32], parent[24];
    text(schema, batch, row, "service", service, sizeof(service));
    text(schema, batch, row, "parent_id", parent, sizeof(parent));
    kp_dur dur = number(schema, batch, row, "dur");
    answer->spans++;
    if (parent[0] == '\0')
        answer->wall = dur;
    if (strcmp(service, "settlement-svc") == 0 && dur > answer->settle)
        answer->settle = dur;
}

static void take_blamed(void *ctx, const struct kp_schema *schema, const struct kp_batch *batch,
                        uint32_t row)
{
    struct kpi_demo_answer *answer = ctx;
    answer->blamed = number(schema, batch, row, "blamed");
}

static kp_status ask_blamed(struct kp_snapshot *snapshot, struct kpi_demo_answer *answer,
                            struct kp_error *err)
{
    char question[160];
    snprintf(question, sizeof(question),
             KPI_DEMO_CAUSES " | where culprit_pid == %lld | summarize blamed = sum(dur)",
             (long long)answer->culprit_pid);
    return each_row(snapshot, question, take_blamed, answer, err);
}

kp_status kpi_demo_ask(const char *dir, struct kpi_demo_answer *out, struct kp_error *err)
{
    struct kp_snapshot *snapshot = NULL;
    struct kpi_demo_answer answer = {0};
    kp_status status = kp_snapshot_open(dir, NULL, &snapshot, err);
    if (status != KP_OK)
        return status;
    status = each_row(snapshot,
                      "spans | where txn == \"" KPI_DEMO_TXN "\" "
                      "| project service, parent_id, dur",
                      take_span, &answer, err);
    if (status == KP_OK)
        status = each_row(snapshot, KPI_DEMO_CAUSES, take_cause, &answer, err);
    if (status == KP_OK && answer.has_root)
        status = ask_blamed(snapshot, &answer, err);
    if (status == KP_OK)
        *out = answer;
    kp_snapshot_close(snapshot);
    return status;
}

bool kpi_demo_kernel_root(const struct kpi_demo_answer *answer)
{
    static const char *const own[] = {"running",       "syscall", "timer.sleep",
                                      "timer.timeout", "remote",  "unknown"};
    bool found = false;
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        found = found || strncmp(answer->kind, own[i], strlen(own[i])) == 0;
    return answer->has_root && !found;
}
