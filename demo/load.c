/* SPDX-License-Identifier: Apache-2.0
 *
 * A neighbour: burns --duty percent of a CPU at ordinary priority, in bursts of some milliseconds,
 * until it is ended. Without --cpu it runs where the kernel puts it.
 */
#include "demo/common.h"

#include <stdio.h>
#include <time.h>

int main(int argc, char **argv)
{
    struct kpi_options options;
    kpi_start(&options, "neighbour", argc, argv);
    if (options.duty < 0 || options.duty > 90) {
        fprintf(stderr, "neighbour: --duty is 0 to 90 percent\n");
        return 2;
    }
    printf("ready 0\n");
    fflush(stdout);
    kpi_unblock_stop();
    uint64_t hash = 1;
    for (;;) {
        int64_t until = kpi_now_mono() + options.duty * KPI_MS / 10;
        while (kpi_now_mono() < until)
            hash = kpi_work(20000, hash);
        struct timespec t = {0, (100 - options.duty) * KPI_MS / 10};
        nanosleep(&t, NULL);
    }
}
