/* SPDX-License-Identifier: Apache-2.0
 *
 * /proc is read with plain read(2) into stack buffers. A comm may hold blanks and brackets, so a
 * stat line is split at its last ')'.
 */
#include "ingest/proc.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "ingest/ingest.h"

#define PF_KTHREAD 0x00200000u

static char host_name[256];
static char boot_id[KPI_BOOT_MAX];
static char machine_id[KPI_BOOT_MAX];
static pthread_once_t names_once = PTHREAD_ONCE_INIT;

/* Bytes read into out (always NUL-terminated), or -1. */
static ssize_t read_file(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t used = 0;
    ssize_t got;
    while (used < size - 1 && (got = read(fd, out + used, size - 1 - used)) > 0)
        used += (size_t)got;
    close(fd);
    out[used] = '\0';
    return used == 0 ? -1 : (ssize_t)used;
}

static void read_name(const char *path, char out[KPI_BOOT_MAX])
{
    if (read_file(path, out, KPI_BOOT_MAX) < 0)
        out[0] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

static void read_names(void)
{
    if (gethostname(host_name, sizeof(host_name) - 1) != 0 || host_name[0] == '\0')
        snprintf(host_name, sizeof(host_name), "localhost");
    read_name("/proc/sys/kernel/random/boot_id", boot_id);
    read_name("/etc/machine-id", machine_id);
}

const char *kp_host_name(void)
{
    pthread_once(&names_once, read_names);
    return host_name;
}

const char *kpi_boot_id(void)
{
    pthread_once(&names_once, read_names);
    return boot_id;
}

const char *kpi_machine_id(void)
{
    pthread_once(&names_once, read_names);
    return machine_id;
}

/* "tid (comm) S ppid pgrp session tty tpgid flags ... starttime": fields counted after the ')'. */
static bool parse_stat(char *line, struct kpi_proc_thread *out)
{
    enum { FIELD_FLAGS = 7, FIELD_START = 20 };
    char *open = strchr(line, '('), *close = strrchr(line, ')');
    if (open == NULL || close == NULL || close < open)
        return false;
    uint64_t bad = 0;
    kpi_utf8_repair(out->comm, sizeof(out->comm), open + 1, (uint32_t)(close - open - 1), &bad);
    char *save, *field = strtok_r(close + 1, " ", &save);
    uint64_t start = 0;
    int number = 1;
    for (; field != NULL && number <= FIELD_START; number++) {
        if (number == FIELD_FLAGS)
            out->kthread = (strtoul(field, NULL, 10) & PF_KTHREAD) != 0;
        if (number == FIELD_START)
            start = strtoull(field, NULL, 10);
        field = strtok_r(NULL, " ", &save);
    }
    out->start_ticks = (int64_t)start * (KP_SEC / sysconf(_SC_CLK_TCK));
    return number > FIELD_START;
}

static void copy_path(char out[KPI_CGROUP_MAX], const char *path)
{
    snprintf(out, KPI_CGROUP_MAX, "%s", path);
}

static bool list_has(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += len)
        if ((at == list || at[-1] == ',') && (at[len] == ',' || at[len] == '\0'))
            return true;
    return false;
}

/* Lines "number:controllers:path"; the unified hierarchy is "0::path". */
static void parse_cgroup(char *text, struct kpi_proc_thread *out)
{
    char *save;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *controllers = strchr(line, ':');
        char *path = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (path == NULL)
            continue;
        *controllers++ = '\0';
        *path++ = '\0';
        if (strcmp(line, "0") == 0 && *controllers == '\0')
            copy_path(out->cgroup_v2, path);
        else if (list_has(controllers, "cpu"))
            copy_path(out->cgroup_v1, path);
    }
}

static bool read_tgid(uint32_t tid, uint32_t *out_pid)
{
    char path[64], text[2048];
    snprintf(path, sizeof(path), "/proc/%u/status", tid);
    if (read_file(path, text, sizeof(text)) < 0)
        return false;
    const char *at = strstr(text, "\nTgid:");
    if (at == NULL)
        return false;
    *out_pid = (uint32_t)strtoul(at + 6, NULL, 10);
    return *out_pid != 0;
}

bool kpi_proc_thread(uint32_t tid, struct kpi_proc_thread *out)
{
    struct kpi_proc_thread found = {.tid = tid};
    char path[64], text[8192];
    snprintf(path, sizeof(path), "/proc/%u/stat", tid);
    if (read_file(path, text, sizeof(text)) < 0 || !parse_stat(text, &found))
        return false;
    if (!read_tgid(tid, &found.pid))
        return false;
    snprintf(path, sizeof(path), "/proc/%u/cgroup", tid);
    if (read_file(path, text, sizeof(text)) > 0)
        parse_cgroup(text, &found);
    *out = found;
    return true;
}

bool kpi_proc_has_thread(uint32_t pid, uint32_t tid)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%u/task/%u", pid, tid);
    return access(path, F_OK) == 0;
}

/* "NSpid:" and one number a namespace, from that of /proc inwards. */
uint32_t kpi_proc_inner(uint32_t pid, uint32_t tid, uint32_t *out_depth)
{
    char path[64], text[2048];
    snprintf(path, sizeof(path), "/proc/%u/task/%u/status", pid, tid);
    if (read_file(path, text, sizeof(text)) < 0)
        return 0;
    char *at = strstr(text, "\nNSpid:"), *end;
    uint32_t inner = 0, depth = 0;
    if (at == NULL)
        return 0;
    at[strcspn(at + 1, "\n") + 1] = '\0';
    for (at += 7;; at = end) {
        unsigned long number = strtoul(at, &end, 10);
        if (end == at)
            break;
        inner = (uint32_t)number;
        depth++;
    }
    *out_depth = depth;
    return inner;
}

struct kp_str kpi_cgroup_choose(struct kp_str v2, struct kp_str v1)
{
    if (v2.len > 1)
        return v2;
    if (v1.len > 1)
        return v1;
    return KP_STR("/");
}

/* Length of the well-formed UTF-8 sequence at text, or 0. Table 3-7 of the Unicode standard. */
static uint32_t utf8_sequence(const unsigned char *text, uint32_t left)
{
    unsigned char c = text[0];
    if (c < 0x80)
        return 1;
    uint32_t len = c >= 0xc2 && c <= 0xdf ? 2 : c >= 0xe0 && c <= 0xef ? 3 : 4;
    if (c < 0xc2 || c > 0xf4 || left < len)
        return 0;
    unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    if (text[1] < low || text[1] > high)
        return 0;
    for (uint32_t i = 2; i < len; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

uint32_t kpi_utf8_repair(char *out, size_t size, const char *text, uint32_t len, uint64_t *bad)
{
    uint32_t used = 0;
    for (uint32_t at = 0; at < len;) {
        uint32_t sequence = utf8_sequence((const unsigned char *)text + at, len - at);
        const char *from = sequence == 0 ? "\xef\xbf\xbd" : text + at;
        uint32_t add = sequence == 0 ? 3 : sequence;
        if (used + add >= size)
            break;
        memcpy(out + used, from, add);
        used += add;
        at += sequence == 0 ? 1 : sequence;
        *bad += sequence == 0;
    }
    out[used] = '\0';
    return used;
}
