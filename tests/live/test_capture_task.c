/* SPDX-License-Identifier: Apache-2.0
 *
 * Life of threads and control groups, as a few known processes live it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tape.h"

enum { OP_SCAN, OP_FORK, OP_EXEC, OP_EXIT, OP_RENAME };
enum { CG_MKDIR = 1, CG_RMDIR, CG_RENAME, CG_ATTACH };

/* The only record of a thread with that op; NULL when there is none or more than one. */
static const struct kp_record_TASK *only(const struct tape *tape, uint32_t tid, uint8_t op)
{
    const struct kp_record_TASK *found = NULL;

    TAPE_EACH(rec, tape, TASK)
    {
        if (rec->head.tid != tid || rec->op != op)
            continue;
        if (found)
            return NULL;
        found = rec;
    }
    return found;
}

static const char *own_comm(void)
{
    static char comm[16];

    prctl(PR_GET_NAME, comm);
    return comm;
}

/* Children of a process, in order of birth. */
static uint32_t children(const struct tape *tape, uint32_t parent, uint32_t *out, uint32_t out_max)
{
    uint32_t count = 0;

    TAPE_EACH(rec, tape, TASK)
    {
        if (rec->op == OP_FORK && rec->parent == parent && count < out_max)
            out[count++] = rec->head.tid;
    }
    return count;
}

static void *idle_thread(void *arg)
{
    return arg;
}

static int family(void *arg)
{
    pthread_t thread;
    int status;

    (void)arg;
    pid_t renamed = fork();
    if (renamed == 0) {
        prctl(PR_SET_NAME, "kp-renamed");
        _exit(7);
    }
    waitpid(renamed, &status, 0);
    pid_t executed = fork();
    if (executed == 0) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    waitpid(executed, &status, 0);
    pid_t killed = fork();
    if (killed == 0) {
        pause();
        _exit(1);
    }
    kill(killed, SIGTERM);
    waitpid(killed, &status, 0);
    if (pthread_create(&thread, NULL, idle_thread, NULL) != 0)
        return 1;
    pthread_join(thread, NULL);
    return 0;
}

static void a_family_is_known(void **state)
{
    (void)state;
    struct work work;
    struct tape tape;
    struct kp_recorder_opts opts = tape_opts(KIND(TASK));
    uint32_t kids[8];
    const struct kp_record_TASK *rec;

    work_make(&work, family, NULL);
    tape_start(&tape, &opts);
    work_go(&work);
    assert_int_equal(work_end(&work), 0);
    tape_stop(&tape);

    const uint32_t self = (uint32_t)work.pid;
    assert_int_equal(children(&tape, self, kids, 8), 4);
    for (int i = 0; i < 4; i++) {
        const struct kp_record_TASK *born = only(&tape, kids[i], OP_FORK);
        rec = only(&tape, kids[i], OP_EXIT);
        assert_non_null(born);
        assert_non_null(rec);
        assert_int_equal(born->head.tgid, i < 3 ? kids[i] : self); /* the last is a thread */
        assert_true(born->start_boot == rec->start_boot);
        assert_true(born->head.mono < rec->head.mono);
        assert_false(born->kthread);
        assert_string_equal(born->name, own_comm());
    }
    assert_int_equal(only(&tape, kids[0], OP_EXIT)->exit_code, 7 << 8);
    assert_int_equal(only(&tape, kids[1], OP_EXIT)->exit_code, 0);
    assert_int_equal(only(&tape, kids[2], OP_EXIT)->exit_code, SIGTERM);
    assert_string_equal(only(&tape, kids[0], OP_RENAME)->name, "kp-renamed");
    assert_string_equal(only(&tape, kids[0], OP_EXIT)->name, "kp-renamed");
    rec = only(&tape, kids[1], OP_EXEC);
    assert_non_null(rec);
    assert_string_equal(rec->name, "true");
    assert_string_equal(rec->exe, "/bin/true");
    assert_non_null(only(&tape, self, OP_EXIT));
    assert_int_equal(tape.stat.lost, 0);
    tape_free(&tape);
}

/* --- the scan --- */

struct seen {
    uint32_t threads, kthreads, self;
    struct kp_record_TASK me;
};

static void see(void *ctx, const void *record, size_t size)
{
    struct seen *seen = ctx;
    const struct kp_record_TASK *rec = record;

    assert_int_equal(size, sizeof(*rec));
    assert_int_equal(rec->head.kind, KP_STREAM_TASK);
    assert_int_equal(rec->op, OP_SCAN);
    seen->threads++;
    seen->kthreads += rec->kthread;
    if (rec->head.tid == (uint32_t)getpid()) {
        seen->self++;
        seen->me = *rec;
    }
}

static uint32_t threads_in_proc(void)
{
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    uint32_t count = 0;

    assert_non_null(proc);
    while ((entry = readdir(proc)) != NULL) {
        char path[300];
        struct stat st;
        snprintf(path, sizeof(path), "/proc/%s/task", entry->d_name);
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && stat(path, &st) == 0)
            count += (uint32_t)st.st_nlink - 2;
    }
    closedir(proc);
    return count;
}

/* Start of this process in clock ticks since boot. */
static unsigned long long start_ticks(void)
{
    char text[1024] = "";
    unsigned long long ticks = 0;
    FILE *file = fopen("/proc/self/stat", "r");

    assert_non_null(file);
    assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
    fclose(file);
    char *at = strrchr(text, ')') + 1;
    for (int field = 3; field <= 22; field++) {
        ticks = strtoull(at + 1, NULL, 10);
        at = strchr(at + 1, ' ');
    }
    return ticks;
}

static void the_scan_sees_every_thread(void **state)
{
    (void)state;
    struct tape tape;
    struct kp_recorder_opts opts = tape_opts(KIND(TASK));
    struct seen seen = {0};
    struct kp_error err;

    tape_start(&tape, &opts);
    uint32_t before = threads_in_proc();
    assert_int_equal(kp_source_scan(tape.source, see, &seen, &err), KP_OK);
    tape_free(&tape);
    assert_in_range(seen.threads, before > 20 ? before - 20 : 0, before + 20);
    assert_in_range(seen.kthreads, 5, seen.threads - 1);
    assert_int_equal(seen.self, 1);
    assert_int_equal(seen.me.head.tgid, getpid());
    assert_int_equal(seen.me.parent, getppid());
    assert_string_equal(seen.me.name, own_comm());
    assert_false(seen.me.kthread);
    assert_int_equal(seen.me.start_boot / (uint64_t)(KP_SEC / sysconf(_SC_CLK_TCK)), start_ticks());
    assert_true(seen.me.cgroup_v2 != 0);
}

/* --- control groups --- */

static void *wait_thread(void *arg)
{
    sleep_ns(300 * KP_MS);
    return arg;
}

static int two_threads(void *arg)
{
    pthread_t thread;

    (void)arg;
    return pthread_create(&thread, NULL, wait_thread, NULL) != 0 || pthread_join(thread, NULL) != 0;
}

static uint64_t count_ops(const struct tape *tape, uint64_t id, uint8_t op, const char *path_end)
{
    uint64_t count = 0;

    TAPE_EACH(rec, tape, CGROUP)
    {
        if (rec->id != id || rec->op != op)
            continue;
        assert_string_equal(strrchr(rec->path, '/'), path_end);
        assert_int_not_equal(rec->hierarchy, 0);
        assert_int_equal(rec->level, 1);
        assert_int_equal(rec->controllers, 1);
        count++;
    }
    return count;
}

static void a_group_lives(void **state)
{
    (void)state;
    char group[256];
    struct stat st;
    struct work work;
    struct tape tape;
    struct kp_recorder_opts opts = tape_opts(KIND(CGROUP) | KIND(TASK));
    uint64_t in_group = 0;

    work_make(&work, two_threads, NULL);
    tape_start(&tape, &opts);
    if (!group_make("cpu", group)) {
        work_go(&work);
        work_end(&work);
        tape_free(&tape);
        print_message("no v1 cpu controller here\n");
        skip();
    }
    assert_int_equal(stat(group, &st), 0);
    work_go(&work);
    sleep_ns(100 * KP_MS); /* both threads are there */
    group_enter(group, work.pid);
    assert_int_equal(work_end(&work), 0);
    group_remove(group);
    tape_stop(&tape);
    assert_int_equal(count_ops(&tape, st.st_ino, CG_MKDIR, strrchr(group, '/')), 1);
    assert_int_equal(count_ops(&tape, st.st_ino, CG_ATTACH, strrchr(group, '/')), 2);
    assert_int_equal(count_ops(&tape, st.st_ino, CG_RMDIR, strrchr(group, '/')), 1);
    TAPE_EACH(rec, &tape, CGROUP)
    {
        if (rec->op == CG_ATTACH && rec->id == st.st_ino)
            assert_int_equal(rec->head.tgid, work.pid);
    }
    TAPE_EACH(rec, &tape, TASK)
    {
        in_group += rec->op == OP_EXIT && rec->cgroup_v1 == st.st_ino;
    }
    assert_int_equal(in_group, 2);
    tape_free(&tape);
}

int main(void)
{
#ifdef __SANITIZE_THREAD__
    printf("threads are counted, and this sanitizer starts one of its own\n");
    return 77;
#endif
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_family_is_known),
        cmocka_unit_test(the_scan_sees_every_thread),
        cmocka_unit_test(a_group_lives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
