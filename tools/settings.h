/* SPDX-License-Identifier: Apache-2.0
 *
 * Settings from outside the command line: every flag of kpd, and those of a query of kpq, is also a
 * key of one file and an environment variable.
 */
#ifndef KP_TOOLS_SETTINGS_H
#define KP_TOOLS_SETTINGS_H

#include "base/arena.h"
#include "opts.h"

/* Fills what the command line left open from the environment (KPD_OTLP_LISTEN for otlp-listen),
 * then from a file ("key = value" lines, # comments), then from the defaults. The file is that of
 * --config or KPD_CONFIG. USAGE names the line and suggests a key. Values live in the arena. */
kp_status kpi_settings_kpd(struct kpi_opts *opts, struct kp_arena *arena,
                           struct kp_error *err) KP_MUST;
/* The same for a query: KPQ_FORMAT and so on, and kprobe/kpq.conf in $XDG_CONFIG_HOME or ~/.config,
 * which need not be there. */
kp_status kpi_settings_query(struct kpi_opts *opts, struct kp_arena *arena,
                             struct kp_error *err) KP_MUST;
/* The configuration of kpd in force as such a file, to stdout. */
void kpi_settings_print(const struct kpi_opts *opts);

#endif
