/* SPDX-License-Identifier: Apache-2.0 */
#include "shared.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SLOTS 4

const char *shared_path(const char *format, ...)
{
    static char slots[SLOTS][512];
    static unsigned next;
    char rest[256], *path = slots[next++ % SLOTS];
    const char *root = getenv("KP_SHARED");
    va_list args;
    va_start(args, format);
    vsnprintf(rest, sizeof(rest), format, args);
    va_end(args);
    snprintf(path, sizeof(slots[0]), "%s/data/%s", root == NULL ? "../shared" : root, rest);
    return path;
}

bool shared_there(void)
{
    if (access(shared_path("MANIFEST.tsv"), R_OK) == 0)
        return true;
    puts("skipped: no recorded traces of others (KP_SHARED)");
    return false;
}

json_t *shared_json(const char *path)
{
    json_error_t err;
    json_t *root = json_load_file(path, 0, &err);
    if (root == NULL)
        fail_msg("%s: %s", path, err.text);
    return root;
}
