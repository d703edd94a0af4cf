/* SPDX-License-Identifier: Apache-2.0
 *
 * The configuration of kpd: every flag is also a key of one file and an environment variable.
 */
#ifndef KP_TOOLS_KPD_CONFIG_H
#define KP_TOOLS_KPD_CONFIG_H

#include "base/arena.h"
#include "opts.h"

/* Fills what the command line left open from the environment (KPD_OTLP_LISTEN for otlp-listen),
 * then from the file of --config or KPD_CONFIG ("key = value" lines, # comments), then from the
 * defaults. USAGE names the line and suggests a key. Values live in the arena. */
kp_status kpi_kpd_config(struct kpi_opts *opts, struct kp_arena *arena,
                         struct kp_error *err) KP_MUST;
/* The configuration in force as such a file, to stdout. */
void kpi_kpd_config_print(const struct kpi_opts *opts);

#endif
