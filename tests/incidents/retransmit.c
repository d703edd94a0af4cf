/* SPDX-License-Identifier: Apache-2.0
 *
 * A packet of the service's connection is dropped on arrival, in the network of the server, until
 * the kernel has sent it again once or twice. Truth: from the send until the server had it, by the
 * clock of both, for they are on one machine.
 */
#include "incidents/incident.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT  7171
#define SETUP 0
#define SERVE 1
#define RULES 2

static struct kpi_helper *server, *filter;
static int peer = -1;
static int64_t sent, arrived;

static struct sockaddr_in address_of(const char *host)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    inet_pton(AF_INET, host, &address.sin_addr);
    return address;
}

static void answer_all(int listener)
{
    int one = 1;
    int64_t request, got;
    int fd = accept(listener, NULL, NULL);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    while (recv(fd, &request, sizeof(request), MSG_WAITALL) == sizeof(request)) {
        got = kpi_now();
        kpi_burn(KPI_MS / 2);
        if (send(fd, &got, sizeof(got), 0) != sizeof(got))
            break;
    }
}

static void serve_there(const struct kpi_order *order, struct kpi_report *report)
{
    static int listener = -1;
    struct sockaddr_in any = address_of("0.0.0.0");
    int one = 1;
    (void)report;
    if (order->arg == SERVE) {
        answer_all(listener);
        return;
    }
    kpi_network_leave();
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (listener < 0 || bind(listener, (void *)&any, sizeof(any)) != 0 || listen(listener, 1) != 0)
        kpi_die("no server: %s", strerror(errno));
}

/* Drops what comes for the port from now on, until order->ns after order->at. */
static void drop(const struct kpi_order *order, struct kpi_report *report)
{
    (void)report;
    kpi_sleep_until(order->at + order->ns);
    kpi_shell("nsenter -t %d -n nft delete table ip kpi", (int)order->arg);
}

static void rule_set(pid_t pid)
{
    if (!kpi_shell("nsenter -t %d -n nft 'add table ip kpi; add chain ip kpi in "
                   "{ type filter hook input priority 0; }; "
                   "add rule ip kpi in tcp dport %d drop'",
                   (int)pid, PORT))
        kpi_skip("nft is not installed");
}

static void setup(struct kpi_run *run)
{
    struct kpi_order order = {.arg = SETUP};
    struct kpi_report report;
    struct sockaddr_in there = address_of("198.18.0.2");
    char device[16];
    int one = 1;
    (void)run;
    server = kpi_helper_start("ledger", serve_there);
    filter = kpi_helper_start("filter", drop);
    kpi_helper_order(server, &order);
    kpi_helper_report(server, &report);
    kpi_network_join(kpi_helper_pid(server), device);
    order.arg = SERVE;
    kpi_helper_order(server, &order);
    peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (peer < 0 || connect(peer, (void *)&there, sizeof(there)) != 0)
        kpi_die("no connection: %s", strerror(errno));
}

static void arm(struct kpi_run *run)
{
    if (!run->fault)
        return;
    rule_set(kpi_helper_pid(server));
    struct kpi_order order = {kpi_now(), run->size_ns, 0, kpi_helper_pid(server)};
    kpi_helper_order(filter, &order);
}

static void serve(struct kpi_run *run)
{
    (void)run;
    kpi_burn(KPI_MS);
    sent = kpi_now();
    if (send(peer, &sent, sizeof(sent), 0) != sizeof(sent) ||
        recv(peer, &arrived, sizeof(arrived), MSG_WAITALL) != sizeof(arrived))
        kpi_die("downstream: %s", strerror(errno));
}

static void settle(struct kpi_run *run)
{
    struct kpi_report report;
    if (!run->fault)
        return;
    kpi_helper_report(filter, &report);
    run->truth = (struct kpi_truth){"net.retransmit", 0, ":7171", arrived - sent, false, NULL};
}

static void teardown(struct kpi_run *run)
{
    (void)run;
    close(peer);
    kpi_helper_stop(filter);
    kpi_helper_stop(server);
}

KPI_INCIDENT(retransmit) = {
    .name = "retransmit",
    .about = "TCP sends again what the network dropped",
    .size_min_ms = 30,
    .size_max_ms = 350, /* the second time comes some 200 ms after the first, the third 400 later */
    .setup = setup,
    .arm = arm,
    .serve = serve,
    .settle = settle,
    .teardown = teardown,
};
