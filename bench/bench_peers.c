/* SPDX-License-Identifier: Apache-2.0
 *
 * One recording here, in DuckDB and in ClickHouse (default and tuned): what it takes to store, and
 * what answers cost, warm and cold, with one thread and with two. Answers are compared; only a way
 * of asking whose answer is ours counts. Every system runs in processes of its own.
 *
 * Warm: the median of some runs after one. Cold: a new process opens the data and asks for a few
 * rows elsewhere, so that code and catalogue are in memory; then the files of the data leave the
 * page cache, then the question is asked once; the median of three processes. What takes longer
 * than two seconds is timed once.
 *
 *   bench_peers store|query DATA WORK [ROUNDS]
 *
 * DATA from `kpq record`; WORK is made and holds the peers' copies, for the next run too. Must be
 * started where bench/queries and build/peers are.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/hash.h"
#include "bench/flat.h"
#include "bench/load.h"

#define THREADS    2u
#define ROUNDS     5u
#define ROUNDS_MAX 99u
#define COLD       3u
#define LONG       (2 * KP_SEC) /* what takes longer is timed once */
#define LOOKUPS    200u
#define LOOKUP     4u /* the question that asks for one transaction */
#define HOP        8u /* ... and the one that goes from wakeup to wakeup */

struct figure {
    double warm[THREADS], cold[THREADS]; /* ms; 0 = not measured */
    struct kpi_answer answer;
    uint32_t way;
    bool asked, equal;
};

struct bench {
    char data[400], work[400], program[400];
    uint32_t rounds;
    struct kpi_loads loads;
    struct kpi_values values;
    char txns[LOOKUPS][64]; /* of transactions, anywhere */
    uint32_t txns_count;
    struct kpi_question questions[KPI_QUESTIONS];
    const uint32_t *set; /* of those that are asked: numbers from 0 */
    uint32_t set_count;
    struct figure figures[KPI_SYSTEMS][KPI_QUESTIONS];
    struct {
        double p50, p99;
        uint64_t rows;
    } lookups[KPI_SYSTEMS][2]; /* ms; [1]: with a side table */
    /* of the child that runs */
    enum kpi_system_kind kind;
    uint32_t threads, question;
    int64_t took;
};

static const uint32_t finding[] = {2, 3, 7, 10, 11, 12};
static const uint32_t ten[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};

static const char *const titles[KPI_QUESTIONS] = {
    "count by kind",        "one thread, 2 s",     "2 s by command",      "one transaction",
    "top processes",        "100 ms bins by kind", "time off CPU",        "20 wakeups back",
    "wait for CPU by comm", "a rare command",      "switches by process", "switches by command",
    "calls by cgroup"};

static bool say(const char *what, const char *why)
{
    fprintf(stderr, "bench_peers: %s: %s\n", what, why);
    return false;
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double rank_ms(int64_t *times, uint32_t count, uint32_t rank)
{
    qsort(times, count, sizeof(*times), compare_times);
    return (double)times[rank] / 1e6;
}

/* ---------- what is asked for ---------- */

static bool pick(struct kp_snapshot *snapshot, const struct kpi_values *values, const char *pattern,
                 struct kp_buf *out)
{
    struct kp_buf text = {0};
    const char *why = "";
    kpi_question_text(pattern, values, NULL, 0, &text);
    kp_buf_clear(out);
    bool done = kpi_system_ours(snapshot, kp_buf_cstr(&text), THREADS, out, &why);
    kp_buf_deinit(&text);
    return done ? out->size > 0 || say(pattern, "no rows") : say(pattern, why);
}

/* Keeps transactions evenly from the list. */
static void keep_txns(struct bench *bench, struct kp_buf *rows)
{
    uint32_t lines = 0, line = 0;
    const char *text = kp_buf_cstr(rows);
    for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++)
        lines++;
    uint32_t step = KP_MAX(lines / LOOKUPS, 1u);
    for (; *text != '\0' && bench->txns_count < LOOKUPS; line++) {
        size_t length = strcspn(text, "\n");
        if (line % step == 0)
            snprintf(bench->txns[bench->txns_count++], 64, "%.*s", (int)length, text);
        text += length + (text[length] != '\0');
    }
}

/* Of the threads that are woken most the one whose wakeups lead back furthest. */
static bool pick_thread(struct bench *bench, struct kpi_system *system)
{
    struct kpi_values *values = &bench->values, trial = *values;
    struct kp_buf rows = {0};
    const char *why = "";
    uint64_t furthest = 0;
    if (!pick(system->snapshot, values,
              "sched_waking | where ts between (datetime($from) .. 1s) and wakee_tid != 0 "
              "| summarize n = count() by wakee_tid | top 30 by n | project wakee_tid",
              &rows))
        return false;
    for (const char *line = kp_buf_cstr(&rows); *line != '\0'; line = strchr(line, '\n') + 1) {
        struct kpi_answer answer;
        int64_t took;
        trial.tid = strtoll(line, NULL, 10);
        if (!kpi_system_ask(system, &bench->questions[HOP - 1], 0, &trial, false, &took, &answer,
                            &why))
            return say(titles[HOP - 1], why);
        if (answer.rows > furthest) {
            furthest = answer.rows;
            values->tid = trial.tid;
        }
    }
    kp_buf_deinit(&rows);
    return true;
}

/* The middle of the recording, a busy thread in it, a rare command, transactions. */
static bool step_pick(void *shared)
{
    struct bench *bench = shared;
    struct kpi_values *values = &bench->values;
    struct kpi_system system;
    struct kp_buf rows = {0};
    const char *why = "";
    kp_time oldest, newest;
    if (!kpi_system_open(&system, KPI_OURS, bench->data, bench->work, THREADS, &why))
        return say(bench->data, why);
    struct kp_snapshot *snapshot = system.snapshot;
    kp_snapshot_range(snapshot, &oldest, &newest);
    if (oldest > newest)
        return say(bench->data, "no rows");
    values->from = oldest + (newest - oldest) / 2;
    values->at = values->from + KP_SEC;
    if (!pick_thread(bench, &system))
        return false;
    if (!pick(snapshot, values,
              "events | summarize n = count() by comm | where n > 20 and comm != '' "
              "| top 1 by n asc | project comm",
              &rows))
        return false;
    snprintf(values->comm, sizeof(values->comm), "%.*s", (int)strcspn(kp_buf_cstr(&rows), "\n"),
             kp_buf_cstr(&rows));
    if (!pick(snapshot, values, "spans | where txn != '' | distinct txn", &rows))
        return false;
    keep_txns(bench, &rows);
    snprintf(values->txn, sizeof(values->txn), "%s", bench->txns[bench->txns_count / 2]);
    kp_buf_deinit(&rows);
    kpi_system_close(&system);
    return true;
}

/* ---------- warm ---------- */

/* Asks one way `rounds` times; the median, or less than 0. */
static double median_ms(struct bench *bench, struct kpi_system *system, uint32_t question,
                        uint32_t way)
{
    int64_t times[ROUNDS_MAX];
    const char *why = "";
    for (uint32_t i = 0; i < bench->rounds; i++)
        if (!kpi_system_ask(system, &bench->questions[question], way, &bench->values, false,
                            &times[i], NULL, &why))
            return say(titles[question], why), -1;
    return rank_ms(times, bench->rounds, bench->rounds / 2);
}

static bool same_answer(const struct kpi_answer *a, const struct kpi_answer *b)
{
    return a->rows == b->rows && a->sum == b->sum;
}

/* One way: its answer first, then how long it takes if the answer is right. */
static bool try_way(struct bench *bench, struct kpi_system *system, uint32_t question, uint32_t way)
{
    struct figure *figure = &bench->figures[bench->kind][question];
    struct kpi_answer answer;
    const char *why = "";
    int64_t took;
    if (!kpi_system_ask(system, &bench->questions[question], way, &bench->values, false, &took,
                        &answer, &why))
        return say(titles[question], why);
    bool equal =
        bench->kind == KPI_OURS || same_answer(&answer, &bench->figures[KPI_OURS][question].answer);
    if (figure->asked && !equal)
        return true; /* another way was right, or this one is as wrong as the first */
    double ms = took > LONG ? (double)took / 1e6 : median_ms(bench, system, question, way);
    double *best = &figure->warm[bench->threads - 1];
    if (ms >= 0 && (*best == 0 || ms < *best || (equal && !figure->equal))) {
        *best = ms;
        figure->way = way;
        figure->answer = answer;
        figure->equal = equal;
    }
    figure->asked = true;
    return ms >= 0;
}

static bool step_warm(void *shared)
{
    struct bench *bench = shared;
    struct kpi_system system;
    const char *why = "";
    if (!kpi_system_open(&system, bench->kind, bench->data, bench->work, bench->threads, &why))
        return say(bench->data, why);
    bool done = true;
    for (uint32_t i = 0; i < bench->set_count; i++) {
        uint32_t q = bench->set[i];
        uint32_t ways = bench->kind == KPI_OURS ? 1 : bench->questions[q].ways_count;
        for (uint32_t way = 0; way < ways; way++)
            done = try_way(bench, &system, q, way) && done;
    }
    return done;
}

/* ---------- cold ---------- */

static bool step_cold(void *shared)
{
    struct bench *bench = shared;
    const struct kpi_question *question = &bench->questions[bench->question];
    uint32_t way = bench->figures[bench->kind][bench->question].way;
    struct kpi_system system;
    const char *why = "";
    char dir[400];
    if (!kpi_system_open(&system, bench->kind, bench->data, bench->work, bench->threads, &why) ||
        !kpi_system_ask(&system, question, way, &bench->values, true, &bench->took, NULL, &why))
        return say(titles[bench->question], why);
    kpi_system_dir(bench->kind, bench->data, bench->work, dir);
    kpi_files(dir, true);
    return kpi_system_ask(&system, question, way, &bench->values, false, &bench->took, NULL,
                          &why) ||
           say(titles[bench->question], why);
}

/* What fails has been said and leaves its place in the table at 0. */
static void cold(struct bench *bench)
{
    for (uint32_t q = 0; q < bench->set_count; q++) {
        struct figure *figure = &bench->figures[bench->kind][bench->set[q]];
        int64_t times[COLD];
        uint32_t count = 0;
        bench->question = bench->set[q];
        while (count < COLD && kpi_child(step_cold, bench)) {
            times[count++] = bench->took;
            if (bench->took > LONG)
                break;
        }
        if (count > 0)
            figure->cold[bench->threads - 1] = rank_ms(times, count, count / 2);
    }
}

static bool measure(struct bench *bench)
{
    bool done = true;
    for (bench->kind = KPI_OURS; bench->kind < KPI_SYSTEMS; bench->kind++)
        for (bench->threads = 1; bench->threads <= THREADS; bench->threads++) {
            done = kpi_child(step_warm, bench) && done;
            cold(bench);
        }
    return done;
}

/* ---------- many transactions ---------- */

static bool lookups(struct bench *bench, struct kpi_system *system, uint32_t way)
{
    int64_t times[LOOKUPS];
    struct kpi_values values = bench->values;
    const char *why = "";
    uint64_t rows = 0;
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 0; i < bench->txns_count; i++) {
            struct kpi_answer answer;
            snprintf(values.txn, sizeof(values.txn), "%s", bench->txns[i]);
            if (!kpi_system_ask(system, &bench->questions[LOOKUP - 1], way, &values, false,
                                &times[i], round == 0 ? &answer : NULL, &why))
                return say("lookups", why);
            rows += round == 0 ? answer.rows : 0;
        }
    bench->lookups[bench->kind][way].rows = rows;
    bench->lookups[bench->kind][way].p50 = rank_ms(times, bench->txns_count, bench->txns_count / 2);
    bench->lookups[bench->kind][way].p99 =
        rank_ms(times, bench->txns_count, bench->txns_count - 1 - bench->txns_count / 100);
    return true;
}

static bool step_lookups(void *shared)
{
    struct bench *bench = shared;
    struct kpi_system system;
    const char *why = "";
    if (!kpi_system_open(&system, bench->kind, bench->data, bench->work, 1, &why))
        return say(bench->data, why);
    return lookups(bench, &system, 0) && (bench->kind == KPI_OURS || lookups(bench, &system, 1));
}

/* ---------- tables ---------- */

/* The faster peer at one place of the figures. */
static double best_peer(const struct bench *bench, uint32_t question, uint32_t threads, bool cold)
{
    double best = 0;
    for (int kind = KPI_DUCK; kind < KPI_SYSTEMS; kind++) {
        const struct figure *figure = &bench->figures[kind][question];
        double ms = cold ? figure->cold[threads] : figure->warm[threads];
        if (figure->equal && ms > 0 && (best == 0 || ms < best))
            best = ms;
    }
    return best;
}

static double figure_ms(const struct figure *figure, uint32_t threads, bool cold)
{
    return cold ? figure->cold[threads] : figure->warm[threads];
}

static void print_question(const struct bench *bench, uint32_t q, uint32_t threads, bool cold,
                           double *log_sum, uint32_t *below)
{
    double ours = figure_ms(&bench->figures[KPI_OURS][q], threads, cold);
    double best = best_peer(bench, q, threads, cold);
    printf("| Q%u %s | %.3f |", q + 1, titles[q], ours);
    for (int kind = KPI_DUCK; kind < KPI_SYSTEMS; kind++) {
        const struct figure *figure = &bench->figures[kind][q];
        printf(" %.2f %s%s |", figure_ms(figure, threads, cold),
               bench->questions[q].ways[figure->way].name, figure->equal ? "" : " DIFFERENT");
    }
    printf(" %.2f | %" PRIu64 " |\n", best / ours, bench->figures[KPI_OURS][q].answer.rows);
    if (best > 0) {
        *log_sum += log(best / ours);
        *below += best < ours;
    }
}

static void print_table(const struct bench *bench, uint32_t threads, bool cold)
{
    double log_sum = 0;
    uint32_t below = 0;
    printf("\n%s, %u thread%s, ms:\n\n| Question | kprobe |", cold ? "Cold" : "Warm", threads + 1,
           threads == 0 ? "" : "s");
    for (int kind = KPI_DUCK; kind < KPI_SYSTEMS; kind++)
        printf(" %s |", bench->loads.peers[kind].name);
    printf(" best peer / kprobe | rows |\n| --- | --- | --- | --- | --- | --- | --- |\n");
    for (uint32_t q = 0; q < bench->set_count; q++)
        print_question(bench, bench->set[q], threads, cold, &log_sum, &below);
    printf("\ngeometric mean of the ratios %.2f; slower than the faster peer in %u of %u\n",
           exp(log_sum / bench->set_count), below, bench->set_count);
}

static uint32_t different(const struct bench *bench)
{
    uint32_t count = 0;
    for (int kind = KPI_DUCK; kind < KPI_SYSTEMS; kind++)
        for (uint32_t q = 0; q < bench->set_count; q++)
            count += !bench->figures[kind][bench->set[q]].equal;
    return count;
}

static void print_tables(const struct bench *bench)
{
    for (int cold = 0; cold < 2; cold++)
        for (uint32_t threads = 0; threads < THREADS; threads++)
            print_table(bench, threads, cold);
    uint32_t wrong = different(bench);
    printf("\nanswers that differ from ours: %u of %u\n", wrong,
           (uint32_t)(KPI_SYSTEMS - KPI_DUCK) * bench->set_count);
}

/* What bench_store says of the same recording, a row: CPU ns until durable and to seal, bytes in
 * the log and cold; how many events of the kernel there are, and the bytes of all spans. */
struct ours {
    double append, seal, log, cold;
    uint64_t events, spans_bytes;
};

static bool ours_ingest(const struct bench *bench, struct ours *out)
{
    char command[1000], line[400];
    uint64_t rows, bytes;
    memset(out, 0, sizeof(*out));
    snprintf(command, sizeof(command), "%.*s/bench_store '%s'",
             (int)(strrchr(bench->program, '/') - bench->program), bench->program, bench->data);
    FILE *pipe = popen(command, "r");
    while (pipe != NULL && fgets(line, sizeof(line), pipe) != NULL) {
        sscanf(line, "events %" SCNu64, &out->events);
        sscanf(line, "log %lf B/row %*f B/event append until durable %lf", &out->log, &out->append);
        sscanf(line, "sealed %*f B/row %*f B/event seal %lf", &out->seal);
        sscanf(line, "cold %lf B/row", &out->cold);
        if (sscanf(line, " spans: %" SCNu64 " rows, %" SCNu64, &rows, &bytes) == 2)
            out->spans_bytes += bytes;
    }
    return pipe != NULL && pclose(pipe) == 0 && out->append > 0 && out->seal > 0;
}

/* `bytes` a row, and what that is an event. `cpu`: seconds per million rows, 0 = not said. */
static void print_size(const struct bench *bench, const struct ours *ours, const char *name,
                       double bytes, double cpu, double speed)
{
    double rows = (double)bench->loads.rows, sealed = (double)bench->loads.ours_bytes / rows;
    double load = (ours->append + ours->seal) / 1e3; /* ns a row are s per 10^9 rows */
    printf("| %s | %.3f | %.3f | %.2f |", name, bytes,
           bytes * rows / (double)KP_MAX(ours->events, UINT64_C(1)), bytes / sealed);
    if (cpu > 0)
        printf(" %.3f | %.2f |", cpu, load > 0 ? cpu / load : 0);
    else
        printf(" | |");
    if (speed > 0)
        printf(" %.2f M", speed / 1e6);
    printf(" |\n");
}

static void print_store(const struct bench *bench)
{
    const struct kpi_loads *loads = &bench->loads;
    struct ours ours;
    double rows = (double)loads->rows;
    if (!ours_ingest(bench, &ours))
        say("bench_store", "gave no figures of the load");
    double cpu = (ours.append + ours.seal) / 1e3;
    printf("\n%" PRIu64 " events of the kernel in %" PRIu64 " rows (a row joins up to three)\n\n"
           "| System | bytes/row | bytes/event | / kprobe sealed | load, CPU s per M rows "
           "| / kprobe | rows/s, of 2 threads |\n| --- | --- | --- | --- | --- | --- | --- |\n",
           ours.events, loads->rows);
    print_size(bench, &ours, "kprobe, sealed with indexes", (double)loads->ours_bytes / rows, cpu,
               cpu > 0 ? 2e6 / cpu : 0);
    print_size(bench, &ours, "... of that columns of spans, whole", (double)ours.spans_bytes / rows,
               0, 0);
    print_size(bench, &ours, "kprobe, log (hot)", ours.log, ours.append / 1e3, 0);
    print_size(bench, &ours, "kprobe, cold", ours.cold, 0, 0);
    for (int kind = KPI_DUCK; kind < KPI_SYSTEMS; kind++) {
        const struct kpi_load *load = &loads->peers[kind];
        print_size(bench, &ours, load->name, (double)load->bytes / rows, load->cpu / rows * 1e6,
                   rows / load->wall);
    }
    print_size(bench, &ours, "Parquet v2, zstd", (double)loads->parquet_bytes / rows, 0, 0);
    print_size(bench, &ours, "packed rows", (double)loads->flat_bytes / rows, 0, 0);
}

static void print_lookups(const struct bench *bench)
{
    printf("\n%u transactions one after the other, warm, 1 thread, ms:\n\n"
           "| System | p50 | p99 | p50 / kprobe | same rows |\n| --- | --- | --- | --- | --- |\n",
           bench->txns_count);
    for (int kind = KPI_OURS; kind < KPI_SYSTEMS; kind++)
        for (int side = 0; side < (kind == KPI_OURS ? 1 : 2); side++)
            printf("| %s%s | %.3f | %.3f | %.1f | %s |\n",
                   kind == KPI_OURS ? "kprobe" : bench->loads.peers[kind].name,
                   side ? ", side table" : "", bench->lookups[kind][side].p50,
                   bench->lookups[kind][side].p99,
                   bench->lookups[kind][side].p50 / bench->lookups[KPI_OURS][0].p50,
                   bench->lookups[kind][side].rows == bench->lookups[KPI_OURS][0].rows ? "yes"
                                                                                       : "NO");
}

static bool run(struct bench *bench, bool store)
{
    bench->set = store ? finding : ten;
    bench->set_count = store ? KP_ARRAY_LEN(finding) : KP_ARRAY_LEN(ten);
    for (uint32_t q = 0; q < KPI_QUESTIONS; q++)
        if (!kpi_question_read(q + 1, &bench->questions[q]))
            return say("bench/queries", "a file is missing; start it at the top of the sources");
    if (!kpi_child(step_pick, bench) || !kpi_load(bench->data, bench->work, &bench->loads))
        return false;
    printf("%" PRIu64 " events and %" PRIu64 " spans of %s; thread %" PRId64 ", command %s\n",
           bench->loads.rows - bench->loads.spans, bench->loads.spans, bench->data,
           bench->values.tid, bench->values.comm);
    for (bench->kind = KPI_OURS; store && bench->kind < KPI_SYSTEMS; bench->kind++)
        if (!kpi_child(step_lookups, bench))
            return false;
    if (store) {
        print_store(bench);
        print_lookups(bench);
    }
    bool done = measure(bench);
    print_tables(bench);
    return done && different(bench) == 0;
}

/* The peers want a whole path, also of a folder that is not there yet. */
static void work_path(const char *given, char out[400])
{
    char here[200] = "";
    if (given[0] == '/')
        snprintf(out, 400, "%s", given);
    else if (getcwd(here, sizeof(here)) != NULL)
        snprintf(out, 400, "%s/%.190s", here, given);
}

int main(int argc, char **argv)
{
    struct bench *bench = kpi_shared(sizeof(*bench));
    if (argc < 4 || (strcmp(argv[1], "store") != 0 && strcmp(argv[1], "query") != 0)) {
        fprintf(stderr, "usage: bench_peers store|query DATA WORK [ROUNDS]\n");
        return 2;
    }
    snprintf(bench->program, sizeof(bench->program), "%s", argv[0]);
    snprintf(bench->data, sizeof(bench->data), "%s", argv[2]);
    work_path(argv[3], bench->work);
    bench->rounds = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 10) : ROUNDS;
    bench->rounds = KP_MIN(KP_MAX(bench->rounds, 1u), ROUNDS_MAX);
    setpriority(PRIO_PROCESS, 0, -20); /* as far as it may */
    return run(bench, strcmp(argv[1], "store") == 0) ? 0 : 1;
}
