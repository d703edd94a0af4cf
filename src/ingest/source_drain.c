/* SPDX-License-Identifier: Apache-2.0
 *
 * A pass scans each ring for frames the kernel has finished and copies them in one piece: the
 * frames of a ring buffer are the frames of the queue, so there is no call per record. The thread
 * runs at the lowest real-time priority, the one measure that keeps a saturated machine from losing
 * records, and falls back to normal priority for the rest of a second in which it used too much
 * CPU.
 *
 * Invariants: only this thread moves the rings' consumer and the queue's write position; `complete`
 * is stored after the records it covers were put; a pass that had to leave something does not
 * advance it.
 */
#include "ingest/source_drain.h"

#include <errno.h>
#include <linux/bpf.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "event.h"
#include "config.h"

#define DRAIN_PRIORITY 1
/* A program takes the stamp of a record after the room for it, so what has an older stamp than a
 * pass has room that the pass saw; so long may the news take from one CPU to another. */
#define STAMP_SLACK (100 * KP_US)
/* The thread may use so much CPU in so long a time before it falls back to normal priority. */
#define BUDGET_WINDOW KP_SEC
#define BUDGET_CPU    (KP_SEC / 5)

/* Copies finished frames as long as there is room; false when any had to be left. */
static bool drain_ring(struct kpi_drain *drain, const struct kpi_ring *ring, int64_t *out_newest)
{
    const uint64_t start = *ring->consumer, mask = ring->size_bytes - 1;
    const uint64_t end = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
    const size_t room = kpi_queue_room(&drain->queue);
    const struct kp_record *newest = NULL;
    uint64_t at = start, records = 0;
    bool full = false;

    while (at < end) {
        const uint8_t *frame = ring->frames + (at & mask);
        uint32_t size = __atomic_load_n((const uint32_t *)(const void *)frame, __ATOMIC_ACQUIRE);
        full = at + KP_SOURCE_STEP(size) - start > room;
        if ((size & BPF_RINGBUF_BUSY_BIT) || full)
            break;
        newest = (const void *)(frame + sizeof(struct kp_source_frame));
        at += KP_SOURCE_STEP(size);
        records++;
    }
    if (newest) {
        *out_newest = KP_MAX(*out_newest, (int64_t)newest->mono);
        kpi_queue_put(&drain->queue, ring->frames + (start & mask), at - start);
        __atomic_store_n(ring->consumer, at, __ATOMIC_RELEASE);
    }
    pthread_mutex_lock(&drain->lock);
    drain->stat.records += records;
    drain->stat.bytes += at - start;
    drain->stat.queue_full += full;
    pthread_mutex_unlock(&drain->lock);
    return at == end;
}

static void wake_taker(struct kpi_drain *drain)
{
    uint64_t one = 1;
    ssize_t written = write(drain->wakeup, &one, sizeof(one));
    (void)written; /* a full counter means the taker has a wakeup coming anyway */
}

/* One pass over all rings; true when nothing was left. */
static bool drain_pass(struct kpi_drain *drain)
{
    int64_t begin = kp_time_monotonic(), newest = 0;
    bool all = true;

    for (uint32_t i = 0; i < drain->rings_count; i++)
        all &= drain_ring(drain, &drain->rings[i], &newest);
    if (all)
        __atomic_store_n(&drain->complete, begin - STAMP_SLACK, __ATOMIC_RELEASE);
    if (newest == 0)
        return all;
    pthread_mutex_lock(&drain->lock);
    drain->stat.lag_ns = (uint64_t)KP_MAX(kp_time_monotonic() - newest, 0);
    pthread_mutex_unlock(&drain->lock);
    wake_taker(drain);
    return all;
}

static void set_priority(bool realtime)
{
    struct sched_param param = {.sched_priority = realtime ? DRAIN_PRIORITY : 0};
    /* without the right to it the thread stays as it is: drains come later under load */
    (void)pthread_setschedparam(pthread_self(), realtime ? SCHED_FIFO : SCHED_OTHER, &param);
}

struct budget {
    int64_t window_start;
    kp_dur window_cpu; /* CPU time of the thread when the window began */
    bool over;
};

static kp_dur thread_cpu(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return ts.tv_sec * KP_SEC + ts.tv_nsec;
}

/* Real-time priority is taken back for the rest of a second in which too much CPU was used. */
static void mind_budget(struct kpi_drain *drain, struct budget *budget)
{
    int64_t now = kp_time_monotonic();
    kp_dur cpu = thread_cpu();

    if (!budget->over && cpu - budget->window_cpu > BUDGET_CPU) {
        budget->over = true;
        if (drain->realtime)
            set_priority(false);
    }
    pthread_mutex_lock(&drain->lock);
    drain->stat.drains++;
    drain->stat.drain_cpu = cpu;
    drain->stat.budget_overruns += budget->over && now - budget->window_start >= BUDGET_WINDOW;
    pthread_mutex_unlock(&drain->lock);
    if (now - budget->window_start < BUDGET_WINDOW)
        return;
    if (budget->over && drain->realtime)
        set_priority(true);
    *budget = (struct budget){.window_start = now, .window_cpu = cpu};
}

static void sleep_for(kp_dur dur)
{
    struct timespec ts = {.tv_sec = dur / KP_SEC, .tv_nsec = dur % KP_SEC};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
}

/* Puts a record made here, waiting for room unless nobody takes any more. */
static void put_record(struct kpi_drain *drain, const void *record, uint32_t size)
{
    uint8_t frame[KP_SOURCE_STEP(sizeof(struct kp_record_IRQ))] = {0};

    kp_assert(KP_SOURCE_STEP(size) <= sizeof(frame));
    memcpy(frame, &(struct kp_source_frame){.size = size}, sizeof(struct kp_source_frame));
    memcpy(frame + sizeof(struct kp_source_frame), record, size);
    while (kpi_queue_room(&drain->queue) < KP_SOURCE_STEP(size)) {
        if (__atomic_load_n(&drain->abandoned, __ATOMIC_ACQUIRE))
            return;
        wake_taker(drain);
        sleep_for(KP_MS);
    }
    kpi_queue_put(&drain->queue, frame, KP_SOURCE_STEP(size));
    pthread_mutex_lock(&drain->lock);
    drain->stat.records++;
    drain->stat.bytes += KP_SOURCE_STEP(size);
    pthread_mutex_unlock(&drain->lock);
}

static struct kp_record sum_head(const struct kpi_drain *drain, uint32_t cpu,
                                 const struct kp_irq_sum *sum, uint8_t kind, int64_t now)
{
    return (struct kp_record){
        .mono = (uint64_t)now,
        .tid = sum->tid,
        .tgid = sum->tgid,
        .lost = (uint32_t)drain->cpus[cpu].lost,
        .cpu = (uint16_t)cpu,
        .kind = kind,
        .version = KP_RECORD_VERSION,
    };
}

/* The sums of short interrupts that no later interrupt has recorded. */
static void put_sums(struct kpi_drain *drain, uint32_t cpu, int64_t now)
{
    const struct kp_cpu *state = &drain->cpus[cpu];

    for (size_t i = 0; i < KP_SOFTIRQS_MAX; i++) {
        const struct kp_irq_sum *sum = &state->softirqs[i];
        struct kp_record_SOFTIRQ record = {
            .head = sum_head(drain, cpu, sum, KP_STREAM_SOFTIRQ, now),
            .dur = sum->dur,
            .window = (uint64_t)now - sum->since,
            .count = sum->count,
            .vec = (uint8_t)sum->id,
        };
        if (sum->count)
            put_record(drain, &record, sizeof(record));
    }
    for (size_t i = 0; i < KP_IRQS_MAX; i++) {
        const struct kp_irq_sum *sum = &state->irqs[i];
        struct kp_record_IRQ record = {
            .head = sum_head(drain, cpu, sum, KP_STREAM_IRQ, now),
            .dur = sum->dur,
            .window = (uint64_t)now - sum->since,
            .count = sum->count,
            .irq = sum->id,
        };
        memcpy(record.name, sum->name, sizeof(record.name));
        if (sum->count)
            put_record(drain, &record, sizeof(record));
    }
}

/* After detaching: what programs still running at that moment wrote, then the sums. */
static void drain_rest(struct kpi_drain *drain)
{
    sleep_for(drain->every);
    while (!drain_pass(drain) && !__atomic_load_n(&drain->abandoned, __ATOMIC_ACQUIRE))
        sleep_for(KP_MS);
    int64_t now = kp_time_monotonic();
    for (uint32_t cpu = 0; cpu < drain->cpus_count; cpu++)
        put_sums(drain, cpu, now);
    __atomic_store_n(&drain->complete, now + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&drain->ended, true, __ATOMIC_RELEASE);
    wake_taker(drain);
}

static void *drain_main(void *arg)
{
    struct kpi_drain *drain = arg;
    struct budget budget = {.window_start = kp_time_monotonic()};

    pthread_setname_np(pthread_self(), "kp-drain");
    if (drain->realtime)
        set_priority(true);
    while (!__atomic_load_n(&drain->stopping, __ATOMIC_ACQUIRE)) {
        drain_pass(drain);
        mind_budget(drain, &budget);
        sleep_for(drain->every);
    }
    set_priority(false);
    drain_rest(drain);
    return NULL;
}

kp_status kpi_drain_start(struct kpi_drain *drain, size_t queue_bytes, struct kp_error *err)
{
    kp_status status = kpi_queue_init(&drain->queue, queue_bytes, err);
    if (status != KP_OK)
        return status;
    int failed = pthread_create(&drain->thread, NULL, drain_main, drain);
    if (failed != 0)
        return kp_error_os(err, KP_NO_MEMORY, failed, "cannot start the drain thread");
    drain->started = true;
    return KP_OK;
}

void kpi_drain_stop(struct kpi_drain *drain)
{
    __atomic_store_n(&drain->stopping, true, __ATOMIC_RELEASE);
}

void kpi_drain_deinit(struct kpi_drain *drain)
{
    __atomic_store_n(&drain->abandoned, true, __ATOMIC_RELEASE);
    kpi_drain_stop(drain);
    if (drain->started)
        pthread_join(drain->thread, NULL);
    drain->started = false;
    kpi_queue_deinit(&drain->queue);
}
