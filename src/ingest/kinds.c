/* SPDX-License-Identifier: Apache-2.0
 *
 * Which kinds of events to record, as people write it: "sched,syscall,-lock". A list that only
 * takes away begins with the defaults.
 */
#include "base/assert.h"
#include "ingest/ingest.h"

#define BIT(ID) (1ull << KP_S_##ID)

static const struct {
    const char *name;
    uint64_t kinds;
} groups[] = {
    {"sched", BIT(SCHED_SWITCH) | BIT(SCHED_WAKING) | BIT(TASK) | BIT(CGROUP) | BIT(PI)},
    {"memory", BIT(VMSCAN) | BIT(OOM) | BIT(FAULT)},
    {"net", BIT(TCP_RETRANSMIT) | BIT(TCP_STATE) | BIT(SOCK)},
    {"block", BIT(BLOCK_RQ) | BIT(WRITEBACK)},
    {"interrupts", BIT(IRQ) | BIT(SOFTIRQ)},
};

/* Kinds that a recording can make: those of the kernel and the samples beside them. */
static bool recordable(const struct kp_stream *stream)
{
    return stream->family == KP_FAMILY_KERNEL && stream->number < 64;
}

static uint64_t kinds_all(bool defaults_only)
{
    uint32_t count;
    uint64_t mask = 0;
    const struct kp_stream *streams = kp_streams(&count);
    for (uint32_t i = 0; i < count; i++)
        if (recordable(&streams[i]) && (!defaults_only || streams[i].on_by_default))
            mask |= 1ull << streams[i].number;
    return mask;
}

static bool word_kinds(struct kp_str word, uint64_t *out)
{
    const struct kp_stream *stream = kp_stream_by_name(word);
    if (stream != NULL && recordable(stream)) {
        *out = 1ull << stream->number;
        return true;
    }
    if (kp_str_equal(word, KP_STR("all")) || kp_str_equal(word, KP_STR("default"))) {
        *out = kinds_all(word.len == 7);
        return true;
    }
    for (size_t i = 0; i < KP_ARRAY_LEN(groups); i++) {
        if (kp_str_equal(word, kp_str_from(groups[i].name))) {
            *out = groups[i].kinds;
            return true;
        }
    }
    return false;
}

struct nearest {
    struct kp_str word;
    const char *name; /* NULL = none is near */
    uint32_t distance;
};

static void nearest_offer(struct nearest *nearest, const char *name)
{
    uint32_t distance = kp_str_distance(nearest->word, kp_str_from(name));
    if (distance >= nearest->distance)
        return;
    nearest->distance = distance;
    nearest->name = name;
}

static void hint_nearest(struct kp_str word, struct kp_error *err)
{
    struct nearest nearest = {.word = word, .distance = 3}; /* further away is no mistyping */
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    for (uint32_t i = 0; i < count; i++)
        if (recordable(&streams[i]))
            nearest_offer(&nearest, streams[i].name);
    for (size_t i = 0; i < KP_ARRAY_LEN(groups); i++)
        nearest_offer(&nearest, groups[i].name);
    nearest_offer(&nearest, "default");
    if (nearest.name != NULL)
        kp_error_hint(err, "did you mean %s?", nearest.name);
    else
        kp_error_hint(err, "a kind is the name of a kernel stream, or one of sched, memory, net, "
                           "block, interrupts, all, default; -NAME takes it away");
}

kp_status kp_kinds_parse(struct kp_str text, uint64_t *out_mask, struct kp_error *err)
{
    uint64_t mask = text.len == 0 || text.ptr[0] == '-' ? kinds_all(true) : 0;
    for (uint32_t at = 0, end; text.len > 0 && at <= text.len; at = end + 1) {
        for (end = at; end < text.len && text.ptr[end] != ','; end++)
            ;
        bool minus = at < text.len && text.ptr[at] == '-';
        struct kp_str word = {text.ptr + at + minus, end - at - minus};
        uint64_t kinds;
        if (!word_kinds(word, &kinds)) {
            kp_error_set(err, KP_USAGE, "there is no kind of event \"%.*s\"", (int)word.len,
                         word.ptr);
            if (err != NULL)
                hint_nearest(word, err);
            return KP_USAGE;
        }
        mask = minus ? mask & ~kinds : mask | kinds;
    }
    if (mask == 0)
        return kp_error_set(err, KP_USAGE, "nothing is left to record");
    *out_mask = mask;
    return KP_OK;
}
