/* SPDX-License-Identifier: Apache-2.0
 *
 * oracle [QUERIES [SEED]]: random queries asked of DuckDB and of this engine, and of this engine
 * without one of its ways. Three in four over made-up rows, the others over the recording that
 * comes with the demo. Two processes share the work. Exits 77 when there is no DuckDB.
 *
 * What disagrees is printed with the seed that makes it again: oracle 1 SEED.
 */
#include "oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define QUERIES 500 /* which take as long as all do without */
#else
#define QUERIES 20000
#endif
#define SEED      20261123
#define PER_WORLD 1250 /* queries over the same made-up rows */
#define WORKERS   2
#define TOLD      10 /* disagreements that are shown */

static const char *const verdict_names[] = {
    "agreed",       "rows differ", "ours failed", "SQL failed", "other bytes without a way",
    "does not hold"};

struct run {
    struct universe universe;
    uint64_t asked, answered, wrong; /* answered: with rows */
};

static void tell(struct run *run, struct pipe *pipe, uint64_t seed, uint32_t way,
                 struct outcome *outcome)
{
    struct kp_buf text = {0}, sql = {0};
    if (run->wrong++ >= TOLD)
        return;
    if (outcome->verdict != PROPERTY_BROKEN) {
        shrink(&run->universe, pipe, way, outcome);
        ask(&run->universe, pipe, way, outcome);
    }
    print_ours(&run->universe, pipe, &text);
    print_sql(pipe, &sql);
    const char *shown = strstr(kp_buf_cstr(&text), "];\n");
    printf("%s (seed %llu):\n  %s\n  %s\n%s\n", verdict_names[outcome->verdict],
           (unsigned long long)seed, shown == NULL ? kp_buf_cstr(&text) : shown + 3,
           kp_buf_cstr(&sql), kp_buf_cstr(&outcome->detail));
    fflush(stdout);
    kp_buf_deinit(&text);
    kp_buf_deinit(&sql);
}

static void ask_what_holds(struct run *run, const struct pipe *pipe, struct random *random,
                           struct kp_arena *arena, struct outcome *outcome)
{
    struct columns columns;
    kp_assert(pipe_columns(pipe, pipe->count, &columns));
    const struct node *condition = generate_condition(&columns, random, arena);
    ask_properties(&run->universe, pipe, condition, random_below(random, 300), outcome);
}

static void ask_one(struct run *run, uint64_t seed)
{
    struct kp_arena arena;
    struct outcome outcome = {0};
    struct random random = {seed};
    kp_arena_init(&arena, 16 << 20);
    struct pipe *pipe = generate(&run->universe, &random, &arena);
    uint32_t way = (uint32_t)(seed % 24);
    ask(&run->universe, pipe, way, &outcome);
    if (outcome.verdict == AGREED && seed % 8 == 0)
        ask_what_holds(run, pipe, &random, &arena, &outcome);
    run->asked++;
    run->answered += outcome.bytes > 0;
    if (outcome.verdict != AGREED)
        tell(run, pipe, seed, way, &outcome);
    kp_buf_deinit(&outcome.detail);
    kp_arena_deinit(&arena);
}

/* The queries of seeds from, from + 1, ...: every fourth world is the recording. */
static int work(uint64_t from, uint64_t count)
{
    struct run run = {0};
    const char *root = getenv("KP_ROOT");
    char dir[500];
    snprintf(dir, sizeof(dir), "%s/demo/recording/data", root == NULL ? "." : root);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t seed = from + i, world = seed / PER_WORLD;
        if (i == 0 || seed % PER_WORLD == 0) {
            if (i > 0)
                universe_close(&run.universe);
            if (world % 4 != 3)
                universe_make(&run.universe, world);
            else
                universe_read(&run.universe, dir);
        }
        ask_one(&run, seed);
    }
    universe_close(&run.universe);
    printf("%llu queries from seed %llu, %llu with rows, %llu disagree\n",
           (unsigned long long)run.asked, (unsigned long long)from,
           (unsigned long long)run.answered, (unsigned long long)run.wrong);
    fflush(stdout);
    return run.wrong > 0 || (run.asked > 100 && run.answered < run.asked / 2);
}

static bool run_workers(uint64_t queries, uint64_t seed)
{
    uint64_t share = (queries + WORKERS - 1) / WORKERS;
    bool failed = false;
    for (uint64_t from = 0; from < queries; from += share) {
        uint64_t count = queries - from < share ? queries - from : share;
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGTERM);
            if (from > 0)
                setenv("KP_SIMD", "none", 1); /* one half without vector units */
            exit(work(seed + from, count));
        }
        failed |= pid < 0;
    }
    int status;
    while (wait(&status) > 0)
        failed |= status != 0;
    return !failed;
}

int main(int argc, char **argv)
{
    uint64_t queries = argc > 1 ? strtoull(argv[1], NULL, 10) : QUERIES;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : SEED;
    const char *missing = duck_missing();
    if (missing != NULL) {
        printf("DuckDB is not here: %s\n", missing);
        return 77;
    }
    return run_workers(queries, seed) ? 0 : 1;
}
