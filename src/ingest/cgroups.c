/* SPDX-License-Identifier: Apache-2.0
 *
 * A dense array of cgroups and an open-addressing index by (hierarchy, id). Cgroups are few and
 * live long; removal moves the last entry into the hole and rebuilds the index, lookups are one
 * probe.
 */
#include "ingest/cgroups.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/hash.h"
#include "ingest/proc.h"

#define MOUNTS_MAX 8
#define DEPTH_MAX  32
#define MISSED_MAX 256 /* ids asked in vain that are remembered */

struct mount {
    char path[256];
    uint32_t hierarchy;
    uint8_t controllers;
};

struct kpi_cgroups {
    struct kpi_cgroup *items; /* paths are malloc'd */
    uint32_t count, capacity;
    uint32_t *slots; /* index into items + 1; 0 = free */
    uint32_t slots_count;
    struct mount mounts[MOUNTS_MAX];
    uint32_t mounts_count;
    uint32_t hierarchy_v1; /* of v1 cpu; 0 = none */
    uint32_t generation;
    struct {
        uint32_t hierarchy;
        uint64_t id;
    } missed[MISSED_MAX];
    uint32_t missed_count;
    bool missed_new;
};

kp_status kpi_cgroups_init(struct kpi_cgroups **out)
{
    struct kpi_cgroups *cgroups = calloc(1, sizeof(*cgroups));
    if (cgroups == NULL)
        return KP_NO_MEMORY;
    cgroups->generation = 1;
    *out = cgroups;
    return KP_OK;
}

void kpi_cgroups_deinit(struct kpi_cgroups *cgroups)
{
    if (cgroups == NULL)
        return;
    for (uint32_t i = 0; i < cgroups->count; i++)
        free((void *)(uintptr_t)cgroups->items[i].path.ptr);
    free(cgroups->items);
    free(cgroups->slots);
    free(cgroups);
}

/* --- the table --- */

static uint32_t slot_of(const struct kpi_cgroups *cgroups, uint32_t hierarchy, uint64_t id)
{
    uint32_t mask = cgroups->slots_count - 1;
    uint32_t at = (uint32_t)kp_hash_mix(id ^ (uint64_t)hierarchy << 48) & mask;
    for (; cgroups->slots[at] != 0; at = (at + 1) & mask) {
        const struct kpi_cgroup *item = &cgroups->items[cgroups->slots[at] - 1];
        if (item->id == id && item->hierarchy == hierarchy)
            break;
    }
    return at;
}

static struct kpi_cgroup *find(const struct kpi_cgroups *cgroups, uint32_t hierarchy, uint64_t id)
{
    if (cgroups->slots_count == 0)
        return NULL;
    uint32_t index = cgroups->slots[slot_of(cgroups, hierarchy, id)];
    return index == 0 ? NULL : &cgroups->items[index - 1];
}

static void index_rebuild(struct kpi_cgroups *cgroups)
{
    memset(cgroups->slots, 0, cgroups->slots_count * sizeof(*cgroups->slots));
    for (uint32_t i = 0; i < cgroups->count; i++)
        cgroups->slots[slot_of(cgroups, cgroups->items[i].hierarchy, cgroups->items[i].id)] = i + 1;
}

static bool table_grow(struct kpi_cgroups *cgroups)
{
    uint32_t capacity = cgroups->capacity == 0 ? 128 : cgroups->capacity * 2;
    struct kpi_cgroup *items = realloc(cgroups->items, capacity * sizeof(*items));
    if (items == NULL)
        return false;
    cgroups->items = items;
    uint32_t *slots = realloc(cgroups->slots, 2 * capacity * sizeof(*slots));
    if (slots == NULL)
        return false;
    cgroups->slots = slots;
    cgroups->slots_count = 2 * capacity;
    cgroups->capacity = capacity;
    index_rebuild(cgroups);
    return true;
}

/* An actor shows this path, or asked for it in vain: its readers must look again. */
static void note_learnt(struct kpi_cgroups *cgroups, uint32_t hierarchy, uint64_t id)
{
    for (uint32_t i = 0; i < cgroups->missed_count; i++) {
        if (cgroups->missed[i].id != id || cgroups->missed[i].hierarchy != hierarchy)
            continue;
        cgroups->missed[i] = cgroups->missed[--cgroups->missed_count];
        cgroups->generation++;
        return;
    }
}

kp_status kpi_cgroups_set(struct kpi_cgroups *cgroups, const struct kpi_cgroup *cgroup)
{
    struct kpi_cgroup *item = find(cgroups, cgroup->hierarchy, cgroup->id);
    if (item != NULL && kp_str_equal(item->path, cgroup->path))
        return KP_OK;
    if (item == NULL && cgroups->count == cgroups->capacity && !table_grow(cgroups))
        return KP_NO_MEMORY;
    char *path = malloc(cgroup->path.len + 1);
    if (path == NULL)
        return KP_NO_MEMORY;
    memcpy(path, cgroup->path.ptr, cgroup->path.len);
    path[cgroup->path.len] = '\0';
    if (item != NULL) {
        free((void *)(uintptr_t)item->path.ptr);
        cgroups->generation++;
    } else {
        item = &cgroups->items[cgroups->count++];
        *item = *cgroup;
        cgroups->slots[slot_of(cgroups, cgroup->hierarchy, cgroup->id)] = cgroups->count;
        note_learnt(cgroups, cgroup->hierarchy, cgroup->id);
    }
    item->path = (struct kp_str){path, cgroup->path.len};
    return KP_OK;
}

void kpi_cgroups_remove(struct kpi_cgroups *cgroups, uint32_t hierarchy, uint64_t id)
{
    struct kpi_cgroup *item = find(cgroups, hierarchy, id);
    if (item == NULL)
        return;
    free((void *)(uintptr_t)item->path.ptr);
    *item = cgroups->items[--cgroups->count];
    index_rebuild(cgroups);
}

/* --- lookups --- */

static struct kp_str path_of(struct kpi_cgroups *cgroups, uint32_t hierarchy, uint64_t id)
{
    const struct kpi_cgroup *item = find(cgroups, hierarchy, id);
    if (item != NULL)
        return item->path;
    for (uint32_t i = 0; i < cgroups->missed_count; i++)
        if (cgroups->missed[i].id == id && cgroups->missed[i].hierarchy == hierarchy)
            return KP_STR("/");
    if (cgroups->missed_count == MISSED_MAX) /* none of them was ever learnt */
        cgroups->missed_count = 0;
    cgroups->missed[cgroups->missed_count].hierarchy = hierarchy;
    cgroups->missed[cgroups->missed_count++].id = id;
    cgroups->missed_new = true;
    return KP_STR("/");
}

struct kp_str kpi_cgroups_path(struct kpi_cgroups *cgroups, uint64_t v2, uint64_t v1)
{
    struct kp_str unified = v2 == 0 ? KP_STR("/") : path_of(cgroups, 0, v2);
    if (unified.len > 1 || v1 == 0 || cgroups->hierarchy_v1 == 0)
        return unified;
    return kpi_cgroup_choose(unified, path_of(cgroups, cgroups->hierarchy_v1, v1));
}

uint64_t kpi_cgroups_find(const struct kpi_cgroups *cgroups, bool v2, struct kp_str path)
{
    uint32_t hierarchy = v2 ? 0 : cgroups->hierarchy_v1;
    for (uint32_t i = 0; path.len > 0 && i < cgroups->count; i++)
        if (cgroups->items[i].hierarchy == hierarchy && kp_str_equal(cgroups->items[i].path, path))
            return cgroups->items[i].id;
    return 0;
}

uint32_t kpi_cgroups_generation(const struct kpi_cgroups *cgroups)
{
    return cgroups->generation;
}

bool kpi_cgroups_missed(struct kpi_cgroups *cgroups)
{
    bool missed = cgroups->missed_new;
    cgroups->missed_new = false;
    return missed;
}

uint32_t kpi_cgroups_count(const struct kpi_cgroups *cgroups)
{
    return cgroups->count;
}

const struct kpi_cgroup *kpi_cgroups_at(const struct kpi_cgroups *cgroups, uint32_t index)
{
    kp_assert(index < cgroups->count);
    return &cgroups->items[index];
}

bool kpi_cgroups_dir(const struct kpi_cgroups *cgroups, const struct kpi_cgroup *cgroup, char *out,
                     size_t size)
{
    for (uint32_t i = 0; i < cgroups->mounts_count; i++) {
        const struct mount *mount = &cgroups->mounts[i];
        if (mount->hierarchy != cgroup->hierarchy ||
            (mount->hierarchy != 0 && mount->hierarchy != cgroups->hierarchy_v1))
            continue;
        int used = snprintf(out, size, "%s%s", mount->path, cgroup->path.ptr);
        return used > 0 && (size_t)used < size;
    }
    return false;
}

/* --- the scan --- */

static uint8_t controllers_of(const char *options)
{
    static const struct {
        const char *name;
        uint8_t bit;
    } known[] = {{"cpu", KPI_CONTROLLER_CPU},
                 {"memory", KPI_CONTROLLER_MEMORY},
                 {"io", KPI_CONTROLLER_IO},
                 {"blkio", KPI_CONTROLLER_IO}};
    uint8_t bits = 0;
    char copy[512], *save;
    snprintf(copy, sizeof(copy), "%s", options);
    for (char *word = strtok_r(copy, ", \n", &save); word; word = strtok_r(NULL, ", \n", &save))
        for (size_t i = 0; i < KP_ARRAY_LEN(known); i++)
            bits |= strcmp(word, known[i].name) == 0 ? known[i].bit : 0;
    return bits;
}

/* Number of the v1 hierarchy that has these controllers, from /proc/self/cgroup; 0 = none. */
static uint32_t hierarchy_number(uint8_t controllers)
{
    char line[1024];
    uint32_t number = 0;
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file != NULL && number == 0 && fgets(line, sizeof(line), file) != NULL) {
        char *names = strchr(line, ':');
        char *end = names == NULL ? NULL : strchr(names + 1, ':');
        if (end == NULL)
            continue;
        *end = '\0';
        if (controllers_of(names + 1) == controllers)
            number = (uint32_t)strtoul(line, NULL, 10);
    }
    if (file != NULL)
        fclose(file);
    return number;
}

/* One line of mountinfo: "... mountpoint options [tags] - type source super-options". */
static bool parse_mount(char *line, struct mount *out)
{
    char path[256], type[32], options[512];
    char *tail = strstr(line, " - ");
    if (tail == NULL || sscanf(line, "%*s %*s %*s %*s %255s", path) != 1 ||
        sscanf(tail + 3, "%31s %*s %511s", type, options) != 2)
        return false;
    memset(out, 0, sizeof(*out));
    snprintf(out->path, sizeof(out->path), "%s", path);
    if (strcmp(type, "cgroup2") == 0)
        return true;
    out->controllers = controllers_of(options);
    if (strcmp(type, "cgroup") != 0 || out->controllers == 0)
        return false;
    out->hierarchy = hierarchy_number(out->controllers);
    return out->hierarchy != 0;
}

static bool mount_known(const struct kpi_cgroups *cgroups, uint32_t hierarchy)
{
    for (uint32_t i = 0; i < cgroups->mounts_count; i++)
        if (cgroups->mounts[i].hierarchy == hierarchy)
            return true;
    return false;
}

static void find_mounts(struct kpi_cgroups *cgroups, FILE *mountinfo)
{
    char line[2048];
    struct mount mount;
    cgroups->mounts_count = 0;
    while (cgroups->mounts_count < MOUNTS_MAX && fgets(line, sizeof(line), mountinfo) != NULL) {
        if (!parse_mount(line, &mount) || mount_known(cgroups, mount.hierarchy))
            continue;
        cgroups->mounts[cgroups->mounts_count++] = mount;
        if (mount.hierarchy != 0 && (mount.controllers & KPI_CONTROLLER_CPU))
            cgroups->hierarchy_v1 = mount.hierarchy;
    }
}

static uint8_t unified_controllers(int dir)
{
    char text[512] = "";
    int fd = openat(dir, "cgroup.controllers", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t got = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    return controllers_of(text);
}

static kp_status scan_dir(struct kpi_cgroups *cgroups, const struct mount *mount, int fd,
                          struct kp_buf *path, uint16_t level);

/* Opens name below dir and scans it; a directory that is gone is no error. */
static kp_status scan_child(struct kpi_cgroups *cgroups, const struct mount *mount, int dir,
                            const char *name, struct kp_buf *path, uint16_t level)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return KP_OK;
    size_t used = path->size;
    kp_buf_char(path, '/');
    kp_buf_text(path, name);
    kp_status status = path->failed ? KP_NO_MEMORY : scan_dir(cgroups, mount, fd, path, level);
    path->size = used;
    return status;
}

/* Takes fd over. */
static kp_status scan_dir(struct kpi_cgroups *cgroups, const struct mount *mount, int fd,
                          struct kp_buf *path, uint16_t level)
{
    struct stat info;
    DIR *dir = fstat(fd, &info) == 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        close(fd);
        return KP_OK;
    }
    struct kpi_cgroup cgroup = {
        .id = info.st_ino,
        .hierarchy = mount->hierarchy,
        .level = level,
        .controllers = mount->hierarchy == 0 ? unified_controllers(fd) : mount->controllers,
        .path = path->size == 0 ? KP_STR("/") : (struct kp_str){path->data, (uint32_t)path->size}};
    kp_status status = kpi_cgroups_set(cgroups, &cgroup);
    struct dirent *entry;
    while (status == KP_OK && level < DEPTH_MAX && (entry = readdir(dir)) != NULL)
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.')
            status =
                scan_child(cgroups, mount, dirfd(dir), entry->d_name, path, (uint16_t)(level + 1));
    closedir(dir);
    return status;
}

kp_status kpi_cgroups_scan(struct kpi_cgroups *cgroups, const char *mountinfo_path)
{
    FILE *mountinfo = fopen(mountinfo_path != NULL ? mountinfo_path : "/proc/self/mountinfo", "re");
    if (mountinfo == NULL)
        return KP_NOT_FOUND;
    find_mounts(cgroups, mountinfo);
    fclose(mountinfo);
    kp_status status = KP_OK;
    struct kp_buf path = {0};
    for (uint32_t i = 0; status == KP_OK && i < cgroups->mounts_count; i++) {
        int fd = open(cgroups->mounts[i].path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0)
            status = scan_dir(cgroups, &cgroups->mounts[i], fd, &path, 0);
    }
    kp_buf_deinit(&path);
    return status;
}

/* --- quota counters --- */

static bool read_text(const char *dir, const char *name, char *out, size_t size)
{
    char path[1024];
    if ((size_t)snprintf(path, sizeof(path), "%s/%s", dir, name) >= sizeof(path))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = read(fd, out, size - 1);
    close(fd);
    out[got > 0 ? got : 0] = '\0';
    return got > 0;
}

/* Value of "name value" in a flat keyed file; 0 when absent. */
static int64_t keyed(const char *text, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = text; at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n';
        if (strncmp(at, name, len) == 0 && at[len] == ' ')
            return strtoll(at + len, NULL, 10);
    }
    return 0;
}

static bool quota_v2(const char *dir, struct kpi_quota *out)
{
    char text[128];
    int64_t quota_us, period_us;
    if (!read_text(dir, "cpu.max", text, sizeof(text)) ||
        sscanf(text, "%" SCNd64 " %" SCNd64, &quota_us, &period_us) != 2)
        return false; /* no such controller, or "max" */
    out->quota = quota_us * KP_US;
    out->period = period_us * KP_US;
    return true;
}

static bool quota_v1(const char *dir, struct kpi_quota *out)
{
    char quota[64], period[64];
    if (!read_text(dir, "cpu.cfs_quota_us", quota, sizeof(quota)) ||
        !read_text(dir, "cpu.cfs_period_us", period, sizeof(period)))
        return false;
    int64_t quota_us = strtoll(quota, NULL, 10);
    out->quota = quota_us * KP_US;
    out->period = strtoll(period, NULL, 10) * KP_US;
    return quota_us > 0;
}

bool kpi_cgroup_quota(const char *dir, bool v2, struct kpi_quota *out)
{
    char text[1024];
    if (!(v2 ? quota_v2(dir, out) : quota_v1(dir, out)) ||
        !read_text(dir, "cpu.stat", text, sizeof(text)))
        return false;
    out->periods = keyed(text, "nr_periods");
    out->throttled = keyed(text, "nr_throttled");
    out->throttled_dur = v2 ? keyed(text, "throttled_usec") * KP_US : keyed(text, "throttled_time");
    return true;
}
