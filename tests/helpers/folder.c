/* SPDX-License-Identifier: Apache-2.0
 *
 * Folders that tests fill and take away again. Walks with nftw, deepest first.
 */
#include "folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

void folder_make(const char *what, char out[FOLDER_PATH])
{
    const char *tmp = getenv("TMPDIR");
    int length =
        snprintf(out, FOLDER_PATH, "%s/kprobe-%s-XXXXXX", tmp == NULL ? "/tmp" : tmp, what);
    if (length >= FOLDER_PATH || mkdtemp(out) == NULL)
        fail_msg("no folder %s", out);
}

static int remove_one(const char *path, const struct stat *info, int flag, struct FTW *at)
{
    (void)info;
    (void)flag;
    (void)at;
    return remove(path);
}

int folder_remove(const char *dir)
{
    return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

long file_size(const char *path)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    return (long)info.st_size;
}

void file_flip(const char *path, long offset, int mask)
{
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, offset, SEEK_SET);
    int byte = fgetc(file);
    fseek(file, offset, SEEK_SET);
    fputc(byte ^ mask, file);
    assert_int_equal(fclose(file), 0);
}
