/* SPDX-License-Identifier: Apache-2.0
 *
 * Records of every kind, filled from the catalogue, come back as the rows they were; anything else
 * is refused; a change of the lost counter is a gap between exactly two records, and so is a
 * thread that runs without having been switched in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/bytes.h"
#include "bpf/event.h"
#include "fake_store.h"
#include "ingest/decode.h"

#define OFFSET 1000000

struct bed {
    struct kp_store *store;
    struct kpi_cgroups *cgroups;
    struct kpi_threads *threads;
    struct kpi_decoder *decoder;
    struct kpi_gap gaps[64];
    uint32_t gaps_count;
};

static void on_gap(void *ctx, const struct kpi_gap *gap)
{
    struct bed *bed = ctx;
    assert_in_range(bed->gaps_count, 0, KP_ARRAY_LEN(bed->gaps) - 1);
    bed->gaps[bed->gaps_count++] = *gap;
}

static int set_up(void **state)
{
    static struct bed bed;
    bed = (struct bed){.store = fake_open()};
    assert_int_equal(kpi_cgroups_init(&bed.cgroups), KP_OK);
    assert_int_equal(kpi_threads_init(bed.store, bed.cgroups, &bed.threads), KP_OK);
    struct kpi_decoder_opts opts = {.store = bed.store,
                                    .threads = bed.threads,
                                    .cgroups = bed.cgroups,
                                    .offset = OFFSET,
                                    .begin = 5,
                                    .rows_max = 512,
                                    .gap = on_gap,
                                    .ctx = &bed};
    assert_int_equal(kpi_decoder_init(&opts, &bed.decoder), KP_OK);
    *state = &bed;
    return 0;
}

static int tear_down(void **state)
{
    struct bed *bed = *state;
    kpi_decoder_deinit(bed->decoder);
    kpi_threads_deinit(bed->threads);
    kpi_cgroups_deinit(bed->cgroups);
    fake_close(bed->store);
    return 0;
}

static kp_status add(struct bed *bed, const void *record, size_t size)
{
    uint32_t stream;
    const char *why = NULL;
    kp_status status = kpi_decoder_add(bed->decoder, record, size, &stream, &why);
    if (status == KP_INVALID)
        assert_non_null(why);
    return status;
}

static int64_t cell(struct bed *bed, uint32_t stream, const char *column)
{
    struct kp_builder *builder = kpi_decoder_builder(bed->decoder, stream);
    int at = kp_stream_stored(builder->batch.stream, column);
    return builder->cols[at].i64[builder->batch.rows - 1];
}

/* --- every kind --- */

/* A value whose bytes all differ, with the top bit set when the field is signed. */
static uint64_t field_value(const struct kp_stored_column *column, uint32_t salt)
{
    uint64_t value = 0x0807060504030201ull * (salt | 1);
    if (column->wire_signed)
        value |= 0x8080808080808080ull;
    else if (column->wire_size == 8)
        value &= INT64_MAX;
    return value;
}

static void fill_field(uint8_t *record, const struct kp_stored_column *column, uint32_t salt)
{
    uint8_t *at = record + column->wire_offset;
    uint64_t value = field_value(column, salt);
    if (column->wire_addr)
        memcpy(at, "\x0a\x01\x02\x03", 4);
    else if (kp_type_phys(column->type) == KP_PHYS_STR)
        memset(at, 'a' + (int)(salt % 26), column->wire_size / 2);
    else if (strcmp(column->name, "ip_family") == 0)
        kp_store_u16(at, 2);
    else if (column->type == KP_TYPE_ACTOR)
        kp_store_u32(at, 1000 + salt);
    else
        memcpy(at, &value, column->wire_size);
}

static int64_t expected(const struct kp_stored_column *column, uint32_t salt)
{
    uint64_t value = field_value(column, salt);
    switch (column->wire_size) {
    case 1:
        return (uint8_t)value;
    case 2:
        return column->wire_signed ? (int16_t)value : (uint16_t)value;
    case 4:
        return column->wire_signed ? (int32_t)value : (int64_t)(uint32_t)value;
    default:
        return (int64_t)value;
    }
}

static void check_field(struct bed *bed, const struct kp_batch *batch, uint32_t at, uint32_t salt)
{
    const struct kp_stored_column *column = &batch->stream->stored[at];
    uint32_t row = batch->rows - 1;
    if (column->wire_addr) {
        assert_true(kp_str_equal(kp_vec_str(&batch->cols[at], row), KP_STR("10.1.2.3")));
    } else if (kp_type_phys(column->type) == KP_PHYS_STR) {
        struct kp_str text = kp_vec_str(&batch->cols[at], row);
        assert_int_equal(text.len, column->wire_size / 2);
        assert_int_equal(text.ptr[text.len - 1], 'a' + salt % 26);
    } else if (strcmp(column->name, "ip_family") == 0) {
        assert_int_equal(batch->cols[at].i64[row], 2);
    } else if (column->type == KP_TYPE_ACTOR) {
        kp_actor_id id = (kp_actor_id)batch->cols[at].i64[row];
        assert_int_equal(kp_actors_get(bed->store->actors, id)->tid, 1000 + salt);
    } else {
        assert_int_equal(batch->cols[at].i64[row], expected(column, salt));
    }
}

static void every_kind_comes_back(void **state)
{
    struct bed *bed = *state;
    uint32_t count, kinds = 0;
    const struct kp_stream *streams = kp_streams(&count);
    for (uint32_t s = 0; s < count; s++) {
        const struct kp_stream *stream = &streams[s];
        if (stream->record_size == 0)
            continue;
        kinds++;
        for (uint32_t round = 0; round < 3; round++) {
            uint8_t record[1024] = {0};
            struct kp_record head = {.mono = 100 + round,
                                     .tid = 50 + round,
                                     .tgid = 50,
                                     .cpu = 3,
                                     .kind = stream->number,
                                     .version = KP_RECORD_VERSION};
            memcpy(record, &head, sizeof(head));
            for (uint32_t c = KP_COL_FIRST; c < stream->stored_count; c++)
                fill_field(record, &stream->stored[c], c + round);
            assert_int_equal(add(bed, record, stream->record_size), KP_OK);
            struct kp_builder *builder = kpi_decoder_builder(bed->decoder, stream->number);
            const struct kp_batch *batch = kp_builder_batch(builder);
            assert_int_equal(batch->cols[KP_COL_TS].i64[0], 100 + round + OFFSET);
            assert_int_equal(batch->cols[KP_COL_CPU].i64[0], 3);
            assert_int_equal(
                kp_actors_get(bed->store->actors, (kp_actor_id)batch->cols[KP_COL_ACTOR].i64[0])
                    ->tid,
                50 + round);
            for (uint32_t c = KP_COL_FIRST; c < stream->stored_count; c++)
                check_field(bed, batch, c, c + round);
            kp_builder_reset(builder);
        }
    }
    assert_true(kinds >= 13);
}

static struct kp_record_SCHED_SWITCH a_switch(uint64_t mono, uint32_t lost)
{
    return (struct kp_record_SCHED_SWITCH){.head = {.mono = mono,
                                                    .tid = 7,
                                                    .tgid = 7,
                                                    .lost = lost,
                                                    .kind = KP_STREAM_SCHED_SWITCH,
                                                    .version = KP_RECORD_VERSION},
                                           .next = 7};
}

static void wrong_records_are_refused(void **state)
{
    struct bed *bed = *state;
    struct kp_record_SCHED_SWITCH record = a_switch(10, 0);
    for (size_t size = 0; size < sizeof(record); size++)
        assert_int_equal(add(bed, &record, size), KP_INVALID);
    assert_int_equal(add(bed, &record, sizeof(record) + 8), KP_INVALID);
    for (int kind = 0; kind < 256; kind++) {
        const struct kp_stream *stream = kp_stream_by_number((uint32_t)kind);
        record.head.kind = (uint8_t)kind;
        if (stream == NULL || stream->record_size != sizeof(record))
            assert_int_equal(add(bed, &record, sizeof(record)), KP_INVALID);
    }
    record = a_switch(10, 0);
    record.head.version++;
    assert_int_equal(add(bed, &record, sizeof(record)), KP_INVALID);
    record = a_switch(UINT64_MAX, 0);
    assert_int_equal(add(bed, &record, sizeof(record)), KP_INVALID);
    record = a_switch(10, 0);
    record.head.cpu = UINT16_MAX;
    assert_int_equal(add(bed, &record, sizeof(record)), KP_INVALID);
    assert_null(kpi_decoder_builder(bed->decoder, KP_STREAM_SCHED_SWITCH));
    assert_int_equal(bed->gaps_count, 0);
}

static void a_changed_counter_is_a_gap(void **state)
{
    struct bed *bed = *state;
    static const struct {
        uint64_t mono;
        uint32_t lost;
        int64_t from, count; /* count 0 = no gap */
    } cases[] = {
        {10, 2, 5, 2},  /* before the first record: since the recording began */
        {20, 2, 0, 0},  /* */
        {30, 9, 20, 7}, /* */
        {31, 8, 0, 0},  /* a nested record, overtaken */
        {40, 9, 0, 0},  /* nothing new */
        {50, 0x7fffffff, 40, 0x7ffffff6},
        {60, 0xfffffffe, 50, 0x7fffffff},
        {70, 3, 60, 5}, /* the count wraps */
    };
    for (size_t i = 0; i < KP_ARRAY_LEN(cases); i++) {
        struct kp_record_SCHED_SWITCH record = a_switch(cases[i].mono, cases[i].lost);
        uint32_t before = bed->gaps_count;
        assert_int_equal(add(bed, &record, sizeof(record)), KP_OK);
        assert_int_equal(bed->gaps_count, before + (cases[i].count != 0));
        if (cases[i].count == 0)
            continue;
        assert_int_equal(bed->gaps[before].from, cases[i].from);
        assert_int_equal(bed->gaps[before].to, (int64_t)cases[i].mono);
        assert_int_equal(bed->gaps[before].count, cases[i].count);
        assert_int_equal(bed->gaps[before].reason, 0);
    }
    /* another CPU has its own count; the end tells what no record did */
    struct kp_record_SCHED_SWITCH record = a_switch(80, 0);
    record.head.cpu = 1;
    uint32_t before = bed->gaps_count;
    assert_int_equal(add(bed, &record, sizeof(record)), KP_OK);
    assert_int_equal(bed->gaps_count, before);
    kpi_decoder_lost(bed->decoder, 1, 4, 99);
    kpi_decoder_lost(bed->decoder, 0, 3, 99);
    assert_int_equal(bed->gaps_count, before + 1);
    assert_int_equal(bed->gaps[before].cpu, 1);
    assert_int_equal(bed->gaps[before].from, 80);
    assert_int_equal(bed->gaps[before].count, 4);
}

static void a_thread_that_was_not_switched_in_is_a_gap(void **state)
{
    struct bed *bed = *state;
    static const struct {
        uint64_t mono;
        uint32_t tid, next, lost;
        uint16_t cpu;
        bool exec;    /* not a switch: tid took this name in the middle of its run */
        int64_t from; /* 0 = no gap */
    } cases[] = {
        {10, 7, 8, 0, 0, false, 0},  /* the first switch of a CPU follows nothing */
        {20, 8, 1, 0, 0, false, 0},  /* */
        {30, 9, 0, 0, 0, false, 20}, /* 1 left without being seen */
        {40, 0, 9, 0, 0, false, 0},  /* */
        {41, 3, 4, 0, 1, false, 0},  /* another CPU has a chain of its own */
        {50, 8, 0, 0, 0, true, 0},   /* 9 executes and becomes 8 */
        {60, 8, 5, 0, 0, false, 0},  /* */
        {70, 6, 7, 2, 0, false, 60}, /* lost events say it already: one gap, not two */
        {80, 7, 0, 2, 0, false, 0},  /* */
    };
    for (size_t i = 0; i < KP_ARRAY_LEN(cases); i++) {
        struct kp_record_SCHED_SWITCH record = a_switch(cases[i].mono, cases[i].lost);
        struct kp_record_TASK task = {.op = 2};
        record.head.tid = cases[i].tid;
        record.head.cpu = cases[i].cpu;
        record.next = cases[i].next;
        task.head = record.head;
        task.head.kind = KP_STREAM_TASK;
        uint32_t before = bed->gaps_count;
        kp_status status =
            cases[i].exec ? add(bed, &task, sizeof(task)) : add(bed, &record, sizeof(record));
        assert_int_equal(status, KP_OK);
        assert_int_equal(bed->gaps_count, before + (cases[i].from != 0));
        if (cases[i].from == 0)
            continue;
        bool lost = cases[i].lost != 0;
        assert_int_equal(bed->gaps[before].from, cases[i].from);
        assert_int_equal(bed->gaps[before].to, (int64_t)cases[i].mono);
        assert_int_equal(bed->gaps[before].cpu, cases[i].cpu);
        assert_int_equal(bed->gaps[before].count, lost ? 2 : -1);
        assert_int_equal(bed->gaps[before].reason, lost ? KPI_GAP_RING_FULL : KPI_GAP_HIDDEN);
    }
}

static void scan_records_say_nothing_of_losses(void **state)
{
    struct bed *bed = *state;
    struct kp_record_SCHED_SWITCH record = a_switch(10, 3);
    assert_int_equal(add(bed, &record, sizeof(record)), KP_OK);
    struct kp_record_TASK scan = {.head = {.mono = 20,
                                           .tid = 9,
                                           .tgid = 9,
                                           .kind = KP_STREAM_TASK,
                                           .version = KP_RECORD_VERSION},
                                  .start_boot = 4};
    assert_int_equal(add(bed, &scan, sizeof(scan)), KP_OK);
    record = a_switch(30, 5);
    assert_int_equal(add(bed, &record, sizeof(record)), KP_OK);
    assert_int_equal(bed->gaps_count, 2);
    assert_int_equal(bed->gaps[1].from, 10);
}

/* --- what records teach --- */

static void tasks_and_groups_name_the_actors(void **state)
{
    struct bed *bed = *state;
    struct kp_record_CGROUP made = {.head = {.mono = 5,
                                             .tid = 1,
                                             .tgid = 1,
                                             .kind = KP_STREAM_CGROUP,
                                             .version = KP_RECORD_VERSION},
                                    .id = 77,
                                    .op = 1};
    snprintf(made.path, sizeof(made.path), "/pay");
    assert_int_equal(add(bed, &made, sizeof(made)), KP_OK);
    struct kp_record_TASK fork = {.head = {.mono = 10,
                                           .tid = 7,
                                           .tgid = 7,
                                           .kind = KP_STREAM_TASK,
                                           .version = KP_RECORD_VERSION},
                                  .start_boot = 9,
                                  .parent = 1,
                                  .op = 1};
    snprintf(fork.name, sizeof(fork.name), "ledger");
    assert_int_equal(add(bed, &fork, sizeof(fork)), KP_OK);
    struct kp_record_CGROUP attach = made;
    attach.head.mono = 12;
    attach.head.tid = attach.head.tgid = 7;
    attach.op = 4;
    assert_int_equal(add(bed, &attach, sizeof(attach)), KP_OK);
    struct kp_record_SCHED_SWITCH record = a_switch(20, 0);
    record.next = 0;
    assert_int_equal(add(bed, &record, sizeof(record)), KP_OK);
    const struct kp_actor *left =
        kp_actors_get(bed->store->actors, (kp_actor_id)cell(bed, KP_STREAM_SCHED_SWITCH, "actor"));
    assert_true(kp_str_equal(left->comm, KP_STR("ledger")));
    assert_true(kp_str_equal(left->cgroup, KP_STR("/pay")));
    assert_int_equal(left->start, 9);
    const struct kp_actor *next =
        kp_actors_get(bed->store->actors, (kp_actor_id)cell(bed, KP_STREAM_SCHED_SWITCH, "next"));
    assert_true(kp_str_equal(next->comm, KP_STR("swapper/0")));
}

static void nobody_is_nobody(void **state)
{
    struct bed *bed = *state;
    struct kp_record_LOCK lock = {
        .head = {.mono = 10, .kind = KP_STREAM_LOCK, .version = KP_RECORD_VERSION}};
    assert_int_equal(add(bed, &lock, sizeof(lock)), KP_OK);
    assert_int_equal(cell(bed, KP_STREAM_LOCK, "owner"), KP_ACTOR_UNKNOWN);
    assert_int_equal(cell(bed, KP_STREAM_LOCK, "actor"), kpi_threads_idle(bed->threads, 0));
}

static void addresses_and_names_are_text(void **state)
{
    struct bed *bed = *state;
    struct kp_record_TCP_RETRANSMIT tcp = {.head = {.mono = 10,
                                                    .tid = 7,
                                                    .tgid = 7,
                                                    .kind = KP_STREAM_TCP_RETRANSMIT,
                                                    .version = KP_RECORD_VERSION},
                                           .ip_family = 10};
    tcp.saddr[15] = 1;
    assert_int_equal(add(bed, &tcp, sizeof(tcp)), KP_OK);
    struct kp_builder *builder = kpi_decoder_builder(bed->decoder, KP_STREAM_TCP_RETRANSMIT);
    const struct kp_batch *batch = kp_builder_batch(builder);
    int saddr = kp_stream_stored(batch->stream, "saddr"),
        daddr = kp_stream_stored(batch->stream, "daddr");
    assert_true(kp_str_equal(kp_vec_str(&batch->cols[saddr], 0), KP_STR("::1")));
    assert_true(kp_str_equal(kp_vec_str(&batch->cols[daddr], 0), KP_STR("::")));
    struct kp_record_IRQ irq = {
        .head = {.mono = 10, .kind = KP_STREAM_IRQ, .version = KP_RECORD_VERSION}};
    memset(irq.name, 0xff, sizeof(irq.name)); /* no NUL, no UTF-8 */
    assert_int_equal(add(bed, &irq, sizeof(irq)), KP_OK);
    batch = kp_builder_batch(kpi_decoder_builder(bed->decoder, KP_STREAM_IRQ));
    int name = kp_stream_stored(batch->stream, "name");
    assert_int_equal(kp_vec_str(&batch->cols[name], 0).len, 3 * sizeof(irq.name));
    assert_int_equal(kpi_decoder_repaired(bed->decoder), sizeof(irq.name));
}

static void decoding_is_quick(void **state)
{
    struct bed *bed = *state;
    enum { ROUNDS = 200 };
    int64_t began = kp_time_monotonic();
    uint32_t events = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < 512; i++, events++) {
            struct kp_record_SCHED_SWITCH record = a_switch(events, 0);
            record.head.tid = 1 + i % 64;
            record.head.tgid = record.head.tid;
            record.next = 1 + (i + 1) % 64;
            assert_int_equal(add(bed, &record, sizeof(record)), KP_OK);
        }
        kp_builder_reset(kpi_decoder_builder(bed->decoder, KP_STREAM_SCHED_SWITCH));
    }
    int64_t each = (kp_time_monotonic() - began) / events;
    print_message("sched_switch: %d ns an event\n", (int)each);
    assert_true(each < 20000); /* a bound that only a mistake exceeds: machines differ */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_kind_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_records_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_changed_counter_is_a_gap, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_thread_that_was_not_switched_in_is_a_gap, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(scan_records_say_nothing_of_losses, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tasks_and_groups_name_the_actors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(nobody_is_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(addresses_and_names_are_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(decoding_is_quick, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
