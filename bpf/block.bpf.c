// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Block requests: insert (into a scheduler's queue, not always), issue to the device, completion;
 * joined by the request's address, which the kernel uses again only after completion. The map drops
 * the least recently used when there are more in flight than it holds; such a completion, and one
 * of a request older than the recording, finds nothing and is counted.
 */
#include "base.h"

#define REQUESTS_MAX   16384
#define REQ_OP_MASK    0xff
#define REQ_OP_FLUSH   2
#define DEV_MAJOR_BITS 20

struct request_state {
    u64 first;  /* insert, or issue when there was none */
    u64 issued; /* 0 = not yet */
    u64 actor;  /* who did the first */
    u32 bytes;
};

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, REQUESTS_MAX);
    __type(key, u64);
    __type(value, struct request_state);
} requests SEC(".maps");

static __always_inline int request_seen(struct request *rq, u64 issued)
{
    u64 key = (u64)rq;
    struct request_state *known = bpf_map_lookup_elem(&requests, &key);
    struct request_state state = {};

    if (known && issued) { /* merges may have made it longer; a requeue issues it again */
        known->bytes = rq->__data_len;
        if (!known->issued)
            known->issued = issued;
        return 0;
    }
    if (known)
        return 0;
    state.first = issued ? issued : bpf_ktime_get_ns();
    state.issued = issued;
    state.actor = bpf_get_current_pid_tgid();
    state.bytes = rq->__data_len;
    if (bpf_map_update_elem(&requests, &key, &state, BPF_ANY))
        kp_lose_join();
    return 0;
}

SEC("tp_btf/block_rq_insert")
int BPF_PROG(kp_rq_insert, struct request *rq)
{
    return request_seen(rq, 0);
}

SEC("tp_btf/block_rq_issue")
int BPF_PROG(kp_rq_issue, struct request *rq)
{
    return request_seen(rq, bpf_ktime_get_ns());
}

static __always_inline void request_record(struct request *rq, const struct request_state *state,
                                           s32 error)
{
    struct gendisk *disk = BPF_CORE_READ(rq, q, disk);
    struct kp_record_BLOCK_RQ *rec = kp_open_by(BLOCK_RQ, state->actor);

    if (!rec)
        return;
    rec->dur = rec->head.mono - state->first;
    rec->queue_dur = state->issued ? state->issued - state->first : rec->dur;
    rec->sector = rq->__sector;
    rec->bytes = state->bytes;
    rec->dev = disk ? (u32)BPF_CORE_READ(disk, major) << DEV_MAJOR_BITS |
                          (u32)BPF_CORE_READ(disk, first_minor)
                    : 0;
    rec->error = error;
    rec->op = rq->cmd_flags & REQ_OP_MASK;
    kp_submit(rec);
}

/* Comes once per completed part; the last one finishes what is left. */
SEC("tp_btf/block_rq_complete")
int BPF_PROG(kp_rq_complete, struct request *rq, int error, u32 bytes)
{
    u64 key = (u64)rq;
    struct request_state *known, state;

    if (bytes < rq->__data_len)
        return 0;
    known = bpf_map_lookup_elem(&requests, &key);
    if (!known) {
        /* the last step of a flush sequence ends a request that has nothing left to transfer and
         * was never issued, or was recorded when its data went out */
        if (bytes != 0 || (rq->cmd_flags & REQ_OP_MASK) == REQ_OP_FLUSH)
            kp_lose_join();
        return 0;
    }
    state = *known;
    bpf_map_delete_elem(&requests, &key);
    if (!kp_own(state.actor))
        request_record(rq, &state, error & 0xff);
    return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
