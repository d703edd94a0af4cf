/* SPDX-License-Identifier: Apache-2.0
 *
 * Helper processes: neighbours, downstream services, whoever makes the fault. Orders come over a
 * pipe before the transaction begins and say when to act, so that ordering is no part of it.
 */
#include "incidents/incident.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct kpi_helper {
    pid_t pid;
    int orders, reports;
};

static void carry_out(const char *comm, kpi_helper_fn fn, int orders, int reports)
{
    struct kpi_order order;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, comm);
    while (read(orders, &order, sizeof(order)) == sizeof(order)) {
        struct kpi_report report = {0};
        fn(&order, &report);
        if (write(reports, &report, sizeof(report)) != sizeof(report))
            break;
    }
    _exit(0);
}

struct kpi_helper *kpi_helper_start(const char *comm, kpi_helper_fn fn)
{
    struct kpi_helper *helper = calloc(1, sizeof(*helper));
    int orders[2], reports[2];
    if (helper == NULL || pipe(orders) != 0 || pipe(reports) != 0)
        kpi_die("no helper: %s", strerror(errno));
    helper->pid = fork();
    if (helper->pid < 0)
        kpi_die("no helper: %s", strerror(errno));
    if (helper->pid == 0) {
        close(orders[1]);
        close(reports[0]);
        carry_out(comm, fn, orders[0], reports[1]);
    }
    close(orders[0]);
    close(reports[1]);
    helper->orders = orders[1];
    helper->reports = reports[0];
    return helper;
}

pid_t kpi_helper_pid(const struct kpi_helper *helper)
{
    return helper->pid;
}

void kpi_helper_order(struct kpi_helper *helper, const struct kpi_order *order)
{
    if (write(helper->orders, order, sizeof(*order)) != sizeof(*order))
        kpi_die("helper %d takes no orders: %s", (int)helper->pid, strerror(errno));
}

void kpi_helper_report(struct kpi_helper *helper, struct kpi_report *out)
{
    if (read(helper->reports, out, sizeof(*out)) != sizeof(*out))
        kpi_die("helper %d is gone", (int)helper->pid);
}

void kpi_helper_stop(struct kpi_helper *helper)
{
    close(helper->orders);
    kill(helper->pid, SIGKILL);
    waitpid(helper->pid, NULL, 0);
    close(helper->reports);
    free(helper);
}
