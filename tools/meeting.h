/* SPDX-License-Identifier: Apache-2.0
 *
 * Where the kpd and the kpq of one machine meet when neither is told a place.
 */
#ifndef KP_TOOLS_MEETING_H
#define KP_TOOLS_MEETING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/status.h"

#define KPI_MEETING_MAX 512

/* Writes the path a kpd of this user serves by default: kprobe.sock in $XDG_RUNTIME_DIR, else
 * /run/kprobe/kpd.sock (its folder is made, if this user may). */
void kpi_meeting_serve(char out[KPI_MEETING_MAX]);
/* Writes the first target at which somebody listens, as kpq takes it: those two sockets, then
 * kpd's usual port. CONNECT: nobody does; the error names them all. */
kp_status kpi_meeting_find(char out[KPI_MEETING_MAX], struct kp_error *err) KP_MUST;

#endif
