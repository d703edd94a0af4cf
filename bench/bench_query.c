/* SPDX-License-Identifier: Apache-2.0
 *
 * What answers cost: the ten queries of bench/queries over one data directory, with one thread and
 * with two. Each is run some times and the median counts; the first run, on a cold cache of pages,
 * stands beside it. Threads, times and names in the texts ($tid, $from, ...) are taken from the
 * recording itself. No limits are asserted: this prints figures, the comparison with other systems
 * is made from them.
 *
 *   bench_query [DATA [ROUNDS]]     DATA from `kpq record`; else KP_BENCH_DATA; else the demo's
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/time.h"
#include "bench/question.h"
#include "query/query.h"

#define QUERIES    10
#define HOP_QUERY  8
#define ROUNDS     5
#define ROUNDS_MAX 99

struct bench {
    struct kp_snapshot *snapshot;
    struct kpi_values values;
    uint32_t rounds;
};

struct answer {
    uint64_t rows, hash;
    struct kp_query_stat stat;
    char first[2][64]; /* of the first row, as text */
};

static void fail(const char *what, const struct kp_error *err)
{
    fprintf(stderr, "bench_query: %s: %s\n", what, err == NULL ? "failed" : err->text);
    exit(1);
}

/* ---------- one query ---------- */

static void cell_text(const struct kp_vec *vec, uint32_t row, char out[64])
{
    if (kp_vec_null(vec, row))
        out[0] = '\0';
    else if (kp_type_phys(vec->type) == KP_PHYS_STR)
        snprintf(out, 64, "%.*s", (int)kp_vec_str(vec, row).len, kp_vec_str(vec, row).ptr);
    else if (vec->type == KP_TYPE_TIME)
        kp_time_format(vec->i64[row], out);
    else
        snprintf(out, 64, "%" PRId64, vec->i64[row]);
}

static void take_batch(const struct kp_batch *batch, struct answer *answer)
{
    for (uint32_t c = 0; answer->rows == 0 && c < batch->cols_count && c < 2; c++)
        if (kp_batch_count(batch) > 0)
            cell_text(&batch->cols[c], kp_batch_row(batch, 0), answer->first[c]);
    for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
        uint32_t row = kp_batch_row(batch, i);
        for (uint32_t c = 0; c < batch->cols_count; c++) {
            const struct kp_vec *vec = &batch->cols[c];
            uint64_t value = 0x6e756c6c;
            if (!kp_vec_null(vec, row) && kp_type_phys(vec->type) == KP_PHYS_STR)
                value = kp_hash64(kp_vec_str(vec, row).ptr, kp_vec_str(vec, row).len, 0);
            else if (!kp_vec_null(vec, row))
                value = (uint64_t)vec->i64[row];
            answer->hash = kp_hash_mix(answer->hash * 31 + value);
        }
    }
    answer->rows += kp_batch_count(batch);
}

static void ask(const struct bench *bench, const char *text, uint32_t threads,
                struct answer *answer)
{
    struct kp_query_opts opts = {.memory_bytes_max = (size_t)4 << 30, .threads = threads};
    struct kp_query *query;
    const struct kp_batch *batch;
    struct kp_error err;
    kp_status status = kp_query_open(bench->snapshot, kp_str_from(text), &opts, &query, &err);
    if (status != KP_OK)
        fail(text, &err);
    memset(answer, 0, sizeof(*answer));
    while ((status = kp_query_next(query, &batch, &err)) == KP_OK)
        take_batch(batch, answer);
    if (status != KP_END)
        fail(text, &err);
    kp_query_stat(query, &answer->stat);
    kp_query_close(query);
}

/* ---------- texts ---------- */

static void query_text(const struct bench *bench, uint32_t number, struct kp_buf *out)
{
    struct kpi_question question;
    if (!kpi_question_read(number, &question))
        fail("bench/queries", NULL);
    kpi_question_text(question.kql, &bench->values, NULL, 0, out);
}

static void pick(const struct bench *bench, const char *text, char out[64])
{
    struct kp_buf query = {0};
    struct answer answer;
    kpi_question_text(text, &bench->values, NULL, 0, &query);
    ask(bench, kp_buf_cstr(&query), 1, &answer);
    snprintf(out, 64, "%s", answer.first[0]);
    kp_buf_deinit(&query);
}

/* What the texts ask for: the middle of the recording, a busy thread, a rare command. */
static void pick_values(struct bench *bench)
{
    struct kpi_values *values = &bench->values;
    kp_time oldest, newest;
    char tid[64];
    kp_snapshot_range(bench->snapshot, &oldest, &newest);
    if (oldest > newest)
        fail("no rows", NULL);
    values->from = oldest + (newest - oldest) / 2;
    values->at = values->from + KP_SEC;
    pick(bench,
         "sched_waking | where ts between (datetime($from) .. 1s) and wakee_tid != 0 "
         "| summarize n = count() by wakee_tid | top 1 by n",
         tid);
    values->tid = strtoll(tid, NULL, 10);
    pick(bench, "sched_switch | summarize n = count() by comm | where n > 20 | top 1 by n asc",
         values->comm);
    pick(bench, "spans | where txn != '' | take 1 | project txn", values->txn);
}

/* ---------- rounds ---------- */

static void hops(const struct bench *bench, uint32_t threads, struct answer *answer)
{
    struct bench hop = *bench;
    uint64_t rows = 0, hash = 0;
    for (int i = 0; i < (int)KPI_HOPS; i++) {
        struct kp_buf text = {0};
        query_text(&hop, HOP_QUERY, &text);
        ask(&hop, kp_buf_cstr(&text), threads, answer);
        kp_buf_deinit(&text);
        rows += answer->rows;
        hash = kp_hash_mix(hash + answer->hash);
        if (answer->rows == 0)
            break;
        if (!kp_time_parse(kp_str_from(answer->first[0]), &hop.values.at))
            fail(answer->first[0], NULL);
        hop.values.tid = strtoll(answer->first[1], NULL, 10);
    }
    answer->rows = rows;
    answer->hash = hash;
}

static int64_t once(const struct bench *bench, uint32_t number, uint32_t threads,
                    struct answer *answer)
{
    struct kp_buf text = {0};
    query_text(bench, number, &text);
    int64_t start = kp_time_monotonic();
    if (number == HOP_QUERY)
        hops(bench, threads, answer);
    else
        ask(bench, kp_buf_cstr(&text), threads, answer);
    int64_t took = kp_time_monotonic() - start;
    kp_buf_deinit(&text);
    return took;
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double median_ms(const struct bench *bench, uint32_t number, uint32_t threads,
                        struct answer *answer, double *out_first)
{
    int64_t times[ROUNDS_MAX];
    for (uint32_t i = 0; i < bench->rounds; i++)
        times[i] = once(bench, number, threads, answer);
    *out_first = (double)times[0] / 1e6;
    qsort(times, bench->rounds, sizeof(times[0]), compare_times);
    return (double)times[bench->rounds / 2] / 1e6;
}

static int measure(const struct bench *bench)
{
    int different = 0;
    printf("%-4s %10s %10s %10s %10s %12s %10s %16s\n", "", "first", "1 thread", "2 threads",
           "rows", "read", "pages", "hash");
    for (uint32_t q = 1; q <= QUERIES; q++) {
        struct answer one, two;
        double first, again;
        double alone = median_ms(bench, q, 1, &one, &first);
        double both = median_ms(bench, q, 2, &two, &again);
        bool same = one.hash == two.hash && one.rows == two.rows;
        different += !same;
        printf("Q%-3u %10.2f %10.2f %10.2f %10" PRIu64 " %12" PRIu64 " %10" PRIu32 " %016" PRIx64
               "%s\n",
               q, first, alone, both, one.rows, one.stat.rows_read, one.stat.pages, one.hash,
               same ? "" : " DIFFERENT");
    }
    return different;
}

int main(int argc, char **argv)
{
    const char *data = argc > 1 ? argv[1] : getenv("KP_BENCH_DATA");
    struct bench bench = {.rounds = ROUNDS};
    struct kp_error err;
    if (argc > 2)
        bench.rounds = (uint32_t)KP_MIN(KP_MAX(strtoul(argv[2], NULL, 10), 1ul), 99ul);
    if (kp_snapshot_open(data != NULL ? data : "demo/recording", NULL, &bench.snapshot, &err) !=
        KP_OK)
        fail("cannot open the data", &err);
    pick_values(&bench);
    char from[KP_TIME_TEXT_MAX];
    kp_time_format(bench.values.from, from);
    printf("window from %s, thread %" PRId64 ", command %s, transaction %s\n", from,
           bench.values.tid, bench.values.comm, bench.values.txn);
    int different = measure(&bench);
    kp_snapshot_close(bench.snapshot);
    return different == 0 ? 0 : 1;
}
