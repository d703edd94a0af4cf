/* SPDX-License-Identifier: Apache-2.0
 *
 * A writer process is killed (SIGKILL) again and again while it appends, commits and seals: on the
 * file system that is there, and on XFS and btrfs in files, where they can be made and mounted.
 * What it had acknowledged through a pipe must be there, in order, with nothing doubled
 * (invariants 1 to 3 and 5 of docs/format.md).
 *
 * KP_COUNT: kills; `make soak-kill` asks for many more.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "folder.h"
#include "trial.h"

#define KILLS     300
#define KILLS_MAX 50 /* of one store */

static struct kp_store_opts opts_of(const struct kp_io *io)
{
    return (struct kp_store_opts){.io = io,
                                  .commit_after = KP_MS / 2,
                                  .segment_bytes_max = 64 << 10,
                                  .memory_bytes_max = 1 << 20,
                                  .wal_file_bytes = 256 << 10};
}

/* What one life of the writer acknowledged: numbers from first up to, not including, end. */
struct range {
    uint64_t first, end;
};

/* The child: never returns. Acknowledges by writing the range that is safe. */
static void write_until_killed(const struct kp_io *io, const char *dir, int pipe_fd)
{
    struct kp_store_opts opts = opts_of(io);
    struct kp_store *store = NULL;
    struct feed feed;
    if (kp_store_open(dir, &opts, &store, NULL) != KP_OK)
        _exit(3);
    feed_init(&feed, store);
    struct range safe = {.first = kp_store_seq(store, 0)};
    for (uint32_t i = 0;; i++) {
        uint64_t first, ticket;
        uint32_t rows = 1 + i * 7 % 300;
        kp_status status = feed_append(&feed, rows, &first, &ticket);
        if (status != KP_OK) /* every number must become a row here: holes would be losses */
            _exit(4);
        if (i % 3 != 0)
            continue;
        if (kp_store_wait(store, ticket, NULL) != KP_OK)
            _exit(5);
        safe.end = first + rows;
        if (write(pipe_fd, &safe, sizeof(safe)) != sizeof(safe))
            _exit(6);
    }
}

static void pause_ms(unsigned ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&ts, NULL);
}

/* Runs and kills one writer; returns what it acknowledged. */
static struct range kill_one(const struct kp_io *io, const char *dir, unsigned ms)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(fds[0]);
        write_until_killed(io, dir, fds[1]);
    }
    close(fds[1]);
    struct range safe, next;
    /* at least one acknowledgement, then some more time */
    assert_int_equal(read(fds[0], &safe, sizeof(safe)), sizeof(safe));
    pause_ms(ms);
    assert_int_equal(kill(child, SIGKILL), 0);
    while (read(fds[0], &next, sizeof(next)) == sizeof(next))
        safe = next;
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    close(fds[0]);
    return safe;
}

static void check(const struct kp_io *io, const char *dir, const struct range *acked,
                  unsigned count)
{
    struct seen seen;
    assert_int_equal(seen_read(io, dir, &seen), KP_OK);
    assert_int_equal(seen.wrong + seen.damaged + seen.gap_rows, 0);
    assert_true(seen_ordered(&seen));
    uint32_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        for (uint64_t seq = acked[i].first; seq < acked[i].end; seq++, at++) {
            while (at < seen.count && seen.seqs[at] < seq) /* appended, not acknowledged */
                at++;
            if (at == seen.count || seen.seqs[at] != seq)
                fail_msg("kill %u: acknowledged row %llu is gone", i, (unsigned long long)seq);
        }
    }
    seen_deinit(&seen);
}

/* A round of kills of the writers of one store, which is new. */
static void store_killed(const struct kp_io *io, const char *dir, unsigned kills, uint64_t *rows,
                         uint64_t *segments)
{
    struct range acked[KILLS_MAX];
    struct kpi_manifest manifest;
    for (unsigned i = 0; i < kills; i++) {
        acked[i] = kill_one(io, dir, i * 13 % 50);
        check(io, dir, acked, i + 1);
        *rows += acked[i].end - acked[i].first;
    }
    assert_int_equal(kpi_manifest_read(io, dir, &manifest, NULL, NULL, NULL), KP_OK);
    *segments += manifest.count;
    kpi_manifest_deinit(&manifest);
}

static void killed_writers(const struct kp_io *io, const char *where, const char *what,
                           uint64_t kills)
{
    uint64_t rows = 0, segments = 0;
    for (uint64_t left = kills; left > 0; left -= KP_MIN(left, KILLS_MAX)) {
        char dir[FOLDER_PATH + 16];
        snprintf(dir, sizeof(dir), "%s/store", where);
        store_killed(io, dir, (unsigned)KP_MIN(left, KILLS_MAX), &rows, &segments);
        assert_int_equal(folder_remove(dir), 0);
    }
    print_message("%s, %s: %llu kills, %llu rows acknowledged, 0 lost, %llu segments\n", what,
                  io->name, (unsigned long long)kills, (unsigned long long)rows,
                  (unsigned long long)segments);
}

static int setup(void **state)
{
    static char dir[FOLDER_PATH];
    folder_make("kill", dir);
    *state = dir;
    return 0;
}

static void mount_path(const char *dir, char out[FOLDER_PATH + 16])
{
    snprintf(out, FOLDER_PATH + 16, "%s/mounted", dir);
}

/* Lazy, because the kernel gives up a closed ring's files a moment later. */
static int teardown(void **state)
{
    char path[FOLDER_PATH + 16];
    mount_path(*state, path);
    umount2(path, MNT_DETACH);
    return folder_remove(*state);
}

static uint64_t kills_wanted(void)
{
    return trial_count(KILLS);
}

static void writers_on_io_uring(void **state)
{
    if (kp_io_uring() == NULL)
        skip();
    killed_writers(kp_io_uring(), *state, "here", kills_wanted() / 3);
}

static void writers_on_threads(void **state)
{
    killed_writers(kp_io_threads(), *state, "here", kills_wanted() / 3);
}

/* On a file system made for it in a file. */
static void writers_on(const char *type, const char *dir)
{
    char command[512], path[FOLDER_PATH + 16];
    mount_path(dir, path);
    snprintf(command, sizeof(command),
             "exec 2>&1; cd %s && mkdir -p mounted && truncate -s 512M disk && "
             "PATH=$PATH:/usr/sbin:/sbin && mkfs.%s disk >/dev/null && mount -o loop disk mounted",
             dir, type);
    if (system(command) != 0) {
        print_message("%s cannot be made and mounted here\n", type);
        skip();
    }
    killed_writers(kp_io_default(), path, type, KP_MAX(kills_wanted() / 6, 1));
}

static void writers_on_xfs(void **state)
{
    writers_on("xfs", *state);
}

static void writers_on_btrfs(void **state)
{
    writers_on("btrfs", *state);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writers_on_io_uring, setup, teardown),
        cmocka_unit_test_setup_teardown(writers_on_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(writers_on_xfs, setup, teardown),
        cmocka_unit_test_setup_teardown(writers_on_btrfs, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
