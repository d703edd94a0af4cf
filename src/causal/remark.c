/* SPDX-License-Identifier: Apache-2.0
 *
 * The remarks above an answer: what became of the transaction, how much of it was recorded, how
 * good the clocks are, what it was compared with, and why there is a root cause or none.
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "causal/cause.h"
#include "causal/cursor.h"

#define HOSTS_SHOWN 8

enum { STATUS_ERROR = 2 };                        /* catalogue: SPAN_STATUS */
enum { OP_START = 0, OP_KIND = 2, STATE_ON = 1 }; /* catalogue: CAPTURE_OP, CAPTURE_STATE */

/* The path runs through a thread of the host. */
static bool is_touched(const struct kpi_answer *answer, uint32_t host)
{
    bool touched = false;
    for (uint32_t i = 0; i < answer->causes.list.count && !touched; i++) {
        uint32_t thread = kpi_cause_at(&answer->causes, i)->largest.thread;
        touched = thread != KPI_NONE && kpi_thread_of(answer->world, thread)->host == host;
    }
    return touched;
}

static void hosts_text(const struct kpi_answer *answer, char *out, size_t size)
{
    const struct kpi_world *world = answer->world;
    size_t used = 0;
    uint32_t shown = 0;
    out[0] = '\0';
    for (uint32_t host = 0; host < world->hosts.count && shown < HOSTS_SHOWN; host++) {
        if (!is_touched(answer, host))
            continue;
        struct kp_str name = kpi_host_of(world, host)->name;
        int n = snprintf(out + used, size - used, "%s%.*s", shown++ > 0 ? "," : "", (int)name.len,
                         name.ptr);
        used = KP_MIN(used + (size_t)KP_MAX(n, 0), size - 1);
    }
}

/* What was asked about, as the head of the answer names it. */
static void root_text(const struct kpi_answer *answer, char *out, size_t size)
{
    const struct kpi_txn *txn = &answer->txn;
    if (answer->root != KPI_NONE) {
        bool span = answer->req->root == KP_ROOT_SPAN;
        struct kp_str id = span ? txn->root_id : txn->id;
        snprintf(out, size, "%s %.*s \"%.*s\" of %.*s", span ? "span" : "txn", (int)id.len, id.ptr,
                 (int)txn->name.len, txn->name.ptr, (int)txn->service.len, txn->service.ptr);
        return;
    }
    const struct kpi_thread *thread = kpi_thread_of(answer->world, answer->thread);
    struct kp_str comm = kp_actors_get(answer->world->actors, thread->actor)->comm;
    snprintf(out, size, "%sthread %u \"%.*s\" of pid %u",
             answer->req->root == KP_ROOT_WAIT ? "a wait of " : "", thread->tid, (int)comm.len,
             comm.ptr, thread->pid);
}

static void note_head(const struct kpi_answer *answer, struct kp_rows *rows)
{
    char root[400], hosts[256], wall[KP_DUR_TEXT_MAX];
    root_text(answer, root, sizeof(root));
    hosts_text(answer, hosts, sizeof(hosts));
    kp_dur_format(answer->causes.wall, wall);
    kpi_rows_note(rows, "%s  hosts %s  wall %s (%lld ns)  as_of %llu", root,
                  hosts[0] == '\0' ? "none" : hosts, wall, (long long)answer->causes.wall,
                  (unsigned long long)kp_snapshot_as_of(answer->world->reader->snapshot));
}

/* The span of the transaction's trace that ended last. */
static const struct kpi_span *last_span(const struct kpi_answer *answer)
{
    const struct kpi_span *last = &answer->world->spans[answer->root];
    for (uint32_t i = 0; i < answer->world->spans_count; i++) {
        const struct kpi_span *span = &answer->world->spans[i];
        if (kp_str_equal(span->trace, answer->txn.trace) && span->to > last->to)
            last = span;
    }
    return last;
}

/* The transaction's topmost span names a parent that never came: it has not ended, or was lost. */
static bool open_above(const struct kpi_answer *answer)
{
    const struct kpi_span *root = &answer->world->spans[answer->root];
    return root->parent.len > 0 && root->up == KPI_NONE;
}

static void note_fate(const struct kpi_answer *answer, struct kp_rows *rows)
{
    const struct kpi_txn *txn = &answer->txn;
    const struct kpi_span *last = last_span(answer);
    char after[KP_DUR_TEXT_MAX], late[KP_DUR_TEXT_MAX];
    kp_dur_format(answer->to - answer->from, after);
    kp_dur_format(last->to - answer->to, late);
    const char *fate = txn->status == STATUS_ERROR ? "failed" : "ended";
    if (last->to > answer->to)
        kpi_rows_note(
            rows, "fate: %s after %s%s%.*s; its work ended %s later (span \"%.*s\" of %.*s)",
            txn->status == STATUS_ERROR ? "gave up" : "answered", after,
            txn->status_msg.len > 0 ? ": " : "", (int)txn->status_msg.len, txn->status_msg.ptr,
            late, (int)last->name.len, last->name.ptr, (int)last->service.len, last->service.ptr);
    else
        kpi_rows_note(rows, "fate: %s after %s%s%.*s", fate, after,
                      txn->status_msg.len > 0 ? ": " : "", (int)txn->status_msg.len,
                      txn->status_msg.ptr);
    if (open_above(answer))
        kpi_rows_note(rows,
                      "open=true: the span above \"%.*s\" is not recorded, so it may go on; the "
                      "rows end with what was seen",
                      (int)txn->name.len, txn->name.ptr);
    if (txn->orphans > 0)
        kpi_rows_note(rows, "%u spans of the trace lack their parent", txn->orphans);
}

static void note_coverage(const struct kpi_answer *answer, struct kp_rows *rows)
{
    const struct kpi_world *world = answer->world;
    kp_dur gap = 0;
    bool kernel = false;
    for (uint32_t host = 0; host < world->hosts.count; host++) {
        kernel |= kpi_host_of(world, host)->first <= kpi_host_of(world, host)->last;
        gap = KP_MAX(gap, kpi_gap_in(world, host, KPI_NONE, false, answer->from, answer->to));
    }
    kp_dur wall = KP_MAX(answer->causes.wall, 1);
    int permille = (int)((__int128)(wall - KP_MIN(gap, wall)) * 1000 / wall);
    if (!kernel)
        kpi_rows_note(rows, "no kernel events were recorded in this window: the rows are made from "
                            "spans alone and all weak");
    else if (gap == 0)
        kpi_rows_note(rows, "coverage 100 %%");
    else
        kpi_rows_note(rows, "coverage %d.%d %% (events may be missing in %lld ns)", permille / 10,
                      permille % 10, (long long)gap);
    if (world->joins_lost > 0)
        kpi_rows_note(rows,
                      "%lld system calls, lock waits or requests around this window lack their "
                      "begin and are not shown",
                      (long long)world->joins_lost);
}

/* Where events may be missing: one CPU of a host, or all of it, for one reason. */
struct missing {
    uint32_t host;
    int32_t cpu; /* -1 = any */
    int64_t reason;
    kp_dur sum;
};

/* Of the window, by place and reason in order of first appearance; how many, at most `room`. */
static uint32_t missing_find(const struct kpi_answer *answer, struct missing *list, uint32_t room)
{
    const struct kpi_work_set *set = &answer->world->works[KPI_WORK_GAP];
    uint32_t count = 0;
    for (uint32_t host = 0; host < answer->world->hosts.count; host++) {
        const struct kpi_work *row = kpi_work_first(set, host, answer->from, answer->to);
        for (; row != NULL; row = kpi_work_next(set, row, answer->from, answer->to)) {
            uint32_t i = 0;
            while (i < count &&
                   (list[i].host != host || list[i].cpu != row->code || list[i].reason != row->a))
                i++;
            if (i == count && count == room)
                continue;
            if (i == count)
                list[count++] = (struct missing){host, row->code, row->a, 0};
            list[i].sum += KP_MIN(row->to, answer->to) - KP_MAX(row->from, answer->from);
        }
    }
    return count;
}

static void note_missing(const struct kpi_answer *answer, struct kp_rows *rows)
{
    const struct kp_stream *gaps = kp_stream_by_number(KP_S_GAPS);
    const struct kp_stored_column *reasons = &gaps->stored[kp_stream_stored(gaps, "reason")];
    struct missing list[HOSTS_SHOWN];
    uint32_t count = missing_find(answer, list, KP_ARRAY_LEN(list));
    char text[512] = "", dur[KP_DUR_TEXT_MAX], cpu[16];
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct kp_str host = kpi_host_of(answer->world, list[i].host)->name;
        struct kp_str reason = kp_enum_name(reasons, list[i].reason);
        kp_dur_format(list[i].sum, dur);
        snprintf(cpu, sizeof(cpu), list[i].cpu < 0 ? "all CPUs" : "CPU %d", list[i].cpu);
        int n = snprintf(text + used, sizeof(text) - used, "%s%.*s %s %s %.*s", i > 0 ? ", " : "",
                         (int)host.len, host.ptr, cpu, dur, (int)reason.len, reason.ptr);
        used = KP_MIN(used + (size_t)KP_MAX(n, 0), sizeof(text) - 1);
    }
    if (count > 0)
        kpi_rows_note(rows, "gaps: %s", text);
}

/* The time of each host, when the path runs through several. */
static void note_hosts(const struct kpi_answer *answer, struct kp_rows *rows)
{
    const struct kpi_world *world = answer->world;
    char text[256] = "", dur[KP_DUR_TEXT_MAX];
    size_t used = 0;
    uint32_t shown = 0;
    for (uint32_t host = 0; host < world->hosts.count && shown < HOSTS_SHOWN; host++) {
        struct kp_str name = kpi_host_of(world, host)->name;
        kp_dur sum = 0;
        for (uint32_t i = 0; i < answer->causes.list.count; i++) {
            const struct kpi_cause *cause = kpi_cause_at(&answer->causes, i);
            if (cause->largest.thread != KPI_NONE &&
                kpi_thread_of(world, cause->largest.thread)->host == host)
                sum += cause->dur;
        }
        if (sum == 0)
            continue;
        kp_dur_format(sum, dur);
        int n = snprintf(text + used, sizeof(text) - used, "%s%.*s %s", shown++ > 0 ? ", " : "",
                         (int)name.len, name.ptr, dur);
        used = KP_MIN(used + (size_t)KP_MAX(n, 0), sizeof(text) - 1);
    }
    if (shown > 1)
        kpi_rows_note(rows, "by host: %s", text);
}

/* How well the clocks of other hosts on the path are known on the root's. */
static void note_skew(const struct kpi_answer *answer, struct kp_rows *rows)
{
    const struct kpi_world *world = answer->world;
    struct kp_str axis = world->reader->axis;
    for (uint32_t host = 0; host < world->hosts.count; host++) {
        const struct kpi_host *other = kpi_host_of(world, host);
        if (!is_touched(answer, host) || axis.len == 0 || kp_str_equal(other->name, axis))
            continue;
        if (other->skew < 0)
            kpi_rows_note(rows, "clocks: no anchor tells the clock of %.*s on that of %.*s",
                          (int)other->name.len, other->name.ptr, (int)axis.len, axis.ptr);
        else
            kpi_rows_note(rows, "clocks: %.*s is known within +-%lld ns on the clock of %.*s",
                          (int)other->name.len, other->name.ptr, (long long)other->skew,
                          (int)axis.len, axis.ptr);
    }
}

static void note_clocks(const struct kpi_answer *answer, struct kp_rows *rows)
{
    kp_dur bound = -1;
    bool missing = false;
    for (uint32_t i = 0; i < answer->world->spans_count; i++) {
        const struct kpi_span *span = &answer->world->spans[i];
        if (!kp_str_equal(span->trace, answer->txn.trace))
            continue;
        missing |= span->skew < 0;
        bound = KP_MAX(bound, span->skew);
    }
    if (bound >= 0)
        kpi_rows_note(rows, "clocks: spans lie within +-%lld ns of the kernel's clock",
                      (long long)bound);
    if (missing)
        kpi_rows_note(rows, "clocks: no anchor for %s spans; their stamps are taken as they are",
                      bound >= 0 ? "some" : "the");
}

static void note_baseline(const struct kpi_answer *answer, const struct kp_causes_req *req,
                          struct kp_rows *rows)
{
    char median[KP_DUR_TEXT_MAX], p95[KP_DUR_TEXT_MAX];
    const struct kpi_baseline *baseline = &answer->baseline;
    if (baseline->used == 0) {
        kpi_rows_note(rows, "baseline=none (%s): rows are ordered by time, not by excess",
                      req->baseline_none ? "asked for" : "no earlier transaction of its class");
        return;
    }
    kp_dur_format(baseline->wall_median, median);
    kp_dur_format(baseline->wall_p95, p95);
    kpi_rows_note(rows,
                  "baseline: the %u normal transactions of its class before it, median %s, p95 %s",
                  baseline->used, median, p95);
}

static void note_verdict(const struct kpi_answer *answer, struct kp_rows *rows)
{
    switch (answer->verdict) {
    case KPI_VERDICT_ROOT:
        return;
    case KPI_VERDICT_NOT_SLOW:
        kpi_rows_note(rows,
                      "no excess: it took no longer than its class usually does, so no root cause");
        return;
    case KPI_VERDICT_UNEXPLAINED:
        kpi_rows_note(rows,
                      "no root cause: most of the excess is not explained by what was recorded");
        return;
    case KPI_VERDICT_SPREAD:
        kpi_rows_note(rows, "no root cause: the excess is spread over many small causes");
        return;
    }
}

/* Names the kinds that were not recorded, as their last states before the end say since that
 * recording began. */
static kp_status note_kinds(const struct kpi_answer *answer, struct kp_rows *rows,
                            struct kp_error *err)
{
    static const char *const cols[] = {"ts", "seq", "cpu", "actor", "op", "stream", "state", NULL};
    struct kpi_cursor_req req = {.stream = KP_S_CAPTURE,
                                 .from = KP_TIME_MIN,
                                 .to = answer->to,
                                 .cols = cols,
                                 .descending = true};
    bool off[KP_STREAM_MAX] = {false}, told[KP_STREAM_MAX] = {false};
    bool begun = false;
    struct kpi_cursor cursor;
    kp_status status = kpi_cursor_open(answer->world->reader, &req, &cursor, err);
    if (status != KP_OK)
        return status;
    while (!begun && (status = kpi_cursor_next(&cursor, err)) == KP_OK) {
        const struct kp_stream *stream = kp_stream_by_name(kpi_cursor_str(&cursor, 5));
        begun = kpi_cursor_i64(&cursor, 4) == OP_START;
        if (kpi_cursor_i64(&cursor, 4) != OP_KIND || stream == NULL || told[stream->number])
            continue;
        told[stream->number] = true;
        off[stream->number] = kpi_cursor_i64(&cursor, 6) != STATE_ON;
    }
    kpi_cursor_close(&cursor);
    char text[512] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < KP_STREAM_MAX; i++) {
        if (!off[i])
            continue;
        int n = snprintf(text + used, sizeof(text) - used, " %s", kp_stream_by_number(i)->name);
        used = KP_MIN(used + (size_t)KP_MAX(n, 0), sizeof(text) - 1);
    }
    if (used > 0)
        kpi_rows_note(rows, "not recorded:%s", text);
    return status == KP_END ? KP_OK : status;
}

kp_status kpi_remarks_add(const struct kpi_answer *answer, const struct kp_causes_req *req,
                          struct kp_rows *rows, struct kp_error *err)
{
    note_head(answer, rows);
    if (req->oracle != KP_ORACLE_NONE)
        kpi_rows_note(rows, "oracle: by the rules of %s, not by kprobe's: %s",
                      kp_oracle_name(req->oracle), kp_oracle_text(req->oracle));
    if (answer->root != KPI_NONE)
        note_fate(answer, rows);
    note_coverage(answer, rows);
    note_missing(answer, rows);
    note_hosts(answer, rows);
    if (answer->root != KPI_NONE)
        note_clocks(answer, rows);
    note_skew(answer, rows);
    if (answer->root != KPI_NONE && req->oracle == KP_ORACLE_NONE)
        note_baseline(answer, req, rows);
    note_verdict(answer, rows);
    return note_kinds(answer, rows, err);
}
