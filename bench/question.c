/* SPDX-License-Identifier: Apache-2.0
 *
 * Texts of questions from files, values in their places. Times are dates in this language and
 * nanoseconds in SQL.
 */
#include "bench/question.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "bench/flat.h"

static void add_line(char *text, size_t size, const char *line)
{
    size_t length = strlen(text);
    kp_assert(length + strlen(line) < size);
    snprintf(text + length, size - length, "%s", line);
}

static void take_sql_line(struct kpi_question *question, const char *line)
{
    char more[16] = "";
    if (sscanf(line, "-- cells %7s %15s", question->cells, more) >= 1) {
        question->loop = strcmp(more, "loop") == 0;
    } else if (strncmp(line, "-- ", 3) == 0) {
        kp_assert(question->ways_count < KPI_WAYS);
        sscanf(line, "-- %15s", question->ways[question->ways_count++].name);
    } else {
        kp_assert(question->ways_count > 0);
        add_line(question->ways[question->ways_count - 1].sql, sizeof(question->ways[0].sql), line);
    }
}

bool kpi_question_read(uint32_t number, struct kpi_question *out)
{
    char path[64], line[1600];
    memset(out, 0, sizeof(*out));
    for (int sql = 0; sql < 2; sql++) {
        snprintf(path, sizeof(path), "bench/queries/q%02u.%s", number, sql ? "sql" : "kql");
        FILE *file = fopen(path, "r");
        if (file == NULL)
            return false;
        while (fgets(line, sizeof(line), file) != NULL)
            if (sql)
                take_sql_line(out, line);
            else
                add_line(out->kql, sizeof(out->kql), line);
        fclose(file);
    }
    return true;
}

static void put_number(struct kp_buf *out, int64_t value)
{
    kp_buf_printf(out, "%" PRId64, value);
}

static void put_time(struct kp_buf *out, kp_time time)
{
    char text[KP_TIME_TEXT_MAX];
    kp_time_format(time, text);
    kp_buf_text(out, text);
}

/* A value that both languages have. */
static bool put_value(struct kp_str name, const struct kpi_values *values, struct kp_buf *out)
{
    if (kp_str_equal(name, KP_STR("from")))
        put_time(out, values->from);
    else if (kp_str_equal(name, KP_STR("at")))
        put_time(out, values->at);
    else if (kp_str_equal(name, KP_STR("tid")))
        put_number(out, values->tid);
    else if (kp_str_equal(name, KP_STR("txn")))
        kp_buf_text(out, values->txn);
    else if (kp_str_equal(name, KP_STR("comm")))
        kp_buf_text(out, values->comm);
    else
        return false;
    return true;
}

static void put_sql_value(struct kp_str name, const struct kpi_values *values,
                          const struct kpi_dialect *dialect, kp_time since, struct kp_buf *out)
{
    const struct {
        struct kp_str name;
        const char *text;
        int64_t number;
    } words[] = {{KP_STR("events"), dialect->events, 0},
                 {KP_STR("txns"), dialect->txns, 0},
                 {KP_STR("wakes"), dialect->wakes, 0},
                 {KP_STR("quantile"), dialect->quantile, 0},
                 {KP_STR("start"), NULL, values->from},
                 {KP_STR("end"), NULL, values->from + 2 * KP_SEC},
                 {KP_STR("before"), NULL, values->at},
                 {KP_STR("since"), NULL, since},
                 {KP_STR("hash"), NULL, (int64_t)kpi_flat_txn(kp_str_from(values->txn))}};
    for (size_t i = 0; i < KP_ARRAY_LEN(words); i++)
        if (kp_str_equal(name, words[i].name)) {
            if (words[i].text != NULL)
                kp_buf_text(out, words[i].text);
            else
                put_number(out, words[i].number);
        }
}

void kpi_question_text(const char *text, const struct kpi_values *values,
                       const struct kpi_dialect *dialect, kp_time since, struct kp_buf *out)
{
    while (*text != '\0') {
        if (*text != '$') {
            kp_buf_char(out, *text++);
            continue;
        }
        struct kp_str name = {text + 1, (uint32_t)strspn(text + 1, "abcdefghijklmnopqrstuvwxyz")};
        if (!put_value(name, values, out) && dialect != NULL)
            put_sql_value(name, values, dialect, since, out);
        text += 1 + name.len;
    }
}
