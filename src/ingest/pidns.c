/* SPDX-License-Identifier: Apache-2.0
 *
 * A pass over /proc costs about 20 us a process, so answers are kept in a small table, by the hash
 * of all that was said. An answer stands as long as its process has the same start; a table full
 * of answers overwrites in turn.
 */
#include "ingest/pidns.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/hash.h"
#include "ingest/proc.h"

#define KEPT_MAX      256
#define MISS_NS       (KP_SEC)     /* a process may not be there yet when its first span comes */
#define CREATED_SLACK (2 * KP_SEC) /* senders round the time of their creation to seconds */
#define CONTAINER_MIN 12           /* digits of a container id that are told apart by */

struct kept {
    uint64_t key; /* 0 = free */
    struct kpi_process process;
    int64_t start; /* ns since boot; of the process found */
    int64_t until; /* monotonic ns; of a miss */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kept kept[KEPT_MAX];
static uint32_t kept_next;

static uint64_t claim_key(const struct kpi_process_claim *claim);
static bool recall(uint64_t key, bool *out_found, struct kpi_process *out);
static bool search(const struct kpi_process_claim *claim, struct kpi_process *out, int64_t *start);

bool kpi_pidns_find(const struct kpi_process_claim *claim, struct kpi_process *out)
{
    if (claim->pid == 0)
        return false;
    uint64_t key = claim_key(claim);
    bool found;
    pthread_mutex_lock(&lock);
    if (!recall(key, &found, out)) {
        struct kept entry = {.key = key, .until = kp_time_monotonic() + MISS_NS};
        found = search(claim, &entry.process, &entry.start);
        kept[kept_next++ % KEPT_MAX] = entry;
        if (found)
            *out = entry.process;
    }
    pthread_mutex_unlock(&lock);
    return found;
}

/* --- what is remembered --- */

static uint64_t claim_key(const struct kpi_process_claim *claim)
{
    uint64_t key = kp_hash64(&claim->pid, sizeof(claim->pid), 1);
    key = kp_hash64(&claim->created, sizeof(claim->created), key);
    const struct kp_str texts[] = {claim->container, claim->cgroup, claim->exe};
    for (uint32_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        key = kp_hash64(texts[i].ptr, texts[i].len, key);
    return key | 1;
}

static bool recall(uint64_t key, bool *out_found, struct kpi_process *out)
{
    struct kpi_proc_thread proc;
    for (uint32_t i = 0; i < KEPT_MAX; i++) {
        if (kept[i].key != key)
            continue;
        bool found = kept[i].process.pid != 0;
        bool stands =
            found ? kpi_proc_thread(kept[i].process.pid, &proc) && proc.start_ticks == kept[i].start
                  : kp_time_monotonic() < kept[i].until;
        if (stands) {
            *out_found = found;
            *out = kept[i].process;
            return true;
        }
        kept[i].key = 0;
    }
    return false;
}

/* --- who is meant --- */

static bool ends_with(const char *path, struct kp_str end)
{
    size_t len = strlen(path);
    return len >= end.len && memcmp(path + len - end.len, end.ptr, end.len) == 0;
}

static bool contains(const char *path, struct kp_str part)
{
    size_t len = strlen(path);
    for (size_t at = 0; at + part.len <= len; at++)
        if (memcmp(path + at, part.ptr, part.len) == 0)
            return true;
    return false;
}

/* "python3" is /usr/bin/python3.11; "sh" is the comm of a busybox. */
static bool same_name(const char *name, struct kp_str said)
{
    size_t len = strlen(name);
    size_t common = len < said.len ? len : said.len;
    return common > 0 && memcmp(name, said.ptr, common) == 0;
}

/* The executable of a process of another mount namespace still has its own name. */
static bool runs_exe(const struct kpi_proc_thread *proc, struct kp_str said)
{
    char path[64], target[4096];
    snprintf(path, sizeof(path), "/proc/%u/exe", proc->pid);
    ssize_t len = readlink(path, target, sizeof(target) - 1);
    target[len > 0 ? len : 0] = '\0';
    const char *slash = strrchr(target, '/');
    return same_name(slash == NULL ? target : slash + 1, said) || same_name(proc->comm, said);
}

static bool created_then(const struct kpi_proc_thread *proc, kp_time created)
{
    struct timespec boot;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    kp_time booted = kp_time_now() - ((int64_t)boot.tv_sec * KP_SEC + boot.tv_nsec);
    return llabs(booted + proc->start_ticks - created) <= CREATED_SLACK;
}

static bool agrees(const struct kpi_process_claim *claim, const struct kpi_proc_thread *proc)
{
    if (claim->container.len >= CONTAINER_MIN && !contains(proc->cgroup_v2, claim->container) &&
        !contains(proc->cgroup_v1, claim->container))
        return false;
    if (claim->cgroup.len > 1 && !ends_with(proc->cgroup_v2, claim->cgroup) &&
        !ends_with(proc->cgroup_v1, claim->cgroup))
        return false;
    if (claim->exe.len > 0 && !runs_exe(proc, claim->exe))
        return false;
    return claim->created == 0 || created_then(proc, claim->created);
}

static bool search(const struct kpi_process_claim *claim, struct kpi_process *out, int64_t *start)
{
    DIR *dir = opendir("/proc");
    struct kpi_process best = {0};
    uint32_t outer = 0, inner = 0; /* how many agree, here and in namespaces below */
    struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        struct kpi_proc_thread proc;
        uint32_t depth, pid = (uint32_t)strtoul(entry->d_name, NULL, 10);
        if (pid == 0 || kpi_proc_inner(pid, pid, &depth) != claim->pid ||
            !kpi_proc_thread(pid, &proc) || !agrees(claim, &proc))
            continue;
        outer += depth == 1;
        inner += depth > 1;
        if (depth > 1 && outer > 0)
            continue;
        best = (struct kpi_process){.pid = pid, .inner = depth > 1};
        *start = proc.start_ticks;
    }
    if (dir != NULL)
        closedir(dir);
    if (outer == 0 && inner != 1)
        return false;
    *out = best;
    return true;
}

uint32_t kpi_pidns_thread(uint32_t pid, uint32_t inner)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%u/task", pid);
    DIR *dir = opendir(path);
    uint32_t found = 0;
    struct dirent *entry;
    while (found == 0 && dir != NULL && (entry = readdir(dir)) != NULL) {
        uint32_t depth, tid = (uint32_t)strtoul(entry->d_name, NULL, 10);
        if (tid != 0 && kpi_proc_inner(pid, tid, &depth) == inner)
            found = tid;
    }
    if (dir != NULL)
        closedir(dir);
    return found;
}
