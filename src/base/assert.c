/* SPDX-License-Identifier: Apache-2.0 */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void kp_assert_fail(const char *expr, const char *file, int line)
{
    fprintf(stderr, "kprobe: internal error: assertion failed: %s (%s:%d)\n", expr, file, line);
    abort();
}
