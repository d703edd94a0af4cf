/* SPDX-License-Identifier: Apache-2.0
 *
 * The interactive shell.
 */
#ifndef KP_TOOLS_SHELL_H
#define KP_TOOLS_SHELL_H

#include "session.h"

/* Reads and runs statements until Ctrl-D or \q; returns the exit code (0). */
int kpi_shell(struct kpi_session *session);

#endif
