/* SPDX-License-Identifier: Apache-2.0
 *
 * The text is held back until it is taller than the screen; only then a pager is started. A reader
 * that closed the pipe is a normal end; any other failed write is an error.
 */
#include "sink.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

void kpi_sink_begin(struct kpi_sink *sink, FILE *out, bool paging, struct kpi_watch *watch)
{
    struct winsize size;
    *sink = (struct kpi_sink){.out = out != NULL ? out : stdout,
                              .watch = out == NULL && isatty(STDOUT_FILENO) ? watch : NULL};
    if (out != NULL || !paging || !isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 2)
        sink->screen_lines = size.ws_row - 2u;
}

static bool write_to(struct kpi_sink *sink, FILE *file, const char *text, size_t size)
{
    if (sink->watch != NULL)
        kpi_watch_end(sink->watch);
    errno = 0;
    if (fwrite(text, 1, size, file) == size)
        return true;
    if (errno != EPIPE && sink->os_errno == 0)
        sink->os_errno = errno;
    return false;
}

static FILE *start_pager(void)
{
    const char *command = getenv("PAGER");
    fflush(stdout);
    signal(SIGPIPE, SIG_DFL); /* children inherit what we ignore, and never end in a pipe */
    FILE *pager = popen(command != NULL && command[0] != '\0' ? command : "less -SRFX", "w");
    signal(SIGPIPE, SIG_IGN);
    return pager;
}

bool kpi_sink_write(void *ctx, const char *text, size_t size)
{
    struct kpi_sink *sink = ctx;
    if (sink->screen_lines == 0)
        return write_to(sink, sink->out, text, size);
    if (sink->pager != NULL)
        return write_to(sink, sink->pager, text, size);
    kp_buf_add(&sink->held, text, size);
    for (size_t i = 0; i < size; i++)
        sink->lines += text[i] == '\n';
    if (sink->lines <= sink->screen_lines)
        return !sink->held.failed;
    sink->pager = start_pager();
    if (sink->pager == NULL)
        sink->screen_lines = 0;
    bool shown = write_to(sink, sink->pager != NULL ? sink->pager : sink->out, sink->held.data,
                          sink->held.size);
    sink->held.size = 0;
    return shown;
}

kp_status kpi_sink_end(struct kpi_sink *sink, struct kp_error *err)
{
    if (sink->held.size > 0)
        write_to(sink, sink->out, sink->held.data, sink->held.size);
    if (sink->pager != NULL)
        pclose(sink->pager);
    errno = 0;
    if (fflush(sink->out) != 0 && errno != EPIPE && sink->os_errno == 0)
        sink->os_errno = errno;
    bool failed = sink->held.failed;
    int os_errno = sink->os_errno;
    kp_buf_deinit(&sink->held);
    *sink = (struct kpi_sink){0};
    if (failed)
        return kp_error_set(err, KP_NO_MEMORY, "no memory to hold the answer");
    if (os_errno != 0)
        return kp_error_os(err, kp_status_from_errno(os_errno), os_errno,
                           "cannot write the answer");
    return KP_OK;
}
