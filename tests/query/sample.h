/* SPDX-License-Identifier: Apache-2.0
 *
 * The recording that the examples of docs/language.md and the records of tests/query run on: a
 * payment on two CPUs, a batch job in its way, one gap, one kind that was not recorded.
 */
#ifndef KP_TESTS_QUERY_SAMPLE_H
#define KP_TESTS_QUERY_SAMPLE_H

#include "world.h"

#define SAMPLE_ZERO ((kp_time)1795405620 * KP_SEC) /* 2026-11-23T03:47:00Z */
#define US(n)       ((kp_dur)(n)*KP_US)

static void sample_capture(struct world *w, const char *stream, int64_t state, const char *why)
{
    const struct kp_stream *capture = kp_stream_by_name(KP_STR("capture"));
    struct kp_builder builder;
    kp_status status = kp_builder_init(&builder, capture, kp_store_actors(w->store), 16);
    assert_int_equal(status, KP_OK);
    kp_builder_row(&builder, w->zero, kp_store_seq(w->store, 1), 0, 0);
    kp_builder_i64(&builder, (uint32_t)kp_stream_stored(capture, "op"), 2);
    kp_builder_i64(&builder, (uint32_t)kp_stream_stored(capture, "state"), state);
    status = kp_builder_str(&builder, (uint32_t)kp_stream_stored(capture, "stream"),
                            kp_str_from(stream));
    assert_int_equal(status, KP_OK);
    status = kp_builder_str(&builder, (uint32_t)kp_stream_stored(capture, "why"), kp_str_from(why));
    assert_int_equal(status, KP_OK);
    status = kp_store_append(w->store, kp_builder_batch(&builder), NULL);
    assert_int_equal(status, KP_OK);
    kp_builder_deinit(&builder);
}

static void sample_kernel(struct world *w)
{
    kp_actor_id idle = world_idle(w);
    kp_actor_id settle = world_thread_in(w, 2841, 2841, "settlement-svc", 11, "/pay", false);
    kp_actor_id handler = world_thread_in(w, 2650, 2652, "payment-handler", 12, "/pay", false);
    kp_actor_id batch = world_thread_in(w, 4721, 4721, "batch", 13, "/batch", false);
    world_wake(w, US(90), 1, handler, settle, 0);
    world_switch(w, US(100), 0, idle, R, settle);
    world_switch(w, US(140), 1, handler, S, idle);
    world_irq(w, US(150), US(155), 1, idle, 24, "nvme0q1");
    world_syscall(w, US(180), US(280), 0, settle, "write", 512);
    world_switch(w, US(300), 0, settle, RP, batch);
    world_softirq(w, US(400), US(420), 0, batch, VEC_TIMER);
    world_wake_irq(w, US(410), 0, batch, handler, IN_SOFTIRQ, VEC_TIMER, -1, 1);
    world_switch(w, US(430), 1, idle, R, handler);
    world_switch(w, US(700), 0, batch, S, settle);
    world_block(w, US(710), US(720), US(790), 0, settle, 2048);
    world_switch(w, US(800), 0, settle, S, idle);
    world_switch(w, US(850), 1, handler, S, idle);
    world_gap(w, US(860), US(880), 1);
    struct world_span pay = {.from = US(80),
                             .to = US(820),
                             .thread = handler,
                             .trace = "4bf92f3577b34da6a3ce929d0e0e4736",
                             .id = "00f067aa0ba902b7",
                             .parent = "",
                             .txn = "98721",
                             .service = "payment-handler",
                             .name = "POST /pay",
                             .status_msg = "timeout",
                             .status = 2,
                             .kind = 2};
    struct world_span write = pay;
    write.from = US(100);
    write.to = US(800);
    write.thread = settle;
    write.id = "b7ad6b7169203331";
    write.parent = pay.id;
    write.service = "settlement-svc";
    write.name = "ledger write";
    write.status_msg = "";
    write.status = 1;
    world_span(w, &pay);
    world_span(w, &write);
}

/* Opens the world and fills it; w->snapshot is the recording. */
static void sample_open(struct world *w)
{
    world_open(w);
    w->zero = SAMPLE_ZERO;
    w->host = "node1";
    sample_kernel(w);
    sample_capture(w, "vmscan", 2, "tracepoint is missing");
    sample_capture(w, "sched_switch", 1, "tp_btf");
    world_commit(w);
}

#endif
