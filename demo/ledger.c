/* SPDX-License-Identifier: Apache-2.0
 *
 * ledger: appends entries to one file and answers when they are on the disk. A line is
 *   TXN CURRENCY AMOUNT_MINOR HASH
 */
#include "demo/common.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct kpi_options options;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int file = -1;

static bool append(const struct kpi_payment *payment)
{
    char line[128];
    int size = snprintf(line, sizeof(line), "%s %s %lld %016llx\n", payment->txn, payment->currency,
                        (long long)payment->amount, (unsigned long long)payment->hash);
    pthread_mutex_lock(&mutex);
    bool ok = write(file, line, (size_t)size) == size && fsync(file) == 0;
    pthread_mutex_unlock(&mutex);
    return ok;
}

static int handle(const struct kpi_payment *payment, const struct kpi_msg *request, char *answer)
{
    struct kpi_span span;
    struct kpi_payment inner;
    (void)request;
    kpi_span_begin(&span, payment, "POST /append", KPI_SERVER, &inner);
    bool ok = append(payment);
    snprintf(answer, KPI_BODY_MAX, "%s", ok ? "appended" : "failed");
    kpi_span_end(&span, ok ? "settled" : "failed", ok ? NULL : "write or fsync failed");
    return ok ? 200 : 500;
}

int main(int argc, char **argv)
{
    kpi_start(&options, "ledger", argc, argv);
    file = open(options.file == NULL ? "ledger.txt" : options.file,
                O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0)
        kpi_die("cannot open the ledger");
    kpi_export_start(&options);
    kpi_serve(options.service, handle);
    kpi_wait_stop();
    kpi_export_stop();
    return 0;
}
