/* SPDX-License-Identifier: Apache-2.0
 *
 * A contended kernel lock, with its holder: two threads that read from one open file share the lock
 * of its position, and one of them reads long.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/assert.h"
#include "tape.h"

#define TURNS      10
#define LONG_READ  ((size_t)256 << 20) /* into fresh memory: tens of milliseconds */
#define KIND_MUTEX 4

struct told {
    pid_t holder, waiter;
    int fd;
    bool over; /* the holder has had its turns */
};

static void *read_long(void *arg)
{
    struct told *told = arg;

    told->holder = (pid_t)syscall(SYS_gettid);
    for (int i = 0; i < TURNS; i++) {
        void *into =
            mmap(NULL, LONG_READ, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (into == MAP_FAILED || read(told->fd, into, LONG_READ) <= 0)
            return NULL;
        munmap(into, LONG_READ);
        sleep_ns(2 * KP_MS);
    }
    __atomic_store_n(&told->over, true, __ATOMIC_RELEASE);
    return told;
}

static int contend(void *arg)
{
    struct told *told = arg;
    pthread_t thread;
    void *result = NULL;
    char byte;

    told->waiter = (pid_t)syscall(SYS_gettid);
    told->fd =
        open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); /* all hole: costs no memory */
    if (told->fd < 0 || ftruncate(told->fd, (off_t)LONG_READ * TURNS * 2) != 0 ||
        pthread_create(&thread, NULL, read_long, told) != 0)
        return 1;
    while (!__atomic_load_n(&told->over, __ATOMIC_ACQUIRE)) {
        if (read(told->fd, &byte, 1) != 1)
            return 1;
        sleep_ns(KP_MS);
    }
    pthread_join(thread, &result);
    return result ? 0 : 1;
}

static void the_holder_is_named(void **state)
{
    (void)state;
    struct told *told =
        mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct work work;
    struct tape tape;
    struct kp_recorder_opts opts = tape_opts(KIND(LOCK));
    uint64_t waits = 0, named = 0, addr = 0;

    assert_true(told != MAP_FAILED);
    work_make(&work, contend, told);
    tape_start(&tape, &opts);
    work_go(&work);
    assert_int_equal(work_end(&work), 0);
    tape_stop(&tape);
    TAPE_EACH(rec, &tape, LOCK)
    {
        assert_true((int64_t)rec->dur >= KP_LOCK_MIN_DEFAULT);
        assert_int_not_equal(rec->head.tgid, getpid());
        if (rec->head.tid != (uint32_t)told->waiter || rec->kind != KIND_MUTEX ||
            rec->dur < (uint64_t)KP_MS)
            continue;
        assert_true(addr == 0 || addr == rec->addr);
        addr = rec->addr;
        waits++;
        named += rec->owner == (uint32_t)told->holder;
    }
    assert_in_range(waits, TURNS / 2, TURNS);
    assert_true(named == waits);
    tape_free(&tape);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_holder_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
