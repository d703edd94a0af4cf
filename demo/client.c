/* SPDX-License-Identifier: Apache-2.0
 *
 * The payer's side: reads commands on standard input, pays, prints one line for each payment.
 *
 *   pay TXN AMOUNT_MINOR LEGS HOLD_MS   ->   paid TXN STATE HTTP_STATUS WALL_NS
 *
 * Its span `POST /pay` is the root of the transaction: it lasts as long as the payer waits.
 */
#include "demo/common.h"

#include <stdio.h>
#include <string.h>

static void pay(const struct kpi_options *options, struct kpi_payment *payment)
{
    struct kpi_span span;
    struct kpi_payment inner;
    struct kpi_msg answer = {.body = "failed"};
    kpi_random_hex(payment->trace_id, 32);
    kpi_span_begin(&span, payment, "POST /pay", KPI_CLIENT, &inner);
    int64_t start = kpi_now_mono();
    int status = kpi_call(options->next_port, "/pay", &inner, options->limit_ms, &answer);
    int64_t wall = kpi_now_mono() - start;
    const char *state = strcmp(answer.body, "settled") == 0 ? "settled"
                        : strcmp(answer.body, "limbo") == 0 ? "limbo"
                                                            : "failed";
    char failure[64];
    snprintf(failure, sizeof(failure), "payment-handler answered %d: %s", status, state);
    kpi_span_end(&span, state, status == 200 ? NULL : failure);
    printf("paid %s %s %d %lld\n", payment->txn, state, status, (long long)wall);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct kpi_options options;
    char line[128];
    kpi_start(&options, "pay-client", argc, argv);
    kpi_export_start(&options);
    printf("ready 0\n");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        struct kpi_payment payment = {.currency = "INR"};
        long long amount, legs, hold;
        if (sscanf(line, "pay %31s %lld %lld %lld", payment.txn, &amount, &legs, &hold) != 4) {
            fprintf(stderr, "pay-client: not understood: %s", line);
            continue;
        }
        payment.amount = amount;
        payment.legs = legs;
        payment.hold_ms = hold;
        pay(&options, &payment);
    }
    kpi_export_stop();
    return 0;
}
