/* SPDX-License-Identifier: Apache-2.0
 *
 * Child processes of the demo. Each has a pipe to its standard input and from its standard output
 * and speaks in lines; none outlives us (PR_SET_PDEATHSIG, and end of file on its input).
 */
#include "demo.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t cancelled;

static void on_signal(int sig)
{
    (void)sig;
    cancelled = 1;
}

void kpi_demo_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: waits end with EINTR */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

bool kpi_demo_cancelled(void)
{
    return cancelled != 0;
}

kp_status kpi_demo_sleep(kp_dur dur)
{
    int64_t end = kp_time_monotonic() + dur;
    for (;;) {
        int64_t left = end - kp_time_monotonic();
        if (cancelled)
            return KP_CANCELLED;
        if (left <= 0)
            return KP_OK;
        struct timespec t = {left / KP_SEC, left % KP_SEC};
        nanosleep(&t, NULL);
    }
}

kp_status kpi_demo_program(const char *name, char out[KPI_DEMO_PATH_MAX], struct kp_error *err)
{
    char self[KPI_DEMO_PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n <= 0)
        return kp_error_os(err, KP_IO, errno, "cannot find the folder of this program");
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    if (snprintf(out, KPI_DEMO_PATH_MAX, "%s/%s", self, name) >= KPI_DEMO_PATH_MAX)
        return kp_error_set(err, KP_LIMIT, "the path of %s is too long", name);
    if (access(out, X_OK) != 0) {
        kp_status status = kp_error_os(err, KP_NOT_FOUND, errno, "cannot run %s", out);
        kp_error_hint(err, "build it with: make all");
        return status;
    }
    return KP_OK;
}

/* In the child, between fork and exec. */
static _Noreturn void become(const char *const *argv, int in, int out, const char *log,
                             pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(0);
    int file = log == NULL ? -1 : open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    if (file >= 0) {
        dup2(file, STDERR_FILENO);
        close(file);
    }
    execv(argv[0], (char *const *)(uintptr_t)argv);
    fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

kp_status kpi_proc_start(struct kpi_proc *proc, const char *name, const char *const *argv,
                         const char *log, struct kp_error *err)
{
    int to[2], from[2];
    if (pipe2(to, O_CLOEXEC) != 0)
        return kp_error_os(err, KP_IO, errno, "cannot make a pipe to %s", name);
    if (pipe2(from, O_CLOEXEC) != 0) {
        close(to[0]);
        close(to[1]);
        return kp_error_os(err, KP_IO, errno, "cannot make a pipe from %s", name);
    }
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become(argv, to[0], from[1], log, parent);
    int fork_errno = errno;
    close(to[0]);
    close(from[1]);
    if (pid < 0) {
        close(to[1]);
        close(from[0]);
        return kp_error_os(err, KP_IO, fork_errno, "cannot start %s", name);
    }
    *proc = (struct kpi_proc){.name = name, .pid = pid, .in = to[1], .out = from[0]};
    return KP_OK;
}

kp_status kpi_proc_send(struct kpi_proc *proc, const char *line, struct kp_error *err)
{
    size_t size = strlen(line);
    ssize_t n = write(proc->in, line, size); /* a short line into an empty pipe: all or nothing */
    return n == (ssize_t)size ? KP_OK
                              : kp_error_os(err, KP_CONNECT, errno, "%s has ended", proc->name);
}

/* Takes the first line out of what was read; false when there is no whole one. */
static bool take_line(struct kpi_proc *proc, char *out, size_t size)
{
    char *end = memchr(proc->text, '\n', proc->text_size);
    if (end == NULL)
        return false;
    size_t len = (size_t)(end - proc->text);
    snprintf(out, size, "%.*s", (int)len, proc->text);
    proc->text_size -= len + 1;
    memmove(proc->text, end + 1, proc->text_size);
    return true;
}

kp_status kpi_proc_line(struct kpi_proc *proc, kp_dur limit, char *out, size_t size,
                        struct kp_error *err)
{
    int64_t end = kp_time_monotonic() + limit;
    while (!take_line(proc, out, size)) {
        struct pollfd p = {.fd = proc->out, .events = POLLIN};
        int64_t left = end - kp_time_monotonic();
        if (left <= 0 || proc->text_size == sizeof(proc->text))
            return kp_error_set(err, KP_LIMIT, "%s did not answer in time", proc->name);
        int ready = poll(&p, 1, (int)(left / KP_MS) + 1);
        if (cancelled)
            return kp_error_set(err, KP_CANCELLED, "cancelled");
        if (ready <= 0)
            continue;
        ssize_t n =
            read(proc->out, proc->text + proc->text_size, sizeof(proc->text) - proc->text_size);
        if (n <= 0)
            return kp_error_set(err, KP_CONNECT, "%s has ended", proc->name);
        proc->text_size += (size_t)n;
    }
    return KP_OK;
}

static int exit_code(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void forget(struct kpi_proc *proc)
{
    if (proc->in >= 0)
        close(proc->in);
    close(proc->out);
    *proc = (struct kpi_proc){0};
}

bool kpi_proc_running(struct kpi_proc *proc, int *out_exit)
{
    int status = 0;
    if (proc->name == NULL || waitpid(proc->pid, &status, WNOHANG) == 0)
        return proc->name != NULL;
    *out_exit = exit_code(status);
    forget(proc);
    return false;
}

int kpi_proc_stop(struct kpi_proc *proc, kp_dur limit)
{
    int code = 0;
    if (proc->name == NULL)
        return 0;
    if (proc->in >= 0) {
        close(proc->in);
        proc->in = -1;
    }
    kill(proc->pid, SIGTERM);
    int64_t end = kp_time_monotonic() + limit;
    while (kpi_proc_running(proc, &code)) {
        if (kp_time_monotonic() > end)
            kill(proc->pid, SIGKILL);
        struct timespec t = {0, 5 * KP_MS};
        nanosleep(&t, NULL);
    }
    return code;
}
