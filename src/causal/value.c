/* SPDX-License-Identifier: Apache-2.0
 *
 * The words that columns of the tables can hold, so that a question for another one can be told
 * from a question without an answer.
 */
#include "base/assert.h"
#include "causal/causal.h"
#include "causal/walk.h"

typedef struct kp_str (*value_fn)(uint32_t index);

static struct kp_str catalogue_value(enum kp_stream_no number, const char *column, uint32_t index)
{
    const struct kp_stream *stream = kp_stream_by_number(number);
    const struct kp_stored_column *stored = &stream->stored[kp_stream_stored(stream, column)];
    return index < stored->names_count ? kp_str_from(stored->names[index].name) : KP_STR("");
}

static struct kp_str wait_value(uint32_t index)
{
    return catalogue_value(KP_S_SCHED_SWITCH, "prev_state", index);
}

static struct kp_str context_value(uint32_t index)
{
    return catalogue_value(KP_S_SCHED_WAKING, "context", index);
}

static struct kp_str vec_value(uint32_t index)
{
    return catalogue_value(KP_S_SCHED_WAKING, "vec", index);
}

static struct kp_str status_value(uint32_t index)
{
    return catalogue_value(KP_S_SPANS, "status", index);
}

static struct kp_str thread_value(uint32_t index)
{
    static const char *const names[] = {"running", "runnable", "blocked", "dead", "unknown"};
    return index < KP_ARRAY_LEN(names) ? kp_str_from(names[index]) : KP_STR("");
}

static struct kp_str cpu_value(uint32_t index)
{
    static const char *const names[] = {"busy", "idle", "unknown"};
    return index < KP_ARRAY_LEN(names) ? kp_str_from(names[index]) : KP_STR("");
}

static struct kp_str rule_value(uint32_t index)
{
    return index < KPI_RULES ? kp_str_from(kpi_rule_name((enum kpi_rule)index)) : KP_STR("");
}

static struct kp_str kind_value(uint32_t index)
{
    if (index == KPI_UNKNOWN)
        return KP_STR("unknown(");
    return index < KPI_KINDS ? kp_str_from(kpi_kind_name((enum kpi_kind)index)) : KP_STR("");
}

struct kp_str kp_rows_value(const struct kp_schema *schema, uint32_t column, uint32_t index)
{
    static const struct {
        const struct kp_schema *(*schema)(void);
        const char *column;
        value_fn value;
    } columns[] = {
        {kp_thread_state_schema, "state", thread_value},
        {kp_thread_state_schema, "wait", wait_value},
        {kp_thread_state_schema, "context", context_value},
        {kp_thread_state_schema, "vec", vec_value},
        {kp_cpu_state_schema, "state", cpu_value},
        {kp_txn_schema, "status", status_value},
        {kp_causes_schema, "kind", kind_value},
        {kp_causes_schema, "rule", rule_value},
        {kp_evidence_schema, "rule", rule_value},
    };
    for (size_t i = 0; i < KP_ARRAY_LEN(columns); i++)
        if (columns[i].schema() == schema &&
            kp_str_equal(schema->fields[column].name, kp_str_from(columns[i].column)))
            return columns[i].value(index);
    return KP_STR("");
}
