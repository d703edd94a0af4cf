/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/time.h"

#define LINE_MAX_BYTES 1024

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static enum kp_log_level level_max = KP_LOG_INFO;
static char last_line[LINE_MAX_BYTES];
static kp_time last_time;
static unsigned folded;

void kp_log_level_set(enum kp_log_level level)
{
    pthread_mutex_lock(&log_lock);
    level_max = level;
    pthread_mutex_unlock(&log_lock);
}

static void write_line(kp_time now, const char *line)
{
    char stamp[KP_TIME_TEXT_MAX];
    kp_time_format(now, stamp);
    if (folded > 0)
        fprintf(stderr, "time=%s level=info module=log msg=\"last line repeated\" times=%u\n",
                stamp, folded);
    fprintf(stderr, "time=%s %s\n", stamp, line);
    folded = 0;
}

void kp_log(enum kp_log_level level, const char *module, const char *fmt, ...)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    char line[LINE_MAX_BYTES];
    int prefix = snprintf(line, sizeof(line), "level=%s module=%s msg=\"", names[level], module);
    va_list args;
    va_start(args, fmt);
    int body = vsnprintf(line + prefix, sizeof(line) - (size_t)prefix - 2, fmt, args);
    va_end(args);
    if (body < 0)
        return;
    for (char *c = line + prefix; *c != '\0'; c++)
        if (*c == '"' || *c == '\n')
            *c = *c == '"' ? '\'' : ' ';
    size_t length = strlen(line);
    line[length] = '"'; /* vsnprintf left room for it */
    line[length + 1] = '\0';
    pthread_mutex_lock(&log_lock);
    kp_time now = kp_time_now();
    if (level <= level_max) {
        if (now - last_time < KP_SEC && strcmp(line, last_line) == 0) {
            folded++;
        } else {
            write_line(now, line);
            memcpy(last_line, line, sizeof(line));
            last_time = now;
        }
    }
    pthread_mutex_unlock(&log_lock);
}
