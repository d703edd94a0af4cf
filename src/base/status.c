/* SPDX-License-Identifier: Apache-2.0 */
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    const char *text;
    int exit_code;
} status_table[] = {
#define KP_STATUS(name, exit_code, text) {#name, text, exit_code},
#include "base/status.def"
#undef KP_STATUS
};

const char *kp_status_text(kp_status code)
{
    return (unsigned)code < KP_STATUS_COUNT ? status_table[code].text : "unknown status";
}

const char *kp_status_name(kp_status code)
{
    static _Thread_local char lower[32];
    const char *name = (unsigned)code < KP_STATUS_COUNT ? status_table[code].name : "UNKNOWN";
    size_t i = 0;
    for (; name[i] != '\0' && i + 1 < sizeof(lower); i++)
        lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] + 32 : name[i]);
    lower[i] = '\0';
    return lower;
}

int kp_status_exit(kp_status code)
{
    return (unsigned)code < KP_STATUS_COUNT ? status_table[code].exit_code : 7;
}

__attribute__((format(printf, 4, 0))) static kp_status
error_fill(struct kp_error *err, kp_status code, int os_errno, const char *fmt, va_list args)
{
    if (err == NULL)
        return code;
    memset(err, 0, sizeof(*err));
    err->code = code;
    err->os_errno = os_errno;
    int length = vsnprintf(err->text, sizeof(err->text), fmt, args);
    if (os_errno != 0 && length >= 0 && (size_t)length < sizeof(err->text))
        snprintf(err->text + length, sizeof(err->text) - (size_t)length, ": %s",
                 strerror(os_errno));
    return code;
}

kp_status kp_error_set(struct kp_error *err, kp_status code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    error_fill(err, code, 0, fmt, args);
    va_end(args);
    return code;
}

kp_status kp_error_os(struct kp_error *err, kp_status code, int os_errno, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    error_fill(err, code, os_errno, fmt, args);
    va_end(args);
    return code;
}

void kp_error_hint(struct kp_error *err, const char *fmt, ...)
{
    if (err == NULL)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->hint, sizeof(err->hint), fmt, args);
    va_end(args);
}

void kp_error_place(struct kp_error *err, uint32_t line, uint32_t column, uint32_t width)
{
    if (err == NULL)
        return;
    err->line = line;
    err->column = column;
    err->width = width;
}

kp_status kp_status_from_errno(int os_errno)
{
    switch (os_errno) {
    case 0:
        return KP_OK;
    case ENOSPC:
    case EDQUOT:
        return KP_NO_SPACE;
    case EACCES:
    case EPERM:
    case EROFS:
        return KP_DENIED;
    case ENOENT:
    case ENOTDIR:
        return KP_NOT_FOUND;
    case ENOMEM:
        return KP_NO_MEMORY;
    case EAGAIN:
    case EBUSY:
        return KP_BUSY;
    case ECANCELED:
        return KP_CANCELLED;
    case ENOSYS:
    case EOPNOTSUPP:
        return KP_UNSUPPORTED;
    case EINVAL:
        return KP_INVALID;
    default:
        return KP_IO;
    }
}
