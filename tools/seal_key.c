/* SPDX-License-Identifier: Apache-2.0
 *
 * The key goes to a file and never to a log or a terminal: the logs of a machine are kept on that
 * machine, and who takes it would find the key that makes all its seals.
 */
#include "seal_key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX 65536

static kp_status write_all(int fd, const struct kp_buf *text)
{
    size_t done = 0;
    while (done < text->size) {
        ssize_t got = write(fd, text->data + done, text->size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return KP_IO;
        done += (size_t)got;
    }
    return fsync(fd) == 0 ? KP_OK : KP_IO;
}

kp_status kpi_seal_key_write(struct kp_store *store, const char *path, struct kp_error *err)
{
    struct kp_buf text = {0};
    if (path == NULL || path[0] == '\0')
        return KP_OK;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return KP_OK;
    if (fd < 0)
        return kp_error_os(err, kp_status_from_errno(errno), errno, "cannot make %s", path);
    kp_status status = kp_store_seal_key(store, &text, err);
    if (status == KP_OK && write_all(fd, &text) != KP_OK)
        status = kp_error_os(err, KP_IO, errno, "cannot write %s", path);
    close(fd);
    if (status != KP_OK)
        unlink(path);
    explicit_bzero(text.data, text.size);
    kp_buf_deinit(&text);
    return status;
}

kp_status kpi_text_file(const char *path, struct kp_buf *out, struct kp_error *err)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return kp_error_os(err, kp_status_from_errno(errno), errno, "cannot open %s", path);
    char *room = kp_buf_reserve(out, FILE_MAX);
    size_t got = room == NULL ? 0 : fread(room, 1, FILE_MAX, file);
    bool whole = room != NULL && feof(file) != 0 && ferror(file) == 0;
    fclose(file);
    if (!whole)
        return kp_error_set(err, KP_INVALID, "%s is not a small text file", path);
    out->size += got;
    return KP_OK;
}
