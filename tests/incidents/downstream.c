/* SPDX-License-Identifier: Apache-2.0
 *
 * A slow downstream service: it computes or sleeps before it answers over TCP. An application's
 * fault, of another process. Both sides have spans. Truth: what the server's own clock says.
 */
#include "incidents/incident.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct request {
    char txn[32], parent[17];
    int64_t trace, burn_ns, sleep_ns;
};

static struct kpi_helper *server;
static int listener, peer, sleeps;
static int64_t server_took;

static int64_t answer(int fd, const struct request *request)
{
    struct kpi_span *span = kpi_span_begin(request->txn, request->trace, request->parent, "ledger",
                                           "append", KPI_SPAN_SERVER);
    int64_t from = kpi_now(), cpu = kpi_now_cpu();
    kpi_burn(KPI_MS + request->burn_ns);
    int64_t took = kpi_now_cpu() - cpu;
    if (request->sleep_ns > 0) {
        from = kpi_now();
        kpi_sleep(request->sleep_ns);
        took = kpi_now() - from;
    }
    kpi_span_end(span);
    if (send(fd, &took, sizeof(took), 0) != sizeof(took))
        kpi_die("answer: %s", strerror(errno));
    return took;
}

static void listen_forever(const struct kpi_order *order, struct kpi_report *report)
{
    struct request request;
    int fd = accept(listener, NULL, NULL);
    (void)order;
    (void)report;
    while (recv(fd, &request, sizeof(request), MSG_WAITALL) == sizeof(request))
        answer(fd, &request);
}

static void setup(struct kpi_run *run)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    struct kpi_order order = {0};
    (void)run;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (void *)&address, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (void *)&address, &size) != 0)
        kpi_die("no server: %s", strerror(errno));
    server = kpi_helper_start("ledger", listen_forever);
    kpi_helper_order(server, &order);
    peer = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (peer < 0 || connect(peer, (void *)&address, size) != 0)
        kpi_die("no connection: %s", strerror(errno));
}

static void serve(struct kpi_run *run)
{
    struct request request = {.trace = run->span_trace};
    kpi_burn(KPI_MS);
    struct kpi_span *span = kpi_span_begin(run->txn, run->span_trace, run->root_span, "payments",
                                           "append", KPI_SPAN_CLIENT);
    snprintf(request.txn, sizeof(request.txn), "%s", run->txn);
    snprintf(request.parent, sizeof(request.parent), "%s", span->id);
    if (run->fault) {
        sleeps = (int)kpi_draw(run, 0, 1);
        *(sleeps ? &request.sleep_ns : &request.burn_ns) = run->size_ns;
    }
    if (send(peer, &request, sizeof(request), 0) != sizeof(request) ||
        recv(peer, &server_took, sizeof(server_took), MSG_WAITALL) != sizeof(server_took))
        kpi_die("downstream: %s", strerror(errno));
    kpi_span_end(span);
}

static void settle(struct kpi_run *run)
{
    if (run->fault)
        run->truth = (struct kpi_truth){sleeps ? "timer.sleep" : "running",
                                        kpi_helper_pid(server),
                                        "",
                                        server_took,
                                        true,
                                        NULL};
}

static void teardown(struct kpi_run *run)
{
    (void)run;
    kpi_helper_stop(server);
    close(peer);
    close(listener);
}

KPI_INCIDENT(downstream) = {
    .name = "downstream",
    .about = "a slow service behind a TCP connection",
    .size_min_ms = 30,
    .size_max_ms = 120,
    .setup = setup,
    .serve = serve,
    .settle = settle,
    .teardown = teardown,
};
