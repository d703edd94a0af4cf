/* SPDX-License-Identifier: Apache-2.0
 *
 * The source over BPF ring buffers; the only user of libbpf.
 *
 * Opening goes from the program table: which tracepoints this kernel has (by its BTF), which
 * programs serve a wanted kind, which the verifier takes. A program that is refused is switched off
 * and the rest is loaded again, so that one of them never takes the others down.
 */
#include "ingest/source.h"

#ifndef KP_NO_BPF

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/assert.h"
#include "column/catalogue.h"
#include "event.h"
#include "config.h"
#include "programs.def"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual" /* in generated code */
#include "capture.skel.h"
#pragma GCC diagnostic pop
#include "ingest/source_calls.h"
#include "ingest/source_drain.h"

#define RING_BYTES_DEFAULT (32u << 20)
#define RING_BYTES_MIN     4096u
#define CPUS_PER_RING      3 /* as a shift: 8 CPUs share one */
#define DRAIN_DEFAULT      (5 * KP_MS)
#define IRQ_WINDOW         (10 * KP_MS)
#define SCAN_RECORDS       128

#define BIT(ID) (1ull << KP_STREAM_##ID)

/* One BPF program, as bpf/programs.def describes it. */
struct program {
    const char *name, *tracepoint;
    uint32_t args_min, args_max;
    uint64_t needs, helps;
};

static const struct program PROGRAMS[] = {
#define PROGRAM(name, tracepoint, args_min, args_max, needs, helps) \
    {#name, #tracepoint, args_min, args_max, needs, helps},
    KP_PROGRAMS(PROGRAM)
#undef PROGRAM
};
#define PROGRAMS_COUNT KP_ARRAY_LEN(PROGRAMS)

struct kp_source {
    struct capture *skel;
    struct bpf_link *links[PROGRAMS_COUNT];
    struct bpf_link *scan_link;
    const char *unusable[PROGRAMS_COUNT]; /* why a program is not used; NULL = it is */
    char refusal[PROGRAMS_COUNT][64];
    struct kp_kind_state kinds[KP_SOURCE_KINDS_MAX];
    uint32_t kinds_count;
    uint64_t wanted;

    int ring_fds[KPI_RINGS_MAX];
    struct kpi_drain drain;
    bool stopped;
};

/* --- rights and probing --- */

static const struct {
    int number;
    const char *name;
} RIGHTS[] = {{CAP_BPF, "CAP_BPF"}, {CAP_PERFMON, "CAP_PERFMON"}};

static bool has_right(const struct __user_cap_data_struct *caps, int number)
{
    return caps[number / 32].effective & (1u << (number % 32));
}

static kp_status denied(struct kp_error *err, const char *what)
{
    kp_error_set(err, KP_DENIED, "recording the kernel is not allowed here: %s", what);
    kp_error_hint(err, "run it as root, or grant the rights once: "
                       "setcap cap_bpf,cap_perfmon,cap_sys_nice=ep PROGRAM");
    return KP_DENIED;
}

static kp_status check_rights(struct kp_error *err)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = {{0}};
    char missing[64] = "this process lacks";
    bool all = true;

    if (syscall(SYS_capget, &head, caps) != 0)
        return kp_error_os(err, KP_DENIED, errno, "cannot read the rights of this process");
    if (has_right(caps, CAP_SYS_ADMIN))
        return KP_OK;
    for (size_t i = 0; i < KP_ARRAY_LEN(RIGHTS); i++) {
        if (has_right(caps, RIGHTS[i].number))
            continue;
        snprintf(missing + strlen(missing), sizeof(missing) - strlen(missing), "%s %s",
                 all ? "" : " and", RIGHTS[i].name);
        all = false;
    }
    return all ? KP_OK : denied(err, missing);
}

/* Number of arguments of a tracepoint, or -1 when the kernel does not have it. */
static int tracepoint_args(const struct btf *btf, const char *tracepoint)
{
    char name[64];
    const struct btf_type *type;

    snprintf(name, sizeof(name), "btf_trace_%s", tracepoint);
    int id = btf__find_by_name_kind(btf, name, BTF_KIND_TYPEDEF);
    if (id < 0)
        return -1;
    type = btf__type_by_id(btf, btf__type_by_id(btf, (uint32_t)id)->type); /* pointer to ... */
    if (!type || !btf_is_ptr(type))
        return -1;
    type = btf__type_by_id(btf, type->type);
    return type && btf_is_func_proto(type) ? (int)btf_vlen(type) - 1 : -1; /* less the context */
}

static const char *probe(const struct btf *btf, const struct program *program)
{
    int args = tracepoint_args(btf, program->tracepoint);
    if (args < 0)
        return "tracepoint not in this kernel";
    if ((uint32_t)args < program->args_min)
        return "tracepoint has other arguments in this kernel";
    if (program->args_max != 0 && (uint32_t)args > program->args_max)
        return "tracepoint has other arguments in this kernel";
    return NULL;
}

static const char IDLE[] = "switched off";

/* A program that only serves kinds that cannot be had, or are not wanted, is not used. */
static void drop_idle_programs(struct kp_source *source)
{
    uint64_t possible = source->wanted;

    for (size_t i = 0; i < PROGRAMS_COUNT; i++) {
        if (source->unusable[i])
            possible &= ~PROGRAMS[i].needs;
    }
    for (size_t i = 0; i < PROGRAMS_COUNT; i++) {
        if (!source->unusable[i] && ((PROGRAMS[i].needs | PROGRAMS[i].helps) & possible) == 0)
            source->unusable[i] = IDLE;
    }
}

static kp_status probe_all(struct kp_source *source, struct kp_error *err)
{
    struct btf *btf = btf__load_vmlinux_btf();
    if (!btf) {
        kp_error_os(err, KP_UNSUPPORTED, errno, "this kernel does not describe its types (BTF)");
        kp_error_hint(err, "it needs CONFIG_DEBUG_INFO_BTF; Debian 12 and later have it");
        return KP_UNSUPPORTED;
    }
    for (size_t i = 0; i < PROGRAMS_COUNT; i++)
        source->unusable[i] = probe(btf, &PROGRAMS[i]);
    btf__free(btf);
    drop_idle_programs(source);
    return KP_OK;
}

/* --- loading --- */

/* The program libbpf complained about last: its messages are the only place where that stands. */
static _Thread_local char refused_program[64];

__attribute__((format(printf, 2, 0))) static int libbpf_message(enum libbpf_print_level level,
                                                                const char *fmt, va_list args)
{
    char text[256];

    if (level != LIBBPF_WARN)
        return 0;
    vsnprintf(text, sizeof(text), fmt, args);
    if (strstr(text, "BPF program load failed"))
        sscanf(text, "libbpf: prog '%63[^']'", refused_program);
    return 0;
}

static struct bpf_program *program_of(const struct kp_source *source, size_t index)
{
    return bpf_object__find_program_by_name(source->skel->obj, PROGRAMS[index].name);
}

static uint64_t or_default(kp_dur given, kp_dur otherwise)
{
    return (uint64_t)(given < 0 ? otherwise : given);
}

static kp_status configure(struct kp_source *source, const struct kp_recorder_opts *opts)
{
    struct capture *skel = source->skel;
    bool ok;

    skel->rodata->config = (struct kp_config){
        .kinds = source->wanted,
        .syscall_min = or_default(opts->syscall_min, KP_SYSCALL_MIN_DEFAULT),
        .lock_min = or_default(opts->lock_min, KP_LOCK_MIN_DEFAULT),
        .irq_min = or_default(opts->irq_min, KP_IRQ_MIN_DEFAULT),
        .irq_window = IRQ_WINDOW,
        .shard_shift = CPUS_PER_RING,
    };
    kpi_calls_fill(skel->rodata->config.calls, KP_CALLS_MAX);
    for (size_t i = 0; i < PROGRAMS_COUNT; i++)
        bpf_program__set_autoload(program_of(source, i), source->unusable[i] == NULL);
    ok = bpf_map__set_max_entries(skel->maps.rings, source->drain.rings_count) == 0 &&
         bpf_map__set_max_entries(skel->maps.cpus, source->drain.cpus_count) == 0;
    return ok ? KP_OK : KP_UNSUPPORTED;
}

/* Marks the program libbpf could not load; false when it named none. */
static bool blame_program(struct kp_source *source, int os_errno)
{
    for (size_t i = 0; i < PROGRAMS_COUNT; i++) {
        if (source->unusable[i] || strcmp(refused_program, PROGRAMS[i].name) != 0)
            continue;
        snprintf(source->refusal[i], sizeof(source->refusal[i]), "program refused: %s",
                 strerror(os_errno));
        source->unusable[i] = source->refusal[i];
        return true;
    }
    return false;
}

static kp_status load(struct kp_source *source, const struct kp_recorder_opts *opts,
                      struct kp_error *err)
{
    for (size_t attempt = 0; attempt <= PROGRAMS_COUNT; attempt++) {
        source->skel = capture__open();
        if (!source->skel || configure(source, opts) != KP_OK)
            return kp_error_os(err, KP_UNSUPPORTED, errno, "cannot open the capture programs");
        refused_program[0] = '\0';
        int failed = -capture__load(source->skel);
        if (failed == 0)
            return KP_OK;
        capture__destroy(source->skel);
        source->skel = NULL;
        if (!blame_program(source, failed)) {
            if (failed == EPERM || failed == EACCES)
                return denied(err,
                              "the kernel refused to load BPF programs (a container's profile, "
                              "or kernel lockdown)");
            return kp_error_os(err, KP_UNSUPPORTED, failed, "cannot load the capture programs");
        }
        drop_idle_programs(source);
    }
    return kp_error_set(err, KP_UNSUPPORTED, "this kernel refuses every capture program");
}

/* --- maps --- */

static kp_status ring_open(struct kpi_ring *out, int fd, size_t size_bytes, struct kp_error *err)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    void *producer = mmap(NULL, page + 2 * size_bytes, PROT_READ, MAP_SHARED, fd, (off_t)page);

    if (consumer == MAP_FAILED || producer == MAP_FAILED)
        return kp_error_os(err, KP_NO_MEMORY, errno, "cannot map a ring buffer of %zu bytes",
                           size_bytes);
    *out = (struct kpi_ring){
        .consumer = consumer,
        .producer = producer,
        .frames = (const uint8_t *)producer + page,
        .size_bytes = size_bytes,
    };
    return KP_OK;
}

static void ring_close(struct kpi_ring *ring)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    if (!ring->size_bytes)
        return;
    munmap(ring->consumer, page);
    munmap((void *)(uintptr_t)ring->producer, page + 2 * ring->size_bytes);
}

/* The largest power of two not above n, at least RING_BYTES_MIN. */
static uint32_t ring_size(uint32_t n)
{
    uint32_t size = RING_BYTES_MIN;

    while (size <= n / 2)
        size *= 2;
    return size;
}

static kp_status map_rings(struct kp_source *source, uint32_t total_bytes, struct kp_error *err)
{
    int outer = bpf_map__fd(source->skel->maps.rings);
    uint32_t size = ring_size(total_bytes / source->drain.rings_count);

    for (uint32_t i = 0; i < source->drain.rings_count; i++) {
        int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "kp_ring", 0, 0, size, NULL);
        if (fd < 0 || bpf_map_update_elem(outer, &i, &fd, BPF_ANY) != 0)
            return kp_error_os(err, KP_UNSUPPORTED, errno, "cannot make a ring buffer of %u bytes",
                               size);
        source->ring_fds[i] = fd;
        kp_status status = ring_open(&source->drain.rings[i], fd, size, err);
        if (status != KP_OK)
            return status;
    }
    return KP_OK;
}

static size_t cpus_bytes(const struct kp_source *source)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (source->drain.cpus_count * sizeof(struct kp_cpu) + page - 1) & ~(page - 1);
}

static kp_status map_cpus(struct kp_source *source, struct kp_error *err)
{
    void *cpus = mmap(NULL, cpus_bytes(source), PROT_READ, MAP_SHARED,
                      bpf_map__fd(source->skel->maps.cpus), 0);
    if (cpus == MAP_FAILED)
        return kp_error_os(err, KP_UNSUPPORTED, errno, "cannot map the programs' state");
    source->drain.cpus = cpus;
    return KP_OK;
}

/* --- attaching --- */

static void unlink_program(struct kp_source *source, size_t index)
{
    bpf_link__destroy(source->links[index]);
    source->links[index] = NULL;
}

static void attach(struct kp_source *source)
{
    for (size_t i = 0; i < PROGRAMS_COUNT; i++) {
        if (source->unusable[i])
            continue;
        source->links[i] = bpf_program__attach(program_of(source, i));
        if (source->links[i])
            continue;
        snprintf(source->refusal[i], sizeof(source->refusal[i]), "attach refused: %s",
                 strerror(errno));
        source->unusable[i] = source->refusal[i];
    }
    drop_idle_programs(source);
    for (size_t i = 0; i < PROGRAMS_COUNT; i++) {
        if (source->unusable[i])
            unlink_program(source, i);
    }
}

/* First program that serves the kind, used or refused as asked; NULL when there is none. */
static const struct program *find_program(const struct kp_source *source, uint64_t kind,
                                          bool needed, bool used, const char **out_why)
{
    for (size_t i = 0; i < PROGRAMS_COUNT; i++) {
        uint64_t serves = needed ? PROGRAMS[i].needs : PROGRAMS[i].helps;
        if (!(serves & kind) || (source->unusable[i] == NULL) != used ||
            source->unusable[i] == IDLE)
            continue;
        *out_why = source->unusable[i];
        return &PROGRAMS[i];
    }
    return NULL;
}

/* A kind is on when nothing it needs was refused, and at least one program is there. */
static void kind_state(const struct kp_source *source, struct kp_kind_state *out)
{
    uint64_t kind = 1ull << out->stream->number;
    const char *why = NULL;
    const struct program *refused = find_program(source, kind, true, false, &why), *used = NULL;

    if (!refused) {
        used = find_program(source, kind, true, true, &why);
        if (!used)
            used = find_program(source, kind, false, true, &why);
        if (!used)
            refused = find_program(source, kind, false, false, &why);
    }
    out->on = used != NULL;
    if (used)
        snprintf(out->why, sizeof(out->why), "tp_btf/%s", used->tracepoint);
    else
        snprintf(out->why, sizeof(out->why), "%s: %s", refused ? refused->tracepoint : "programs",
                 why ? why : "none");
}

/* Streams of the kernel that user space fills have no column on the wire. */
static bool from_programs(const struct kp_stream *stream)
{
    return stream->number < KP_SOURCE_KINDS_MAX && stream->stored[KP_COL_FIRST].wire_size != 0;
}

static void tell_kinds(struct kp_source *source)
{
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);

    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = streams[i].number;
        if (!from_programs(&streams[i]))
            continue;
        struct kp_kind_state *state = &source->kinds[source->kinds_count++];
        state->stream = &streams[i];
        if (source->wanted & (1ull << number))
            kind_state(source, state);
        else
            snprintf(state->why, sizeof(state->why), "switched off");
    }
}

static void detach(struct kp_source *source)
{
    for (size_t i = 0; i < PROGRAMS_COUNT; i++)
        unlink_program(source, i);
}

/* --- the task scan --- */

static kp_status scan_error(struct kp_error *err, int os_errno)
{
    return kp_error_os(err, kp_status_from_errno(os_errno), os_errno, "cannot list the threads");
}

/* Reads the iterator's file, which gives whole records. Without a sink one read is enough. */
static kp_status scan_read(int fd, kp_source_sink sink, void *ctx, struct kp_error *err)
{
    struct kp_record_TASK buffer[SCAN_RECORDS];
    ssize_t got;

    while ((got = read(fd, buffer, sizeof(buffer))) > 0) {
        for (size_t i = 0; sink && i < (size_t)got / sizeof(buffer[0]); i++)
            sink(ctx, &buffer[i], sizeof(buffer[i]));
        if (!sink)
            return KP_OK;
    }
    return got == 0 ? KP_OK : scan_error(err, errno);
}

kp_status kp_source_scan(struct kp_source *source, kp_source_sink sink, void *ctx,
                         struct kp_error *err)
{
    int fd = bpf_iter_create(bpf_link__fd(source->scan_link));
    if (fd < 0)
        return scan_error(err, errno);
    kp_status status = scan_read(fd, sink, ctx, err);
    close(fd);
    return status;
}

/* The programs learn from a first scan under which pid the kernel knows us. */
static kp_status scan_open(struct kp_source *source, struct kp_error *err)
{
    source->scan_link = bpf_program__attach_iter(source->skel->progs.kp_scan, NULL);
    if (!source->scan_link)
        return scan_error(err, errno);
    return kp_source_scan(source, NULL, NULL, err);
}

/* --- public --- */

static uint64_t default_kinds(void)
{
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    uint64_t kinds = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (streams[i].number < KP_SOURCE_KINDS_MAX && streams[i].on_by_default)
            kinds |= 1ull << streams[i].number;
    }
    return kinds;
}

static kp_status open_all(struct kp_source *source, const struct kp_recorder_opts *opts,
                          struct kp_error *err)
{
    uint32_t ring_bytes = opts->ring_bytes ? opts->ring_bytes : RING_BYTES_DEFAULT;
    kp_status status = check_rights(err);

    if (status == KP_OK)
        status = probe_all(source, err);
    if (status == KP_OK)
        status = load(source, opts, err);
    if (status == KP_OK)
        status = map_rings(source, ring_bytes, err);
    if (status == KP_OK)
        status = map_cpus(source, err);
    if (status == KP_OK)
        status = scan_open(source, err);
    if (status == KP_OK)
        status = kpi_drain_start(&source->drain, ring_size(ring_bytes), err);
    if (status != KP_OK)
        return status;
    attach(source);
    tell_kinds(source);
    return KP_OK;
}

static kp_status init(struct kp_source *source, const struct kp_recorder_opts *opts,
                      struct kp_error *err)
{
    int cpus = libbpf_num_possible_cpus();
    struct kpi_drain *drain = &source->drain;

    if (cpus <= 0)
        return kp_error_os(err, KP_UNSUPPORTED, -cpus, "cannot count the CPUs");
    pthread_mutex_init(&drain->lock, NULL);
    drain->cpus_count = (uint32_t)cpus;
    drain->rings_count = ((uint32_t)cpus - 1) / (1u << CPUS_PER_RING) + 1;
    drain->realtime = !opts->no_realtime;
    drain->every = opts->drain_every > 0 ? opts->drain_every : DRAIN_DEFAULT;
    source->wanted = opts->kinds ? opts->kinds : default_kinds();
    if (drain->rings_count > KPI_RINGS_MAX)
        return kp_error_set(err, KP_LIMIT, "at most %d CPUs can be recorded",
                            KPI_RINGS_MAX << CPUS_PER_RING);
    drain->wakeup = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (drain->wakeup < 0)
        return kp_error_os(err, KP_NO_MEMORY, errno, "cannot make an event file");
    return KP_OK;
}

kp_status kp_source_open(const struct kp_recorder_opts *opts, struct kp_source **out,
                         struct kp_error *err)
{
    struct kp_source *source = calloc(1, sizeof(*source));

    if (!source)
        return kp_error_set(err, KP_NO_MEMORY, "no memory to record the kernel");
    source->drain.wakeup = -1;
    libbpf_set_print(libbpf_message);
    kp_status status = init(source, opts, err);
    if (status == KP_OK)
        status = open_all(source, opts, err);
    if (status != KP_OK) {
        kp_source_close(source);
        return status;
    }
    *out = source;
    return KP_OK;
}

static void wait_for_records(struct kpi_drain *drain, kp_dur timeout)
{
    struct pollfd pfd = {.fd = drain->wakeup, .events = POLLIN};
    struct timespec ts = {.tv_sec = timeout / KP_SEC, .tv_nsec = timeout % KP_SEC};
    uint64_t count;

    if (ppoll(&pfd, 1, &ts, NULL) > 0) {
        ssize_t got = read(drain->wakeup, &count, sizeof(count));
        (void)got; /* only resets the counter */
    }
}

kp_status kp_source_take(struct kp_source *source, kp_dur timeout, struct kp_source_span *out)
{
    struct kpi_drain *drain = &source->drain;
    bool ended = __atomic_load_n(&drain->ended, __ATOMIC_ACQUIRE);

    if (!ended && __atomic_load_n(&drain->queue.written, __ATOMIC_ACQUIRE) == drain->seen) {
        wait_for_records(drain, timeout);
        ended = __atomic_load_n(&drain->ended, __ATOMIC_ACQUIRE);
    }
    /* complete before the bytes: it must not cover records put after they were counted */
    out->complete = __atomic_load_n(&drain->complete, __ATOMIC_ACQUIRE);
    out->size_bytes = kpi_queue_peek(&drain->queue, &out->bytes);
    drain->seen = drain->queue.released + out->size_bytes;
    return ended && out->size_bytes == 0 ? KP_END : KP_OK;
}

void kp_source_release(struct kp_source *source, size_t size_bytes)
{
    kpi_queue_release(&source->drain.queue, size_bytes);
}

kp_status kp_source_bind(struct kp_source *source, uint32_t pid, bool bound)
{
    int map = bpf_map__fd(source->skel->maps.bound);
    uint8_t one = 1;
    int failed =
        bound ? bpf_map_update_elem(map, &pid, &one, BPF_NOEXIST) : bpf_map_delete_elem(map, &pid);

    if (failed != 0)
        return errno == EEXIST || errno == ENOENT ? KP_OK : KP_LIMIT;
    __atomic_fetch_add(&source->skel->bss->bound_count, bound ? 1 : -1, __ATOMIC_RELAXED);
    return KP_OK;
}

uint32_t kp_source_lost(struct kp_source *source, struct kp_source_loss *out, uint32_t out_max)
{
    for (uint32_t i = 0; i < KP_MIN(out_max, source->drain.cpus_count); i++) {
        const struct kp_cpu *cpu = &source->drain.cpus[i];
        out[i] = (struct kp_source_loss){
            .records = __atomic_load_n(&cpu->lost, __ATOMIC_RELAXED),
            .joins = __atomic_load_n(&cpu->joins, __ATOMIC_RELAXED),
            .syscalls_short = __atomic_load_n(&cpu->syscalls_short, __ATOMIC_RELAXED),
        };
        for (size_t kind = 0; kind < KP_SOURCE_KINDS_MAX; kind++)
            out[i].by_kind[kind] = __atomic_load_n(&cpu->by_kind[kind], __ATOMIC_RELAXED);
    }
    return source->drain.cpus_count;
}

uint32_t kp_source_kinds(struct kp_source *source, const struct kp_kind_state **out)
{
    *out = source->kinds;
    return source->kinds_count;
}

/* Runs of programs that the kernel skipped because the program was running on that CPU already. */
static uint64_t missed_runs(const struct kp_source *source)
{
    uint64_t missed = 0;

    for (size_t i = 0; i < PROGRAMS_COUNT; i++) {
        struct bpf_prog_info info = {0};
        uint32_t size = sizeof(info);
        if (source->unusable[i])
            continue;
        if (bpf_obj_get_info_by_fd(bpf_program__fd(program_of(source, i)), &info, &size) == 0)
            missed += info.recursion_misses;
    }
    return missed;
}

void kp_source_stat(struct kp_source *source, struct kp_source_stat *out)
{
    pthread_mutex_lock(&source->drain.lock);
    *out = source->drain.stat;
    pthread_mutex_unlock(&source->drain.lock);
    for (uint32_t i = 0; i < source->drain.cpus_count; i++) {
        const struct kp_cpu *cpu = &source->drain.cpus[i];
        out->lost += __atomic_load_n(&cpu->lost, __ATOMIC_RELAXED);
        out->joins_lost += __atomic_load_n(&cpu->joins, __ATOMIC_RELAXED);
        out->syscalls_short += __atomic_load_n(&cpu->syscalls_short, __ATOMIC_RELAXED);
    }
    out->missed = missed_runs(source);
}

void kp_source_stop(struct kp_source *source)
{
    if (source->stopped)
        return;
    source->stopped = true;
    detach(source);
    kpi_drain_stop(&source->drain);
}

void kp_source_close(struct kp_source *source)
{
    if (!source)
        return;
    kp_source_stop(source);
    kpi_drain_deinit(&source->drain);
    bpf_link__destroy(source->scan_link);
    if (source->drain.cpus)
        munmap((void *)(uintptr_t)source->drain.cpus, cpus_bytes(source));
    for (uint32_t i = 0; i < KPI_RINGS_MAX; i++) {
        ring_close(&source->drain.rings[i]);
        if (source->ring_fds[i] > 0)
            close(source->ring_fds[i]);
    }
    if (source->skel)
        capture__destroy(source->skel);
    if (source->drain.wakeup >= 0)
        close(source->drain.wakeup);
    pthread_mutex_destroy(&source->drain.lock);
    free(source);
}

#endif
