/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of system calls of the architecture this binary was built for.
 */
#ifndef KP_COLUMN_SYSCALLS_H
#define KP_COLUMN_SYSCALLS_H

#include "column/catalogue.h"

/* Entries sorted by number. */
const struct kp_name *kp_syscall_names(uint32_t *out_count);
/* Number of a system call, or -1. */
int kp_syscall_number(const char *name);

#endif
