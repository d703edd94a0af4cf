/* SPDX-License-Identifier: Apache-2.0
 *
 * Values of the store as completions: names of threads inside a string, ids of transactions behind
 * `txn`. The store is asked, but never waited for longer than VALUES_WAIT.
 */
#ifndef KP_TOOLS_SHELL_VALUES_H
#define KP_TOOLS_SHELL_VALUES_H

#include "session.h"

/* False: no value belongs at the end of text, a name does. */
bool kpi_shell_values(struct kpi_session *session, struct kp_str text,
                      void (*each)(void *each_ctx, struct kp_str name, const char *what),
                      void *each_ctx);

#endif
