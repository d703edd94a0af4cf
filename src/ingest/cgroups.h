/* SPDX-License-Identifier: Apache-2.0
 *
 * Control groups of this host: (hierarchy, id) -> path, for the unified hierarchy and the v1
 * hierarchies of cpu, memory and io. The id is the inode of the directory; ids of different
 * hierarchies overlap, so the key is both. Filled by a scan of the mounts and by CGROUP records;
 * sampled for quota counters. Not thread-safe: the owner's lock covers it.
 */
#ifndef KP_INGEST_CGROUPS_H
#define KP_INGEST_CGROUPS_H

#include "base/str.h"
#include "base/time.h"
#include "column/batch.h"

#define KPI_CONTROLLER_CPU    1u
#define KPI_CONTROLLER_MEMORY 2u
#define KPI_CONTROLLER_IO     4u

struct kpi_cgroups;

struct kpi_cgroup {
    uint64_t id;
    uint32_t hierarchy;  /* 0 = unified */
    uint16_t level;      /* 0 = root */
    uint8_t controllers; /* KPI_CONTROLLER_* */
    struct kp_str path;  /* below the mount point, "/" = root */
};

/* One reading of a cgroup with a CPU quota. */
struct kpi_quota {
    struct kpi_cgroup cgroup; /* path borrowed from the sample */
    kp_dur quota, period, throttled_dur;
    int64_t periods, throttled;
};

kp_status kpi_cgroups_init(struct kpi_cgroups **out) KP_MUST;
void kpi_cgroups_deinit(struct kpi_cgroups *cgroups);

/* Learns every directory below the cgroup mounts named in mountinfo_path (NULL = this process's).
 */
kp_status kpi_cgroups_scan(struct kpi_cgroups *cgroups, const char *mountinfo_path) KP_MUST;
/* Learns, renames or forgets one, as CGROUP records say. */
kp_status kpi_cgroups_set(struct kpi_cgroups *cgroups, const struct kpi_cgroup *cgroup) KP_MUST;
void kpi_cgroups_remove(struct kpi_cgroups *cgroups, uint32_t hierarchy, uint64_t id);

/* The path an actor shows: v2 unless it is "/", else v1 cpu, else "/". An id that is not known
 * counts as "/" and is remembered: when it is learnt later the generation moves. */
struct kp_str kpi_cgroups_path(struct kpi_cgroups *cgroups, uint64_t v2, uint64_t v1);
/* Id of a path in the unified hierarchy or in v1 cpu; 0 when not known. */
uint64_t kpi_cgroups_find(const struct kpi_cgroups *cgroups, bool v2, struct kp_str path);
/* Changes whenever a path that was handed out may have changed. */
uint32_t kpi_cgroups_generation(const struct kpi_cgroups *cgroups);
/* True once after an id was asked that is not known: a scan would help. */
bool kpi_cgroups_missed(struct kpi_cgroups *cgroups);

/* Known cgroups 0..count-1, in no lasting order; borrowed until the next change. */
uint32_t kpi_cgroups_count(const struct kpi_cgroups *cgroups);
const struct kpi_cgroup *kpi_cgroups_at(const struct kpi_cgroups *cgroups, uint32_t index);
/* Directory of a cgroup with the cpu controller into out; false when it has none or does not fit.
 */
bool kpi_cgroups_dir(const struct kpi_cgroups *cgroups, const struct kpi_cgroup *cgroup, char *out,
                     size_t size);
/* Reads quota and counters below dir; false when there is no quota. Touches no shared state. */
bool kpi_cgroup_quota(const char *dir, bool v2, struct kpi_quota *out);

#endif
