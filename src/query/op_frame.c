/* SPDX-License-Identifier: Apache-2.0
 *
 * EMIT nodes | edges | spans | flame | states: rows as the frames that Grafana's panels take, by
 * the names and types that those ask for. The same rows give the nodes and the edges of one graph:
 * the ids are made from what a row says, not from its number.
 *
 * Times that a panel wants in milliseconds are reals there; the exact nanoseconds stand beside them
 * as integers.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "query/emit.h"
#include "query/plan.h"

#define ROWS_MAX 20000

enum form { FORM_NODES, FORM_EDGES, FORM_SPANS, FORM_FLAME, FORM_STATES, FORMS };

#define TEXT(n)                              \
    {                                        \
        KP_STR(n), KP_TYPE_STR, KP_UNIT_NONE \
    }
#define NUMBER(n)                            \
    {                                        \
        KP_STR(n), KP_TYPE_I64, KP_UNIT_NONE \
    }
#define REAL(n)                              \
    {                                        \
        KP_STR(n), KP_TYPE_F64, KP_UNIT_NONE \
    }

static const struct kp_field nodes_fields[] = {
    TEXT("id"),        TEXT("title"),         TEXT("subtitle"),
    TEXT("mainstat"),  TEXT("secondarystat"), REAL("arc__share"),
    REAL("arc__rest"), TEXT("color"),         NUMBER("detail__ns"),
};
static const struct kp_field edges_fields[] = {
    TEXT("id"),           TEXT("source"),        TEXT("target"),
    TEXT("mainstat"),     TEXT("secondarystat"), REAL("thickness"),
    NUMBER("detail__ns"),
};
static const struct kp_field spans_fields[] = {
    TEXT("traceID"),
    TEXT("spanID"),
    TEXT("parentSpanID"),
    TEXT("operationName"),
    TEXT("serviceName"),
    REAL("startTime"),
    REAL("duration"),
    {KP_STR("tags"), KP_TYPE_DYN, KP_UNIT_NONE},
    {KP_STR("serviceTags"), KP_TYPE_DYN, KP_UNIT_NONE},
    NUMBER("start_ns"),
    NUMBER("duration_ns"),
};
static const struct kp_field flame_fields[] = {NUMBER("level"), NUMBER("value"), TEXT("label"),
                                               NUMBER("self")};
static const struct kp_field states_fields[] = {{KP_STR("time"), KP_TYPE_TIME, KP_UNIT_NS},
                                                TEXT("thread"),
                                                TEXT("state"),
                                                TEXT("culprit"),
                                                NUMBER("ts_ns")};

static const struct {
    const char *name;
    const struct kp_field *fields;
    uint32_t count;
    bool timed; /* needs start */
} forms[FORMS] = {
    [FORM_NODES] = {"nodes", nodes_fields, KP_ARRAY_LEN(nodes_fields), false},
    [FORM_EDGES] = {"edges", edges_fields, KP_ARRAY_LEN(edges_fields), false},
    [FORM_SPANS] = {"spans", spans_fields, KP_ARRAY_LEN(spans_fields), true},
    [FORM_FLAME] = {"flame", flame_fields, KP_ARRAY_LEN(flame_fields), false},
    [FORM_STATES] = {"states", states_fields, KP_ARRAY_LEN(states_fields), true},
};

/* ---------- what is read ---------- */

enum column {
    COL_KIND,
    COL_STATE,
    COL_NAME,
    COL_START,
    COL_DUR,
    COL_COMM,
    COL_TID,
    COL_HOST,
    COL_SERVICE,
    COL_TXN,
    COL_WHO,
    COL_CULPRIT_COMM,
    COL_CULPRIT_TID,
    COL_OBJECT,
    COL_STRENGTH,
    COL_ROOT,
    COL_TRACE,
    COL_SPAN_ID,
    COL_PARENT,
    COLS
};

static const struct {
    const char *name;
    enum kp_type type;
} columns[COLS] = {
    [COL_KIND] = {"kind", KP_TYPE_STR},
    [COL_STATE] = {"state", KP_TYPE_STR},
    [COL_NAME] = {"name", KP_TYPE_STR},
    [COL_START] = {"start", KP_TYPE_TIME},
    [COL_DUR] = {"dur", KP_TYPE_DUR},
    [COL_COMM] = {"comm", KP_TYPE_STR},
    [COL_TID] = {"tid", KP_TYPE_I64},
    [COL_HOST] = {"host", KP_TYPE_STR},
    [COL_SERVICE] = {"service", KP_TYPE_STR},
    [COL_TXN] = {"txn", KP_TYPE_STR},
    [COL_WHO] = {"who", KP_TYPE_STR},
    [COL_CULPRIT_COMM] = {"culprit_comm", KP_TYPE_STR},
    [COL_CULPRIT_TID] = {"culprit_tid", KP_TYPE_I64},
    [COL_OBJECT] = {"object", KP_TYPE_STR},
    [COL_STRENGTH] = {"strength", KP_TYPE_STR},
    [COL_ROOT] = {"root", KP_TYPE_BOOL},
    [COL_TRACE] = {"trace_id", KP_TYPE_STR},
    [COL_SPAN_ID] = {"span_id", KP_TYPE_STR},
    [COL_PARENT] = {"parent_id", KP_TYPE_STR},
};

struct row {
    struct kp_str lane, what, who, host, service, txn, strength, trace, span_id, parent;
    int64_t start, dur, tid;
    uint32_t order;
    bool root;
};

struct frame_op {
    struct kpi_op base;
    enum form form;
    int cols[COLS];
    struct row *rows;
    uint32_t count;
    uint64_t skipped;
    int64_t sum;
    struct kpi_value *cells; /* of the answer, row by row */
    uint32_t cells_count, cells_capacity, given;
    bool built;
    struct kpi_emit emit;
};

static struct kp_str text(struct frame_op *op, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static struct kp_str text(struct frame_op *op, const char *fmt, ...)
{
    char buffer[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(buffer, sizeof(buffer), fmt, args);
    va_end(args);
    struct kp_str copy = kp_arena_str(&op->base.run->arena, kp_str_from(buffer));
    if (copy.ptr == NULL)
        kpi_fail_memory(&op->base.run->ctx);
    return copy;
}

static struct kp_str str_at(struct frame_op *op, const struct kp_batch *batch, enum column col,
                            uint32_t row)
{
    int at = op->cols[col];
    if (at < 0 || kp_vec_null(&batch->cols[at], row))
        return KP_STR("");
    return kp_arena_str(&op->base.run->arena, kp_vec_str(&batch->cols[at], row));
}

static int64_t i64_at(const struct frame_op *op, const struct kp_batch *batch, enum column col,
                      uint32_t row)
{
    int at = op->cols[col];
    return at < 0 || kp_vec_null(&batch->cols[at], row) ? 0 : batch->cols[at].i64[row];
}

static struct kp_str lane_of(struct frame_op *op, const struct row *row, struct kp_str comm)
{
    const char *on = row->host.len > 0 ? " " : "";
    if (comm.len == 0)
        return row->service.len > 0 ? row->service : row->txn.len > 0 ? row->txn : row->host;
    return text(op, "%.*s(%" PRId64 ")%s%.*s", (int)KP_MIN(comm.len, 200u), comm.ptr, row->tid, on,
                (int)KP_MIN(row->host.len, 200u), row->host.ptr);
}

static struct kp_str who_of(struct frame_op *op, const struct kp_batch *batch, uint32_t at)
{
    struct kp_str who = str_at(op, batch, COL_WHO, at), object = str_at(op, batch, COL_OBJECT, at);
    struct kp_str comm = str_at(op, batch, COL_CULPRIT_COMM, at);
    int64_t tid = i64_at(op, batch, COL_CULPRIT_TID, at);
    if (who.len > 0)
        return who;
    if (comm.len > 0 && tid != i64_at(op, batch, COL_TID, at))
        return text(op, "%.*s(%" PRId64 ")", (int)KP_MIN(comm.len, 200u), comm.ptr, tid);
    return object;
}

static void row_read(struct frame_op *op, const struct kp_batch *batch, uint32_t at)
{
    struct row *row = &op->rows[op->count];
    bool span = op->cols[COL_SPAN_ID] >= 0;
    enum column what = span                       ? COL_NAME
                       : op->cols[COL_KIND] >= 0  ? COL_KIND
                       : op->cols[COL_STATE] >= 0 ? COL_STATE
                                                  : COL_NAME;
    row->order = op->count++;
    row->host = str_at(op, batch, COL_HOST, at);
    row->service = str_at(op, batch, COL_SERVICE, at);
    row->txn = str_at(op, batch, COL_TXN, at);
    row->tid = i64_at(op, batch, COL_TID, at);
    row->lane = lane_of(op, row, str_at(op, batch, COL_COMM, at));
    row->what = str_at(op, batch, what, at);
    row->who = who_of(op, batch, at);
    row->strength = str_at(op, batch, COL_STRENGTH, at);
    row->trace = str_at(op, batch, COL_TRACE, at);
    row->span_id = str_at(op, batch, COL_SPAN_ID, at);
    row->parent = str_at(op, batch, COL_PARENT, at);
    row->start = i64_at(op, batch, COL_START, at);
    row->dur = KP_MAX(i64_at(op, batch, COL_DUR, at), (int64_t)0);
    row->root = i64_at(op, batch, COL_ROOT, at) != 0;
    if (__builtin_add_overflow(op->sum, row->dur, &op->sum))
        op->sum = INT64_MAX;
}

static kp_status read_input(struct frame_op *op)
{
    const struct kp_batch *batch;
    kp_status status;
    op->rows = kpi_new(&op->base.run->ctx, ROWS_MAX, sizeof(*op->rows));
    if (op->rows == NULL)
        return op->base.run->ctx.status;
    while ((status = kpi_op_next(op->base.input, &batch)) == KP_OK)
        for (uint32_t i = 0; i < kp_batch_count(batch); i++)
            if (op->count == ROWS_MAX)
                op->skipped++;
            else
                row_read(op, batch, kp_batch_row(batch, i));
    if (op->skipped > 0)
        kpi_note(op->base.run, "EMIT takes %d rows; %" PRIu64 " more were left out", ROWS_MAX,
                 op->skipped);
    return status == KP_END ? op->base.run->ctx.status : status;
}

/* ---------- cells ---------- */

static void cell(struct frame_op *op, struct kpi_value value)
{
    struct kpi_ctx *ctx = &op->base.run->ctx;
    if (op->cells_count == op->cells_capacity) {
        uint32_t capacity = op->cells_capacity == 0 ? 1024 : op->cells_capacity * 2;
        struct kpi_value *cells = kpi_new(ctx, capacity, sizeof(*cells));
        if (cells == NULL)
            return;
        if (op->cells_count > 0)
            memcpy(cells, op->cells, op->cells_count * sizeof(*cells));
        op->cells = cells;
        op->cells_capacity = capacity;
    }
    op->cells[op->cells_count++] = value;
}

static void put_str(struct frame_op *op, struct kp_str value)
{
    cell(op, (struct kpi_value){.type = KP_TYPE_STR, .str = value});
}

static void put_i64(struct frame_op *op, int64_t value)
{
    cell(op, (struct kpi_value){.type = KP_TYPE_I64, .i64 = value});
}

static void put_f64(struct frame_op *op, double value)
{
    cell(op, (struct kpi_value){.type = KP_TYPE_F64, .f64 = value});
}

static double share_of(const struct frame_op *op, int64_t dur)
{
    return op->sum <= 0 ? 0 : (double)((__int128)dur * 10000 / op->sum) / 10000;
}

static struct kp_str dur_text(struct frame_op *op, int64_t dur)
{
    char buffer[KP_DUR_TEXT_MAX];
    kp_dur_format(dur, buffer);
    return text(op, "%s", buffer);
}

static struct kp_str percent_text(struct frame_op *op, int64_t dur)
{
    int64_t hundredths = op->sum <= 0 ? 0 : (int64_t)((__int128)dur * 10000 / op->sum);
    return text(op, "%" PRId64 ".%02" PRId64 " %%", hundredths / 100, hundredths % 100);
}

/* ---------- groups: lanes, and causes within them ---------- */

static int row_compare(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int order = kp_str_compare(x->lane, y->lane);
    if (order == 0)
        order = kp_str_compare(x->what, y->what);
    if (order == 0)
        order = kp_str_compare(x->who, y->who);
    return order != 0 ? order : x->order < y->order ? -1 : x->order > y->order;
}

struct group {
    uint32_t first, end;
    int64_t dur;
    bool root;
};

/* The rows from `first` that share the lane (and the cause). */
static struct group group_at(const struct frame_op *op, uint32_t first, bool cause)
{
    struct group group = {.first = first, .end = first};
    const struct row *head = &op->rows[first];
    for (; group.end < op->count; group.end++) {
        const struct row *row = &op->rows[group.end];
        if (!kp_str_equal(row->lane, head->lane) ||
            (cause && (!kp_str_equal(row->what, head->what) || !kp_str_equal(row->who, head->who))))
            break;
        group.dur += row->dur;
        group.root |= cause && row->root;
    }
    return group;
}

static struct kp_str lane_id(struct frame_op *op, const struct row *row)
{
    return text(op, "lane %.*s", (int)KP_MIN(row->lane.len, 450u), row->lane.ptr);
}

static struct kp_str cause_id(struct frame_op *op, const struct row *row)
{
    return text(op, "cause %.*s|%.*s|%.*s", (int)KP_MIN(row->lane.len, 160u), row->lane.ptr,
                (int)KP_MIN(row->what.len, 160u), row->what.ptr, (int)KP_MIN(row->who.len, 160u),
                row->who.ptr);
}

static void put_node(struct frame_op *op, struct kp_str id, struct kp_str title,
                     struct kp_str subtitle, const struct group *group)
{
    double share = share_of(op, group->dur);
    put_str(op, id);
    put_str(op, title);
    put_str(op, subtitle);
    put_str(op, dur_text(op, group->dur));
    put_str(op, percent_text(op, group->dur));
    put_f64(op, share);
    put_f64(op, 1 - share);
    put_str(op, group->root ? KP_STR("red") : KP_STR("blue"));
    put_i64(op, group->dur);
}

static void put_edge(struct frame_op *op, struct kp_str source, struct kp_str target,
                     const struct group *group)
{
    put_str(op, text(op, "%.*s -> %.*s", (int)KP_MIN(source.len, 240u), source.ptr,
                     (int)KP_MIN(target.len, 240u), target.ptr));
    put_str(op, source);
    put_str(op, target);
    put_str(op, dur_text(op, group->dur));
    put_str(op, percent_text(op, group->dur));
    put_f64(op, 1 + 9 * share_of(op, group->dur));
    put_i64(op, group->dur);
}

static void put_flame(struct frame_op *op, int64_t level, int64_t value, struct kp_str label,
                      int64_t self)
{
    put_i64(op, level);
    put_i64(op, value);
    put_str(op, label);
    put_i64(op, self);
}

static void put_whole(struct frame_op *op)
{
    struct group whole = {.end = op->count, .dur = op->sum};
    if (op->form == FORM_NODES)
        put_node(op, KP_STR("all"), KP_STR("all of it"), KP_STR(""), &whole);
    else if (op->form == FORM_FLAME)
        put_flame(op, 0, whole.dur, KP_STR("all of it"), 0);
}

static void put_lane(struct frame_op *op, const struct group *group)
{
    const struct row *row = &op->rows[group->first];
    if (op->form == FORM_NODES)
        put_node(op, lane_id(op, row), row->lane, KP_STR(""), group);
    else if (op->form == FORM_EDGES)
        put_edge(op, lane_id(op, row), KP_STR("all"), group);
    else
        put_flame(op, 1, group->dur, row->lane, 0);
}

static void put_cause(struct frame_op *op, const struct group *group)
{
    const struct row *row = &op->rows[group->first];
    if (op->form == FORM_NODES)
        put_node(op, cause_id(op, row), row->what, row->who, group);
    else if (op->form == FORM_EDGES)
        put_edge(op, cause_id(op, row), lane_id(op, row), group);
    else
        put_flame(op, 2, group->dur,
                  text(op, "%.*s%s%.*s", (int)KP_MIN(row->what.len, 200u), row->what.ptr,
                       row->who.len > 0 ? " <- " : "", (int)KP_MIN(row->who.len, 200u),
                       row->who.ptr),
                  group->dur);
}

/* Depth first: the whole, each lane, the causes of that lane. */
static void build_tree(struct frame_op *op)
{
    if (op->count == 0)
        return;
    qsort(op->rows, op->count, sizeof(*op->rows), row_compare);
    put_whole(op);
    for (uint32_t lane = 0; lane < op->count;) {
        struct group whose = group_at(op, lane, false);
        put_lane(op, &whose);
        for (uint32_t cause = lane; cause < whose.end;) {
            struct group what = group_at(op, cause, true);
            put_cause(op, &what);
            cause = what.end;
        }
        lane = whose.end;
    }
}

/* ---------- states and spans ---------- */

static int start_compare(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void put_state(struct frame_op *op, int64_t time, struct kp_str lane, struct kp_str state,
                      struct kp_str who)
{
    cell(op, (struct kpi_value){.type = KP_TYPE_TIME, .i64 = time});
    put_str(op, lane);
    put_str(op, state);
    put_str(op, who);
    put_i64(op, time);
}

/* A row ends where the next begins; the last one ends with an empty state. */
static void build_states(struct frame_op *op)
{
    int64_t end = INT64_MIN, at;
    qsort(op->rows, op->count, sizeof(*op->rows), start_compare);
    for (uint32_t i = 0; i < op->count; i++) {
        const struct row *row = &op->rows[i];
        if (i > 0 && row->start > end)
            put_state(op, end, KP_STR(""), KP_STR(""), KP_STR(""));
        put_state(op, row->start, row->lane, row->what, row->who);
        if (!__builtin_add_overflow(row->start, row->dur, &at))
            end = KP_MAX(end, at);
    }
    if (op->count > 0)
        put_state(op, end, KP_STR(""), KP_STR(""), KP_STR(""));
}

static struct kp_str tags_of(struct frame_op *op, const struct row *row)
{
    return text(op,
                "[{\"key\":\"kprobe.start_ns\",\"value\":\"%" PRId64
                "\"},{\"key\":\"kprobe.duration_ns\",\"value\":\"%" PRId64
                "\"},{\"key\":\"linux.tid\",\"value\":%" PRId64 "}]",
                row->start, row->dur, row->tid);
}

static void put_span(struct frame_op *op, const struct row *row, struct kp_str trace,
                     struct kp_str id, struct kp_str parent, struct kp_str name,
                     struct kp_str service)
{
    put_str(op, trace);
    put_str(op, id);
    put_str(op, parent);
    put_str(op, name);
    put_str(op, service);
    put_f64(op, (double)row->start / 1e6);
    put_f64(op, (double)row->dur / 1e6);
    cell(op, (struct kpi_value){.type = KP_TYPE_DYN, .str = tags_of(op, row)});
    cell(op, (struct kpi_value){.type = KP_TYPE_DYN, .str = KP_STR("[]")});
    put_i64(op, row->start);
    put_i64(op, row->dur);
}

/* Stretches that are no spans hang under one that covers them all. */
static void put_cover(struct frame_op *op)
{
    struct row cover = op->rows[0];
    int64_t end = cover.start, at;
    for (uint32_t i = 0; i < op->count; i++)
        if (!__builtin_add_overflow(op->rows[i].start, op->rows[i].dur, &at))
            end = KP_MAX(end, at);
    cover.dur = end - cover.start;
    struct kp_str name = cover.txn.len > 0
                             ? text(op, "txn %.*s", (int)KP_MIN(cover.txn.len, 200u), cover.txn.ptr)
                             : KP_STR("all of it");
    put_span(op, &cover, KP_STR("1"), KP_STR("1"), KP_STR(""), name, KP_STR("kprobe"));
}

static void build_spans(struct frame_op *op)
{
    bool own = op->cols[COL_SPAN_ID] >= 0 && op->cols[COL_TRACE] >= 0;
    qsort(op->rows, op->count, sizeof(*op->rows), start_compare);
    if (!own && op->count > 0)
        put_cover(op);
    for (uint32_t i = 0; i < op->count; i++) {
        const struct row *row = &op->rows[i];
        struct kp_str name =
            text(op, "%.*s%s%.*s", (int)KP_MIN(row->what.len, 200u), row->what.ptr,
                 row->who.len > 0 ? " <- " : "", (int)KP_MIN(row->who.len, 200u), row->who.ptr);
        if (own)
            put_span(op, row, row->trace, row->span_id, row->parent, row->what, row->service);
        else
            put_span(op, row, KP_STR("1"), text(op, "%" PRIu32, i + 2), KP_STR("1"), name,
                     text(op, "kernel@%.*s", (int)KP_MIN(row->host.len, 200u), row->host.ptr));
    }
}

/* ---------- the operator ---------- */

static kp_status frame_open(struct kpi_op *base)
{
    return kpi_emit_open(base, &((struct frame_op *)base)->emit);
}

static kp_status build(struct frame_op *op)
{
    kp_status status = read_input(op);
    if (status != KP_OK)
        return status;
    op->built = true;
    if (op->form == FORM_STATES)
        build_states(op);
    else if (op->form == FORM_SPANS)
        build_spans(op);
    else
        build_tree(op);
    return op->base.run->ctx.status;
}

static kp_status frame_next(struct kpi_op *base, const struct kp_batch **out)
{
    struct frame_op *op = (struct frame_op *)base;
    kp_status status = op->built ? KP_OK : build(op);
    if (status != KP_OK)
        return status;
    kpi_emit_begin(&op->emit);
    while (op->given < op->cells_count && !kpi_emit_full(&op->emit)) {
        for (uint32_t c = 0; c < base->schema.count; c++)
            kpi_emit_value(&op->emit, c, op->cells[op->given++]);
        kpi_emit_row(&op->emit);
    }
    *out = &op->emit.batch;
    return op->emit.batch.rows == 0 ? KP_END : base->run->ctx.status;
}

static void frame_need(struct kpi_op *base)
{
    struct frame_op *op = (struct frame_op *)base;
    for (int i = 0; i < COLS; i++)
        if (op->cols[i] >= 0)
            base->input->need[op->cols[i]] = true;
}

static void frame_describe(const struct kpi_op *base, struct kp_buf *out)
{
    kp_buf_text(out, forms[((const struct frame_op *)base)->form].name);
}

static const struct kpi_op_class frame_class = {"EMIT",     frame_open,     frame_next, NULL,
                                                frame_need, frame_describe, NULL};

static bool find_form(struct kpi_bind *bind, const struct kpi_node *word, enum form *out)
{
    for (int i = 0; i < FORMS; i++) {
        if (!kp_str_equal_nocase(word->name, kp_str_from(forms[i].name)))
            continue;
        *out = (enum form)i;
        return true;
    }
    kpi_fail(bind->ctx, KP_INVALID, word->place, "unknown frame '%.*s'",
             (int)KP_MIN(word->name.len, 60u), word->name.ptr);
    kpi_hint(bind->ctx, "EMIT nodes, edges, spans, flame or states");
    return false;
}

const char *kpi_frame_name(uint32_t index)
{
    return index < FORMS ? forms[index].name : NULL;
}

struct kpi_op *kpi_bind_frame(struct kpi_bind *bind, struct kpi_op *input,
                              const struct kpi_stage *stage)
{
    enum form form;
    if (!find_form(bind, stage->expr, &form))
        return NULL;
    struct frame_op *op = (struct frame_op *)kpi_op_new(bind->run, &frame_class, sizeof(*op), input,
                                                        forms[form].count);
    if (op == NULL)
        return NULL;
    memcpy(kpi_op_fields(&op->base), forms[form].fields,
           forms[form].count * sizeof(struct kp_field));
    op->form = form;
    for (int i = 0; i < COLS; i++) {
        int at = kp_schema_find(&input->schema, kp_str_from(columns[i].name));
        op->cols[i] = at >= 0 && input->schema.fields[at].type == columns[i].type ? at : -1;
    }
    bool what = op->cols[COL_KIND] >= 0 || op->cols[COL_STATE] >= 0 || op->cols[COL_NAME] >= 0;
    if (op->cols[COL_DUR] < 0 || !what || (forms[form].timed && op->cols[COL_START] < 0)) {
        kpi_fail(bind->ctx, KP_INVALID, stage->place, "EMIT %s needs the columns %skind and dur",
                 forms[form].name, forms[form].timed ? "start, " : "");
        kpi_hint(bind->ctx, "state or name may stand for kind; project them, or begin with CAUSES");
        return NULL;
    }
    return &op->base;
}
