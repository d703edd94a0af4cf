/* SPDX-License-Identifier: Apache-2.0
 *
 * Disk, memory, network, signals and interrupts, each made to happen in a small way.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "tape.h"

#define WRITES      10
#define WRITE_BYTES 65536
#define LIMIT       "16777216" /* of the memory group */
#define FILE_BYTES  ((size_t)48 << 20)

/* --- disk --- */

static int write_and_sync(void *arg)
{
    static char block[WRITE_BYTES];
    int fd = *(int *)arg;

    memset(block, 'k', sizeof(block));
    for (int i = 0; i < WRITES; i++) {
        if (write(fd, block, sizeof(block)) != (ssize_t)sizeof(block) || fsync(fd) != 0)
            return 1;
    }
    return 0;
}

/* A file on a disk, already unlinked, and the disk's number as the records have it. */
static int disk_file(uint32_t *out_dev)
{
    char path[] = "/var/tmp/kprobe-io-XXXXXX";
    struct stat st;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(fstat(fd, &st), 0);
    *out_dev = major(st.st_dev) << 20 | minor(st.st_dev);
    return fd;
}

static void synced_writes_reach_the_disk(void **state)
{
    (void)state;
    struct work work;
    struct tape tape;
    struct kp_recorder_opts opts = tape_opts(KIND(BLOCK_RQ));
    uint64_t bytes = 0, rows = 0;
    uint32_t dev;
    int fd = disk_file(&dev);
    int64_t begin, end;

    if (dev >> 20 == 0) {
        close(fd);
        print_message("/var/tmp is not on a disk\n");
        skip();
    }
    work_make(&work, write_and_sync, &fd);
    tape_start(&tape, &opts);
    begin = kp_time_monotonic();
    work_go(&work);
    assert_int_equal(work_end(&work), 0);
    end = kp_time_monotonic();
    tape_stop(&tape);
    close(fd);
    TAPE_EACH(rec, &tape, BLOCK_RQ)
    {
        assert_true(rec->queue_dur <= rec->dur);
        assert_int_equal(rec->error, 0);
        if (rec->head.tgid != (uint32_t)work.pid)
            continue;
        assert_in_range(rec->head.mono, begin, end + KP_SEC);
        assert_true(rec->dur > 0 && rec->dur <= (uint64_t)(end - begin));
        rows++;
        bytes += rec->op == 1 ? rec->bytes : 0;
    }
    assert_in_range(rows, WRITES, 50 * WRITES);
    assert_in_range(bytes, WRITES * WRITE_BYTES, 20 * WRITES * WRITE_BYTES);
    assert_int_equal(tape.stat.lost, 0);
    tape_free(&tape);
}

/* --- memory --- */

/* Page cache beyond the group's limit: reclaimed, not killed. */
static int fill_cache(void *arg)
{
    static char block[WRITE_BYTES];
    int fd = *(int *)arg;

    for (size_t done = 0; done < FILE_BYTES; done += sizeof(block)) {
        if (write(fd, block, sizeof(block)) != (ssize_t)sizeof(block))
            return 1;
    }
    return 0;
}

/* Anonymous memory beyond it: without swap the group has a victim. */
static int fill_memory(void *arg)
{
    (void)arg;
    char *memory =
        mmap(NULL, FILE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return 1;
    memset(memory, 1, FILE_BYTES);
    return 0;
}

/* Runs body in a memory group with LIMIT; returns its wait status, or -1 without such groups. */
static int run_limited(struct tape *tape, struct work *work, int (*body)(void *), void *arg,
                       uint64_t kinds)
{
    char group[256];
    struct kp_recorder_opts opts = tape_opts(kinds);

    if (!group_make("memory", group))
        return -1;
    group_write(group, "memory.limit_in_bytes", LIMIT);
    work_make(work, body, arg);
    group_enter(group, work->pid);
    tape_start(tape, &opts);
    work_go(work);
    int status = work_end(work);
    tape_stop(tape);
    group_remove(group);
    return status;
}

static void a_full_group_reclaims(void **state)
{
    (void)state;
    struct work work;
    struct tape tape;
    uint32_t dev;
    int fd = disk_file(&dev);
    uint64_t rows = 0, pages = 0;

    int status = dev >> 20 == 0 ? -1 : run_limited(&tape, &work, fill_cache, &fd, KIND(VMSCAN));
    close(fd);
    if (status < 0) {
        print_message("no v1 memory controller here, or /var/tmp is not on a disk\n");
        skip();
    }
    assert_int_equal(status, 0);
    TAPE_EACH(rec, &tape, VMSCAN)
    {
        if (rec->head.tid != (uint32_t)work.pid || rec->op != 1)
            continue;
        assert_in_range(rec->dur, 1, 10 * KP_SEC);
        rows++;
        pages += rec->reclaimed;
    }
    assert_in_range(rows, 5, 100000);
    /* what was written less what the group may hold had to go */
    assert_in_range(pages, (FILE_BYTES - (20u << 20)) / 4096, 2 * FILE_BYTES / 4096);
    tape_free(&tape);
}

static void a_full_group_has_a_victim(void **state)
{
    (void)state;
    struct work work;
    struct tape tape;
    uint64_t victims = 0, kills = 0;

    int status = run_limited(&tape, &work, fill_memory, NULL, KIND(OOM) | KIND(SIGNAL));
    if (status < 0) {
        print_message("no v1 memory controller here\n");
        skip();
    }
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    TAPE_EACH(rec, &tape, OOM)
    {
        if (rec->victim != (uint32_t)work.pid)
            continue;
        victims++;
        assert_int_equal(rec->uid, getuid());
        assert_true(rec->total_vm >= FILE_BYTES / 4096);
    }
    TAPE_EACH(rec, &tape, SIGNAL)
    {
        kills += rec->target == (uint32_t)work.pid && rec->sig == SIGKILL && rec->code == SI_KERNEL;
    }
    assert_int_equal(victims, 1);
    assert_in_range(kills, 1, 2);
    tape_free(&tape);
}

/* --- signals --- */

static int signal_itself(void *arg)
{
    (void)arg;
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_DFL);
    kill(getpid(), SIGUSR1);
    return kill(getppid(), 0) + kill(getpid(), SIGUSR2);
}

static void signals_have_sender_and_target(void **state)
{
    (void)state;
    struct work work;
    struct tape tape;
    struct kp_recorder_opts opts = tape_opts(KIND(SIGNAL));
    uint64_t ignored = 0, fatal = 0;

    work_make(&work, signal_itself, NULL);
    tape_start(&tape, &opts);
    work_go(&work);
    int status = work_end(&work);
    tape_stop(&tape);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGUSR2);
    TAPE_EACH(rec, &tape, SIGNAL)
    {
        if (rec->head.tid != (uint32_t)work.pid || rec->target != (uint32_t)work.pid)
            continue;
        assert_int_equal(rec->code, SI_USER);
        ignored += rec->sig == SIGUSR1 && rec->result == 1;
        fatal += rec->sig == SIGUSR2 && rec->result == 0;
    }
    assert_int_equal(ignored, 1);
    assert_int_equal(fatal, 1);
    tape_free(&tape);
}

/* --- network --- */

struct backlog {
    struct sockaddr_in addr;
    int listener;
};

/* More connections than the listener takes: the kernel drops the last SYN, and sends it again a
 * second later. */
static int connect_too_often(void *arg)
{
    struct backlog *backlog = arg;
    int last = -1;

    for (int i = 0; i < 4; i++) {
        last = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (last < 0 ||
            (connect(last, (struct sockaddr *)&backlog->addr, sizeof(backlog->addr)) != 0 &&
             errno != EINPROGRESS))
            return 1;
    }
    sleep_ns(1300 * KP_MS);
    return 0;
}

static void lost_segments_are_sent_again(void **state)
{
    (void)state;
    struct backlog backlog = {.addr = {.sin_family = AF_INET}};
    socklen_t size = sizeof(backlog.addr);
    struct work work;
    struct tape tape;
    struct kp_recorder_opts opts = tape_opts(KIND(TCP_RETRANSMIT));
    uint64_t again = 0;

    backlog.addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    backlog.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(backlog.listener, (struct sockaddr *)&backlog.addr, size), 0);
    assert_int_equal(listen(backlog.listener, 0), 0);
    assert_int_equal(getsockname(backlog.listener, (struct sockaddr *)&backlog.addr, &size), 0);
    work_make(&work, connect_too_often, &backlog);
    tape_start(&tape, &opts);
    work_go(&work);
    assert_int_equal(work_end(&work), 0);
    tape_stop(&tape);
    close(backlog.listener);
    TAPE_EACH(rec, &tape, TCP_RETRANSMIT)
    {
        if (rec->dport != ntohs(backlog.addr.sin_port))
            continue;
        assert_int_equal(rec->ip_family, AF_INET);
        assert_memory_equal(rec->daddr, &backlog.addr.sin_addr, 4);
        assert_memory_equal(rec->saddr, &backlog.addr.sin_addr, 4);
        assert_int_equal(rec->tcp_state, 2); /* SYN sent */
        assert_int_not_equal(rec->net, 0);
        assert_int_not_equal(rec->sport, 0);
        again++;
    }
    assert_in_range(again, 2, 10);
    tape_free(&tape);
}

/* --- interrupts --- */

static int load_timer(void *arg)
{
    (void)arg;
    pin_cpu(0);
    for (int i = 0; i < 200; i++)
        sleep_ns(KP_MS);
    spin_ns(200 * KP_MS);
    return 0;
}

/* The timer of a CPU ticks; sums of short interrupts lose none of them, whatever the threshold. */
static void interrupts_add_up(void **state)
{
    (void)state;
    struct work work;
    struct tape tape;
    struct kp_recorder_opts opts = tape_opts(KIND(IRQ) | KIND(SOFTIRQ));
    uint64_t timers = 0, singles = 0, sums = 0;

    work_make(&work, load_timer, NULL);
    tape_start(&tape, &opts);
    int64_t begin = kp_time_monotonic();
    work_go(&work);
    assert_int_equal(work_end(&work), 0);
    int64_t end = kp_time_monotonic();
    tape_stop(&tape);
    TAPE_EACH(rec, &tape, IRQ)
    {
        assert_true(rec->count > 0);
        if (rec->window == 0) {
            assert_int_equal(rec->count, 1);
            assert_true((int64_t)rec->dur >= KP_IRQ_MIN_DEFAULT);
            singles++;
        } else {
            assert_true(rec->dur <= rec->window);
            assert_true(rec->dur < rec->count * (uint64_t)KP_IRQ_MIN_DEFAULT);
            sums++;
        }
        if (rec->head.cpu == 0 && strcmp(rec->name, "local_timer") == 0)
            timers += rec->count;
    }
    TAPE_EACH(rec, &tape, SOFTIRQ)
    {
        assert_true(rec->count > 0 && rec->vec < 10);
        if (rec->window != 0)
            assert_true(rec->dur <= rec->window);
    }
    /* the sleeps end by the timer of CPU 0, at least */
    assert_in_range(timers, 200, (uint64_t)(end - begin) / 1000);
    assert_in_range(sums, 5, 1000 + singles);
    assert_int_equal(tape.stat.lost, 0);
    tape_free(&tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(synced_writes_reach_the_disk),
        cmocka_unit_test(a_full_group_reclaims),
        cmocka_unit_test(a_full_group_has_a_victim),
        cmocka_unit_test(signals_have_sender_and_target),
        cmocka_unit_test(lost_segments_are_sent_again),
        cmocka_unit_test(interrupts_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
