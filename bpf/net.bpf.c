// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * TCP segments sent again. Mostly found by a timer: the actor is then whoever was interrupted.
 */
#include "base.h"

#define FAMILY_INET6 10

SEC("tp_btf/tcp_retransmit_skb")
int BPF_PROG(kp_retransmit, struct sock *sk, struct sk_buff *skb)
{
    u64 actor = bpf_get_current_pid_tgid();
    struct kp_record_TCP_RETRANSMIT *rec = kp_open_by(TCP_RETRANSMIT, actor);

    if (!rec)
        return 0;
    __builtin_memset(rec->saddr, 0, sizeof(rec->saddr));
    __builtin_memset(rec->daddr, 0, sizeof(rec->daddr));
    rec->ip_family = BPF_CORE_READ(sk, __sk_common.skc_family);
    if (rec->ip_family == FAMILY_INET6 && bpf_core_field_exists(struct sock_common, skc_v6_daddr)) {
        bpf_core_read(rec->saddr, 16, &sk->__sk_common.skc_v6_rcv_saddr);
        bpf_core_read(rec->daddr, 16, &sk->__sk_common.skc_v6_daddr);
    } else {
        bpf_core_read(rec->saddr, 4, &sk->__sk_common.skc_rcv_saddr);
        bpf_core_read(rec->daddr, 4, &sk->__sk_common.skc_daddr);
    }
    rec->net = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
    rec->tcp_seq = BPF_CORE_READ((struct tcp_skb_cb *)&skb->cb, seq);
    rec->srtt_us = BPF_CORE_READ((struct tcp_sock *)sk, srtt_us) >> 3;
    rec->sport = BPF_CORE_READ(sk, __sk_common.skc_num);
    rec->dport = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
    rec->tcp_state = BPF_CORE_READ(sk, __sk_common.skc_state);
    kp_submit(rec);
    return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
