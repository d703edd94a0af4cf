/* SPDX-License-Identifier: Apache-2.0
 *
 * settlement-svc: settles a payment by writing its legs to the ledger, one after the other. For
 * each leg it hashes the account's book (CPU work, the same for every leg) and has the ledger
 * append the entry. It does not know whether its caller still waits.
 */
#include "demo/common.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static struct kpi_options options;

static int append_leg(const struct kpi_payment *payment)
{
    struct kpi_span span;
    struct kpi_payment inner;
    struct kpi_msg answer;
    char failure[48];
    kpi_span_begin(&span, payment, "POST /append", KPI_CLIENT, &inner);
    int status = kpi_call(options.next_port, "/append", &inner, options.limit_ms, &answer);
    snprintf(failure, sizeof(failure), "ledger answered %d", status);
    kpi_span_end(&span, status == 200 ? "settled" : "failed", status == 200 ? NULL : failure);
    return status;
}

static int write_ledger(const struct kpi_payment *payment)
{
    struct kpi_span span;
    struct kpi_payment inner;
    int status = 200;
    kpi_span_begin(&span, payment, "ledger write", KPI_INTERNAL, &inner);
    for (int64_t leg = 0; leg < payment->legs && status == 200; leg++) {
        inner.hash = (int64_t)(kpi_work(KPI_LINKS_PER_LEG, (uint64_t)inner.hash) >> 1);
        status = append_leg(&inner);
    }
    kpi_span_end(&span, status == 200 ? "settled" : "failed",
                 status == 200 ? NULL : "the ledger refused an entry");
    return status;
}

/* Some payments may not be settled before an agreed instant: then the thread sleeps till there. */
static void hold(const struct kpi_payment *payment)
{
    struct timespec t = {payment->hold_ms / 1000, payment->hold_ms % 1000 * KPI_MS};
    if (payment->hold_ms > 0)
        nanosleep(&t, NULL);
}

static int handle(const struct kpi_payment *payment, const struct kpi_msg *request, char *answer)
{
    struct kpi_span span;
    struct kpi_payment inner;
    (void)request;
    kpi_span_begin(&span, payment, "POST /settle", KPI_SERVER, &inner);
    hold(payment);
    int status = write_ledger(&inner);
    const char *state = status == 200 ? "settled" : "failed";
    snprintf(answer, KPI_BODY_MAX, "%s", state);
    kpi_span_end(&span, state, status == 200 ? NULL : "the ledger write failed");
    return status == 200 ? 200 : 502;
}

int main(int argc, char **argv)
{
    kpi_start(&options, "settlement-svc", argc, argv);
    kpi_export_start(&options);
    kpi_serve(options.service, handle);
    kpi_wait_stop();
    kpi_export_stop();
    return 0;
}
