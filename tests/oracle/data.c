/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows that both engines have: three streams of a store and a table with nulls written in the
 * query. Made-up rows go into both from the same values; those of a recording are read by our
 * engine, one plain projection, and told to the other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "oracle.h"
#include "query/query.h"
#include "storage/io.h"
#include "world.h"

enum { SWITCHES, CALLS, SPANS, NULLS };

static const struct table table_kinds[TABLES] = {
    {"sw",
     "sched_switch",
     {{{"seq", 'L'},
       {"ts", 'T'},
       {"cpu", 'L'},
       {"tid", 'L'},
       {"pid", 'L'},
       {"comm", 'S'},
       {"next_tid", 'L'},
       {"next_comm", 'S'},
       {"prev_state", 'S'},
       {"preempt", 'B'}},
      10,
      true}},
    {"sc",
     "syscall",
     {{{"seq", 'L'},
       {"ts", 'T'},
       {"start", 'T'},
       {"cpu", 'L'},
       {"tid", 'L'},
       {"comm", 'S'},
       {"dur", 'D'},
       {"ret", 'L'},
       {"nr", 'S'}},
      9,
      true}},
    {"sp",
     "spans",
     {{{"seq", 'L'},
       {"ts", 'T'},
       {"tid", 'L'},
       {"dur", 'D'},
       {"service", 'S'},
       {"name", 'S'},
       {"txn", 'S'},
       {"status", 'S'}},
      8,
      true}},
    {"nu",
     "nu",
     {{{"k", 'L'}, {"a", 'L'}, {"r", 'R'}, {"b", 'B'}, {"s", 'S'}, {"t", 'T'}, {"d", 'D'}},
      7,
      true}}};

static void must(struct duck *duck, const char *sql)
{
    char *err = NULL;
    if (duck_run(duck, sql, &err))
        return;
    fprintf(stderr, "%s: %s\n", sql, err);
    exit(1);
}

static void make_tables(struct universe *out)
{
    memcpy(out->tables, table_kinds, sizeof(table_kinds));
    out->duck = duck_open(NULL, 1);
    kp_assert(out->duck != NULL);
    for (uint32_t i = 0; i < oracle_macros_count; i++)
        must(out->duck, oracle_macros[i]);
    for (uint32_t t = 0; t < TABLES; t++) {
        struct kp_buf sql = {0};
        const struct columns *columns = &out->tables[t].columns;
        kp_buf_printf(&sql, "CREATE TABLE %s (", out->tables[t].name);
        for (uint32_t i = 0; i < columns->count; i++) {
            char type = columns->at[i].type;
            kp_buf_printf(&sql, "\"%s\" %s, ", columns->at[i].name,
                          type == 'S'   ? "VARCHAR"
                          : type == 'R' ? "DOUBLE"
                          : type == 'B' ? "BOOLEAN"
                                        : "BIGINT");
        }
        kp_buf_text(&sql, "_o BIGINT)");
        must(out->duck, kp_buf_cstr(&sql));
        kp_buf_deinit(&sql);
    }
}

/* --- the table with nulls --- */

static void add_null_or(struct kp_buf *text, struct duck_appender *to, const char *type,
                        struct random *random, int64_t value)
{
    if (random_below(random, 5) == 0) {
        kp_buf_printf(text, "%s(null), ", type);
        duck_append_null(to);
        return;
    }
    kp_buf_printf(text,
                  strcmp(type, "datetime") == 0 ? "datetime(1970-01-01) + %lldns, "
                  : *type == 't'                ? "timespan(%lldns), "
                                                : "long(%lld), ",
                  (long long)value);
    duck_append_i64(to, value);
}

static void add_real(struct kp_buf *text, struct duck_appender *to, struct random *random)
{
    double value = ((double)random_below(random, 4001) - 2000) / 4;
    if (random_below(random, 5) == 0) {
        kp_buf_text(text, "real(null), ");
        duck_append_null(to);
        return;
    }
    kp_buf_printf(text, "%.2f, ", value);
    duck_append_f64(to, value);
}

static void add_bool(struct kp_buf *text, struct duck_appender *to, struct random *random)
{
    uint32_t draw = random_below(random, 5);
    kp_buf_text(text, draw == 0 ? "bool(null), " : draw > 2 ? "true, " : "false, ");
    if (draw == 0)
        duck_append_null(to);
    else
        duck_append_bool(to, draw > 2);
}

static const char *const words[] = {"",           "a",         "A",     "worker1",
                                    "Zahlung ü€", "POST /pay", "x y z", "it's %_",
                                    "日本語",     "worker10",  "b-a_c", "R+"};

static void make_nulls(struct universe *out, struct random *random)
{
    static const int64_t extremes[] = {INT64_MIN, INT64_MAX, 0, -1, 1, 105};
    struct duck_appender *to = duck_append_open(out->duck, "nu");
    struct kp_buf *text = &out->lets;
    kp_buf_text(text, "let nu = datatable(k:long, a:long, r:real, b:bool, s:string, t:datetime, "
                      "d:timespan)[");
    for (uint32_t i = 0; i < 150; i++) {
        const char *word = words[random_below(random, KP_ARRAY_LEN(words))];
        uint32_t draw = random_below(random, 10);
        add_null_or(text, to, "long", random, 100 + random_below(random, 20));
        add_null_or(text, to, "long", random,
                    draw < KP_ARRAY_LEN(extremes) ? extremes[draw]
                                                  : (int64_t)random_below(random, 2000) - 1000);
        add_real(text, to, random);
        add_bool(text, to, random);
        kp_buf_printf(text, "\"%s\", ", word);
        duck_append_str(to, kp_str_from(word));
        add_null_or(text, to, "datetime", random,
                    (int64_t)random_below(random, 4000000) * 1000000007 - 1000000000000000);
        add_null_or(text, to, "timespan", random, (int64_t)random_below(random, 2000000) - 9999);
        duck_append_i64(to, i + 1);
        duck_append_row(to);
    }
    text->size -= 2;
    kp_buf_text(text, "];\n");
    kp_assert(duck_append_close(to));
}

/* --- made-up streams --- */

struct thread {
    int64_t tid, pid;
    const char *comm;
    kp_actor_id actor;
};

struct making {
    struct universe *out;
    struct random *random;
    struct thread threads[24];
    struct duck_appender *to[TABLES];
    int64_t order[TABLES];
    int64_t seq;
};

static void put_number(struct making *m, int table, int64_t value)
{
    duck_append_i64(m->to[table], value);
}

static void put_text(struct making *m, int table, const char *value)
{
    duck_append_str(m->to[table], kp_str_from(value));
}

static void put_end(struct making *m, int table)
{
    duck_append_i64(m->to[table], ++m->order[table]);
    duck_append_row(m->to[table]);
}

static const struct thread *any_thread(struct making *m)
{
    return &m->threads[random_below(m->random, KP_ARRAY_LEN(m->threads))];
}

static void make_switch(struct making *m, kp_time t, uint32_t cpu)
{
    static const int states[] = {R, S, D, RP};
    static const char *const names[] = {"R", "S", "D", "R+"};
    const struct thread *prev = any_thread(m), *next = any_thread(m);
    uint32_t state = random_below(m->random, 4);
    world_switch(m->out->world, t, cpu, prev->actor, states[state], next->actor);
    put_number(m, SWITCHES, ++m->seq);
    put_number(m, SWITCHES, m->out->world->zero + t);
    put_number(m, SWITCHES, cpu);
    put_number(m, SWITCHES, prev->tid);
    put_number(m, SWITCHES, prev->pid);
    put_text(m, SWITCHES, prev->comm);
    put_number(m, SWITCHES, next->tid);
    put_text(m, SWITCHES, next->comm);
    put_text(m, SWITCHES, names[state]);
    duck_append_bool(m->to[SWITCHES], states[state] == RP);
    put_end(m, SWITCHES);
}

static void make_call(struct making *m, kp_time t, uint32_t cpu)
{
    static const char *const names[] = {"read", "write", "futex", "openat"};
    static const int64_t rets[] = {0, -11, 512, INT64_MAX, INT64_MIN, 105};
    const struct thread *thread = any_thread(m);
    const char *name = names[random_below(m->random, 4)];
    int64_t dur = random_below(m->random, 4) == 0 ? 1000 : random_below(m->random, 3000000);
    int64_t ret = random_below(m->random, 2) == 0 ? rets[random_below(m->random, 6)]
                                                  : random_below(m->random, 5000);
    world_syscall(m->out->world, t - dur, t, cpu, thread->actor, name, ret);
    put_number(m, CALLS, ++m->seq);
    put_number(m, CALLS, m->out->world->zero + t);
    put_number(m, CALLS, m->out->world->zero + t - dur);
    put_number(m, CALLS, cpu);
    put_number(m, CALLS, thread->tid);
    put_text(m, CALLS, thread->comm);
    put_number(m, CALLS, dur);
    put_number(m, CALLS, ret);
    put_text(m, CALLS, name);
    put_end(m, CALLS);
}

static void make_span(struct making *m, kp_time t)
{
    static const char *const states[] = {"unset", "ok", "error"};
    const struct thread *thread = any_thread(m);
    char id[32], txn[16];
    snprintf(id, sizeof(id), "%016llx", (unsigned long long)++m->seq);
    snprintf(txn, sizeof(txn), "%u", 90000 + random_below(m->random, 60));
    struct world_span span = {.to = t,
                              .from = t - random_below(m->random, 900000),
                              .thread = thread->actor,
                              .trace = "4bf92f3577b34da6a3ce929d0e0e4736",
                              .id = id,
                              .parent = "",
                              .txn = random_below(m->random, 3) == 0 ? "" : txn,
                              .service = words[3 + random_below(m->random, 3)],
                              .name = words[random_below(m->random, KP_ARRAY_LEN(words))],
                              .status_msg = "",
                              .status = (int)random_below(m->random, 3)};
    world_span(m->out->world, &span);
    put_number(m, SPANS, m->seq);
    put_number(m, SPANS, m->out->world->zero + t);
    put_number(m, SPANS, thread->tid);
    put_number(m, SPANS, span.to - span.from);
    put_text(m, SPANS, span.service);
    put_text(m, SPANS, span.name);
    put_text(m, SPANS, span.txn);
    put_text(m, SPANS, states[span.status]);
    put_end(m, SPANS);
}

static void make_threads(struct making *m)
{
    static const char *const names[] = {"worker1", "worker2", "worker10", "Batch", "é", "x y"};
    for (uint32_t i = 0; i < KP_ARRAY_LEN(m->threads); i++) {
        m->threads[i] =
            (struct thread){.tid = 100 + i, .pid = 100 + i / 4, .comm = names[i * 7 % 6]};
        m->threads[i].actor = world_thread(m->out->world, (uint32_t)m->threads[i].pid,
                                           (uint32_t)m->threads[i].tid, m->threads[i].comm);
    }
}

/* Rows of a stream never have the same time and CPU in two ways: seq breaks the tie. */
static void make_streams(struct making *m, uint32_t rows)
{
    kp_time t = 0;
    for (int i = 0; i < NULLS; i++)
        m->to[i] = duck_append_open(m->out->duck, m->out->tables[i].name);
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t draw = random_below(m->random, 10);
        uint32_t cpu = i % 2;
        if (cpu == 0)
            t += random_below(m->random, 20) * KP_US + 1 + random_below(m->random, 3);
        if (draw < 5)
            make_switch(m, t, cpu);
        else if (draw < 8)
            make_call(m, t, cpu);
        else
            make_span(m, t);
        if (i == rows / 2)
            world_commit(m->out->world);
    }
    for (int i = 0; i < NULLS; i++)
        kp_assert(duck_append_close(m->to[i]));
    world_commit(m->out->world);
}

void universe_make(struct universe *out, uint64_t seed)
{
    struct random random = {seed};
    memset(out, 0, sizeof(*out));
    out->world = calloc(1, sizeof(*out->world));
    kp_assert(out->world != NULL);
    make_tables(out);
    make_nulls(out, &random);
    struct making making = {.out = out, .random = &random};
    world_open(out->world);
    make_threads(&making);
    make_streams(&making, 3000);
    out->snapshot = out->world->snapshot;
}

/* --- a recording --- */

static void tell_cell(struct duck_appender *to, const struct kp_vec *vec, uint32_t row)
{
    if (kp_vec_null(vec, row))
        duck_append_null(to);
    else if (vec->type == KP_TYPE_STR)
        duck_append_str(to, kp_vec_str(vec, row));
    else if (vec->type == KP_TYPE_BOOL)
        duck_append_bool(to, vec->i64[row] != 0);
    else
        duck_append_i64(to, vec->i64[row]);
}

static void read_table(struct universe *out, const struct table *table, const char *more)
{
    struct kp_buf text = {0};
    struct kp_error err = {0};
    struct kp_query *query = NULL;
    const struct kp_batch *batch;
    int64_t order = 0;
    struct duck_appender *to = duck_append_open(out->duck, table->name);
    kp_buf_printf(&text, "%s | project ", table->ours);
    for (uint32_t i = 0; i < table->columns.count; i++)
        kp_buf_printf(&text, "%s%s", i == 0 ? "" : ", ", table->columns.at[i].name);
    kp_buf_text(&text, more);
    kp_status status = kp_query_open(out->snapshot, (struct kp_str){text.data, (uint32_t)text.size},
                                     NULL, &query, &err);
    while (status == KP_OK && (status = kp_query_next(query, &batch, &err)) == KP_OK)
        for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
            for (uint32_t c = 0; c < batch->cols_count; c++)
                tell_cell(to, &batch->cols[c], kp_batch_row(batch, i));
            duck_append_i64(to, ++order);
            duck_append_row(to);
        }
    kp_assert(status == KP_END && duck_append_close(to));
    kp_query_close(query);
    kp_buf_deinit(&text);
}

void universe_read(struct universe *out, const char *dir)
{
    struct kp_error err = {0};
    struct random random = {1};
    memset(out, 0, sizeof(*out));
    make_tables(out);
    make_nulls(out, &random);
    if (kp_snapshot_open(dir, kp_io_threads(), &out->snapshot, &err) != KP_OK) {
        fprintf(stderr, "%s\n", err.text);
        exit(1);
    }
    for (int i = 0; i < NULLS; i++)
        read_table(out, &out->tables[i], "");
}

void universe_close(struct universe *universe)
{
    duck_close(universe->duck);
    kp_buf_deinit(&universe->lets);
    if (universe->world != NULL)
        world_close(universe->world);
    else
        kp_snapshot_close(universe->snapshot);
    free(universe->world);
}
