/* SPDX-License-Identifier: Apache-2.0
 *
 * order.c gives every record once, in order of (mono, cpu, arrival), never before it may.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>

#include "bpf/event.h"
#include "ingest/order.h"

#define CPUS    7
#define RECORDS 20000

static uint64_t rng_state;

static uint32_t rng(uint32_t below)
{
    rng_state = rng_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)((rng_state >> 33) % below);
}

struct sample {
    struct kp_record head;
    uint64_t arrival;
    uint8_t filler[200];
};

static size_t make(struct sample *out, uint64_t mono, uint32_t cpu, uint64_t arrival)
{
    size_t filler = rng(sizeof(out->filler));
    out->head = (struct kp_record){.mono = mono, .cpu = (uint16_t)cpu};
    out->arrival = arrival;
    memset(out->filler, (int)(arrival & 0xff), sizeof(out->filler));
    return offsetof(struct sample, filler) + filler;
}

static kp_status push(struct kpi_order *order, const struct sample *sample, size_t size)
{
    return kpi_order_push(order, (int64_t)sample->head.mono, sample->head.cpu, sample, size);
}

static kp_status put(struct kpi_order *order, uint64_t mono, uint32_t cpu, uint64_t arrival)
{
    struct sample sample;
    size_t size = make(&sample, mono, cpu, arrival);
    return push(order, &sample, size);
}

struct last {
    uint64_t mono, arrival;
    uint32_t cpu;
    uint64_t count, late;
};

static void take(struct kpi_order *order, struct last *last, uint64_t below)
{
    struct kpi_ordered next;
    while (kpi_order_pop(order, &next)) {
        struct sample got = {0};
        memcpy(&got, next.record, next.size_bytes);
        for (size_t i = 0; i + offsetof(struct sample, filler) < next.size_bytes; i++)
            assert_int_equal(got.filler[i], got.arrival & 0xff);
        last->late += next.late;
        if (last->count > 0 && !next.late) {
            assert_true(got.head.mono >= last->mono);
            if (got.head.mono == last->mono)
                assert_true(got.head.cpu > last->cpu ||
                            (got.head.cpu == last->cpu && got.arrival > last->arrival));
        }
        assert_true(got.head.mono < below);
        if (!next.late) {
            last->mono = got.head.mono;
            last->cpu = got.head.cpu;
            last->arrival = got.arrival;
        }
        last->count++;
    }
}

/* CPUs advance at different speeds; each record may be a little older than the one before it. */
static void every_record_once_in_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        rng_state = seed;
        struct kpi_order *order;
        assert_int_equal(kpi_order_init(SIZE_MAX, &order), KP_OK);
        uint64_t clock[CPUS] = {0}, complete = 0;
        struct last last = {0};
        for (uint64_t i = 0; i < RECORDS; i++) {
            struct sample sample;
            uint32_t cpu = rng(CPUS);
            clock[cpu] = (clock[cpu] < complete ? complete : clock[cpu]) + 5 + rng(20);
            uint64_t mono = clock[cpu] - rng(5); /* nested: older than its neighbour */
            size_t size = make(&sample, mono < complete ? complete : mono, cpu, i);
            assert_int_equal(push(order, &sample, size), KP_OK);
            if (rng(100) == 0) {
                complete += rng(3000);
                for (int c = 0; c < CPUS; c++)
                    clock[c] = clock[c] < complete ? complete + 5 : clock[c];
                kpi_order_complete(order, (int64_t)complete);
                take(order, &last, complete);
            }
        }
        kpi_order_complete(order, INT64_MAX);
        take(order, &last, UINT64_MAX);
        assert_int_equal(last.count, RECORDS);
        assert_int_equal(last.late, 0);
        size_t bytes;
        assert_int_equal(kpi_order_held(order, &bytes), 0);
        assert_int_equal(bytes, 0);
        kpi_order_deinit(order);
    }
}

static void nothing_leaves_before_it_may(void **state)
{
    (void)state;
    struct kpi_order *order;
    struct kpi_ordered out;
    struct sample sample;
    assert_int_equal(kpi_order_init(SIZE_MAX, &order), KP_OK);
    assert_false(kpi_order_pop(order, &out));
    size_t size = make(&sample, 100, 3, 0);
    assert_int_equal(push(order, &sample, size), KP_OK);
    assert_false(kpi_order_pop(order, &out));
    kpi_order_complete(order, 100);
    assert_false(kpi_order_pop(order, &out));
    kpi_order_complete(order, 101);
    kpi_order_complete(order, 50); /* never goes back */
    assert_true(kpi_order_pop(order, &out));
    assert_int_equal(out.size_bytes, size);
    assert_false(out.late);
    assert_false(kpi_order_pop(order, &out));
    kpi_order_deinit(order);
}

static void late_records_pass_and_are_marked(void **state)
{
    (void)state;
    struct kpi_order *order;
    struct kpi_ordered out;
    assert_int_equal(kpi_order_init(SIZE_MAX, &order), KP_OK);
    assert_int_equal(put(order, 100, 0, 0), KP_OK);
    kpi_order_complete(order, 200);
    assert_true(kpi_order_pop(order, &out));
    assert_int_equal(put(order, 90, 0, 1), KP_OK);
    assert_int_equal(put(order, 100, 1, 2), KP_OK);
    assert_true(kpi_order_pop(order, &out));
    assert_true(out.late);
    assert_true(kpi_order_pop(order, &out));
    assert_false(out.late);
    kpi_order_deinit(order);
}

static void the_bound_lets_the_oldest_go(void **state)
{
    (void)state;
    struct kpi_order *order;
    struct kpi_ordered out;
    size_t bytes;
    assert_int_equal(kpi_order_init(10000, &order), KP_OK);
    for (uint64_t i = 0; i < 1000; i++) {
        assert_int_equal(put(order, 1000 - i, i % 3, i), KP_OK);
        while (kpi_order_pop(order, &out))
            ;
        kpi_order_held(order, &bytes);
        assert_true(bytes <= 10000);
    }
    assert_true(kpi_order_held(order, &bytes) > 10);
    kpi_order_deinit(order);
}

static void what_is_no_record_is_refused(void **state)
{
    (void)state;
    struct kpi_order *order;
    uint8_t bytes[KPI_ORDER_RECORD_MAX + 1] = {0};
    assert_int_equal(kpi_order_init(SIZE_MAX, &order), KP_OK);
    assert_int_equal(kpi_order_push(order, 1, 0, bytes, 0), KP_INVALID);
    assert_int_equal(kpi_order_push(order, 1, 0, bytes, sizeof(bytes)), KP_INVALID);
    assert_int_equal(kpi_order_push(order, 1, KPI_ORDER_CPUS_MAX, bytes, 40), KP_INVALID);
    assert_int_equal(kpi_order_push(order, 1, 0, bytes, sizeof(bytes) - 1), KP_OK);
    kpi_order_deinit(order);
    kpi_order_deinit(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_record_once_in_order),
        cmocka_unit_test(nothing_leaves_before_it_may),
        cmocka_unit_test(late_records_pass_and_are_marked),
        cmocka_unit_test(the_bound_lets_the_oldest_go),
        cmocka_unit_test(what_is_no_record_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
