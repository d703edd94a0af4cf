/* SPDX-License-Identifier: Apache-2.0 */
#include "column/syscalls.h"

#include <string.h>

#include "base/assert.h"

/* syscalls.inc is made by the build from the compiler's <asm/unistd.h>, sorted by number. */
static const struct kp_name syscall_names[] = {
#define KP_SYSCALL(number, name) {number, name},
#include "syscalls.inc"
#undef KP_SYSCALL
};

const struct kp_name *kp_syscall_names(uint32_t *out_count)
{
    *out_count = KP_ARRAY_LEN(syscall_names);
    return syscall_names;
}

int kp_syscall_number(const char *name)
{
    for (size_t i = 0; i < KP_ARRAY_LEN(syscall_names); i++)
        if (strcmp(syscall_names[i].name, name) == 0)
            return (int)syscall_names[i].value;
    return -1;
}
