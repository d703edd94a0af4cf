/* SPDX-License-Identifier: Apache-2.0
 *
 * The spine of a page of kernel events: what all its rows have in common, once for the page.
 *
 *   lane   the rows of one CPU of one host, in order of time
 *   spine  the stream of every row, times as steps within a lane, event numbers as steps over all
 *          rows, and who ran: a thread stays on its CPU until a switch says otherwise, so only what
 *          differs from that is written
 *
 * The blocks of the page are then without ts, seq, cpu, actor and the thread a row is about
 * (sched_switch.next, sched_waking.wakee). Over both writer and reader goes the same model of who
 * runs where (struct kpi_foresight), fed row by row in the order of the page: it cannot be wrong
 * about the rows, only cost more.
 */
#ifndef KP_STORAGE_SPINE_H
#define KP_STORAGE_SPINE_H

#include "storage/block.h"

/* Columns of a spine block, in the order of its chunks. */
enum kpi_spine_column {
    KPI_SPINE_LANES,
    KPI_SPINE_KIND,
    KPI_SPINE_TS,
    KPI_SPINE_SEQ,
    KPI_SPINE_ACTOR,
    KPI_SPINE_PEER,
    KPI_SPINE_COLUMNS,
    KPI_SPINE_DURS = KPI_SPINE_COLUMNS /* of cold spines: spine_durs.c */
};

/* Stands for spines where a stream is asked for; rows belong to the streams of the page. */
extern const struct kp_stream kpi_spine_stream;
/* kp_stream_by_number, and the spine's own. */
const struct kp_stream *kpi_stream_by_number(uint32_t number);
/* The column of a kernel stream that tells which thread a row is about; 0 when it has none. */
uint32_t kpi_spine_peer(uint32_t stream);
/* True when all paged blocks of the stream leave this column to the spine. */
bool kpi_spine_has(const struct kp_stream *stream, uint32_t column);

/* Numbers of a paged block lie thread by thread, a thread's in order of time: what it does is like
 * what it did. This is the column whose thread counts for another. */
uint32_t kpi_spine_key(const struct kp_stream *stream, uint32_t column);
/* Rows by thread: out[i] = row that lies at place i. locals: of the key column, <= actors. */
kp_status kpi_spine_order(const int64_t *locals, uint32_t rows, uint32_t actors,
                          uint32_t *out) KP_MUST;

/* ---------- writing (spine_write.c) ---------- */

/* Appends the spine of batches (of different kernel streams, in the order of order.h, actors of one
 * registry). Adds all their actors to the set. *out_period: of their clock's ticks (ticks.h), cold,
 * else 0. LIMIT: these rows do not fit the scheme. */
kp_status kpi_spine_encode(const struct kp_batch *batches, uint32_t count, enum kpi_level level,
                           struct kpi_actor_set *actors, uint64_t *out_period,
                           struct kp_buf *out) KP_MUST;

/* The chunks of a spine alone, one behind the other; ranges, rows, actors and sizes in out_parts.
 */
kp_status kpi_spine_columns(const struct kp_batch *batches, uint32_t count,
                            struct kpi_actor_set *actors, enum kpi_level level,
                            struct kpi_block_parts *out_parts, struct kp_buf *out) KP_MUST;

/* ---------- reading (spine.c) ---------- */

/* A spine that is being read: what columns take from it is decoded when first asked for. Calls on
 * one spine, and column calls on blocks bound to it, are serialised by their callers; but once
 * kpi_spine_need was called for a column of a stream, that column may be read by any thread. */
struct kpi_spine;

/* Begins to read an open block of stream 0, which and whose bytes stay borrowed; memory from
 * arena, also later. */
kp_status kpi_spine_open(const struct kpi_block *block, struct kp_arena *arena,
                         struct kpi_spine **out) KP_MUST;
/* Gives a paged block the spine of its page, which stays borrowed; memory from arena. CORRUPT when
 * they cannot belong together; that they do not may show only when a column is read. */
kp_status kpi_spine_bind(struct kpi_spine *spine, struct kp_arena *arena,
                         struct kpi_block *block) KP_MUST;
/* Decodes what a column of the stream's block takes from the spine: itself, or the threads by which
 * its numbers lie. */
kp_status kpi_spine_need(struct kpi_spine *spine, const struct kp_stream *stream,
                         uint32_t column) KP_MUST;
/* A column that a bound block leaves to the spine. out: room for its rows. */
kp_status kpi_spine_column(const struct kpi_block *block, uint32_t column, int64_t *out) KP_MUST;
/* Puts values of a bound block that lie thread by thread into the order of rows. The order is kept
 * in arena for the block's other columns. */
kp_status kpi_spine_restore(const struct kpi_block *block, uint32_t column, struct kp_arena *arena,
                            const int64_t *lying, int64_t *out) KP_MUST;

/* Times of cold spines: what a step depends on is what happened before it and at its end. */
static inline uint16_t kpi_spine_pair(uint32_t before, uint32_t stream)
{
    return (uint16_t)(before << 8 | stream);
}

/* ---------- the model ---------- */

struct kpi_foresight {
    uint32_t actors;
    uint32_t *running;      /* by lane */
    uint32_t *next, *wakee; /* by actor: who came last after it, whom it woke last */
};

kp_status kpi_foresight_init(struct kpi_foresight *model, uint32_t lanes, uint32_t actors) KP_MUST;
void kpi_foresight_deinit(struct kpi_foresight *model);

/* Who is expected to be the peer of this row. */
static inline uint32_t kpi_foresee_peer(const struct kpi_foresight *model, uint32_t stream,
                                        uint32_t actor)
{
    return stream == KP_S_SCHED_SWITCH ? model->next[actor] : model->wakee[actor];
}

/* Takes note of a row; peer is ignored for streams without. */
static inline void kpi_foresight_row(struct kpi_foresight *model, uint32_t stream, uint32_t lane,
                                     uint32_t actor, uint32_t peer)
{
    model->running[lane] = actor;
    if (stream == KP_S_SCHED_SWITCH) {
        model->next[actor] = peer;
        model->running[lane] = peer;
    } else if (stream == KP_S_SCHED_WAKING) {
        model->wakee[actor] = peer;
    }
}

#endif
