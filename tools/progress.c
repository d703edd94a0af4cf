/* SPDX-License-Identifier: Apache-2.0 */
#include "progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"
#include "render/render.h"

void kpi_progress_begin(struct kpi_progress *progress)
{
    bool terminal = isatty(STDERR_FILENO) != 0;
    *progress =
        (struct kpi_progress){.on = terminal, .terminal = terminal, .begin = kp_time_monotonic()};
}

bool kpi_progress_due(struct kpi_progress *progress)
{
    int64_t now = kp_time_monotonic();
    if (!progress->on || now - progress->shown < KP_SEC / 4)
        return false;
    progress->shown = now;
    return true;
}

void kpi_progress_line(struct kpi_progress *progress, const struct kp_buf *text)
{
    if (!progress->terminal) {
        fprintf(stderr, "%.*s\n", (int)text->size, text->data);
        return;
    }
    /* a line that wraps could not be taken away again */
    size_t width = kp_term_detect(STDERR_FILENO).width;
    fprintf(stderr, "\r%.*s\033[K", (int)KP_MIN(text->size, KP_MAX(width, 2) - 1), text->data);
    progress->dirty = true;
}

kp_dur kpi_progress_end(struct kpi_progress *progress)
{
    if (progress->dirty)
        fputs("\r\033[K", stderr);
    progress->dirty = false;
    return kp_time_monotonic() - progress->begin;
}

void kpi_text_bytes(struct kp_buf *out, uint64_t bytes)
{
    static const char *const units[] = {"kB", "MB", "GB", "TB"};
    if (bytes < 1000) {
        kp_buf_printf(out, "%" PRIu64 " B", bytes);
        return;
    }
    uint64_t scale = 1000;
    size_t unit = 0;
    while (unit + 1 < KP_ARRAY_LEN(units) && bytes / scale >= 1000) {
        scale *= 1000;
        unit++;
    }
    kp_buf_printf(out, "%" PRIu64 ".%" PRIu64 " %s", bytes / scale, bytes % scale / (scale / 10),
                  units[unit]);
}

void kpi_progress_bytes(struct kpi_progress *progress, const char *verb, uint64_t done,
                        uint64_t total)
{
    if (!kpi_progress_due(progress))
        return;
    struct kp_buf text = {0};
    kp_dur elapsed = KP_MAX(kp_time_monotonic() - progress->begin, KP_MS);
    kp_buf_printf(&text, "%s ", verb);
    kpi_text_bytes(&text, done);
    kp_buf_text(&text, " of ");
    kpi_text_bytes(&text, total);
    if (total > 0)
        kp_buf_printf(&text, " (%u%%), ", (unsigned)((unsigned __int128)done * 100 / total));
    kpi_text_bytes(&text,
                   (uint64_t)((unsigned __int128)done * (uint64_t)KP_SEC / (uint64_t)elapsed));
    kp_buf_text(&text, "/s");
    kpi_progress_line(progress, &text);
    kp_buf_deinit(&text);
}
