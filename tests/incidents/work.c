/* SPDX-License-Identifier: Apache-2.0
 *
 * Clocks, computing and settings of the incidents. Computing is measured by the thread's own CPU
 * clock, so that a transaction needs the same work however often it is interrupted.
 */
#include "incidents/incident.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 4000 /* rounds between two looks at the clock: some 10 us */

static int64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 * KPI_MS + t.tv_nsec;
}

int64_t kpi_now(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

int64_t kpi_utc(void)
{
    return clock_ns(CLOCK_REALTIME);
}

int64_t kpi_now_cpu(void)
{
    return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

int64_t kpi_now_waited(pid_t tid)
{
    long long ran = 0, waited = 0;
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)tid);
    FILE *file = fopen(path, "re");
    if (file == NULL || fscanf(file, "%lld %lld", &ran, &waited) != 2)
        kpi_die("cannot read schedstat");
    fclose(file);
    return waited;
}

struct timespec kpi_time(int64_t at)
{
    return (struct timespec){at / (1000 * KPI_MS), at % (1000 * KPI_MS)};
}

void kpi_sleep_until(int64_t at)
{
    struct timespec t = kpi_time(at);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

void kpi_sleep(int64_t ns)
{
    kpi_sleep_until(kpi_now() + ns);
}

static void compute(void)
{
    static volatile uint64_t sink;
    uint64_t x = sink | 1;
    for (int i = 0; i < CHUNK; i++)
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
    sink = x;
}

void kpi_burn(int64_t cpu_ns)
{
    int64_t until = kpi_now_cpu() + cpu_ns;
    while (kpi_now_cpu() < until)
        compute();
}

void kpi_burn_until(int64_t at)
{
    while (kpi_now() < at)
        compute();
}

/* Rounds a millisecond has, of the best of ten. */
static int64_t calibrate(void)
{
    int64_t best = 0;
    for (int i = 0; i < 10; i++) {
        int64_t until = kpi_now() + KPI_MS, count = 0;
        for (; kpi_now() < until; count++)
            compute();
        best = count > best ? count : best;
    }
    return best;
}

void kpi_labour(int64_t ns)
{
    static int64_t rounds;
    if (rounds == 0)
        rounds = calibrate();
    for (int64_t i = 0; i < rounds * ns / KPI_MS; i++)
        compute();
}

void kpi_pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (cpu < 0 || i == cpu)
            CPU_SET(i, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0)
        kpi_die("cannot run on CPU %d: %s", cpu, strerror(errno));
}

void kpi_fifo(int priority)
{
    struct sched_param param = {.sched_priority = priority};
    if (sched_setscheduler(0, SCHED_FIFO, &param) != 0)
        kpi_die("no real-time priority: %s", strerror(errno));
}

void kpi_cpu_group_make(const char *path)
{
    if (mkdir(path, 0755) != 0)
        kpi_die("no control group %s: %s", path, strerror(errno));
    kpi_write_file("100000", "%s/cpu.shares", path);
}

/* splitmix64 */
int64_t kpi_draw(struct kpi_run *run, int64_t least, int64_t most)
{
    uint64_t z = run->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return least + (int64_t)(z % (uint64_t)(most - least + 1));
}

void kpi_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("incident: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

void kpi_skip(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("skip: ", stdout);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
    exit(77);
}

void kpi_write_file(const char *value, const char *format, ...)
{
    char path[256];
    va_list args;
    va_start(args, format);
    vsnprintf(path, sizeof(path), format, args);
    va_end(args);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t size = (ssize_t)strlen(value);
    if (fd < 0 || write(fd, value, (size_t)size) != size)
        kpi_die("cannot write '%s' to %s: %s", value, path, strerror(errno));
    close(fd);
}

int64_t kpi_read_counter(const char *key, const char *format, ...)
{
    char path[256], line[256];
    long long value = -1;
    va_list args;
    va_start(args, format);
    vsnprintf(path, sizeof(path), format, args);
    va_end(args);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        kpi_die("cannot read %s: %s", path, strerror(errno));
    while (value < 0 && fgets(line, sizeof(line), file) != NULL)
        if (strncmp(line, key, strlen(key)) == 0)
            sscanf(line + strlen(key), "%lld", &value);
    fclose(file);
    return value;
}
