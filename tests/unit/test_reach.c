/* SPDX-License-Identifier: Apache-2.0
 *
 * A question reads no more of its window than the answer depends on: over the recording of demo/,
 * whose transactions last a fraction of it, every answer is the same to the byte as that of the
 * whole window, and most of the rows are never read. And a question that is told to stop does so
 * wherever it is, without an answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "causal/causal.h"

#define TXNS_MAX 64

struct recording {
    struct kp_snapshot *snapshot;
    struct kp_arena arena;
    struct kp_str txns[TXNS_MAX];
    uint32_t count;
};

/* ---------- text of answers ---------- */

static void cell_text(struct kp_buf *out, const struct kp_vec *vec, uint32_t row)
{
    if (kp_vec_null(vec, row))
        kp_buf_text(out, "null ");
    else if (kp_type_phys(vec->type) == KP_PHYS_STR)
        kp_buf_printf(out, "'%.*s' ", (int)kp_vec_str(vec, row).len, kp_vec_str(vec, row).ptr);
    else if (vec->type == KP_TYPE_F64)
        kp_buf_printf(out, "%.17g ", vec->f64[row]);
    else
        kp_buf_printf(out, "%lld ", (long long)vec->i64[row]);
}

static void rows_text(struct kp_rows *rows, struct kp_buf *out)
{
    const struct kp_batch *batch;
    const struct kp_str *notes;
    uint32_t count = kp_rows_notes(rows, &notes);
    for (uint32_t i = 0; i < count; i++)
        kp_buf_printf(out, "%.*s\n", (int)notes[i].len, notes[i].ptr);
    while (kp_rows_next(rows, &batch) == KP_OK)
        for (uint32_t i = 0; i < kp_batch_count(batch); i++) {
            for (uint32_t c = 0; c < batch->cols_count; c++)
                cell_text(out, &batch->cols[c], kp_batch_row(batch, i));
            kp_buf_char(out, '\n');
        }
}

/* ---------- asking ---------- */

static struct kp_causes_req req_of(struct kp_str txn, bool eager)
{
    return (struct kp_causes_req){.txn = txn,
                                  .within = -1,
                                  .at = KP_TIME_MIN,
                                  .from = 1,
                                  .depth = 0,
                                  .baseline_none = true,
                                  .eager = eager};
}

static uint64_t ask(const struct recording *recording, struct kp_str txn, bool eager,
                    struct kp_buf *out)
{
    struct kp_causes_req req = req_of(txn, eager);
    struct kp_arena arena;
    struct kp_rows *rows;
    struct kp_error err;
    struct kp_scan_stat stat;
    kp_arena_init(&arena, 0);
    if (kp_causes_open(recording->snapshot, &req, &arena, &rows, &err) != KP_OK)
        fail_msg("%s", err.text);
    rows_text(rows, out);
    kp_rows_stat(rows, &stat);
    if (kp_evidence_open(recording->snapshot, &req, 0, &arena, &rows, &err) != KP_OK)
        fail_msg("%s", err.text);
    rows_text(rows, out);
    kp_arena_deinit(&arena);
    return stat.rows_out;
}

static int recording_open(void **state)
{
    static struct recording recording;
    const char *root = getenv("KP_ROOT");
    char dir[500];
    struct kp_rows *rows;
    struct kp_error err;
    const struct kp_batch *batch;
    snprintf(dir, sizeof(dir), "%s/demo/recording/data", root == NULL ? "." : root);
    kp_arena_init(&recording.arena, 0);
    if (kp_snapshot_open(dir, NULL, &recording.snapshot, &err) != KP_OK ||
        kp_txn_open(recording.snapshot, 0, KP_TIME_MAX / 2, &recording.arena, &rows, &err) != KP_OK)
        fail_msg("%s", err.text);
    int column = kp_schema_find(kp_txn_schema(), KP_STR("txn"));
    assert_true(column >= 0);
    while (kp_rows_next(rows, &batch) == KP_OK)
        for (uint32_t i = 0; i < kp_batch_count(batch) && recording.count < TXNS_MAX; i++)
            recording.txns[recording.count++] = kp_arena_str(
                &recording.arena, kp_vec_str(&batch->cols[column], kp_batch_row(batch, i)));
    assert_true(recording.count > 20);
    *state = &recording;
    return 0;
}

static int recording_close(void **state)
{
    struct recording *recording = *state;
    kp_arena_deinit(&recording->arena);
    kp_snapshot_close(recording->snapshot);
    return 0;
}

/* ---------- tests ---------- */

static void a_part_of_the_window_answers_like_all_of_it(void **state)
{
    const struct recording *recording = *state;
    uint64_t part = 0, all = 0;
    for (uint32_t i = 0; i < recording->count; i++) {
        struct kp_buf some = {0}, whole = {0};
        part += ask(recording, recording->txns[i], false, &some);
        all += ask(recording, recording->txns[i], true, &whole);
        assert_string_equal(kp_buf_cstr(&some), kp_buf_cstr(&whole));
        kp_buf_deinit(&some);
        kp_buf_deinit(&whole);
    }
    assert_true(part * 3 < all);
}

struct patience {
    unsigned checks, allowed;
};

static kp_status check(void *ctx, struct kp_error *err)
{
    struct patience *patience = ctx;
    if (patience->checks++ < patience->allowed)
        return KP_OK;
    return kp_error_set(err, KP_CANCELLED, "told to stop");
}

/* Returns whether there was an answer after so many looks at whether to stop. */
static bool ask_until(const struct recording *recording, bool alone, unsigned allowed)
{
    struct kp_causes_req req = req_of(recording->txns[recording->count - 1], false);
    struct patience patience = {.allowed = allowed};
    const struct kp_stop stop = {check, &patience};
    struct kp_arena arena;
    struct kp_rows *rows;
    struct kp_error err;
    req.baseline_none = alone;
    kp_arena_init(&arena, 0);
    arena.stop = &stop;
    kp_status status = kp_causes_open(recording->snapshot, &req, &arena, &rows, &err);
    kp_arena_deinit(&arena);
    if (status != KP_OK) {
        assert_int_equal(status, KP_CANCELLED);
        assert_string_equal(err.text, "told to stop");
        assert_int_equal(patience.checks, allowed + 1); /* it does not go on asking */
    }
    return status == KP_OK;
}

static void a_question_stops_wherever_it_is(void **state)
{
    const struct recording *recording = *state;
    for (int alone = 1; alone >= 0; alone--) {
        unsigned allowed = 0;
        while (!ask_until(recording, alone != 0, allowed))
            allowed += 1 + allowed / 16;
        assert_true(allowed > 40); /* often enough to be quick about it */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_part_of_the_window_answers_like_all_of_it),
        cmocka_unit_test(a_question_stops_wherever_it_is),
    };
    return cmocka_run_group_tests(tests, recording_open, recording_close);
}
