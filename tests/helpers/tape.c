/* SPDX-License-Identifier: Apache-2.0
 *
 * The tape's thread takes spans as ingest would, and checks on the way that nothing arrives after
 * it was said to be complete.
 */
#include "tape.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SKIP 77

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    abort();
}

struct kp_recorder_opts tape_opts(uint64_t kinds)
{
    return (struct kp_recorder_opts){
        .kinds = kinds, .syscall_min = -1, .lock_min = -1, .irq_min = -1};
}

static void keep(struct tape *tape, const struct kp_source_span *span)
{
    if (span->size_bytes == 0)
        return;
    if (tape->size_bytes + span->size_bytes > tape->capacity_bytes) {
        tape->capacity_bytes = 2 * (tape->size_bytes + span->size_bytes) + (1 << 20);
        tape->bytes = realloc(tape->bytes, tape->capacity_bytes);
        if (!tape->bytes)
            fail("memory for the tape");
    }
    memcpy(tape->bytes + tape->size_bytes, span->bytes, span->size_bytes);
    for (size_t at = tape->size_bytes; at < tape->size_bytes + span->size_bytes;) {
        const struct kp_source_frame *frame = (const void *)(tape->bytes + at);
        const struct kp_record *rec = (const void *)(frame + 1);
        tape->late += (int64_t)rec->mono < tape->complete;
        at += KP_SOURCE_STEP(frame->size);
    }
    tape->size_bytes += span->size_bytes;
}

static void *take_main(void *arg)
{
    struct tape *tape = arg;
    struct kp_source_span span;

    while (kp_source_take(tape->source, 20 * KP_MS, &span) == KP_OK) {
        keep(tape, &span);
        tape->complete = span.complete;
        kp_source_release(tape->source, span.size_bytes);
    }
    return NULL;
}

void tape_start(struct tape *out, const struct kp_recorder_opts *opts)
{
    struct kp_error err = {0};

    *out = (struct tape){0};
    kp_status status = kp_source_open(opts, &out->source, &err);
    if (status == KP_DENIED || status == KP_UNSUPPORTED) {
        printf("%s\n", err.text);
        exit(SKIP);
    }
    if (status != KP_OK) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    if (pthread_create(&out->thread, NULL, take_main, out) != 0)
        fail("a taking thread");
    out->taking = true;
}

void tape_stop(struct tape *tape)
{
    kp_source_stop(tape->source);
    pthread_join(tape->thread, NULL);
    tape->taking = false;
    kp_source_stat(tape->source, &tape->stat);
    tape->cpus = kp_source_lost(tape->source, tape->loss, TAPE_CPUS_MAX);
}

void tape_free(struct tape *tape)
{
    if (tape->taking)
        tape_stop(tape);
    kp_source_close(tape->source);
    free(tape->bytes);
    *tape = (struct tape){0};
}

const struct kp_record *tape_next(const struct tape *tape, uint8_t kind,
                                  const struct kp_record *previous)
{
    size_t at = 0;

    if (previous) {
        const struct kp_source_frame *frame =
            (const struct kp_source_frame *)(const void *)previous - 1;
        at = (size_t)((const uint8_t *)frame - tape->bytes) + KP_SOURCE_STEP(frame->size);
    }
    while (at < tape->size_bytes) {
        const struct kp_source_frame *frame = (const void *)(tape->bytes + at);
        const struct kp_record *rec = (const void *)(frame + 1);
        if (kind == 0 || rec->kind == kind)
            return rec;
        at += KP_SOURCE_STEP(frame->size);
    }
    return NULL;
}

void work_make(struct work *out, int (*body)(void *arg), void *arg)
{
    int pipes[2];
    char byte;

    if (pipe2(pipes, O_CLOEXEC) != 0)
        fail("a pipe");
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        fail("a child");
    if (pid == 0) {
        close(pipes[1]);
        _exit(read(pipes[0], &byte, 1) == 1 ? body(arg) : 1);
    }
    close(pipes[0]);
    *out = (struct work){.pid = pid, .go = pipes[1]};
}

void work_go(struct work *work)
{
    if (write(work->go, "g", 1) != 1)
        fail("starting the child");
    close(work->go);
}

int work_end(struct work *work)
{
    int status;

    if (waitpid(work->pid, &status, 0) != work->pid)
        fail("waiting for the child");
    return status;
}

void pin_cpu(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0)
        fail("binding to a CPU");
}

void sleep_ns(int64_t ns)
{
    struct timespec ts = {.tv_sec = ns / KP_SEC, .tv_nsec = ns % KP_SEC};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &ts) == EINTR)
        ;
}

void spin_ns(int64_t ns)
{
    int64_t end = kp_time_monotonic() + ns;
    while (kp_time_monotonic() < end)
        ;
}

bool file_write(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return ok;
}

bool group_make(const char *controller, char out[256])
{
    static int number;
    char probe[128];

    snprintf(probe, sizeof(probe), "/sys/fs/cgroup/%s/cgroup.procs", controller);
    if (access(probe, W_OK) != 0)
        return false;
    snprintf(out, 256, "/sys/fs/cgroup/%s/kprobe-test-%d-%d", controller, getpid(), number++);
    if (mkdir(out, 0755) != 0)
        fail(out);
    return true;
}

void group_write(const char *group, const char *file, const char *text)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", group, file);
    if (!file_write(path, text))
        fail(path);
}

void group_enter(const char *group, pid_t pid)
{
    char text[32];

    snprintf(text, sizeof(text), "%d", pid);
    group_write(group, "cgroup.procs", text);
}

void group_remove(const char *group)
{
    for (int i = 0; i < 100 && rmdir(group) != 0; i++) /* its last thread may still be leaving */
        sleep_ns(10 * KP_MS);
}
