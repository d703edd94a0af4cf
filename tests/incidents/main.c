/* SPDX-License-Identifier: Apache-2.0
 *
 *   incident --list                            names of the faults
 *   incident NAME --seed N --episodes K --dir D [--first I]
 *
 * Writes D/spans.jsonl (OTLP JSON) and D/truth.jsonl, one line per disturbed transaction. A fault
 * counts as validated when the transaction lasted at least twice as long as the median of the
 * normal ones around it and is unusual beside all those before it, those after it are back to
 * normal, and what was measured of the fault is most of the slowdown: on a machine with other work
 * a slow transaction may have another reason.
 */
#include "incidents/incident.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Normal transactions around each fault. Faults are to be rare enough not to be within what is
 * usual: 95 % of a class. */
#define BEFORE 35
#define AFTER  5

extern const struct kpi_incident *__start_kpi_incidents[], *__stop_kpi_incidents[];

#define HISTORY 200 /* normal transactions that the disturbed one is compared with */

static struct {
    int64_t walls[HISTORY];
    int count; /* all there ever were */
} history;

static int64_t utc_offset; /* of the monotonic clock when it all began, as the recording has it */
static int64_t served_from, served_to;

struct options {
    const struct kpi_incident *incident;
    int64_t seed, episodes;
    const char *dir;
};

static const struct kpi_incident *find(const char *name)
{
    for (const struct kpi_incident **i = __start_kpi_incidents; i < __stop_kpi_incidents; i++)
        if (strcmp((*i)->name, name) == 0)
            return *i;
    kpi_die("no incident '%s'; --list names them", name);
}

static void list(void)
{
    for (const struct kpi_incident **i = __start_kpi_incidents; i < __stop_kpi_incidents; i++)
        printf("%s\t%s\n", (*i)->name, (*i)->about);
}

static void call(void (*fn)(struct kpi_run *), struct kpi_run *run)
{
    if (fn != NULL)
        fn(run);
}

/* One transaction; how long it took. */
static int64_t serve(const struct kpi_incident *incident, struct kpi_run *run, bool fault)
{
    run->fault = fault;
    run->span_trace++;
    if (!fault)
        snprintf(run->txn, sizeof(run->txn), "n%lld", (long long)run->span_trace);
    call(incident->arm, run);
    struct kpi_span *span =
        kpi_span_begin(run->txn, run->span_trace, "", "payments", "POST /pay", KPI_SPAN_SERVER);
    snprintf(run->root_span, sizeof(run->root_span), "%s", span->id);
    served_from = kpi_now();
    incident->serve(run);
    served_to = kpi_now();
    kpi_span_end(span);
    call(incident->settle, run);
    if (!fault)
        history.walls[history.count++ % HISTORY] = span->end - span->start;
    kpi_sleep(kpi_draw(run, 500, 1500) * KPI_US);
    return span->end - span->start;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int64_t median(int64_t *values, int count)
{
    qsort(values, (size_t)count, sizeof(*values), compare);
    return values[count / 2];
}

/* Three times as far from the median as what 95 % of the normal ones before it kept to: on a
 * machine busy with other things a slow transaction can be nothing out of the ordinary. */
static bool is_unusual(int64_t wall, int64_t normal)
{
    int64_t sorted[HISTORY];
    int count = history.count < HISTORY ? history.count : HISTORY;
    memcpy(sorted, history.walls, (size_t)count * sizeof(*sorted));
    qsort(sorted, (size_t)count, sizeof(*sorted), compare);
    return wall > normal + 3 * (sorted[count * 95 / 100] - normal);
}

/* How a fault and its transaction came out. */
struct outcome {
    struct kpi_truth truth;
    int64_t wall, normal, after; /* of it, of those before, of those after it */
    int64_t served;              /* time in which the fault can have acted */
};

/* Why the episode proves nothing, or "". */
static const char *void_reason(const struct outcome *o)
{
    int64_t known = o->truth.ns + (o->truth.also != NULL ? o->truth.also->ns : 0);
    if (o->truth.kinds[0] == '\0')
        return o->wall * 5 < o->normal * 6 ? "" : "disturbed";
    if (o->wall <= 2 * o->normal)
        return "no impact";
    if (!is_unusual(o->wall, o->normal))
        return "not unusual";
    if (o->after >= (o->wall + o->normal) / 2)
        return "slow afterwards";
    if (known * 10 <= (o->wall - o->normal) * 6)
        return "other reasons";
    return o->truth.ns <= o->served ? "" : "outlasted it";
}

static void cause_write(FILE *out, const struct kpi_truth *cause, const char *after)
{
    fprintf(out, "{\"kinds\":\"%s\",\"pid\":%lld,\"object\":\"%s\",\"ns\":%lld,\"self\":%s}%s",
            cause->kinds, (long long)cause->pid, cause->object == NULL ? "" : cause->object,
            (long long)cause->ns, cause->self ? "true" : "false", after);
}

static void episode(const struct options *options, struct kpi_run *run, FILE *truths, int64_t i)
{
    const struct kpi_incident *incident = options->incident;
    int64_t walls[BEFORE], after[AFTER];
    run->size_ns = kpi_draw(run, incident->size_min_ms * 1000, incident->size_max_ms * 1000) * 1000;
    run->cpu = (int)kpi_draw(run, 0, sysconf(_SC_NPROCESSORS_ONLN) - 1);
    for (int n = 0; n < BEFORE; n++)
        walls[n] = serve(incident, run, false);
    snprintf(run->txn, sizeof(run->txn), "f%lld", (long long)i);
    struct outcome o = {.wall = serve(incident, run, true)};
    o.truth = run->truth;
    int64_t from = served_from + utc_offset, to = served_to + utc_offset;
    o.served = to - from;
    for (int n = 0; n < AFTER; n++)
        after[n] = serve(incident, run, false);
    o.normal = median(walls, BEFORE);
    o.after = median(after, AFTER);
    fprintf(truths, "{\"class\":\"%s\",\"txn\":\"f%lld\",\"wall\":%lld,\"normal\":%lld,",
            incident->name, (long long)i, (long long)o.wall, (long long)o.normal);
    fprintf(truths, "\"tid\":%d,\"from\":%lld,\"to\":%lld,", (int)gettid(), (long long)from,
            (long long)to);
    fprintf(truths, "\"after\":%lld,\"void\":\"%s\",\"causes\":[", (long long)o.after,
            void_reason(&o));
    for (const struct kpi_truth *cause = &o.truth; cause != NULL; cause = cause->also)
        cause_write(truths, cause, cause->also == NULL ? "]}\n" : ",");
}

/* Other work of the machine is not the fault: this session goes before it. */
static void go_first(void)
{
    FILE *group = fopen("/proc/self/autogroup", "we"); /* absent where sessions are not grouped */
    if (setpriority(PRIO_PROCESS, 0, -15) != 0)
        kpi_die("needs root: %s", strerror(errno));
    if (group != NULL) {
        fputs("-15", group);
        fclose(group);
    }
}

static void play(const struct options *options)
{
    struct kpi_run run = {.random = (uint64_t)options->seed};
    char path[192];
    snprintf(run.dir, sizeof(run.dir), "%s", options->dir);
    snprintf(path, sizeof(path), "%s/truth.jsonl", options->dir);
    FILE *truths = fopen(path, "we");
    if (truths == NULL)
        kpi_die("cannot write %s: %s", path, strerror(errno));
    kpi_spans_init();
    utc_offset = kpi_utc() - kpi_now();
    call(options->incident->setup, &run);
    for (int64_t i = 0; i < options->episodes; i++)
        episode(options, &run, truths, options->seed + i);
    call(options->incident->teardown, &run);
    snprintf(path, sizeof(path), "%s/spans.jsonl", options->dir);
    kpi_spans_write(path);
    if (fclose(truths) != 0)
        kpi_die("cannot write the truth: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    struct options options = {.seed = 1, .episodes = 1, .dir = "."};
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        list();
        return 0;
    }
    if (argc < 2 || argc % 2 != 0)
        kpi_die("usage: incident NAME [--seed N] [--episodes K] [--dir D], or --list");
    options.incident = find(argv[1]);
    for (int i = 2; i < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0)
            options.seed = strtoll(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--episodes") == 0)
            options.episodes = strtoll(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--dir") == 0)
            options.dir = argv[i + 1];
        else
            kpi_die("what is %s?", argv[i]);
    }
    go_first();
    play(&options);
    return 0;
}
