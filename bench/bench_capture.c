/* SPDX-License-Identifier: Apache-2.0
 *
 * What recording costs the recorded: two processes on one CPU pass a byte back and forth, without
 * capture, with the scheduler kinds, and with all kinds. Rounds are interleaved and the best of
 * each is compared, because other work on the machine only ever adds time.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/time.h"
#include "ingest/ingest.h"

#define LOOPS  100000
#define ROUNDS 3

static void fail(const char *what, const struct kp_error *err)
{
    fprintf(stderr, "bench_capture: %s: %s\n", what, err->text);
    exit(1);
}

static void pass(int from, int to)
{
    char byte;
    if (read(from, &byte, 1) != 1 || write(to, &byte, 1) != 1)
        _exit(1);
}

/* ns per round trip of two processes on CPU 0. */
static double ping_pong(void)
{
    int there[2], back[2];
    char byte = 0;
    kp_assert(pipe(there) == 0 && pipe(back) == 0);
    pid_t child = fork();
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(0, &set);
    sched_setaffinity(0, sizeof(set), &set);
    if (child == 0) {
        for (int i = 0; i < LOOPS; i++)
            pass(there[0], back[1]);
        _exit(0);
    }
    int64_t since = kp_time_monotonic();
    for (int i = 0; i < LOOPS; i++) {
        kp_assert(write(there[1], &byte, 1) == 1);
        kp_assert(read(back[0], &byte, 1) == 1);
    }
    double ns = (double)(kp_time_monotonic() - since) / LOOPS;
    waitpid(child, NULL, 0);
    close(there[0]);
    close(there[1]);
    close(back[0]);
    close(back[1]);
    return ns;
}

/* In a process of its own: the recorder leaves its own process out of what it records. */
static double measured(void)
{
    int result[2];
    double ns = 0;
    kp_assert(pipe(result) == 0);
    pid_t child = fork();
    if (child == 0) {
        ns = ping_pong();
        _exit(write(result[1], &ns, sizeof(ns)) == sizeof(ns) ? 0 : 1);
    }
    kp_assert(read(result[0], &ns, sizeof(ns)) == sizeof(ns));
    waitpid(child, NULL, 0);
    close(result[0]);
    close(result[1]);
    return ns;
}

static double recorded(const char *kinds, struct kp_recorder_stat *out_stat)
{
    char dir[] = "/tmp/kp-bench-XXXXXX", command[64];
    struct kp_store *store = NULL;
    struct kp_recorder *recorder = NULL;
    struct kp_recorder_opts opts = {.syscall_min = -1, .lock_min = -1, .irq_min = -1};
    struct kp_store_opts store_opts = {0};
    struct kp_error err;
    if (kp_kinds_parse(kp_str_from(kinds), &opts.kinds, &err) != KP_OK || mkdtemp(dir) == NULL)
        fail(kinds, &err);
    if (kp_store_open(dir, &store_opts, &store, &err) != KP_OK)
        fail("store", &err);
    if (kp_recorder_start(store, &opts, &recorder, &err) != KP_OK)
        fail("this machine cannot be recorded", &err);
    double ns = measured();
    if (kp_recorder_stop(recorder, out_stat, &err) != KP_OK || kp_store_close(store, &err) != KP_OK)
        fail("stop", &err);
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command) == 0 ? ns : 0;
}

int main(void)
{
    static const char *const names[] = {"no capture", "scheduler kinds", "all kinds"};
    static const char *const kinds[] = {NULL, "sched", "default"};
    double best[3] = {0};
    uint64_t records[3] = {0}, lost[3] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < 3; i++) {
            struct kp_recorder_stat stat = {0};
            double ns = kinds[i] == NULL ? measured() : recorded(kinds[i], &stat);
            best[i] = best[i] == 0 ? ns : KP_MIN(best[i], ns);
            records[i] += stat.records;
            lost[i] += stat.lost;
        }
    }
    printf("pipe ping-pong on one CPU, best of %d\n", ROUNDS);
    for (int i = 0; i < 3; i++)
        printf("%-28s %8.0f ns/round %7.2f x, %llu records, %llu lost\n", names[i], best[i],
               best[i] / best[0], (unsigned long long)records[i], (unsigned long long)lost[i]);
    return 0;
}
