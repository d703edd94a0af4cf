/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
 *
 * The two ends of a connection, for every record that has them.
 */
#ifndef KP_BPF_SOCK_H
#define KP_BPF_SOCK_H

#include "base.h"

enum { FAMILY_UNIX = 1, FAMILY_INET = 2, FAMILY_INET6 = 10 };
enum { PROTO_TCP = 6 };

/* Fills saddr, daddr, ip_family, net, sport and dport of a record. A socket of another family has
 * no addresses. */
#define kp_sock_ends(rec, sk)                                                           \
    ({                                                                                  \
        __builtin_memset((rec)->saddr, 0, sizeof((rec)->saddr));                        \
        __builtin_memset((rec)->daddr, 0, sizeof((rec)->daddr));                        \
        (rec)->ip_family = BPF_CORE_READ(sk, __sk_common.skc_family);                   \
        (rec)->sport = 0;                                                               \
        (rec)->dport = 0;                                                               \
        kp_sock_addresses((rec)->saddr, (rec)->daddr, sk, (rec)->ip_family);            \
        if ((rec)->ip_family == FAMILY_INET || (rec)->ip_family == FAMILY_INET6) {      \
            (rec)->sport = BPF_CORE_READ(sk, __sk_common.skc_num);                      \
            (rec)->dport = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport)); \
        }                                                                               \
        (rec)->net = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);               \
    })

static __always_inline void kp_sock_addresses(u8 *saddr, u8 *daddr, const struct sock *sk,
                                              u16 family)
{
    if (family == FAMILY_INET6 && bpf_core_field_exists(struct sock_common, skc_v6_daddr)) {
        bpf_core_read(saddr, 16, &sk->__sk_common.skc_v6_rcv_saddr);
        bpf_core_read(daddr, 16, &sk->__sk_common.skc_v6_daddr);
    } else if (family == FAMILY_INET) {
        bpf_core_read(saddr, 4, &sk->__sk_common.skc_rcv_saddr);
        bpf_core_read(daddr, 4, &sk->__sk_common.skc_daddr);
    }
}

#endif
