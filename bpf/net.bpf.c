// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * TCP connections: segments sent again, changes of state. Mostly found by a timer or a packet: the
 * actor is then whoever was interrupted.
 */
#include "sock.h"

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(kp_retransmit, struct sock *sk, struct sk_buff *skb)
{
    u64 actor = bpf_get_current_pid_tgid();
    struct kp_record_TCP_RETRANSMIT *rec = kp_open_by(TCP_RETRANSMIT, actor);

    if (!rec)
        return 0;
    kp_sock_ends(rec, sk);
    rec->tcp_seq = BPF_CORE_READ((struct tcp_skb_cb *)&skb->cb, seq);
    rec->srtt_us = BPF_CORE_READ((struct tcp_sock *)sk, srtt_us) >> 3;
    rec->tcp_state = BPF_CORE_READ(sk, __sk_common.skc_state);
    kp_submit(rec);
    return 0;
}

/* Other protocols of the Internet use the same states. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(kp_tcp_state, struct sock *sk, int old_state, int new_state)
{
    u64 actor = bpf_get_current_pid_tgid();
    struct kp_cpu *cpu = kp_cpu();
    struct kp_record_TCP_STATE *rec;
    enum kp_context context;

    if (!cpu || BPF_CORE_READ(sk, sk_protocol) != PROTO_TCP)
        return 0;
    context = kp_context(cpu);
    if (context == KP_IN_TASK && kp_own(actor))
        return 0;
    rec = kp_open_by(TCP_STATE, actor);
    if (!rec)
        return 0;
    kp_sock_ends(rec, sk);
    rec->old_state = (u8)old_state;
    rec->tcp_state = (u8)new_state;
    rec->context = context;
    kp_submit(rec);
    return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
