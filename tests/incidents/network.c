/* SPDX-License-Identifier: Apache-2.0
 *
 * A second network on the same machine: a helper in a namespace of its own, a veth pair to it.
 * What is done to packets there meets nobody else.
 */
#include "incidents/incident.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOT_FOUND 127 /* what a shell says of a program that is not there */

bool kpi_shell(const char *format, ...)
{
    char command[512];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    int status = system(command);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND)
        return false;
    if (status != 0)
        kpi_die("status %d of: %s", status, command);
    return true;
}

void kpi_network_leave(void)
{
    if (unshare(CLONE_NEWNET) != 0)
        kpi_die("no network namespace: %s", strerror(errno));
}

void kpi_network_join(pid_t other, char out_device[16])
{
    snprintf(out_device, 16, "kpi%d", (int)getpid());
    if (!kpi_shell("ip link add %s type veth peer name kpi0 netns %d", out_device, (int)other) ||
        !kpi_shell("ip addr add 198.18.0.1/30 dev %s && ip link set %s up", out_device,
                   out_device) ||
        !kpi_shell("nsenter -t %d -n sh -c 'ip addr add 198.18.0.2/30 dev kpi0 && "
                   "ip link set kpi0 up && ip link set lo up'",
                   (int)other))
        kpi_skip("ip and nsenter (iproute2, util-linux) are not installed");
}
