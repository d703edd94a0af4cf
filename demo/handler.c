/* SPDX-License-Identifier: Apache-2.0
 *
 * payment-handler: takes a payment, has it settled, and waits for that no longer than its limit.
 * After the limit it answers 504 and the payment is in limbo: the settlement may still happen.
 */
#include "demo/common.h"

#include <errno.h>
#include <stdio.h>

static struct kpi_options options;

/* Asks settlement-svc; returns its status or -errno. */
static int settle(const struct kpi_payment *payment, char *failure, size_t size)
{
    struct kpi_span span;
    struct kpi_payment inner;
    struct kpi_msg answer;
    kpi_span_begin(&span, payment, "POST /settle", KPI_CLIENT, &inner);
    int status = kpi_call(options.next_port, "/settle", &inner, options.limit_ms, &answer);
    if (status == -ETIMEDOUT) {
        snprintf(failure, size, "gave up after %lld ms waiting for settlement-svc",
                 (long long)options.limit_ms);
    } else if (status != 200) {
        snprintf(failure, size, "settlement-svc answered %d", status);
    }
    kpi_span_end(&span, status == 200 ? "settled" : "limbo", status == 200 ? NULL : failure);
    return status;
}

static int handle(const struct kpi_payment *payment, const struct kpi_msg *request, char *answer)
{
    struct kpi_span span;
    struct kpi_payment inner;
    char failure[80] = "";
    (void)request;
    kpi_span_begin(&span, payment, "POST /pay", KPI_SERVER, &inner);
    kpi_work(KPI_LINKS_PER_LEG / 20, (uint64_t)payment->amount); /* authorise */
    int status = settle(&inner, failure, sizeof(failure));
    const char *state = status == 200 ? "settled" : "limbo";
    snprintf(answer, KPI_BODY_MAX, "%s", state);
    kpi_span_end(&span, state, status == 200 ? NULL : failure);
    return status == 200 ? 200 : status == -ETIMEDOUT ? 504 : 502;
}

int main(int argc, char **argv)
{
    kpi_start(&options, "payment-handler", argc, argv);
    kpi_export_start(&options);
    kpi_serve(options.service, handle);
    kpi_wait_stop();
    kpi_export_stop();
    return 0;
}
