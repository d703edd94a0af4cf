/* SPDX-License-Identifier: Apache-2.0
 *
 * What stands behind descriptors: files, pipes, anonymous files and sockets of recorded system
 * calls; connections and their states.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "tape.h"

enum { NONE, FILE_, DIR_, CHAR_, BLOCK_, PIPE, SOCKET, ANON, EVENTFD, EPOLL, TIMERFD };
enum { SEND, RECEIVE, CONNECT, ACCEPT };
enum { ESTABLISHED = 1, SYN_SENT = 2, CLOSE = 7, LISTEN = 10 };

#define MESSAGE  1000
#define MESSAGES 5

/* What the child saw; shared with it. */
struct truth {
    ino_t file, pipe, client, server, left, right;
    dev_t dev;
    int eventfd, epoll, timerfd;
    uint16_t port, client_port;
};

static struct truth *truth_make(void)
{
    void *memory =
        mmap(NULL, sizeof(struct truth), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    return memory;
}

static ino_t inode_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* Records every call of body, short ones too. */
static void record_all(struct tape *tape, struct work *work, int (*body)(void *), void *arg,
                       uint64_t kinds)
{
    struct kp_recorder_opts opts = tape_opts(kinds);

    opts.syscall_min = 0;
    work_make(work, body, arg);
    tape_start(tape, &opts);
    work_go(work);
    assert_int_equal(work_end(work), 0);
    tape_stop(tape);
    assert_int_equal(tape->stat.lost, 0);
}

/* --- descriptors --- */

static int use_descriptors(void *arg)
{
    struct truth *truth = arg;
    struct stat st;
    uint64_t one = 1;
    int ends[2];
    char path[] = "/var/tmp/kprobe-obj-XXXXXX", byte = 'x';
    int fd = mkstemp(path);

    unlink(path);
    if (fd < 0 || pipe(ends) != 0 || fstat(fd, &st) != 0)
        return 1;
    truth->file = st.st_ino;
    truth->dev = st.st_dev;
    truth->pipe = inode_of(ends[0]);
    truth->eventfd = eventfd(0, 0);
    truth->epoll = epoll_create1(0);
    truth->timerfd = timerfd_create(CLOCK_MONOTONIC, 0);
    struct pollfd single = {.fd = ends[0], .events = POLLIN};
    struct epoll_event event;
    struct itimerspec soon = {.it_value = {.tv_nsec = 1}};
    bool done = write(fd, &byte, 1) == 1 && fsync(fd) == 0 && write(ends[1], &byte, 1) == 1 &&
                poll(&single, 1, -1) == 1 && read(ends[0], &byte, 1) == 1 &&
                write(truth->eventfd, &one, 8) == 8 && read(truth->eventfd, &one, 8) == 8 &&
                epoll_wait(truth->epoll, &event, 1, 0) == 0 &&
                timerfd_settime(truth->timerfd, 0, &soon, NULL) == 0 &&
                read(truth->timerfd, &one, 8) == 8;
    close(fd);
    return !done;
}

struct seen_object {
    uint64_t rows, obj;
    uint32_t dev;
};

/* Rows of one call on one kind of object, and the last one's object. */
static struct seen_object calls_on(const struct tape *tape, pid_t pid, uint32_t nr, uint8_t kind)
{
    struct seen_object seen = {0};

    TAPE_EACH(rec, tape, SYSCALL)
    {
        if (rec->head.tgid != (uint32_t)pid || rec->nr != nr || rec->obj_kind != kind)
            continue;
        seen.rows++;
        seen.obj = rec->obj;
        seen.dev = rec->obj_dev;
    }
    return seen;
}

static void calls_name_what_they_work_on(void **state)
{
    (void)state;
    struct truth *truth = truth_make();
    struct work work;
    struct tape tape;

    record_all(&tape, &work, use_descriptors, truth, KIND(SYSCALL));
    struct seen_object file = calls_on(&tape, work.pid, SYS_fsync, FILE_);
    assert_int_equal(file.rows, 1);
    assert_int_equal(file.obj, truth->file);
    assert_int_equal(file.dev, major(truth->dev) << 20 | minor(truth->dev));
    assert_int_equal(calls_on(&tape, work.pid, SYS_write, FILE_).obj, truth->file);
    assert_int_equal(calls_on(&tape, work.pid, SYS_write, PIPE).obj, truth->pipe);
    assert_int_equal(calls_on(&tape, work.pid, SYS_poll, PIPE).obj, truth->pipe);
    struct seen_object read_end = calls_on(&tape, work.pid, SYS_read, PIPE);
    assert_int_equal(read_end.rows, 1); /* the go of the test began before */
    assert_int_equal(read_end.obj, truth->pipe);
    struct seen_object event = calls_on(&tape, work.pid, SYS_write, EVENTFD);
    assert_int_equal(event.rows, 1);
    assert_int_not_equal(event.obj, 0);
    assert_int_equal(calls_on(&tape, work.pid, SYS_read, EVENTFD).obj, event.obj);
    assert_int_equal(calls_on(&tape, work.pid, SYS_epoll_wait, EPOLL).rows, 1);
    struct seen_object timer = calls_on(&tape, work.pid, SYS_timerfd_settime, TIMERFD);
    assert_int_equal(timer.rows, 1);
    assert_int_not_equal(timer.obj, event.obj);
    assert_int_equal(calls_on(&tape, work.pid, SYS_read, TIMERFD).obj, timer.obj);
    /* closed when the call is recorded */
    assert_int_equal(calls_on(&tape, work.pid, SYS_close, FILE_).rows, 0);
    tape_free(&tape);
    munmap(truth, sizeof(*truth));
}

/* --- connections --- */

static int listen_somewhere(struct sockaddr_in *out)
{
    socklen_t size = sizeof(*out);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    *out = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bool done = bind(fd, (struct sockaddr *)out, size) == 0 && listen(fd, 1) == 0 &&
                getsockname(fd, (struct sockaddr *)out, &size) == 0;
    return done ? fd : -1;
}

static int talk(void *arg)
{
    static char message[MESSAGE];
    struct truth *truth = arg;
    struct sockaddr_in addr, own;
    socklen_t size = sizeof(own);
    int listener = listen_somewhere(&addr), pair[2];
    int client = socket(AF_INET, SOCK_STREAM, 0);

    if (listener < 0 || connect(client, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
        getsockname(client, (struct sockaddr *)&own, &size) != 0 ||
        socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
        return 1;
    int server = accept(listener, NULL, NULL);
    *truth = (struct truth){.client = inode_of(client),
                            .server = inode_of(server),
                            .left = inode_of(pair[0]),
                            .right = inode_of(pair[1]),
                            .port = ntohs(addr.sin_port),
                            .client_port = ntohs(own.sin_port)};
    for (int i = 0; i < MESSAGES; i++) {
        if (send(client, message, MESSAGE, 0) != MESSAGE ||
            recv(server, message, MESSAGE, MSG_WAITALL) != MESSAGE ||
            write(pair[0], message, MESSAGE) != MESSAGE ||
            read(pair[1], message, MESSAGE) != MESSAGE)
            return 1;
    }
    return close(client) + close(server) + close(listener);
}

struct flow {
    uint64_t rows, bytes;
    uint32_t seqs[MESSAGES];
    struct kp_record_SOCK last;
};

static struct flow flow_of(const struct tape *tape, uint64_t inode, uint8_t op)
{
    struct flow flow = {0};

    TAPE_EACH(rec, tape, SOCK)
    {
        if (rec->obj != inode || rec->op != op)
            continue;
        if (flow.rows < MESSAGES)
            flow.seqs[flow.rows] = rec->tcp_seq;
        flow.rows++;
        flow.bytes += (uint64_t)rec->bytes;
        flow.last = *rec;
    }
    return flow;
}

static void messages_are_found_at_both_ends(void **state)
{
    (void)state;
    struct truth *truth = truth_make();
    struct work work;
    struct tape tape;

    record_all(&tape, &work, talk, truth, KIND(SOCK));
    struct flow sent = flow_of(&tape, truth->client, SEND);
    struct flow got = flow_of(&tape, truth->server, RECEIVE);
    assert_int_equal(sent.rows, MESSAGES);
    assert_int_equal(got.rows, MESSAGES);
    assert_int_equal(sent.bytes, MESSAGES * MESSAGE);
    assert_int_equal(got.bytes, MESSAGES * MESSAGE);
    /* the two ends mirror each other, and number the bytes alike */
    assert_int_equal(sent.last.sport, truth->client_port);
    assert_int_equal(sent.last.dport, truth->port);
    assert_int_equal(got.last.sport, truth->port);
    assert_int_equal(got.last.dport, truth->client_port);
    assert_memory_equal(sent.last.saddr, got.last.daddr, 16);
    assert_memory_equal(sent.last.daddr, got.last.saddr, 16);
    assert_int_equal(sent.last.net, got.last.net);
    assert_int_equal(sent.last.proto, IPPROTO_TCP);
    assert_memory_equal(sent.seqs, got.seqs, sizeof(sent.seqs));
    assert_int_equal(sent.seqs[1] - sent.seqs[0], MESSAGE);
    assert_int_equal(flow_of(&tape, truth->client, CONNECT).rows, 1);
    struct flow accepted = flow_of(&tape, truth->server, ACCEPT);
    assert_int_equal(accepted.rows, 1);
    assert_int_equal(accepted.last.dport, truth->client_port);
    /* local sockets know each other by inode */
    struct flow left = flow_of(&tape, truth->left, SEND);
    assert_int_equal(left.rows, MESSAGES);
    assert_int_equal(left.last.ip_family, AF_UNIX);
    assert_int_equal(left.last.peer, truth->right);
    assert_int_equal(flow_of(&tape, truth->right, RECEIVE).last.peer, truth->left);
    tape_free(&tape);
    munmap(truth, sizeof(*truth));
}

static void connections_change_their_state(void **state)
{
    (void)state;
    struct truth *truth = truth_make();
    struct work work;
    struct tape tape;
    uint32_t listening = 0, asked = 0, client_up = 0, server_up = 0, client_down = 0;

    record_all(&tape, &work, talk, truth, KIND(TCP_STATE));
    TAPE_EACH(rec, &tape, TCP_STATE)
    {
        bool client = rec->sport == truth->client_port && rec->dport == truth->port;
        bool server = rec->sport == truth->port;
        assert_int_not_equal(rec->old_state, rec->tcp_state);
        listening += server && rec->old_state == CLOSE && rec->tcp_state == LISTEN;
        asked += rec->dport == truth->port && rec->tcp_state == SYN_SENT;
        client_up += client && rec->old_state == SYN_SENT && rec->tcp_state == ESTABLISHED;
        server_up += server && rec->dport == truth->client_port && rec->tcp_state == ESTABLISHED;
        client_down += client && rec->old_state == ESTABLISHED;
    }
    assert_int_equal(listening, 1);
    assert_int_equal(asked, 1);
    assert_int_equal(client_up, 1);
    assert_int_equal(server_up, 1);
    assert_int_equal(client_down, 1);
    tape_free(&tape);
    munmap(truth, sizeof(*truth));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_name_what_they_work_on),
        cmocka_unit_test(messages_are_found_at_both_ends),
        cmocka_unit_test(connections_change_their_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
