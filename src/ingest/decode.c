/* SPDX-License-Identifier: Apache-2.0
 *
 * A plan is a list of steps (how, from which byte, into which column). Every stored column of a
 * kernel stream is on the wire, so a row needs no clearing before it is filled; streams with
 * columns that user space must fill are not accepted from the kernel at all.
 */
#include "ingest/decode.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "bpf/event.h"
#include "ingest/chain.h"
#include "ingest/proc.h"

#define CPUS_MAX 4096
#define MONO_MAX (INT64_MAX / 2) /* room for the offset to UTC */

enum step_op {
    STEP_U8,
    STEP_U16,
    STEP_U32,
    STEP_U64,
    STEP_S16,
    STEP_S32,
    STEP_CHARS,
    STEP_ADDR,
    STEP_ACTOR,
    STEP_ACTOR_OR_IDLE, /* tid 0 is the idle thread of the record's CPU */
};

struct step {
    uint8_t op;
    uint8_t column;
    uint16_t offset;
    uint16_t size;
};

struct plan {
    uint16_t record_size; /* 0 = no such stream */
    uint16_t family_at;   /* offset of ip_family, for ADDR */
    uint8_t steps_count;
    struct step steps[KP_STORED_MAX];
};

struct cpu_loss {
    bool seen;
    uint32_t lost; /* running count of the last record */
    int64_t mono;  /* of the last record */
    struct kpi_chain chain;
};

struct kpi_decoder {
    struct kpi_decoder_opts opts;
    struct plan plans[KPI_KERNEL_STREAMS];
    struct kp_builder *builders[KPI_KERNEL_STREAMS];
    struct cpu_loss cpus[CPUS_MAX];
    uint64_t repaired;
};

enum { TASK_OP_SCAN = 0, TASK_OP_EXEC = 2 };
enum { CGROUP_OP_RMDIR = 2, CGROUP_OP_ATTACH = 4 };

static void plan_stream(const struct kp_stream *stream, struct plan *plan);
static void note_loss(struct kpi_decoder *decoder, const struct kp_record *head);
static void note_hidden(struct kpi_decoder *decoder, const struct kp_record *head,
                        const uint8_t *record);
static void learn_before(struct kpi_decoder *decoder, const struct kp_record *head,
                         const uint8_t *record);
static void learn_after(struct kpi_decoder *decoder, const struct kp_record *head,
                        const uint8_t *record);

kp_status kpi_decoder_init(const struct kpi_decoder_opts *opts, struct kpi_decoder **out)
{
    struct kpi_decoder *decoder = calloc(1, sizeof(*decoder));
    if (decoder == NULL)
        return KP_NO_MEMORY;
    decoder->opts = *opts;
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    for (uint32_t i = 0; i < count; i++)
        if (streams[i].record_size != 0 && streams[i].number < KPI_KERNEL_STREAMS)
            plan_stream(&streams[i], &decoder->plans[streams[i].number]);
    *out = decoder;
    return KP_OK;
}

void kpi_decoder_deinit(struct kpi_decoder *decoder)
{
    if (decoder == NULL)
        return;
    for (uint32_t i = 0; i < KPI_KERNEL_STREAMS; i++) {
        if (decoder->builders[i] != NULL)
            kp_builder_deinit(decoder->builders[i]);
        free(decoder->builders[i]);
    }
    free(decoder);
}

/* --- plans --- */

static enum step_op step_op(const struct kp_stream *stream, const struct kp_stored_column *column)
{
    if (column->type == KP_TYPE_ACTOR)
        return stream->number == KP_STREAM_SCHED_SWITCH ? STEP_ACTOR_OR_IDLE : STEP_ACTOR;
    if (column->wire_addr)
        return STEP_ADDR;
    if (kp_type_phys(column->type) == KP_PHYS_STR)
        return STEP_CHARS;
    switch (column->wire_size) {
    case 1:
        return STEP_U8;
    case 2:
        return column->wire_signed ? STEP_S16 : STEP_U16;
    case 4:
        return column->wire_signed ? STEP_S32 : STEP_U32;
    default:
        kp_assert(column->wire_size == 8);
        return STEP_U64;
    }
}

static void plan_stream(const struct kp_stream *stream, struct plan *plan)
{
    for (uint32_t i = KP_COL_FIRST; i < stream->stored_count; i++) {
        const struct kp_stored_column *column = &stream->stored[i];
        if (column->wire_size == 0)
            return; /* a stream of user space with a few wire columns: not from the kernel */
        plan->steps[plan->steps_count++] = (struct step){.op = (uint8_t)step_op(stream, column),
                                                         .column = (uint8_t)i,
                                                         .offset = column->wire_offset,
                                                         .size = column->wire_size};
        if (strcmp(column->name, "ip_family") == 0)
            plan->family_at = column->wire_offset;
    }
    plan->record_size = stream->record_size;
}

/* --- fields --- */

static kp_status put_chars(struct kpi_decoder *decoder, struct kp_builder *builder,
                           const struct step *step, const uint8_t *record)
{
    char repaired[3 * 256 + 1];
    const char *text = (const char *)record + step->offset;
    uint32_t len = (uint32_t)strnlen(text, step->size);
    uint64_t bits = 0;
    for (uint32_t i = 0; i < len; i++)
        bits |= (uint8_t)text[i];
    if (bits >= 0x80) {
        len = kpi_utf8_repair(repaired, sizeof(repaired), text, len, &decoder->repaired);
        text = repaired;
    }
    return kp_builder_str(builder, step->column, (struct kp_str){text, len});
}

/* IPv4 stands in the first four bytes; a family that is neither has no text. */
static kp_status put_addr(struct kp_builder *builder, const struct plan *plan,
                          const struct step *step, const uint8_t *record)
{
    char text[INET6_ADDRSTRLEN];
    int family = plan->family_at != 0 ? kp_load_u16(record + plan->family_at) : AF_INET6;
    if (inet_ntop(family, record + step->offset, text, sizeof(text)) == NULL)
        text[0] = '\0';
    return kp_builder_str(builder, step->column, kp_str_from(text));
}

static kp_actor_id actor_of(struct kpi_decoder *decoder, const struct kp_record *head, uint32_t tid,
                            bool idle_is_zero)
{
    if (tid != 0)
        return kpi_threads_actor(decoder->opts.threads, tid, 0, (int64_t)head->mono);
    return idle_is_zero ? kpi_threads_idle(decoder->opts.threads, head->cpu) : KP_ACTOR_UNKNOWN;
}

static kp_status put_step(struct kpi_decoder *decoder, struct kp_builder *builder,
                          const struct plan *plan, const struct step *step, const uint8_t *record)
{
    const uint8_t *at = record + step->offset;
    int64_t value;
    switch ((enum step_op)step->op) {
    case STEP_U8:
        value = *at;
        break;
    case STEP_U16:
        value = kp_load_u16(at);
        break;
    case STEP_U32:
        value = kp_load_u32(at);
        break;
    case STEP_U64:
        value = (int64_t)kp_load_u64(at);
        break;
    case STEP_S16:
        value = (int16_t)kp_load_u16(at);
        break;
    case STEP_S32:
        value = (int32_t)kp_load_u32(at);
        break;
    case STEP_CHARS:
        return put_chars(decoder, builder, step, record);
    case STEP_ADDR:
        return put_addr(builder, plan, step, record);
    default: {
        struct kp_record head;
        memcpy(&head, record, sizeof(head));
        value = actor_of(decoder, &head, kp_load_u32(at), step->op == STEP_ACTOR_OR_IDLE);
    }
    }
    kp_builder_i64(builder, step->column, value);
    return KP_OK;
}

/* --- records --- */

static const char *check(const struct kpi_decoder *decoder, const void *record, size_t size_bytes,
                         struct kp_record *out_head)
{
    if (size_bytes < sizeof(*out_head))
        return "record shorter than its header";
    memcpy(out_head, record, sizeof(*out_head));
    if (out_head->version != KP_RECORD_VERSION)
        return "record of another version";
    if (out_head->kind >= KPI_KERNEL_STREAMS || decoder->plans[out_head->kind].record_size == 0)
        return "record of an unknown kind";
    if (size_bytes != decoder->plans[out_head->kind].record_size)
        return "record of a wrong size";
    if (out_head->cpu >= CPUS_MAX)
        return "record of a CPU out of range";
    if (out_head->mono > MONO_MAX)
        return "record with an impossible stamp";
    return NULL;
}

static struct kp_builder *builder_of(struct kpi_decoder *decoder, uint32_t kind)
{
    if (decoder->builders[kind] != NULL)
        return decoder->builders[kind];
    struct kp_builder *builder = malloc(sizeof(*builder));
    if (builder == NULL)
        return NULL;
    if (kp_builder_init(builder, kp_stream_by_number(kind), kp_store_actors(decoder->opts.store),
                        decoder->opts.rows_max) != KP_OK) {
        free(builder);
        return NULL;
    }
    decoder->builders[kind] = builder;
    return builder;
}

/* kp_builder_row without its clearing: the plan sets every column. */
static void begin_row(struct kp_builder *builder, kp_time ts, uint64_t seq, uint32_t cpu,
                      kp_actor_id actor)
{
    kp_assert(!kp_builder_full(builder) && builder->viewed == 0);
    builder->batch.rows++;
    kp_builder_i64(builder, KP_COL_TS, ts);
    kp_builder_i64(builder, KP_COL_SEQ, (int64_t)seq);
    kp_builder_i64(builder, KP_COL_CPU, cpu);
    kp_builder_i64(builder, KP_COL_ACTOR, actor);
}

static kp_status fill_row(struct kpi_decoder *decoder, struct kp_builder *builder,
                          const struct kp_record *head, const uint8_t *record)
{
    const struct plan *plan = &decoder->plans[head->kind];
    kp_actor_id actor = head->tid == 0 ? kpi_threads_idle(decoder->opts.threads, head->cpu)
                                       : kpi_threads_actor(decoder->opts.threads, head->tid,
                                                           head->tgid, (int64_t)head->mono);
    begin_row(builder, (int64_t)head->mono + decoder->opts.offset,
              kp_store_seq(decoder->opts.store, 1), head->cpu, actor);
    kp_status status = KP_OK;
    for (uint32_t i = 0; i < plan->steps_count; i++) {
        kp_status step = put_step(decoder, builder, plan, &plan->steps[i], record);
        if (step != KP_OK)
            status = step;
    }
    if (status != KP_OK)
        builder->batch.rows--;
    return status;
}

/* Records of the start scan come from no CPU and carry no count. */
static bool is_scan(const struct kp_record *head, const uint8_t *record)
{
    return head->kind == KP_STREAM_TASK &&
           record[offsetof(struct kp_record_TASK, op)] == TASK_OP_SCAN;
}

kp_status kpi_decoder_add(struct kpi_decoder *decoder, const void *record, size_t size_bytes,
                          uint32_t *out_stream, const char **out_why)
{
    struct kp_record head;
    const char *why = check(decoder, record, size_bytes, &head);
    if (why != NULL) {
        *out_why = why;
        return KP_INVALID;
    }
    struct kp_builder *builder = builder_of(decoder, head.kind);
    if (builder == NULL)
        return KP_NO_MEMORY;
    if (!is_scan(&head, record)) {
        note_loss(decoder, &head);
        note_hidden(decoder, &head, record);
    }
    learn_before(decoder, &head, record);
    kp_status status = fill_row(decoder, builder, &head, record);
    learn_after(decoder, &head, record);
    *out_stream = head.kind;
    return status;
}

struct kp_builder *kpi_decoder_builder(struct kpi_decoder *decoder, uint32_t stream)
{
    return stream < KPI_KERNEL_STREAMS ? decoder->builders[stream] : NULL;
}

uint64_t kpi_decoder_repaired(const struct kpi_decoder *decoder)
{
    return decoder->repaired;
}

/* --- losses --- */

static void report_loss(struct kpi_decoder *decoder, uint32_t cpu, uint32_t lost, int64_t mono)
{
    struct cpu_loss *last = &decoder->cpus[cpu];
    int32_t more = (int32_t)(lost - last->lost);
    if (more > 0) {
        struct kpi_gap gap = {.from = last->seen ? last->mono : decoder->opts.begin,
                              .to = mono,
                              .count = more,
                              .cpu = cpu,
                              .reason = KPI_GAP_RING_FULL,
                              .stream = "",
                              .detail = ""};
        decoder->opts.gap(decoder->opts.ctx, &gap);
        last->lost = lost;
        kpi_chain_break(&last->chain);
    }
    /* a smaller count: a nested record that overtook this one; the larger one stands */
    last->seen = true;
    last->mono = mono;
}

static void note_loss(struct kpi_decoder *decoder, const struct kp_record *head)
{
    struct cpu_loss *last = &decoder->cpus[head->cpu];
    if (head->lost != last->lost || !last->seen) {
        report_loss(decoder, head->cpu, head->lost, (int64_t)head->mono);
        return;
    }
    last->mono = (int64_t)head->mono;
}

static void report_hidden(struct kpi_decoder *decoder, const struct kp_record *head, int64_t from)
{
    struct kpi_gap gap = {.from = from,
                          .to = (int64_t)head->mono,
                          .count = -1,
                          .cpu = head->cpu,
                          .reason = KPI_GAP_HIDDEN,
                          .stream = "",
                          .detail = "the CPU ran a thread that was not seen coming"};
    decoder->opts.gap(decoder->opts.ctx, &gap);
}

/* Only switches (the thread that leaves), wakeups and system calls are made by the running thread
 * itself: sums of interrupts and joined records may name somebody else. */
static void note_hidden(struct kpi_decoder *decoder, const struct kp_record *head,
                        const uint8_t *record)
{
    struct kpi_chain *chain = &decoder->cpus[head->cpu].chain;
    int64_t from;
    switch (head->kind) {
    case KP_STREAM_TASK:
        if (record[offsetof(struct kp_record_TASK, op)] == TASK_OP_EXEC)
            kpi_chain_rename(chain, head->tid);
        return;
    case KP_STREAM_SCHED_SWITCH:
    case KP_STREAM_SCHED_WAKING:
    case KP_STREAM_SYSCALL:
        if (kpi_chain_ran(chain, head->tid, (int64_t)head->mono, &from))
            report_hidden(decoder, head, from);
    }
    if (head->kind == KP_STREAM_SCHED_SWITCH)
        kpi_chain_switch(chain,
                         kp_load_u32(record + offsetof(struct kp_record_SCHED_SWITCH, next)));
}

void kpi_decoder_lost(struct kpi_decoder *decoder, uint32_t cpu, uint32_t lost, int64_t mono)
{
    if (cpu < CPUS_MAX)
        report_loss(decoder, cpu, lost, mono);
}

/* --- reading without decoding --- */

bool kpi_record_stamp(const void *record, size_t size_bytes, int64_t *out_mono, uint32_t *out_cpu)
{
    struct kp_record head;
    if (size_bytes < sizeof(head))
        return false;
    memcpy(&head, record, sizeof(head));
    if (head.mono > MONO_MAX)
        return false;
    *out_mono = (int64_t)head.mono;
    *out_cpu = head.cpu;
    return true;
}

bool kpi_task_read(const void *record, size_t size_bytes, struct kpi_task *out)
{
    struct kp_record_TASK task;
    if (size_bytes != sizeof(task))
        return false;
    memcpy(&task, record, sizeof(task));
    if (task.head.kind != KP_STREAM_TASK || task.head.version != KP_RECORD_VERSION ||
        task.head.tid == 0)
        return false;
    const char *name = (const char *)record + offsetof(struct kp_record_TASK, name);
    *out = (struct kpi_task){.mono = (int64_t)task.head.mono,
                             .tid = task.head.tid,
                             .pid = task.head.tgid,
                             .start = (int64_t)task.start_boot,
                             .cgroup_v2 = task.cgroup_v2,
                             .cgroup_v1 = task.cgroup_v1,
                             .op = task.op,
                             .kthread = task.kthread != 0,
                             .comm = {name, (uint32_t)strnlen(name, sizeof(task.name))}};
    return true;
}

/* --- what records teach about threads and cgroups --- */

static void learn_cgroup(struct kpi_decoder *decoder, const struct kp_record_CGROUP *record)
{
    char text[3 * sizeof(record->path) + 1];
    uint64_t bad = 0;
    uint32_t len = (uint32_t)strnlen(record->path, sizeof(record->path));
    len = kpi_utf8_repair(text, sizeof(text), record->path, len, &bad);
    struct kpi_cgroup cgroup = {.id = record->id,
                                .hierarchy = record->hierarchy,
                                .level = record->level,
                                .controllers = record->controllers,
                                .path = len == 0 ? KP_STR("/") : (struct kp_str){text, len}};
    /* without memory the path stays unknown and shows as "/" */
    kp_status status = kpi_cgroups_set(decoder->opts.cgroups, &cgroup);
    (void)status;
    if (record->op != CGROUP_OP_ATTACH || record->head.tid == 0)
        return;
    bool v2 = record->hierarchy == 0;
    if (v2 || (record->controllers & KPI_CONTROLLER_CPU))
        kpi_threads_attach(decoder->opts.threads, record->head.tid, v2, record->id);
}

static void learn_before(struct kpi_decoder *decoder, const struct kp_record *head,
                         const uint8_t *record)
{
    struct kpi_task task;
    if (head->kind == KP_STREAM_TASK && kpi_task_read(record, sizeof(struct kp_record_TASK), &task))
        kpi_threads_task(decoder->opts.threads, &task);
    if (head->kind != KP_STREAM_CGROUP)
        return;
    struct kp_record_CGROUP cgroup;
    memcpy(&cgroup, record, sizeof(cgroup));
    if (cgroup.op != CGROUP_OP_RMDIR)
        learn_cgroup(decoder, &cgroup);
}

static void learn_after(struct kpi_decoder *decoder, const struct kp_record *head,
                        const uint8_t *record)
{
    struct kp_record_CGROUP cgroup;
    if (head->kind != KP_STREAM_CGROUP)
        return;
    memcpy(&cgroup, record, sizeof(cgroup));
    if (cgroup.op == CGROUP_OP_RMDIR)
        kpi_cgroups_remove(decoder->opts.cgroups, cgroup.hierarchy, cgroup.id);
}
