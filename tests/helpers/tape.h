/* SPDX-License-Identifier: Apache-2.0
 *
 * For live tests: a tape holds every record the kernel gave while it ran, and a work is a child
 * process that does something worth recording (our own process is not recorded in full).
 */
#ifndef KP_TESTS_TAPE_H
#define KP_TESTS_TAPE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "event.h"
#include "ingest/source.h"

#define TAPE_CPUS_MAX 512

struct tape {
    struct kp_source *source;
    pthread_t thread;
    uint8_t *bytes; /* frames as taken */
    size_t size_bytes, capacity_bytes;
    int64_t complete;
    uint64_t late; /* records older than what was said to be complete before */
    struct kp_source_stat stat;
    struct kp_source_loss loss[TAPE_CPUS_MAX];
    uint32_t cpus;
    bool taking;
};

/* The bit of a stream in a mask of kinds. */
#define KIND(ID) (1ull << KP_STREAM_##ID)

/* Options with the default thresholds and the given kinds. */
struct kp_recorder_opts tape_opts(uint64_t kinds);
/* Starts recording; ends the program with 77 (and says why) where the kernel cannot be recorded. */
void tape_start(struct tape *out, const struct kp_recorder_opts *opts);
/* Stops and collects what is left. */
void tape_stop(struct tape *tape);
void tape_free(struct tape *tape);

/* Records of one kind in order of arrival: start with NULL, ends with NULL. kind 0 = all. */
const struct kp_record *tape_next(const struct tape *tape, uint8_t kind,
                                  const struct kp_record *previous);
#define TAPE_EACH(rec, tape, ID)                                                                 \
    for (const struct kp_record_##ID *rec = (const void *)tape_next(tape, KP_STREAM_##ID, NULL); \
         rec; rec = (const void *)tape_next(tape, KP_STREAM_##ID, &rec->head))

/* A child process: made at once, runs body(arg) after work_go; its exit status is body's result. */
struct work {
    pid_t pid;
    int go;
};
void work_make(struct work *out, int (*body)(void *arg), void *arg);
void work_go(struct work *work);
/* Waits for its end; returns the wait status. */
int work_end(struct work *work);

/* Binds the calling thread to one CPU. */
void pin_cpu(int cpu);
void sleep_ns(int64_t ns);
/* Keeps the CPU busy for so much wall time. */
void spin_ns(int64_t ns);

/* Writes text into a file; false (errno set) when that fails. */
bool file_write(const char *path, const char *text);
/* A fresh control group of this program below a v1 controller ("cpu", "memory"), its path in out;
 * false when the machine has no such hierarchy. */
bool group_make(const char *controller, char out[256]);
void group_write(const char *group, const char *file, const char *text);
void group_enter(const char *group, pid_t pid);
/* Removes an empty group. */
void group_remove(const char *group);

#endif
