/* SPDX-License-Identifier: Apache-2.0
 *
 * Start-up, threads, clocks and CPU work of the demo's programs.
 */
#include "demo/common.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static const char *program = "demo";

static int64_t parse_number(const char *text)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0') {
        fprintf(stderr, "%s: '%s' is not a number\n", program, text);
        exit(2);
    }
    return value;
}

static void parse_options(struct kpi_options *options, int argc, char **argv)
{
    static const struct option table[] = {
        {"otlp", required_argument, NULL, 'o'},     {"next", required_argument, NULL, 'n'},
        {"limit-ms", required_argument, NULL, 'l'}, {"cpu", required_argument, NULL, 'c'},
        {"file", required_argument, NULL, 'f'},     {"policy", required_argument, NULL, 'p'},
        {"duty", required_argument, NULL, 'd'},     {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        switch (c) {
        case 'o':
            options->otlp_port = parse_number(optarg);
            break;
        case 'n':
            options->next_port = parse_number(optarg);
            break;
        case 'l':
            options->limit_ms = parse_number(optarg);
            break;
        case 'c':
            options->cpu = parse_number(optarg);
            break;
        case 'd':
            options->duty = parse_number(optarg);
            break;
        case 'f':
            options->file = optarg;
            break;
        case 'p':
            options->policy = optarg;
            break;
        default:
            exit(2);
        }
    }
}

static void pin(int64_t cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0)
        kpi_die("cannot pin to the CPU");
}

static sigset_t stop_set(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    return set;
}

/* Threads inherit the mask: only kpi_wait_stop takes SIGTERM. SIGINT is the terminal's word to the
 * whole foreground group; the driver acts on it and then ends us. */
static void block_signals(void)
{
    sigset_t set = stop_set();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGINT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
}

void kpi_start(struct kpi_options *options, const char *service, int argc, char **argv)
{
    program = service;
    *options = (struct kpi_options){.service = service, .limit_ms = -1, .cpu = -1};
    parse_options(options, argc, argv);
    prctl(PR_SET_NAME, service);
    block_signals();
    if (options->cpu >= 0)
        pin(options->cpu);
}

void kpi_wait_stop(void)
{
    sigset_t set = stop_set();
    int sig;
    while (sigwait(&set, &sig) != 0) {}
}

void kpi_unblock_stop(void)
{
    sigset_t set = stop_set();
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void kpi_die(const char *what)
{
    fprintf(stderr, "%s: %s: %s\n", program, what, strerror(errno));
    exit(1);
}

struct start {
    char name[16];
    void *(*run)(void *);
    void *arg;
};

static void *thread_main(void *arg)
{
    struct start start = *(struct start *)arg;
    free(arg);
    prctl(PR_SET_NAME, start.name);
    return start.run(start.arg);
}

void kpi_thread(const char *name, void *(*run)(void *), void *arg)
{
    pthread_t thread;
    struct start *start = malloc(sizeof(*start));
    if (start == NULL)
        kpi_die("no memory for a thread");
    snprintf(start->name, sizeof(start->name), "%s", name);
    start->run = run;
    start->arg = arg;
    errno = pthread_create(&thread, NULL, thread_main, start);
    if (errno != 0)
        kpi_die("cannot start a thread");
    pthread_detach(thread);
}

static int64_t now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 * KPI_MS + t.tv_nsec;
}

int64_t kpi_now_mono(void)
{
    return now(CLOCK_MONOTONIC);
}

int64_t kpi_now_real(void)
{
    return now(CLOCK_REALTIME);
}

/* Each link depends on the one before it, so the time is the same on every payment. */
uint64_t kpi_work(uint64_t links, uint64_t seed)
{
    uint64_t hash = seed | 1;
    for (uint64_t i = 0; i < links; i++) {
        hash ^= hash >> 29;
        hash = hash * UINT64_C(0xbf58476d1ce4e5b9) + i;
    }
    return hash;
}

void kpi_random_hex(char *out, size_t digits)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char bytes[32];
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        kpi_die("no random numbers");
    for (size_t i = 0; i < digits && i < sizeof(bytes); i++)
        out[i] = hex[bytes[i] & 15];
    out[0] = hex[1 + bytes[0] % 15];
    out[digits] = '\0';
}
