/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "column/syscalls.h"
#include "storage/io.h"

#define BUILDER_ROWS 4096
#define SLOTS        16 /* string cells that can be looked at in one expression */

/* ---------- the store ---------- */

void world_open(struct world *w)
{
    static const struct kp_store_opts opts = {.manual = true};
    struct kp_error err = {0};
    memset(w, 0, sizeof(*w));
    folder_make("world", w->dir);
    if (kp_store_open(w->dir, &opts, &w->store, &err) != KP_OK)
        fail_msg("%s", err.text);
    w->zero = WORLD_ZERO;
    w->host = "web1";
    for (uint32_t i = 0; i < WORLD_ACTORS; i++)
        w->prio[i] = 120;
}

void world_close(struct world *w)
{
    for (uint32_t i = 0; i < KP_STREAM_MAX; i++)
        if (w->used[i])
            kp_builder_deinit(&w->builders[i]);
    if (w->snapshot != NULL)
        kp_snapshot_close(w->snapshot);
    assert_int_equal(kp_store_close(w->store, NULL), KP_OK);
    assert_int_equal(folder_remove(w->dir), 0);
}

static void flush(struct world *w, uint32_t stream)
{
    struct kp_builder *builder = &w->builders[stream];
    kp_status status;
    if (!w->used[stream] || builder->batch.rows == 0)
        return;
    while ((status = kp_store_append(w->store, kp_builder_batch(builder), NULL)) == KP_LIMIT)
        assert_int_equal(kp_store_tick(w->store, kp_time_monotonic(), true), KP_OK);
    assert_int_equal(status, KP_OK);
    kp_builder_reset(builder);
}

void world_commit(struct world *w)
{
    struct kp_error err = {0};
    for (uint32_t i = 0; i < KP_STREAM_MAX; i++)
        flush(w, i);
    assert_int_equal(kp_store_tick(w->store, kp_time_monotonic(), true), KP_OK);
    if (w->snapshot != NULL)
        kp_snapshot_close(w->snapshot);
    if (kp_store_snapshot(w->store, &w->snapshot, &err) != KP_OK)
        fail_msg("%s", err.text);
}

/* ---------- rows ---------- */

struct put {
    struct kp_builder *builder;
    const struct kp_stream *stream;
};

static struct put row(struct world *w, enum kp_stream_no no, kp_time t, uint32_t cpu,
                      kp_actor_id actor)
{
    struct put put = {&w->builders[no], kp_stream_by_number(no)};
    if (!w->used[no])
        assert_int_equal(
            kp_builder_init(put.builder, put.stream, kp_store_actors(w->store), BUILDER_ROWS),
            KP_OK);
    w->used[no] = true;
    if (kp_builder_full(put.builder))
        flush(w, no);
    kp_builder_row(put.builder, w->zero + t, ++w->seq, cpu, actor);
    return put;
}

static void num(struct put put, const char *column, int64_t value)
{
    int at = kp_stream_stored(put.stream, column);
    assert_true(at >= 0);
    kp_builder_i64(put.builder, (uint32_t)at, value);
}

static void txt(struct put put, const char *column, const char *value)
{
    int at = kp_stream_stored(put.stream, column);
    assert_true(at >= 0);
    assert_int_equal(
        kp_builder_str(put.builder, (uint32_t)at, kp_str_from(value == NULL ? "" : value)), KP_OK);
}

kp_actor_id world_thread_in(struct world *w, uint32_t pid, uint32_t tid, const char *comm,
                            int64_t start, const char *cgroup, bool kthread)
{
    struct kp_actor actor = {.host = kp_str_from(w->host),
                             .boot = kp_str_from(w->boot == NULL ? "" : w->boot),
                             .tid = tid == 0 ? 0 : tid + w->pid_shift,
                             .pid = pid == 0 ? 0 : pid + w->pid_shift,
                             .start = start,
                             .comm = kp_str_from(comm),
                             .cgroup = kp_str_from(cgroup),
                             .kthread = kthread};
    kp_actor_id id = kp_store_actor(w->store, &actor);
    assert_true(id != KP_ACTOR_UNKNOWN && id < WORLD_ACTORS);
    return id;
}

kp_actor_id world_thread(struct world *w, uint32_t pid, uint32_t tid, const char *comm)
{
    return world_thread_in(w, pid, tid, comm, (int64_t)tid * 1000, "/pay", false);
}

kp_actor_id world_idle(struct world *w)
{
    return world_thread_in(w, 0, 0, "swapper", 0, "", true);
}

static struct put switch_row(struct world *w, kp_time t, uint32_t cpu, kp_actor_id prev, int state,
                             kp_actor_id next)
{
    struct put put = row(w, KP_S_SCHED_SWITCH, t, cpu, prev);
    num(put, "next", next);
    num(put, "prev_state", state);
    num(put, "prev_prio", w->prio[prev]);
    num(put, "next_prio", w->prio[next]);
    num(put, "preempt", state == RP);
    return put;
}

void world_switch(struct world *w, kp_time t, uint32_t cpu, kp_actor_id prev, int state,
                  kp_actor_id next)
{
    switch_row(w, t, cpu, prev, state, next);
}

void world_switch_io(struct world *w, kp_time t, uint32_t cpu, kp_actor_id prev, int state,
                     kp_actor_id next)
{
    num(switch_row(w, t, cpu, prev, state, next), "iowait", 1);
}

void world_throttle(struct world *w, kp_time t, uint32_t cpu, kp_actor_id prev, kp_actor_id next)
{
    num(switch_row(w, t, cpu, prev, R, next), "throttled", 1);
}

void world_wake_irq(struct world *w, kp_time t, uint32_t cpu, kp_actor_id current,
                    kp_actor_id wakee, enum world_context context, int vec, int irq,
                    uint32_t target_cpu)
{
    struct put put = row(w, KP_S_SCHED_WAKING, t, cpu, current);
    num(put, "wakee", wakee);
    num(put, "irq", irq);
    num(put, "target_cpu", target_cpu);
    num(put, "wakee_prio", w->prio[wakee]);
    num(put, "context", context);
    num(put, "vec", vec);
}

void world_wake(struct world *w, kp_time t, uint32_t cpu, kp_actor_id waker, kp_actor_id wakee,
                uint32_t target_cpu)
{
    world_wake_irq(w, t, cpu, waker, wakee, IN_TASK, VEC_NONE, -1, target_cpu);
}

void world_task(struct world *w, kp_time t, uint32_t cpu, kp_actor_id thread, int op)
{
    num(row(w, KP_S_TASK, t, cpu, thread), "op", op);
}

void world_syscall(struct world *w, kp_time from, kp_time to, uint32_t cpu, kp_actor_id thread,
                   const char *name, int64_t ret)
{
    struct put put = row(w, KP_S_SYSCALL, to, cpu, thread);
    num(put, "dur", to - from);
    num(put, "nr", kp_syscall_number(name));
    num(put, "ret", ret);
}

void world_futex(struct world *w, kp_time from, kp_time to, uint32_t cpu, kp_actor_id thread,
                 int64_t addr, int64_t op, int64_t value, int64_t ret)
{
    struct put put = row(w, KP_S_SYSCALL, to, cpu, thread);
    num(put, "dur", to - from);
    num(put, "nr", kp_syscall_number("futex"));
    num(put, "ret", ret);
    num(put, "arg0", addr);
    num(put, "arg1", op);
    num(put, "arg2", value);
}

void world_irq(struct world *w, kp_time from, kp_time to, uint32_t cpu, kp_actor_id current,
               int irq, const char *name)
{
    struct put put = row(w, KP_S_IRQ, to, cpu, current);
    num(put, "dur", to - from);
    num(put, "count", 1);
    num(put, "irq", irq);
    txt(put, "name", name);
}

void world_softirq(struct world *w, kp_time from, kp_time to, uint32_t cpu, kp_actor_id current,
                   int vec)
{
    struct put put = row(w, KP_S_SOFTIRQ, to, cpu, current);
    num(put, "dur", to - from);
    num(put, "count", 1);
    num(put, "vec", vec);
}

void world_block(struct world *w, kp_time from, kp_time issued, kp_time to, uint32_t cpu,
                 kp_actor_id submitter, int64_t sector)
{
    struct put put = row(w, KP_S_BLOCK_RQ, to, cpu, submitter);
    num(put, "dur", to - from);
    num(put, "queue_dur", issued - from);
    num(put, "sector", sector);
    num(put, "bytes", 4096);
    num(put, "dev", 254 << 20 | 1);
    num(put, "op", 1);
}

void world_reclaim_op(struct world *w, kp_time from, kp_time to, uint32_t cpu, kp_actor_id thread,
                      int64_t pages, int op)
{
    struct put put = row(w, KP_S_VMSCAN, to, cpu, thread);
    num(put, "dur", to - from);
    num(put, "reclaimed", pages);
    num(put, "op", op);
}

void world_reclaim(struct world *w, kp_time from, kp_time to, uint32_t cpu, kp_actor_id thread)
{
    world_reclaim_op(w, from, to, cpu, thread, 32, 1);
}

void world_lock(struct world *w, kp_time from, kp_time to, uint32_t cpu, kp_actor_id thread,
                kp_actor_id owner, int64_t addr)
{
    struct put put = row(w, KP_S_LOCK, to, cpu, thread);
    num(put, "dur", to - from);
    num(put, "addr", addr);
    num(put, "owner", owner);
    num(put, "kind", 4);
}

void world_fault(struct world *w, kp_time from, kp_time to, uint32_t cpu, kp_actor_id thread,
                 int64_t inode)
{
    struct put put = row(w, KP_S_FAULT, to, cpu, thread);
    num(put, "dur", to - from);
    num(put, "obj", inode);
    num(put, "obj_dev", 254 << 20 | 1);
}

void world_writeback(struct world *w, kp_time from, kp_time to, uint32_t cpu, kp_actor_id thread,
                     int op)
{
    struct put put = row(w, KP_S_WRITEBACK, to, cpu, thread);
    num(put, "dur", to - from);
    num(put, "dev", 254 << 20 | 1);
    num(put, "op", op);
}

void world_work(struct world *w, kp_time queued, kp_time from, kp_time to, uint32_t cpu,
                kp_actor_id worker, kp_actor_id submitter, const char *function)
{
    struct put put = row(w, KP_S_WORKQUEUE, to, cpu, worker);
    num(put, "dur", to - from);
    num(put, "queue_dur", from - queued);
    num(put, "submitter", submitter);
    txt(put, "name", function);
}

void world_boost(struct world *w, kp_time t, uint32_t cpu, kp_actor_id holder, kp_actor_id donor,
                 int old_prio, int new_prio)
{
    struct put put = row(w, KP_S_PI, t, cpu, donor);
    num(put, "target", holder);
    num(put, "donor", donor);
    num(put, "old_prio", old_prio);
    num(put, "new_prio", new_prio);
}

void world_move_by(struct world *w, kp_time t, uint32_t cpu, kp_actor_id thread, uint32_t from_cpu,
                   uint32_t to_cpu)
{
    struct put put = row(w, KP_S_MIGRATE, t, cpu, world_idle(w));
    num(put, "thread", thread);
    num(put, "from_cpu", from_cpu);
    num(put, "to_cpu", to_cpu);
}

void world_move(struct world *w, kp_time t, kp_actor_id thread, uint32_t from_cpu, uint32_t to_cpu)
{
    world_move_by(w, t, to_cpu, thread, from_cpu, to_cpu);
}

void world_fork(struct world *w, kp_time t, uint32_t cpu, kp_actor_id thread, kp_actor_id parent)
{
    struct put put = row(w, KP_S_TASK, t, cpu, thread);
    num(put, "op", 1);
    num(put, "parent", parent);
}

void world_exec(struct world *w, kp_time t, uint32_t cpu, kp_actor_id thread, int64_t mask)
{
    struct put put = row(w, KP_S_TASK, t, cpu, thread);
    num(put, "op", 2);
    num(put, "cpu_mask", mask);
}

void world_signal(struct world *w, kp_time t, uint32_t cpu, kp_actor_id sender, kp_actor_id target,
                  int sig)
{
    struct put put = row(w, KP_S_SIGNAL, t, cpu, sender);
    num(put, "target", target);
    num(put, "sig", sig);
}

static void put_ends(struct put put, const struct world_sock *end)
{
    char text[32];
    snprintf(text, sizeof(text), "10.0.0.%d", end->local);
    txt(put, "saddr", text);
    snprintf(text, sizeof(text), "10.0.0.%d", end->peer);
    txt(put, "daddr", text);
    num(put, "sport", end->local_port);
    num(put, "dport", end->peer_port);
    num(put, "ip_family", 2);
}

void world_sock(struct world *w, const struct world_sock *sock)
{
    struct put put = row(w, KP_S_SOCK, sock->to, sock->cpu, sock->thread);
    num(put, "dur", sock->to - sock->from);
    num(put, "bytes", sock->bytes);
    num(put, "tcp_seq", sock->seq);
    num(put, "op", sock->op);
    num(put, "proto", 6);
    put_ends(put, sock);
}

void world_resent(struct world *w, kp_time t, const struct world_sock *end, int64_t seq)
{
    struct put put = row(w, KP_S_TCP_RETRANSMIT, t, end->cpu, end->thread);
    num(put, "tcp_seq", seq);
    put_ends(put, end);
}

void world_closed(struct world *w, kp_time t, const struct world_sock *end)
{
    struct put put = row(w, KP_S_TCP_STATE, t, end->cpu, end->thread);
    num(put, "old_state", 1);
    num(put, "tcp_state", 4);
    put_ends(put, end);
}

static struct put gap(struct world *w, kp_time from, kp_time to, uint32_t cpu)
{
    struct put put = row(w, KP_S_GAPS, to, cpu, world_idle(w));
    num(put, "dur", to - from);
    num(put, "count", -1);
    return put;
}

void world_gap(struct world *w, kp_time from, kp_time to, uint32_t cpu)
{
    gap(w, from, to, cpu);
}

void world_gap_hidden(struct world *w, kp_time from, kp_time to, uint32_t cpu)
{
    num(gap(w, from, to, cpu), "reason", 9);
}

void world_quota(struct world *w, kp_time t, const char *path, kp_dur quota, kp_dur throttled)
{
    struct put put = row(w, KP_S_CGROUP_STAT, t, 0, world_idle(w));
    txt(put, "path", path);
    num(put, "quota", quota);
    num(put, "period", 100 * KP_MS);
    num(put, "throttled_dur", throttled);
}

void world_clock(struct world *w, kp_time t, kp_dur offset, kp_dur bound, kp_dur step)
{
    struct put put = row(w, KP_S_CLOCK, t, 0, world_idle(w));
    num(put, "mono", t);
    num(put, "real", w->zero + t + offset);
    num(put, "bound", bound);
    num(put, "step", step);
    txt(put, "boot", w->boot);
}

void world_span(struct world *w, const struct world_span *span)
{
    struct put put = row(w, KP_S_SPANS, span->to, 0, span->thread);
    num(put, "dur", span->to - span->from);
    txt(put, "trace_id", span->trace);
    txt(put, "span_id", span->id);
    txt(put, "parent_id", span->parent);
    txt(put, "txn", span->txn);
    txt(put, "service", span->service);
    txt(put, "name", span->name);
    num(put, "status", span->status);
    txt(put, "status_msg", span->status_msg);
    num(put, "kind", span->kind);
    num(put, "link", span->link < 0 ? 0 : span->link == 0 ? 2 : span->link);
}

void world_payment(struct world *w, kp_actor_id idle, kp_actor_id thread, kp_dur dur)
{
    world_wake(w, -1 * KP_MS - 10, 1, idle, thread, 0);
    world_switch(w, -1 * KP_MS, 0, idle, R, thread);
    world_span(w, &(struct world_span){.from = 0,
                                       .to = dur,
                                       .thread = thread,
                                       .trace = "t1",
                                       .id = "s1",
                                       .txn = "98721",
                                       .service = "pay",
                                       .name = "POST /pay"});
}

/* ---------- questions ---------- */

void answer_take(struct answer *answer, struct kp_rows *rows, const struct kp_schema *schema)
{
    const struct kp_batch *batch;
    answer->rows = rows;
    answer->schema = schema;
    while (kp_rows_next(rows, &batch) == KP_OK) {
        assert_true(answer->batches_count < KP_ARRAY_LEN(answer->batches));
        struct kp_vec *vecs =
            kp_arena_alloc(&answer->arena, batch->cols_count * sizeof(struct kp_vec));
        memcpy(vecs, batch->cols, batch->cols_count * sizeof(struct kp_vec));
        struct kp_batch *copy = &answer->copies[answer->batches_count];
        *copy = *batch;
        copy->cols = vecs;
        answer->batches[answer->batches_count++] = copy;
        answer->count += batch->rows;
    }
}

struct kp_causes_req world_req(const char *txn)
{
    return (struct kp_causes_req){.txn = kp_str_from(txn), .within = -1, .at = KP_TIME_MIN};
}

void world_causes_req(struct world *w, const struct kp_causes_req *req, struct answer *out)
{
    struct kp_rows *rows = NULL;
    memset(out, 0, sizeof(*out));
    kp_arena_init(&out->arena, (size_t)512 << 20);
    out->status = kp_causes_open(w->snapshot, req, &out->arena, &rows, &out->err);
    if (out->status == KP_OK)
        answer_take(out, rows, kp_causes_schema());
}

void world_causes(struct world *w, const char *txn, struct answer *out)
{
    struct kp_causes_req req = world_req(txn);
    world_causes_req(w, &req, out);
    if (out->status != KP_OK)
        fail_msg("%s", out->err.text);
}

void world_evidence(struct world *w, const char *txn, uint32_t row_no, struct answer *out)
{
    struct kp_causes_req req = world_req(txn);
    struct kp_rows *rows = NULL;
    memset(out, 0, sizeof(*out));
    kp_arena_init(&out->arena, (size_t)512 << 20);
    out->status = kp_evidence_open(w->snapshot, &req, row_no, &out->arena, &rows, &out->err);
    if (out->status == KP_OK)
        answer_take(out, rows, kp_evidence_schema());
}

void answer_deinit(struct answer *answer)
{
    kp_arena_deinit(&answer->arena);
}

static const struct kp_vec *cell(const struct answer *answer, uint32_t at, const char *column,
                                 uint32_t *out_row)
{
    int field = kp_schema_find(answer->schema, kp_str_from(column));
    assert_true(field >= 0 && at < answer->count);
    *out_row = at % KP_VECTOR_ROWS;
    return &answer->batches[at / KP_VECTOR_ROWS]->cols[field];
}

int64_t cell_i64(const struct answer *answer, uint32_t at, const char *column)
{
    uint32_t in;
    const struct kp_vec *vec = cell(answer, at, column, &in);
    return vec->i64[in];
}

bool cell_null(const struct answer *answer, uint32_t at, const char *column)
{
    uint32_t in;
    const struct kp_vec *vec = cell(answer, at, column, &in);
    return kp_vec_null(vec, in);
}

const char *cell_str(const struct answer *answer, uint32_t at, const char *column)
{
    static char slots[SLOTS][512];
    static unsigned next;
    uint32_t in;
    const struct kp_vec *vec = cell(answer, at, column, &in);
    struct kp_str text = kp_vec_str(vec, in);
    char *slot = slots[next++ % SLOTS];
    snprintf(slot, sizeof(slots[0]), "%.*s", (int)text.len, text.ptr);
    return slot;
}

kp_dur answer_sum(const struct answer *answer, const char *kind)
{
    kp_dur sum = 0;
    for (uint32_t i = 0; i < answer->count; i++)
        if (kind == NULL || strcmp(cell_str(answer, i, "kind"), kind) == 0)
            sum += cell_i64(answer, i, "dur");
    return sum;
}

int answer_find(const struct answer *answer, const char *kind)
{
    for (uint32_t i = 0; i < answer->count; i++)
        if (strcmp(cell_str(answer, i, "kind"), kind) == 0)
            return (int)i;
    return -1;
}

int answer_root(const struct answer *answer)
{
    for (uint32_t i = 0; i < answer->count; i++)
        if (cell_i64(answer, i, "root") != 0)
            return (int)i;
    return -1;
}

bool answer_noted(const struct answer *answer, const char *text)
{
    const struct kp_str *notes;
    uint32_t count = kp_rows_notes(answer->rows, &notes);
    for (uint32_t i = 0; i < count; i++)
        if (memmem(notes[i].ptr, notes[i].len, text, strlen(text)) != NULL)
            return true;
    return false;
}

char *answer_text(const struct world *w, const struct answer *answer)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    for (uint32_t i = 0; i < answer->count; i++) {
        for (uint32_t f = 0; f < answer->schema->count; f++) {
            char name[64];
            const struct kp_field *field = &answer->schema->fields[f];
            snprintf(name, sizeof(name), "%.*s", (int)field->name.len, field->name.ptr);
            if (cell_null(answer, i, name))
                fprintf(out, "- ");
            else if (field->type == KP_TYPE_STR)
                fprintf(out, "[%s] ", cell_str(answer, i, name));
            else if (field->type == KP_TYPE_TIME)
                fprintf(out, "+%lld ", (long long)(cell_i64(answer, i, name) - w->zero));
            else if (field->type != KP_TYPE_F64)
                fprintf(out, "%lld ", (long long)cell_i64(answer, i, name));
        }
        fprintf(out, "\n");
    }
    fclose(out);
    return text;
}

void answer_check(const struct answer *answer, kp_dur wall)
{
    for (uint32_t i = 0; i < answer->count; i++) {
        assert_true(cell_i64(answer, i, "dur") > 0);
        assert_int_equal(cell_i64(answer, i, "rank"), i + 1);
        assert_true(cell_str(answer, i, "kind")[0] != '\0');
        assert_true(cell_str(answer, i, "rule")[0] != '\0');
        assert_true(cell_i64(answer, i, "gap_ns") <= cell_i64(answer, i, "dur"));
    }
    assert_int_equal(answer_sum(answer, NULL), wall);
}
