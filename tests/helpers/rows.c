/* SPDX-License-Identifier: Apache-2.0 */
#include "rows.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"

uint64_t rows_random(struct rows_gen *gen)
{
    return kp_hash_mix(gen->seed += 0x9e3779b97f4a7c15ull);
}

uint64_t rows_below(struct rows_gen *gen, uint64_t limit)
{
    return rows_random(gen) % limit;
}

static kp_actor_id random_actor(struct rows_gen *gen)
{
    static const char *const hosts[] = {"alpha", "beta"};
    uint32_t tid = (uint32_t)rows_below(gen, gen->threads + 1);
    if (tid == gen->threads)
        return KP_ACTOR_UNKNOWN;
    char comm[16], cgroup[64];
    snprintf(comm, sizeof(comm), "worker-%u", tid % 5);
    snprintf(cgroup, sizeof(cgroup), "/system.slice/unit-%u.service", tid % 3);
    struct kp_actor actor = {.host = kp_str_from(hosts[tid % 7 == 6]),
                             .tid = tid,
                             .pid = tid / 4,
                             .start = (int64_t)tid * 1000003,
                             .comm = kp_str_from(comm),
                             .cgroup = kp_str_from(cgroup),
                             .kthread = tid % 11 == 0};
    kp_actor_id id = kp_actors_intern(gen->actors, &actor);
    kp_assert(id != KP_ACTOR_UNKNOWN);
    return id;
}

static int64_t random_number(struct rows_gen *gen, enum kp_type type)
{
    if (type == KP_TYPE_ACTOR)
        return random_actor(gen);
    if (type == KP_TYPE_BOOL)
        return (int64_t)rows_below(gen, 2);
    if (type == KP_TYPE_ENUM)
        return (int64_t)rows_below(gen, 9);
    uint64_t shape = rows_below(gen, 10);
    if (shape < 5)
        return 0;
    if (shape < 8)
        return (int64_t)rows_below(gen, 100000);
    return (int64_t)rows_random(gen);
}

static struct kp_str random_text(struct rows_gen *gen, char out[64])
{
    uint64_t shape = rows_below(gen, 4);
    int length = 0;
    if (shape == 1)
        length = snprintf(out, 64, "%016llx", (unsigned long long)rows_random(gen));
    else if (shape > 1)
        length = snprintf(out, 64, "name-%u", (unsigned)rows_below(gen, gen->names));
    return (struct kp_str){out, (uint32_t)length};
}

void rows_fill(struct rows_gen *gen, struct kp_builder *builder, uint32_t count)
{
    const struct kp_stream *stream = builder->batch.stream;
    for (uint32_t i = 0; i < count; i++) {
        if (rows_below(gen, 4) != 0)
            gen->now += (kp_time)rows_below(gen, 3000);
        bool late = gen->late_every != 0 && rows_below(gen, gen->late_every) == 0;
        kp_time ts = late ? gen->now - (kp_time)rows_below(gen, 2000000) : gen->now;
        kp_builder_row(builder, ts, gen->seq++, (uint32_t)rows_below(gen, gen->cpus),
                       random_actor(gen));
        for (uint32_t c = KP_COL_FIRST; c < stream->stored_count; c++) {
            char text[64];
            if (kp_type_phys(stream->stored[c].type) == KP_PHYS_STR)
                kp_assert(kp_builder_str(builder, c, random_text(gen, text)) == KP_OK);
            else
                kp_builder_i64(builder, c, random_number(gen, stream->stored[c].type));
        }
    }
}

static bool actors_equal(const struct kp_actor *a, const struct kp_actor *b)
{
    return a->tid == b->tid && a->pid == b->pid && a->start == b->start &&
           a->kthread == b->kthread && kp_str_equal(a->host, b->host) &&
           kp_str_equal(a->comm, b->comm) && kp_str_equal(a->cgroup, b->cgroup);
}

static bool cells_equal(const struct kp_batch *a, uint32_t row_a, const struct kp_batch *b,
                        uint32_t row_b, uint32_t column)
{
    const struct kp_vec *x = &a->cols[column], *y = &b->cols[column];
    if (kp_type_phys(x->type) == KP_PHYS_STR)
        return kp_str_equal(kp_vec_str(x, row_a), kp_vec_str(y, row_b));
    if (x->type == KP_TYPE_ACTOR)
        return actors_equal(kp_actors_get(a->actors, (kp_actor_id)x->i64[row_a]),
                            kp_actors_get(b->actors, (kp_actor_id)y->i64[row_b]));
    return x->i64[row_a] == y->i64[row_b];
}

/* The text of a row's column of spans. */
static void span_text(struct kp_builder *builder, const char *column, const char *text)
{
    int at = kp_stream_stored(builder->batch.stream, column);
    kp_assert(at > 0);
    kp_status status = kp_builder_str(builder, (uint32_t)at, kp_str_from(text));
    kp_assert(status == KP_OK);
}

void rows_spans(struct rows_gen *gen, struct kp_builder *builder, uint32_t count)
{
    uint64_t base = rows_random(gen);
    for (uint32_t row = 0; row < count; row++) {
        uint64_t trace = base + row / 7 * 2 + rows_below(gen, 2),
                 id = base ^ (row + 1) * 0x10001ull;
        uint64_t up = base ^ (row + 1 - rows_below(gen, 8)) * 0x10001ull;
        char text[64], attrs[128];
        gen->now += (kp_time)rows_below(gen, 1000);
        kp_builder_row(builder, gen->now, gen->seq++, 0, KP_ACTOR_UNKNOWN);
        snprintf(text, sizeof(text), "%016" PRIx64 "%016" PRIx64, kp_hash_mix(trace), trace);
        span_text(builder, "trace_id", text);
        snprintf(text, sizeof(text), "%016" PRIx64, kp_hash_mix(id));
        span_text(builder, "span_id", text);
        snprintf(text, sizeof(text), "%016" PRIx64, kp_hash_mix(up));
        span_text(builder, "parent_id", rows_below(gen, 4) == 0 ? "" : text);
        snprintf(text, sizeof(text), "pay-%" PRIu64, trace % 9 == 0 ? row : kp_hash_mix(trace + 1));
        span_text(builder, "txn", text);
        snprintf(attrs, sizeof(attrs), "%s\"txn.id\":\"%s\"}", row % 5 == 0 ? "{" : "{\"a\":1,",
                 text);
        span_text(builder, "attrs", attrs);
    }
}

bool rows_equal(const struct kp_batch *a, uint32_t row_a, const struct kp_batch *b, uint32_t row_b)
{
    for (uint32_t c = 0; c < a->cols_count; c++)
        if (!cells_equal(a, row_a, b, row_b, c))
            return false;
    return true;
}
