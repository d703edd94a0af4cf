/* SPDX-License-Identifier: Apache-2.0
 *
 * Which socket call of whom ended a wait for a message: the two ends of a connection are matched
 * by their addresses, and the bytes of a TCP stream by their numbers.
 *
 * Rows of RECEIVE and SEND: a = key of its own end, b = key of the peer's end (the peer's a), c =
 * number after the last byte, d = bytes, code = SOCK_OP, flow = bytes are numbered.
 */
#ifndef KP_CAUSAL_NET_H
#define KP_CAUSAL_NET_H

#include "causal/timeline.h"

enum { KPI_FAMILY_UNIX = 1, KPI_PROTO_TCP = 6 };

/* A connection as one host sees it. */
struct kpi_ends {
    uint32_t host;
    int64_t net, sport, dport, family;
    struct kp_str saddr, daddr;
};
/* The key of this end and of the other. Addresses of the host itself mean something in its network
 * namespace only. */
void kpi_ends_keys(const struct kpi_ends *ends, int64_t *out_own, int64_t *out_peer);
struct kp_str kpi_ends_text(const struct kpi_ends *ends, struct kp_arena *arena);

/* What a wait for a message ended by. */
struct kpi_message {
    const struct kpi_work *receive; /* the call that waited for it or took it; NULL = none known */
    const struct kpi_work *send;    /* the call of the peer; NULL = none known */
    const struct kpi_work *resent;  /* the last time a segment of it was sent again, or NULL */
    kp_time sent;                   /* when it left the sender, within the wait's end */
    bool sure;                      /* bytes agree, and clocks leave no doubt about the order */
    bool asks;                      /* the wait is for the answer of a peer's kernel (connect) */
};
/* The message whose arrival ended the wait. */
struct kpi_message kpi_net_match(const struct kpi_world *world, const struct kpi_interval *iv);
/* True when a thread of the waiting process sent on the connection of the message within
 * [from, to]: what it waits for is the answer. Never of the end that is asked. */
bool kpi_net_asked(const struct kpi_world *world, const struct kpi_message *message, kp_time from,
                   kp_time to);
/* True when the receiving thread had last been asked something (answers to itself do not count) on
 * another connection, and its process has not sent on that since: it waits on somebody's behalf. */
bool kpi_net_owes(const struct kpi_world *world, const struct kpi_message *message, kp_time at);

#endif
