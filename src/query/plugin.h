/* SPDX-License-Identifier: Apache-2.0
 *
 * Plugins of evaluate that are not in bind_plugin.c itself.
 */
#ifndef KP_QUERY_PLUGIN_H
#define KP_QUERY_PLUGIN_H

#include "query/plan.h"

/* basket, autocluster, diffpatterns (bind_patterns.c). */
struct kpi_op *kpi_plugin_patterns(struct kpi_bind *bind, struct kpi_op *input,
                                   const struct kpi_stage *stage);

#endif
