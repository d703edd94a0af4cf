/* SPDX-License-Identifier: Apache-2.0
 *
 * A list of names, because numbers differ between architectures and some have no such call. A call
 * that is not listed has no descriptor as its first argument, or one that says nothing.
 */
#include "ingest/source_calls.h"

#include "base/assert.h"
#include "bpf/event.h"
#include "bpf/config.h"
#include "column/syscalls.h"

static const struct {
    const char *name;
    enum kp_call call;
} calls[] = {
    {"write", KP_CALL_SEND},
    {"writev", KP_CALL_SEND},
    {"sendto", KP_CALL_SEND},
    {"sendmsg", KP_CALL_SEND},
    {"sendfile", KP_CALL_SEND},
    {"read", KP_CALL_RECEIVE},
    {"readv", KP_CALL_RECEIVE},
    {"recvfrom", KP_CALL_RECEIVE},
    {"recvmsg", KP_CALL_RECEIVE},
    {"connect", KP_CALL_CONNECT},
    {"sched_setaffinity", KP_CALL_AFFINITY},
    {"accept", KP_CALL_ACCEPT},
    {"accept4", KP_CALL_ACCEPT},
    {"poll", KP_CALL_POLL},
    {"ppoll", KP_CALL_POLL},
    {"pread64", KP_CALL_FD},
    {"pwrite64", KP_CALL_FD},
    {"preadv", KP_CALL_FD},
    {"pwritev", KP_CALL_FD},
    {"preadv2", KP_CALL_FD},
    {"pwritev2", KP_CALL_FD},
    {"sendmmsg", KP_CALL_FD}, /* returns messages, not bytes */
    {"recvmmsg", KP_CALL_FD},
    {"shutdown", KP_CALL_FD},
    {"listen", KP_CALL_FD},
    {"bind", KP_CALL_FD},
    {"getsockopt", KP_CALL_FD},
    {"setsockopt", KP_CALL_FD},
    {"ioctl", KP_CALL_FD},
    {"fcntl", KP_CALL_FD},
    {"flock", KP_CALL_FD},
    {"fsync", KP_CALL_FD},
    {"fdatasync", KP_CALL_FD},
    {"syncfs", KP_CALL_FD},
    {"sync_file_range", KP_CALL_FD},
    {"ftruncate", KP_CALL_FD},
    {"fallocate", KP_CALL_FD},
    {"fstat", KP_CALL_FD},
    {"fchmod", KP_CALL_FD},
    {"fchown", KP_CALL_FD},
    {"lseek", KP_CALL_FD},
    {"getdents64", KP_CALL_FD},
    {"readahead", KP_CALL_FD},
    {"splice", KP_CALL_FD},
    {"tee", KP_CALL_FD},
    {"vmsplice", KP_CALL_FD},
    {"copy_file_range", KP_CALL_FD},
    {"epoll_wait", KP_CALL_FD},
    {"epoll_pwait", KP_CALL_FD},
    {"epoll_pwait2", KP_CALL_FD},
    {"epoll_ctl", KP_CALL_FD},
    {"io_uring_enter", KP_CALL_FD},
    {"timerfd_settime", KP_CALL_FD},
};

void kpi_calls_fill(uint8_t *out, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        out[i] = KP_CALL_NO_FD;
    for (size_t i = 0; i < KP_ARRAY_LEN(calls); i++) {
        int number = kp_syscall_number(calls[i].name);
        if (number >= 0 && (uint32_t)number < count)
            out[number] = (uint8_t)calls[i].call;
    }
}
