/* SPDX-License-Identifier: Apache-2.0
 *
 * The receiving call of a wait is the one the thread was blocked in, or the first one after a call
 * that waits for any of several descriptors. The sending call is the one that handed over the first
 * byte the receiver got: for TCP by number, so retransmissions, other connections of the same two
 * processes and answers that overtake each other are not mixed up. Datagrams have no numbers: the
 * last one sent before the wakeup is meant, which is sure only if it is the only one. Whoever
 * closed a connection sent its end; whoever connected sent what accept waits for.
 */
#include "causal/net.h"

#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "causal/blame.h"
#include "column/syscalls.h"

#define LOCAL_MAX KP_MS /* a message takes less on one host */

enum { SOCK_SEND, SOCK_RECEIVE, SOCK_CONNECT, SOCK_ACCEPT }; /* catalogue: SOCK_OP */

/* ---------- identity ---------- */

/* IPv4 seen through an IPv6 socket is the same address. */
static struct kp_str address_plain(struct kp_str addr)
{
    static const char mapped[] = "::ffff:";
    size_t len = sizeof(mapped) - 1;
    if (addr.len > len && memcmp(addr.ptr, mapped, len) == 0 &&
        memchr(addr.ptr, '.', addr.len) != NULL)
        return (struct kp_str){addr.ptr + len, addr.len - (uint32_t)len};
    return addr;
}

static bool address_local(struct kp_str addr)
{
    return (addr.len > 4 && memcmp(addr.ptr, "127.", 4) == 0) || kp_str_equal(addr, KP_STR("::1"));
}

static uint64_t end_hash(struct kp_str addr, int64_t port, uint64_t seed)
{
    return kp_hash64(addr.ptr, addr.len, kp_hash_mix(seed ^ (uint64_t)port));
}

void kpi_ends_keys(const struct kpi_ends *ends, int64_t *out_own, int64_t *out_peer)
{
    struct kp_str source = address_plain(ends->saddr), dest = address_plain(ends->daddr);
    uint64_t seed = 1;
    if (address_local(source) || address_local(dest))
        seed = kp_hash_mix((uint64_t)ends->host << 32 ^ (uint64_t)ends->net);
    *out_own = (int64_t)end_hash(dest, ends->dport, end_hash(source, ends->sport, seed));
    *out_peer = (int64_t)end_hash(source, ends->sport, end_hash(dest, ends->dport, seed));
}

struct kp_str kpi_ends_text(const struct kpi_ends *ends, struct kp_arena *arena)
{
    return kpi_text(arena, "%.*s:%lld > %.*s:%lld", (int)ends->saddr.len, ends->saddr.ptr,
                    (long long)ends->sport, (int)ends->daddr.len, ends->daddr.ptr,
                    (long long)ends->dport);
}

/* ---------- the receiving side ---------- */

static bool waits_for_any(const struct kpi_work *syscall)
{
    static const char *const names[] = {"poll",       "ppoll",       "select",       "pselect6",
                                        "epoll_wait", "epoll_pwait", "epoll_pwait2", NULL};
    for (size_t i = 0; syscall != NULL && names[i] != NULL; i++)
        if (kp_syscall_number(names[i]) == syscall->code)
            return true;
    return false;
}

/* When the thread fell asleep again after the wait. */
static kp_time next_sleep(const struct kpi_world *world, const struct kpi_interval *iv)
{
    const struct kpi_thread *thread = kpi_thread_of(world, iv->thread);
    for (uint32_t i = kpi_timeline_find(world, thread, iv->to); i < thread->count; i++) {
        const struct kpi_interval *next = kpi_timeline_at(world, thread, i);
        if (next->state == KPI_STATE_BLOCKED)
            return next->from;
    }
    return world->to;
}

static const struct kpi_work *receive_of(const struct kpi_world *world,
                                         const struct kpi_interval *iv)
{
    const struct kpi_work_set *set = &world->works[KPI_WORK_RECEIVE];
    const struct kpi_work *row = kpi_work_covering(set, iv->thread, iv->from);
    if (row != NULL && row->to >= iv->to)
        return row;
    if (!waits_for_any(kpi_wait_syscall(world, iv)))
        return NULL;
    kp_time until = next_sleep(world, iv);
    kpi_work_since(set, iv->to);
    row = kpi_work_seen(set, iv->thread, iv->to, until);
    for (; row != NULL; row = kpi_work_next(set, row, iv->to, until))
        if (row->from >= iv->to && row->code != SOCK_CONNECT)
            return row;
    if (kpi_work_any(set))
        kpi_miss_after(world, KPI_WORK_RECEIVE);
    return NULL;
}

/* ---------- the sending side ---------- */

/* Whether number `at` lies within the row's bytes, modulo 2^32. */
static bool has_byte(const struct kpi_work *send, uint32_t at)
{
    uint32_t offset = at - (uint32_t)(send->c - send->d);
    return (int64_t)offset < send->d;
}

static bool could_be(const struct kpi_work *send, const struct kpi_work *receive)
{
    if (send->a != receive->b || send->thread == receive->thread)
        return false;
    if (receive->code == SOCK_ACCEPT)
        return send->code == SOCK_CONNECT;
    if (send->code != SOCK_SEND)
        return false;
    return !receive->flow || has_byte(send, (uint32_t)(receive->c - receive->d));
}

/* The latest fitting row that began by `wake`; *out_several: there is more than one after `from`.
 */
static const struct kpi_work *send_of(const struct kpi_world *world, bool closes,
                                      const struct kpi_work *receive, kp_time from, kp_time wake,
                                      bool *out_several)
{
    const struct kpi_work_set *set = &world->works[closes ? KPI_WORK_CLOSE : KPI_WORK_SEND];
    uint32_t group = (uint32_t)receive->b;
    const struct kpi_work *best = NULL;
    unsigned found = 0;
    uint32_t host = kpi_thread_of(world, receive->thread)->host;
    kp_time until = kpi_time_add(wake, KPI_SKEW_MAX); /* clocks of other hosts may be wrong */
    kpi_work_since(set, from);
    const struct kpi_work *row = kpi_work_seen(set, group, KP_TIME_MIN, until);
    for (; row != NULL; row = kpi_work_next(set, row, KP_TIME_MIN, until)) {
        bool here = kpi_thread_of(world, row->thread)->host == host;
        if ((closes ? row->a != receive->b : !could_be(row, receive)) || (here && row->from > wake))
            continue;
        found += row->to >= from;
        best = row;
    }
    *out_several = found > 1;
    if (best == NULL && kpi_work_any(set))
        kpi_miss_before(world);
    if ((best == NULL && kpi_work_any(set)) || !receive->flow)
        kpi_miss_after(world, KPI_WORK_SEND);
    return best;
}

/* The last segment of an end that was sent again within [from, wake]; of those up to the byte
 * `first`, if that is not negative. */
static const struct kpi_work *resent_of(const struct kpi_world *world, int64_t key, int64_t first,
                                        kp_time from, kp_time wake)
{
    const struct kpi_work_set *set = &world->works[KPI_WORK_RESENT];
    const struct kpi_work *last = NULL;
    const struct kpi_work *row = kpi_work_first(set, (uint32_t)key, from - 1, wake + 1);
    for (; row != NULL; row = kpi_work_next(set, row, from - 1, wake + 1))
        if (row->a == key && row->to <= wake &&
            (first < 0 || (int32_t)((uint32_t)row->c - (uint32_t)first) <= 0))
            last = row;
    return last;
}

/* How far the stamps of two threads' hosts may be apart; 0 on one host, -1 = not known. */
static kp_dur skew_between(const struct kpi_world *world, uint32_t a, uint32_t b)
{
    const struct kpi_host *x = kpi_host_of(world, kpi_thread_of(world, a)->host);
    const struct kpi_host *y = kpi_host_of(world, kpi_thread_of(world, b)->host);
    if (x == y)
        return 0;
    return x->skew < 0 || y->skew < 0 ? -1 : x->skew + y->skew;
}

/* The sender is known. */
static void message_sent(const struct kpi_world *world, const struct kpi_interval *iv, bool several,
                         struct kpi_message *message)
{
    const struct kpi_work *receive = message->receive;
    kp_dur skew = skew_between(world, iv->thread, message->send->thread);
    int64_t first = receive->flow ? (int64_t)(uint32_t)(receive->c - receive->d) : -1;
    message->sent = KP_MIN(message->send->to, iv->to);
    message->resent = resent_of(world, receive->b, first, message->sent, iv->to);
    message->sure =
        skew >= 0 && iv->to - message->send->from >= skew && (receive->flow || !several);
    /* it had long been there: something else woke it from a wait for any of several */
    bool late = skew == 0 && message->resent == NULL && iv->to - message->sent > LOCAL_MAX;
    if (late && receive->from >= iv->to)
        message->sure = false;
}

struct kpi_message kpi_net_match(const struct kpi_world *world, const struct kpi_interval *iv)
{
    struct kpi_message message = {.receive = receive_of(world, iv), .sent = iv->from};
    const struct kpi_work *receive = message.receive;
    bool several = false;
    if (receive == NULL)
        return message;
    bool closes = receive->code == SOCK_RECEIVE && receive->d == 0;
    message.asks = receive->code == SOCK_CONNECT;
    if (!message.asks)
        message.send = send_of(world, closes, receive, iv->from, iv->to, &several);
    message.sure = true;
    if (message.send != NULL)
        message_sent(world, iv, several, &message);
    else /* the peer is not recorded; what this side sent again is */
        message.resent = resent_of(world, receive->a, -1, iv->from, iv->to);
    return message;
}

/* A send on the receiver's own end, by any thread of its process. */
static bool sent_within(const struct kpi_world *world, const struct kpi_work *receive, kp_time from,
                        kp_time to)
{
    const struct kpi_work_set *set = &world->works[KPI_WORK_SEND];
    uint32_t pid = kpi_thread_of(world, receive->thread)->pid;
    kpi_work_since(set, from);
    const struct kpi_work *row = kpi_work_seen(set, (uint32_t)receive->a, from, to + 1);
    for (; row != NULL; row = kpi_work_next(set, row, from, to + 1))
        if (row->a == receive->a && kpi_thread_of(world, row->thread)->pid == pid)
            return true;
    kpi_miss_after(world, KPI_WORK_SEND);
    return false;
}

bool kpi_net_asked(const struct kpi_world *world, const struct kpi_message *message, kp_time from,
                   kp_time to)
{
    return message->receive->side != KPI_SIDE_SERVER &&
           sent_within(world, message->receive, from, to);
}

bool kpi_net_owes(const struct kpi_world *world, const struct kpi_message *message, kp_time at)
{
    const struct kpi_work_set *set = &world->works[KPI_WORK_RECEIVE];
    const struct kpi_work *last = NULL;
    const struct kpi_work *row = kpi_work_seen(set, message->receive->thread, KP_TIME_MIN, at + 1);
    for (; row != NULL; row = kpi_work_next(set, row, KP_TIME_MIN, at + 1))
        if (row->to <= at && row->code == SOCK_RECEIVE && row->d > 0 &&
            row->side != KPI_SIDE_CLIENT)
            last = row;
    if (last == NULL)
        kpi_miss_before(world);
    return last != NULL && last->a != message->receive->a &&
           !sent_within(world, last, last->to, at);
}
