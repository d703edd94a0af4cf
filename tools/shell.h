/* SPDX-License-Identifier: Apache-2.0
 *
 * The interactive shell: cmd_shell.c reads statements, shell_commands.c has what begins with a
 * backslash.
 */
#ifndef KP_TOOLS_SHELL_H
#define KP_TOOLS_SHELL_H

#include "lineedit.h"
#include "session.h"

struct kpi_shell {
    struct kpi_session *session;
    struct kpi_lineedit *edit;
    struct kp_buf statement; /* lines so far */
    struct kp_buf last;      /* the statement that ran last */
    char *target;            /* what \open named; NULL = as kpq began */
    bool held;               /* statement is whole, but pasted lines wait behind it */
    bool leave;
};

/* Reads and runs statements until Ctrl-D or \q; returns the exit code (0). */
int kpi_shell(struct kpi_session *session);
/* Runs text as if it had been typed, and remembers it as the last. What begins with a blank is not
 * kept in the history. */
void kpi_shell_run(struct kpi_shell *shell, struct kp_str text);
/* Runs one line that begins with a backslash. */
void kpi_shell_command(struct kpi_shell *shell, struct kp_str line);
/* Names for the word that ends such a line. */
void kpi_shell_complete_command(struct kp_str text,
                                void (*each)(void *each_ctx, struct kp_str name, const char *what),
                                void *each_ctx);

#endif
