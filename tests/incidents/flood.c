/* SPDX-License-Identifier: Apache-2.0
 *
 * A flood of datagrams within a network of its own, which the kernel takes in on the CPU of the
 * service and passes through a long list of rules, in interrupts on top of the service: that has a
 * real-time priority, so that nothing else takes its CPU, ksoftirqd included. Truth: how much
 * longer the same work took than just before, for no counter tells interrupts from what they
 * interrupt.
 */
#include "incidents/incident.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PORT  7172
#define BURST 64
#define RULES 4000

static struct kpi_helper *flooder;
static int64_t took, usual;

static void flood(const struct kpi_order *order, struct kpi_report *report)
{
    static int fd = -1;
    static char bytes[64];
    int room = 1 << 20;
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    (void)report;
    if (fd < 0) {
        kpi_network_leave();
        fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
        return;
    }
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    kpi_pin((int)order->cpu);
    kpi_sleep_until(order->at);
    while (kpi_now() < order->at + order->ns)
        for (int i = 0; i < BURST; i++)
            sendto(fd, bytes, sizeof(bytes), 0, (void *)&there, sizeof(there));
}

static void setup(struct kpi_run *run)
{
    struct kpi_order order = {0};
    struct kpi_report report;
    (void)run;
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        kpi_skip("the flood comes from another CPU");
    flooder = kpi_helper_start("probe", flood);
    kpi_helper_order(flooder, &order);
    kpi_helper_report(flooder, &report);
    if (!kpi_shell("nsenter -t %d -n sh -c 'ip link set lo up && "
                   "(echo add table ip kpi; "
                   "echo add chain ip kpi in \\{ type filter hook input priority 0\\; \\}; "
                   "seq -f \"add rule ip kpi in udp sport %%g drop\" %d; "
                   "echo add rule ip kpi in udp dport %d drop) | nft -f -'",
                   (int)kpi_helper_pid(flooder), RULES, PORT))
        kpi_skip("nsenter or nft is not installed");
    kpi_labour(KPI_MS); /* measures how much that is */
    kpi_fifo(1);
}

/* Packets of the flood are taken in on this CPU. */
static void steer(int cpu)
{
    kpi_shell("nsenter -t %d -n unshare -m sh -c 'mount -t sysfs sysfs /sys && "
              "echo %x > /sys/class/net/lo/queues/rx-0/rps_cpus'",
              (int)kpi_helper_pid(flooder), 1 << cpu);
}

static void arm(struct kpi_run *run)
{
    kpi_pin(run->cpu);
    if (!run->fault)
        return;
    usual = took;
    steer(run->cpu);
    struct kpi_order order = {kpi_now() + KPI_MS, run->size_ns, run->cpu == 0 ? 1 : 0, 0};
    kpi_helper_order(flooder, &order);
    kpi_sleep_until(order.at + 2 * KPI_MS);
}

static void serve(struct kpi_run *run)
{
    (void)run;
    int64_t from = kpi_now();
    kpi_labour(10 * KPI_MS);
    took = kpi_now() - from;
}

static void settle(struct kpi_run *run)
{
    struct kpi_report report;
    if (!run->fault)
        return;
    kpi_helper_report(flooder, &report);
    kpi_sleep(200 * KPI_MS); /* until all of it is taken in */
    run->truth = (struct kpi_truth){"softirq", 0, "NET_RX", took - usual, false, NULL};
}

static void teardown(struct kpi_run *run)
{
    (void)run;
    kpi_helper_stop(flooder);
}

KPI_INCIDENT(softirq_flood) = {
    .name = "softirq",
    .about = "a flood of packets is taken in on its CPU",
    .size_min_ms = 150,
    .size_max_ms = 250,
    .setup = setup,
    .arm = arm,
    .serve = serve,
    .settle = settle,
    .teardown = teardown,
};
