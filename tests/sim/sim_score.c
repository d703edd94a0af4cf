/* SPDX-License-Identifier: Apache-2.0
 *
 * The engine's partition of the transaction against the true one, nanosecond by nanosecond. Where
 * the truth names a thread the answer must name the same one; of a device, an interrupt, a quota, a
 * message on its way, only the kind is compared. Running and being inside a system call are one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "sim/sim.h"

static const char *kind_plain(const char *kind)
{
    return strcmp(kind, "syscall") == 0 ? "running" : kind;
}

struct part {
    kp_time from, to;
    char kind[32], culprit_comm[32], stop[16], note[160];
    int64_t culprit; /* tid, -1 = none */
    bool strong;
};

static void parts_ask(const struct sim *sim, struct world *w, struct answer *answer)
{
    struct kp_causes_req req = world_req(sim->txn);
    req.parts = true;
    req.baseline_none = true;
    world_causes_req(w, &req, answer);
    if (answer->status != KP_OK)
        fail_msg("%s", answer->err.text);
}

static struct part part_at(const struct world *w, const struct answer *answer, uint32_t row)
{
    struct part part = {.from = cell_i64(answer, row, "start") - w->zero, .culprit = -1};
    part.to = part.from + cell_i64(answer, row, "dur");
    snprintf(part.kind, sizeof(part.kind), "%s", kind_plain(cell_str(answer, row, "kind")));
    snprintf(part.stop, sizeof(part.stop), "%s", cell_str(answer, row, "stop"));
    snprintf(part.note, sizeof(part.note), "%.150s", cell_str(answer, row, "note"));
    snprintf(part.culprit_comm, sizeof(part.culprit_comm), "%.30s",
             cell_str(answer, row, "culprit_comm"));
    if (!cell_null(answer, row, "culprit_tid"))
        part.culprit = cell_i64(answer, row, "culprit_tid") - w->pid_shift;
    part.strong = strncmp(cell_str(answer, row, "strength"), "strong", 6) == 0;
    return part;
}

static bool agrees(const struct sim *sim, const struct sim_piece *piece, const struct part *part)
{
    if (strcmp(piece->kind, part->kind) != 0)
        return false;
    bool threads = piece->culprit != SIM_NONE && strcmp(piece->kind, "kworker") != 0 &&
                   strcmp(piece->kind, "page_fault") != 0;
    return !threads || part->culprit == sim->threads[piece->culprit].tid;
}

static void tell(const struct sim *sim, const struct sim_piece *piece, const struct part *part,
                 kp_time from, kp_time to)
{
    const char *comm = piece->culprit == SIM_NONE ? "-" : sim->threads[piece->culprit].comm;
    print_message(
        "seed %llu +%lld..+%lld (%lld ns): true %s of %s/%lld, said %s of %s/%lld %s %s%s\n",
        (unsigned long long)sim->seed, (long long)from, (long long)to, (long long)(to - from),
        piece->kind, comm,
        piece->culprit == SIM_NONE ? -1 : (long long)sim->threads[piece->culprit].tid, part->kind,
        part->culprit_comm, (long long)part->culprit, part->strong ? "STRONG" : "weak", part->note,
        part->stop);
}

static void compare(const struct sim *sim, const struct sim_piece *piece, const struct part *part,
                    struct sim_score *sum, bool told)
{
    kp_time from = KP_MAX(piece->from, part->from), to = KP_MIN(piece->to, part->to);
    kp_dur dur = to - from;
    if (dur <= 0)
        return;
    bool same = agrees(sim, piece, part);
    sum->wall += dur;
    sum->strong += part->strong ? dur : 0;
    if (piece->kind[0] == '\0')
        sum->skipped += dur;
    else if (same)
        sum->right += dur;
    else if (strncmp(part->kind, "unknown", 7) == 0)
        sum->unknown += dur;
    else
        sum->wrong += dur;
    if (!same && piece->kind[0] != '\0' && strcmp(part->kind, "runnable.throttled") == 0)
        sum->quota_end += dur;
    if (!same && part->strong && piece->kind[0] != '\0')
        sum->strong_wrong += dur;
    if (told && !same && piece->kind[0] != '\0')
        tell(sim, piece, part, from, to);
}

/* Both lists are in order of time and partition the same range. */
void sim_score(const struct sim *sim, struct world *w, struct sim_score *sum, bool told)
{
    struct answer answer;
    struct sim_list truth = {0};
    parts_ask(sim, w, &answer);
    assert_int_equal(answer_sum(&answer, NULL), sim->end - sim->begin);
    sim_truth(sim, &truth);
    for (uint32_t row = 0, at = 0; row < answer.count; row++) {
        struct part part = part_at(w, &answer, row);
        while (at < truth.count && SIM_AT(truth, struct sim_piece, at)->to <= part.from)
            at++;
        for (uint32_t i = at; i < truth.count; i++) {
            const struct sim_piece *piece = SIM_AT(truth, struct sim_piece, i);
            if (piece->from >= part.to)
                break;
            compare(sim, piece, &part, sum, told);
        }
    }
    free(truth.items);
    answer_deinit(&answer);
}

char *sim_answer_text(const struct sim *sim, struct world *w)
{
    struct answer answer;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    parts_ask(sim, w, &answer);
    for (uint32_t row = 0; row < answer.count; row++) {
        struct part part = part_at(w, &answer, row);
        fprintf(out, "%lld %lld %s %s %lld %s\n", (long long)part.from, (long long)part.to,
                part.kind, part.culprit_comm, (long long)part.culprit,
                part.strong ? "strong" : "weak");
    }
    fclose(out);
    answer_deinit(&answer);
    return text;
}
