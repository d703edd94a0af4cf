/* SPDX-License-Identifier: Apache-2.0
 *
 * Entries are dense; an open-addressing index finds them by tid. Sweeping compacts the entries and
 * rebuilds the index, so that no tombstones exist. A thread that was never introduced gets an entry
 * without name, its tid is queued, and the housekeeping thread asks /proc; the start stays unknown
 * then, because /proc knows it to a clock tick only and half an identity would match nothing.
 */
#include "ingest/threads.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "base/hash.h"
#include "ingest/ingest.h"
#include "ingest/proc.h"

#define IDLE_CPUS_MAX 4096
#define PENDING_MAX   1024
#define HEAL_MAX      64            /* lookups between two sleeps of the housekeeping thread */
#define KEEP_DEAD     (30 * KP_SEC) /* spans of a thread may arrive this long after its end */

enum { OP_SCAN, OP_FORK, OP_EXEC, OP_EXIT, OP_RENAME };

struct thread {
    uint32_t tid, pid; /* pid 0 = not yet known */
    int64_t start;     /* ns since boot, or KP_ACTOR_START_UNKNOWN */
    int64_t since;     /* mono of the first record of this thread */
    int64_t died;      /* mono of its exit; 0 = lives */
    uint64_t cgroup_v2, cgroup_v1;
    kp_actor_id actor;   /* of this state; KP_ACTOR_UNKNOWN = to be interned */
    uint32_t generation; /* of the cgroup paths when actor was interned */
    bool known;          /* name and cgroup are known */
    bool asked;          /* is queued or was looked for in vain */
    bool kthread;
    char comm[KPI_COMM_MAX];
};

struct kpi_threads {
    pthread_mutex_t lock;
    struct kp_store *store;
    struct kpi_cgroups *cgroups;
    struct thread *items;
    uint32_t count, capacity, dead;
    uint32_t *slots; /* index into items + 1; 0 = free */
    uint32_t slots_count;
    uint32_t pending[PENDING_MAX]; /* tids */
    uint32_t pending_count;
    kp_actor_id idle[IDLE_CPUS_MAX];
};

static pthread_mutex_t published_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kpi_threads *published;
static kpi_watch_fn published_watch;
static void *published_ctx;

static bool table_grow(struct kpi_threads *threads);

kp_status kpi_threads_init(struct kp_store *store, struct kpi_cgroups *cgroups,
                           struct kpi_threads **out)
{
    struct kpi_threads *threads = calloc(1, sizeof(*threads));
    if (threads == NULL)
        return KP_NO_MEMORY;
    threads->store = store;
    threads->cgroups = cgroups;
    pthread_mutex_init(&threads->lock, NULL);
    if (!table_grow(threads)) {
        kpi_threads_deinit(threads);
        return KP_NO_MEMORY;
    }
    *out = threads;
    return KP_OK;
}

void kpi_threads_deinit(struct kpi_threads *threads)
{
    if (threads == NULL)
        return;
    pthread_mutex_lock(&published_lock);
    if (published == threads)
        published = NULL;
    pthread_mutex_unlock(&published_lock);
    pthread_mutex_destroy(&threads->lock);
    free(threads->items);
    free(threads->slots);
    free(threads);
}

void kpi_threads_lock(struct kpi_threads *threads)
{
    pthread_mutex_lock(&threads->lock);
}

void kpi_threads_unlock(struct kpi_threads *threads)
{
    pthread_mutex_unlock(&threads->lock);
}

/* --- the table --- */

static uint32_t slot_of(const struct kpi_threads *threads, uint32_t tid)
{
    uint32_t mask = threads->slots_count - 1;
    uint32_t at = (uint32_t)kp_hash_mix(tid) & mask;
    while (threads->slots[at] != 0 && threads->items[threads->slots[at] - 1].tid != tid)
        at = (at + 1) & mask;
    return at;
}

static struct thread *find(const struct kpi_threads *threads, uint32_t tid)
{
    uint32_t index = threads->slots[slot_of(threads, tid)];
    return index == 0 ? NULL : &threads->items[index - 1];
}

static void index_rebuild(struct kpi_threads *threads)
{
    memset(threads->slots, 0, threads->slots_count * sizeof(*threads->slots));
    for (uint32_t i = 0; i < threads->count; i++)
        threads->slots[slot_of(threads, threads->items[i].tid)] = i + 1;
}

static bool table_grow(struct kpi_threads *threads)
{
    uint32_t capacity = threads->capacity == 0 ? 1024 : threads->capacity * 2;
    struct thread *items = realloc(threads->items, capacity * sizeof(*items));
    if (items == NULL)
        return false;
    threads->items = items;
    uint32_t *slots = realloc(threads->slots, 2 * capacity * sizeof(*slots));
    if (slots == NULL)
        return false;
    threads->slots = slots;
    threads->slots_count = 2 * capacity;
    threads->capacity = capacity;
    index_rebuild(threads);
    return true;
}

static void begin_anew(struct thread *thread, uint32_t tid, uint32_t pid, int64_t mono)
{
    *thread = (struct thread){.tid = tid, .pid = pid, .since = mono};
}

static struct thread *add(struct kpi_threads *threads, uint32_t tid, uint32_t pid, int64_t mono)
{
    if (threads->count == threads->capacity && !table_grow(threads))
        return NULL;
    struct thread *thread = &threads->items[threads->count++];
    begin_anew(thread, tid, pid, mono);
    threads->slots[slot_of(threads, tid)] = threads->count;
    return thread;
}

/* --- life --- */

static bool starts_differ(int64_t a, int64_t b)
{
    return a != b && a != KP_ACTOR_START_UNKNOWN && b != KP_ACTOR_START_UNKNOWN;
}

/* The entry a TASK record is about, begun anew when it held another thread; NULL when the record is
 * an old one of a thread whose tid has another owner by now. */
static struct thread *task_entry(struct kpi_threads *threads, const struct kpi_task *task)
{
    struct thread *thread = find(threads, task->tid);
    if (thread == NULL)
        return add(threads, task->tid, task->pid, task->mono);
    bool other = starts_differ(thread->start, task->start) ||
                 (task->op == OP_FORK && thread->start != task->start);
    if (!other)
        return thread;
    if (task->mono < thread->since)
        return NULL;
    threads->dead -= thread->died != 0;
    begin_anew(thread, task->tid, task->pid, task->mono);
    return thread;
}

static void set_died(struct kpi_threads *threads, struct thread *thread,
                     const struct kpi_task *task)
{
    threads->dead -= thread->died != 0;
    if (task->op == OP_EXIT)
        thread->died = task->mono;
    else if (task->op == OP_EXEC || task->op == OP_FORK) /* exec takes over its leader's tid */
        thread->died = 0;
    threads->dead += thread->died != 0;
}

void kpi_threads_task(struct kpi_threads *threads, const struct kpi_task *task)
{
    struct thread *thread = task_entry(threads, task);
    if (thread == NULL)
        return;
    struct thread before = *thread;
    uint64_t bad = 0;
    kpi_utf8_repair(thread->comm, sizeof(thread->comm), task->comm.ptr, task->comm.len, &bad);
    thread->pid = task->pid;
    thread->start = task->start;
    thread->cgroup_v2 = task->cgroup_v2;
    thread->cgroup_v1 = task->cgroup_v1;
    thread->kthread = task->kthread;
    thread->known = true;
    set_died(threads, thread, task);
    if (!before.known || strcmp(before.comm, thread->comm) != 0 || before.pid != thread->pid ||
        before.start != thread->start || before.cgroup_v2 != thread->cgroup_v2 ||
        before.cgroup_v1 != thread->cgroup_v1)
        thread->actor = KP_ACTOR_UNKNOWN;
}

void kpi_threads_attach(struct kpi_threads *threads, uint32_t tid, bool v2, uint64_t cgroup)
{
    struct thread *thread = find(threads, tid);
    if (thread == NULL)
        return;
    if (v2)
        thread->cgroup_v2 = cgroup;
    else
        thread->cgroup_v1 = cgroup;
    thread->actor = KP_ACTOR_UNKNOWN;
}

void kpi_threads_sweep(struct kpi_threads *threads, int64_t mono)
{
    uint32_t kept = 0;
    if (threads->dead == 0)
        return;
    for (uint32_t i = 0; i < threads->count; i++) {
        const struct thread *thread = &threads->items[i];
        if (thread->died == 0 || thread->died > mono - KEEP_DEAD)
            threads->items[kept++] = *thread;
        else
            threads->dead--;
    }
    if (kept == threads->count)
        return;
    threads->count = kept;
    index_rebuild(threads);
}

/* --- actors --- */

static kp_actor_id intern(struct kpi_threads *threads, struct thread *thread)
{
    struct kp_actor actor = {
        .host = kp_str_from(kp_host_name()),
        .boot = kp_str_from(kpi_boot_id()),
        .tid = thread->tid,
        .pid = thread->pid,
        .start = thread->start,
        .comm = kp_str_from(thread->comm),
        .cgroup = thread->known
                      ? kpi_cgroups_path(threads->cgroups, thread->cgroup_v2, thread->cgroup_v1)
                      : KP_STR(""),
        .kthread = thread->kthread};
    return kp_store_actor(threads->store, &actor);
}

static kp_actor_id actor_of(struct kpi_threads *threads, struct thread *thread)
{
    uint32_t generation = kpi_cgroups_generation(threads->cgroups);
    if (thread->actor != KP_ACTOR_UNKNOWN && thread->generation == generation)
        return thread->actor;
    thread->actor = intern(threads, thread);
    thread->generation = generation;
    return thread->actor;
}

static void ask(struct kpi_threads *threads, struct thread *thread)
{
    if (thread->known || thread->asked || threads->pending_count == PENDING_MAX)
        return;
    threads->pending[threads->pending_count++] = thread->tid;
    thread->asked = true;
}

/* True when what the entry holds cannot be the thread that made a record at mono. */
static bool outdated(const struct thread *thread, uint32_t pid, int64_t mono)
{
    bool other_process = pid != 0 && thread->pid != 0 && thread->pid != pid;
    return other_process || (thread->died != 0 && mono > thread->died + KPI_THREAD_GRACE);
}

kp_actor_id kpi_threads_actor(struct kpi_threads *threads, uint32_t tid, uint32_t pid, int64_t mono)
{
    struct thread *thread = find(threads, tid);
    if (thread == NULL) {
        thread = add(threads, tid, pid, mono);
        if (thread == NULL)
            return KP_ACTOR_UNKNOWN;
    } else if (outdated(thread, pid, mono)) {
        struct thread stranger;
        begin_anew(&stranger, tid, pid, mono);
        if (mono < thread->since) /* a late record of a former owner of the tid */
            return intern(threads, &stranger);
        threads->dead -= thread->died != 0;
        *thread = stranger;
    }
    if (thread->pid == 0 && pid != 0) {
        thread->pid = pid;
        thread->actor = KP_ACTOR_UNKNOWN;
    }
    ask(threads, thread);
    return actor_of(threads, thread);
}

kp_actor_id kpi_threads_idle(struct kpi_threads *threads, uint32_t cpu)
{
    if (cpu >= IDLE_CPUS_MAX)
        return KP_ACTOR_UNKNOWN;
    if (threads->idle[cpu] == KP_ACTOR_UNKNOWN) {
        char comm[KPI_COMM_MAX];
        snprintf(comm, sizeof(comm), "swapper/%u", cpu);
        struct kp_actor actor = {.host = kp_str_from(kp_host_name()),
                                 .boot = kp_str_from(kpi_boot_id()),
                                 .comm = kp_str_from(comm),
                                 .cgroup = KP_STR("/"),
                                 .kthread = true};
        threads->idle[cpu] = kp_store_actor(threads->store, &actor);
    }
    return threads->idle[cpu];
}

uint32_t kpi_threads_pending(const struct kpi_threads *threads)
{
    return threads->pending_count;
}

uint32_t kpi_threads_count(const struct kpi_threads *threads)
{
    return threads->count;
}

/* --- /proc --- */

static void apply_proc(struct kpi_threads *threads, struct thread *thread,
                       const struct kpi_proc_thread *proc)
{
    memcpy(thread->comm, proc->comm, sizeof(thread->comm));
    thread->pid = proc->pid;
    thread->kthread = proc->kthread;
    thread->cgroup_v2 = kpi_cgroups_find(threads->cgroups, true, kp_str_from(proc->cgroup_v2));
    thread->cgroup_v1 = kpi_cgroups_find(threads->cgroups, false, kp_str_from(proc->cgroup_v1));
    thread->known = true;
    thread->actor = KP_ACTOR_UNKNOWN;
}

/* A thread that is gone, or whose tid has another owner by now, leaves the table in due time. */
static void heal_one(struct kpi_threads *threads, struct thread *thread,
                     const struct kpi_proc_thread *proc)
{
    if (proc != NULL && (thread->pid == 0 || thread->pid == proc->pid)) {
        apply_proc(threads, thread, proc);
    } else if (thread->died == 0) {
        thread->died = kp_time_monotonic();
        threads->dead++;
    }
}

void kpi_threads_heal(struct kpi_threads *threads)
{
    uint32_t tids[HEAL_MAX], count = 0;
    kpi_threads_lock(threads);
    while (count < HEAL_MAX && threads->pending_count > 0)
        tids[count++] = threads->pending[--threads->pending_count];
    kpi_threads_unlock(threads);
    for (uint32_t i = 0; i < count; i++) {
        struct kpi_proc_thread proc;
        bool there = kpi_proc_thread(tids[i], &proc);
        kpi_threads_lock(threads);
        struct thread *thread = find(threads, tids[i]);
        if (thread != NULL && !thread->known)
            heal_one(threads, thread, there ? &proc : NULL);
        kpi_threads_unlock(threads);
    }
}

/* --- spans --- */

void kpi_threads_publish(struct kpi_threads *threads, kpi_watch_fn watch, void *ctx)
{
    pthread_mutex_lock(&published_lock);
    published = threads;
    published_watch = watch;
    published_ctx = ctx;
    pthread_mutex_unlock(&published_lock);
}

void kpi_threads_watch(struct kp_store *store, uint32_t pid)
{
    pthread_mutex_lock(&published_lock);
    if (published != NULL && published->store == store && published_watch != NULL)
        published_watch(published_ctx, pid);
    pthread_mutex_unlock(&published_lock);
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * KP_SEC + now.tv_nsec;
}

static bool began_by(int64_t start, kp_time not_after)
{
    int64_t booted = kp_time_now() - clock_ns(CLOCK_BOOTTIME);
    return start == KP_ACTOR_START_UNKNOWN || booted + start <= not_after;
}

enum bind { BIND_YES, BIND_NO, BIND_UNKNOWN };

static enum bind bind_table(struct kpi_threads *threads, uint32_t tid, uint32_t pid,
                            kp_time not_after, kp_actor_id *out)
{
    struct thread *thread = find(threads, tid);
    if (thread == NULL || !thread->known)
        return BIND_UNKNOWN;
    if ((pid != 0 && thread->pid != pid) || !began_by(thread->start, not_after))
        return BIND_NO;
    *out = actor_of(threads, thread);
    return BIND_YES;
}

/* Adds a thread that only /proc knows, so that its kernel events get the same actor. */
static enum bind bind_proc(struct kpi_threads *threads, const struct kpi_proc_thread *proc,
                           kp_actor_id *out)
{
    struct thread *thread = find(threads, proc->tid);
    if (thread == NULL)
        thread = add(threads, proc->tid, proc->pid, kp_time_monotonic());
    if (thread == NULL)
        return BIND_NO;
    if (!thread->known)
        apply_proc(threads, thread, proc);
    *out = actor_of(threads, thread);
    return BIND_YES;
}

static kp_actor_id actor_of_proc(struct kp_store *store, const struct kpi_proc_thread *proc)
{
    struct kp_actor actor = {
        .host = kp_str_from(kp_host_name()),
        .boot = kp_str_from(kpi_boot_id()),
        .tid = proc->tid,
        .pid = proc->pid,
        .start = proc->start_ticks,
        .comm = kp_str_from(proc->comm),
        .cgroup = kpi_cgroup_choose(kp_str_from(proc->cgroup_v2), kp_str_from(proc->cgroup_v1)),
        .kthread = proc->kthread};
    return kp_store_actor(store, &actor);
}

bool kpi_threads_bind(struct kp_store *store, uint32_t tid, uint32_t pid, kp_time not_after,
                      kp_actor_id *out)
{
    struct kpi_proc_thread proc;
    enum bind bound = BIND_UNKNOWN;
    pthread_mutex_lock(&published_lock);
    struct kpi_threads *threads = published != NULL && published->store == store ? published : NULL;
    if (threads != NULL) {
        kpi_threads_lock(threads);
        bound = bind_table(threads, tid, pid, not_after, out);
        kpi_threads_unlock(threads);
    }
    if (bound == BIND_UNKNOWN && kpi_proc_thread(tid, &proc) && (pid == 0 || proc.pid == pid) &&
        began_by(proc.start_ticks, not_after)) {
        bound = BIND_YES;
        if (threads == NULL) {
            *out = actor_of_proc(store, &proc);
        } else {
            kpi_threads_lock(threads);
            bound = bind_proc(threads, &proc, out);
            kpi_threads_unlock(threads);
        }
    }
    pthread_mutex_unlock(&published_lock);
    return bound == BIND_YES;
}
