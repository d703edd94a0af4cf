/* SPDX-License-Identifier: Apache-2.0
 *
 * The drain thread on rings made of plain memory: what it may take, what it must leave, what it
 * says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <linux/bpf.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "event.h"
#include "config.h"
#include "ingest/source_drain.h"

#define PAGE      4096
#define RING_SIZE (2 * PAGE)
#define STEP      KP_SOURCE_STEP(sizeof(struct kp_record_SCHED_SWITCH))

/* A ring as the kernel lays it out; the queue lends its memory, which is mapped twice too. */
struct fake {
    struct kpi_queue memory;
    uint64_t consumer, producer;
    uint64_t made;
    struct kp_cpu cpu;
    struct kpi_drain drain;
};

static void fake_open(struct fake *fake)
{
    struct kp_error err;

    memset(fake, 0, sizeof(*fake));
    assert_int_equal(kpi_queue_init(&fake->memory, RING_SIZE, &err), KP_OK);
    fake->drain.rings[0] = (struct kpi_ring){
        .consumer = &fake->consumer,
        .producer = &fake->producer,
        .frames = fake->memory.bytes,
        .size_bytes = RING_SIZE,
    };
    fake->drain.rings_count = 1;
    fake->drain.cpus = &fake->cpu;
    fake->drain.cpus_count = 1;
    fake->drain.every = KP_MS;
    fake->drain.wakeup = eventfd(0, EFD_NONBLOCK);
    assert_true(fake->drain.wakeup >= 0);
    assert_int_equal(pthread_mutex_init(&fake->drain.lock, NULL), 0);
}

static void fake_close(struct fake *fake)
{
    kpi_drain_deinit(&fake->drain);
    kpi_queue_deinit(&fake->memory);
    pthread_mutex_destroy(&fake->drain.lock);
    close(fake->drain.wakeup);
}

static uint32_t *frame_size(struct fake *fake, uint64_t position)
{
    return (uint32_t *)(void *)(fake->memory.bytes + (position & (RING_SIZE - 1)));
}

/* Adds a record with a running number as its stamp; an unfinished one is marked busy. */
static uint64_t put(struct fake *fake, bool busy)
{
    struct kp_record_SCHED_SWITCH rec = {
        .head = {.mono = ++fake->made, .kind = KP_STREAM_SCHED_SWITCH}};
    uint64_t at = fake->producer;

    assert_true(at + STEP - __atomic_load_n(&fake->consumer, __ATOMIC_ACQUIRE) <= RING_SIZE);
    memcpy(fake->memory.bytes + (at & (RING_SIZE - 1)) + 8, &rec, sizeof(rec));
    *frame_size(fake, at) = (uint32_t)sizeof(rec) | (busy ? BPF_RINGBUF_BUSY_BIT : 0);
    __atomic_store_n(&fake->producer, at + STEP, __ATOMIC_RELEASE);
    return at;
}

static void wait_ms(int ms)
{
    struct timespec ts = {.tv_nsec = ms * 1000000L};
    nanosleep(&ts, NULL);
}

/* Waits until so many bytes are in the queue. */
static const uint8_t *wait_for(struct fake *fake, size_t size_bytes)
{
    const void *bytes = NULL;

    for (int i = 0; i < 2000 && kpi_queue_peek(&fake->drain.queue, &bytes) < size_bytes; i++)
        wait_ms(1);
    assert_int_equal(kpi_queue_peek(&fake->drain.queue, &bytes), size_bytes);
    return bytes;
}

static uint64_t stamp_at(const uint8_t *bytes, size_t index)
{
    struct kp_record rec;

    memcpy(&rec, bytes + index * STEP + sizeof(struct kp_source_frame), sizeof(rec));
    return rec.mono;
}

static int64_t complete_of(struct fake *fake)
{
    return __atomic_load_n(&fake->drain.complete, __ATOMIC_ACQUIRE);
}

static void an_unfinished_record_holds_the_rest(void **state)
{
    (void)state;
    struct fake fake;
    struct kp_error err;

    fake_open(&fake);
    put(&fake, false);
    uint64_t busy = put(&fake, true);
    put(&fake, false);
    assert_int_equal(kpi_drain_start(&fake.drain, PAGE, &err), KP_OK);
    const uint8_t *bytes = wait_for(&fake, STEP);
    assert_int_equal(stamp_at(bytes, 0), 1);
    wait_ms(20);
    assert_int_equal(complete_of(&fake),
                     0); /* nothing is complete as long as one is being written */
    __atomic_store_n(frame_size(&fake, busy), sizeof(struct kp_record_SCHED_SWITCH),
                     __ATOMIC_RELEASE);
    bytes = wait_for(&fake, 3 * STEP);
    assert_int_equal(stamp_at(bytes, 1), 2);
    assert_int_equal(stamp_at(bytes, 2), 3);
    wait_ms(20);
    assert_true(complete_of(&fake) > 0);
    fake_close(&fake);
}

static void a_full_queue_leaves_records_in_the_ring(void **state)
{
    (void)state;
    struct fake fake;
    struct kp_error err;
    const uint64_t fit = PAGE / STEP, all = RING_SIZE / STEP;

    fake_open(&fake);
    for (uint64_t i = 0; i < all; i++)
        put(&fake, false);
    assert_int_equal(kpi_drain_start(&fake.drain, PAGE, &err), KP_OK);
    wait_for(&fake, fit * STEP);
    wait_ms(20);
    assert_int_equal(__atomic_load_n(&fake.consumer, __ATOMIC_ACQUIRE), fit * STEP);
    assert_int_equal(complete_of(&fake), 0);
    uint64_t taken = 0;
    while (taken < all) { /* a taker that takes one at a time gets all of them, in order */
        const void *bytes;
        if (kpi_queue_peek(&fake.drain.queue, &bytes) < STEP) {
            wait_ms(1);
            continue;
        }
        assert_int_equal(stamp_at(bytes, 0), ++taken);
        kpi_queue_release(&fake.drain.queue, STEP);
    }
    pthread_mutex_lock(&fake.drain.lock);
    assert_int_equal(fake.drain.stat.records, all);
    assert_true(fake.drain.stat.queue_full > 0);
    pthread_mutex_unlock(&fake.drain.lock);
    fake_close(&fake);
}

static void the_end_brings_the_pending_sums(void **state)
{
    (void)state;
    struct fake fake;
    struct kp_error err;
    struct kp_record_IRQ irq;

    fake_open(&fake);
    fake.cpu.irqs[3] = (struct kp_irq_sum){
        .since = 5, .dur = 700, .count = 7, .id = 42, .tid = 9, .tgid = 8, .name = "eth0"};
    assert_int_equal(kpi_drain_start(&fake.drain, PAGE, &err), KP_OK);
    put(&fake, false);
    kpi_drain_stop(&fake.drain);
    const uint8_t *bytes = wait_for(&fake, STEP + KP_SOURCE_STEP(sizeof(irq)));
    memcpy(&irq, bytes + STEP + sizeof(struct kp_source_frame), sizeof(irq));
    assert_int_equal(irq.head.kind, KP_STREAM_IRQ);
    assert_int_equal(irq.head.tid, 9);
    assert_int_equal(irq.count, 7);
    assert_int_equal(irq.dur, 700);
    assert_int_equal(irq.irq, 42);
    assert_string_equal(irq.name, "eth0");
    assert_int_equal(irq.window, irq.head.mono - 5);
    while (!__atomic_load_n(&fake.drain.ended, __ATOMIC_ACQUIRE))
        wait_ms(1);
    assert_true(complete_of(&fake) > (int64_t)irq.head.mono);
    fake_close(&fake);
}

static void abandoned_it_ends_though_the_queue_is_full(void **state)
{
    (void)state;
    struct fake fake;
    struct kp_error err;

    fake_open(&fake);
    for (uint64_t i = 0; i < RING_SIZE / STEP; i++)
        put(&fake, false);
    assert_int_equal(kpi_drain_start(&fake.drain, PAGE, &err), KP_OK);
    fake_close(&fake); /* returns */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unfinished_record_holds_the_rest),
        cmocka_unit_test(a_full_queue_leaves_records_in_the_ring),
        cmocka_unit_test(the_end_brings_the_pending_sums),
        cmocka_unit_test(abandoned_it_ends_though_the_queue_is_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
