/* SPDX-License-Identifier: Apache-2.0
 *
 * Secrets are kept and compared as SHA-256, all of them each time and each to its last byte: how
 * long it takes says neither which line was nearly right nor how long it is.
 */
#include "server/auth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/digest.h"

struct kpi_auth {
    unsigned char digests[KPI_AUTH_MAX][KP_SHA256_BYTES];
    uint32_t count;
};

/* --- the file --- */

static kp_status read_line(struct kpi_auth *auth, const char *path, char *line, uint32_t number,
                           struct kp_error *err)
{
    size_t size = strcspn(line, "\r\n");
    bool cut = line[size] == '\0' && size + 1 >= KPI_AUTH_BYTES_MAX;
    while (size > 0 && (line[size - 1] == ' ' || line[size - 1] == '\t'))
        size--;
    if (size == 0 || line[0] == '#')
        return KP_OK;
    if (cut || line[0] == ' ' || line[0] == '\t')
        return kp_error_set(err, KP_INVALID, "%s: line %u is %s", path, number,
                            cut ? "longer than a secret may be" : "indented");
    if (auth->count == KPI_AUTH_MAX)
        return kp_error_set(err, KP_LIMIT, "%s: more than %d secrets", path, KPI_AUTH_MAX);
    kp_sha256(line, size, auth->digests[auth->count++]);
    return KP_OK;
}

static kp_status read_file(struct kpi_auth *auth, const char *path, FILE *file,
                           struct kp_error *err)
{
    char line[KPI_AUTH_BYTES_MAX];
    kp_status status = KP_OK;
    for (uint32_t number = 1; status == KP_OK && fgets(line, sizeof(line), file) != NULL; number++)
        status = read_line(auth, path, line, number, err);
    if (status == KP_OK && ferror(file))
        status = kp_error_set(err, KP_IO, "%s cannot be read", path);
    if (status == KP_OK && auth->count == 0)
        status = kp_error_set(err, KP_INVALID, "%s holds no token: nobody could ask", path);
    explicit_bzero(line, sizeof(line));
    return status;
}

static kp_status open_file(const char *path, FILE **out, struct kp_error *err)
{
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return kp_error_set(err, KP_NOT_FOUND, "%s: %s", path, strerror(errno));
    bool shared = fstat(fd, &stat) != 0 || (stat.st_mode & 07) != 0;
    FILE *file = shared ? NULL : fdopen(fd, "r");
    if (file == NULL) {
        close(fd);
        kp_error_set(err, KP_DENIED, "%s may be read by everyone, so it holds no secret", path);
        kp_error_hint(err, "chmod 640 or 600");
        return KP_DENIED;
    }
    *out = file;
    return KP_OK;
}

kp_status kpi_auth_open(const char *path, struct kpi_auth **out, struct kp_error *err)
{
    FILE *file = NULL;
    *out = NULL;
    if (path == NULL)
        return KP_OK;
    kp_status status = open_file(path, &file, err);
    if (status != KP_OK)
        return status;
    struct kpi_auth *auth = calloc(1, sizeof(*auth));
    status = auth == NULL ? kp_error_set(err, KP_NO_MEMORY, "no memory for the tokens")
                          : read_file(auth, path, file, err);
    fclose(file);
    if (status == KP_OK)
        *out = auth;
    else
        free(auth);
    return status;
}

void kpi_auth_close(struct kpi_auth *auth)
{
    free(auth);
}

/* --- secrets --- */

static bool is_known(const struct kpi_auth *auth, struct kp_str secret)
{
    unsigned char digest[KP_SHA256_BYTES];
    unsigned found = 0;
    kp_sha256(secret.len > 0 ? secret.ptr : "", secret.len, digest);
    for (uint32_t i = 0; i < auth->count; i++) {
        volatile unsigned char differ = 0;
        for (size_t b = 0; b < sizeof(digest); b++)
            differ = (unsigned char)(differ | (auth->digests[i][b] ^ digest[b]));
        found |= differ == 0;
    }
    return found != 0;
}

enum kpi_auth_result kpi_auth_secret(const struct kpi_auth *auth, struct kp_str secret)
{
    if (auth == NULL)
        return KPI_AUTH_GOOD;
    const char *colon = secret.len > 0 ? memchr(secret.ptr, ':', secret.len) : NULL;
    uint32_t user = colon != NULL ? (uint32_t)(colon - secret.ptr) + 1 : 0;
    bool whole = is_known(auth, secret);
    bool password = is_known(auth, (struct kp_str){secret.ptr + user, secret.len - user});
    return whole || password ? KPI_AUTH_GOOD : KPI_AUTH_WRONG;
}

/* --- requests --- */

static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

/* Base64 up to its padding; false for what is none. */
static bool decode(struct kp_str text, struct kp_buf *out)
{
    uint32_t bits = 0, count = 0;
    while (text.len > 0 && text.ptr[text.len - 1] == '=')
        text.len--;
    for (uint32_t i = 0; i < text.len; i++) {
        int digit = digit_of(text.ptr[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        count += 6;
        if (count >= 8) {
            count -= 8;
            kp_buf_char(out, (char)(bits >> count));
        }
    }
    return !out->failed;
}

static struct kp_str text_of(struct kp_buf *buf)
{
    return (struct kp_str){kp_buf_cstr(buf), (uint32_t)buf->size};
}

/* "Basic dTpw", "Bearer T", "Token T". */
static enum kpi_auth_result check_header(const struct kpi_auth *auth, struct kp_str header)
{
    uint32_t end = 0;
    while (end < header.len && header.ptr[end] != ' ')
        end++;
    struct kp_str scheme = {header.ptr, end};
    while (end < header.len && header.ptr[end] == ' ')
        end++;
    struct kp_str value = {header.ptr + end, header.len - end};
    if (kp_str_equal_nocase(scheme, KP_STR("Bearer")) ||
        kp_str_equal_nocase(scheme, KP_STR("Token")))
        return kpi_auth_secret(auth, value);
    struct kp_buf plain = {0};
    bool basic = kp_str_equal_nocase(scheme, KP_STR("Basic")) && decode(value, &plain);
    enum kpi_auth_result result = basic ? kpi_auth_secret(auth, text_of(&plain)) : KPI_AUTH_WRONG;
    kp_buf_deinit(&plain);
    return result;
}

enum kpi_auth_result kpi_auth_request(const struct kpi_auth *auth,
                                      const struct kpi_request *request)
{
    if (auth == NULL)
        return KPI_AUTH_GOOD;
    struct kp_str header = kpi_request_header(request, "Authorization");
    if (header.len > 0)
        return check_header(auth, header);
    struct kp_buf pair = {0}, password = {0};
    kpi_request_field(request, "u", &pair);
    bool given = kpi_request_field(request, "p", &password);
    kp_buf_char(&pair, ':');
    kp_buf_add(&pair, password.data, password.size);
    enum kpi_auth_result result = given ? kpi_auth_secret(auth, text_of(&pair)) : KPI_AUTH_MISSING;
    kp_buf_deinit(&pair);
    kp_buf_deinit(&password);
    return result;
}
