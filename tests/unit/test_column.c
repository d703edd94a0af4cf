/* SPDX-License-Identifier: Apache-2.0
 *
 * The catalogue derives what it promises; builders and actors keep what they are given.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>

#include "bpf/event.h"
#include "column/batch.h"

static void wire_layout_matches_the_structs(void **state)
{
    (void)state;
#define CHECK_FIELD(name, type, unit, wire, names, index, doc) CHECK_##wire(name)
#define CHECK_AT(field)                                                               \
    {                                                                                 \
        int at = kp_stream_stored(stream, #field);                                    \
        assert_true(at >= KP_COL_FIRST);                                              \
        assert_int_equal(stream->stored[at].wire_offset, offsetof(RECORD, field));    \
        assert_int_equal(stream->stored[at].wire_size, sizeof(((RECORD *)0)->field)); \
    }
#define CHECK_u8        CHECK_AT
#define CHECK_u16       CHECK_AT
#define CHECK_u32       CHECK_AT
#define CHECK_u64       CHECK_AT
#define CHECK_s16       CHECK_AT
#define CHECK_s32       CHECK_AT
#define CHECK_s64       CHECK_AT
#define CHECK_CHARS_16  CHECK_AT
#define CHECK_CHARS_32  CHECK_AT
#define CHECK_CHARS_96  CHECK_AT
#define CHECK_CHARS_256 CHECK_AT
#define CHECK_ADDR_16   CHECK_AT
#define CHECK_NOWIRE(field)
#define CHECK_STREAM(ID, sname, number, family, dflt, doc)            \
    {                                                                 \
        typedef struct kp_record_##ID RECORD;                         \
        const struct kp_stream *stream = kp_stream_by_number(number); \
        assert_non_null(stream);                                      \
        assert_string_equal(stream->name, #sname);                    \
        if (stream->record_size != 0)                                 \
            assert_int_equal(stream->record_size, sizeof(RECORD));    \
        KP_COLUMNS_##ID(CHECK_FIELD)                                  \
    }
    KP_STREAMS(CHECK_STREAM)
}

static void actor_columns_show_their_attributes(void **state)
{
    (void)state;
    const struct kp_stream *stream = kp_stream_by_name(KP_STR("sched_switch"));
    const struct kp_query_column *column = kp_stream_column(stream, KP_STR("next_comm"));
    assert_non_null(column);
    assert_int_equal(column->type, KP_TYPE_STR);
    assert_int_equal(column->ref.attr, KP_ATTR_COMM);
    assert_int_equal(column->ref.stored, kp_stream_stored(stream, "next"));
    assert_null(kp_stream_column(stream, KP_STR("next")));
    assert_non_null(kp_stream_column(stream, KP_STR("tid")));
    assert_null(kp_stream_column(stream, KP_STR("start")));
    assert_non_null(kp_stream_column(kp_stream_by_name(KP_STR("syscall")), KP_STR("start")));
}

static void enum_names_work_both_ways(void **state)
{
    (void)state;
    const struct kp_stream *stream = kp_stream_by_name(KP_STR("syscall"));
    const struct kp_stored_column *nr = &stream->stored[kp_stream_stored(stream, "nr")];
    int64_t value = -1;
    assert_true(kp_enum_value(nr, KP_STR("fsync"), &value));
    assert_true(kp_str_equal(kp_enum_name(nr, value), KP_STR("fsync")));
    assert_null(kp_enum_name(nr, 1 << 20).ptr);
    uint32_t count;
    const struct kp_stream *all = kp_streams(&count);
    for (uint32_t s = 0; s < count; s++)
        for (uint32_t c = 0; c < all[s].stored_count; c++)
            for (uint32_t n = 1; n < all[s].stored[c].names_count; n++)
                assert_true(all[s].stored[c].names[n - 1].value < all[s].stored[c].names[n].value);
}

static void actors_are_interned_once_and_stay(void **state)
{
    (void)state;
    struct kp_actors *actors = NULL;
    assert_int_equal(kp_actors_init(&actors), KP_OK);
    kp_actor_id first = 0;
    for (uint32_t round = 0; round < 2; round++) {
        for (uint32_t tid = 1; tid <= 20000; tid++) {
            char comm[16];
            snprintf(comm, sizeof(comm), "c%u", tid % 97);
            struct kp_actor actor = {.host = KP_STR("web1"),
                                     .tid = tid,
                                     .pid = tid / 4,
                                     .start = tid * 10,
                                     .comm = kp_str_from(comm),
                                     .cgroup = KP_STR("/pay")};
            kp_actor_id id = kp_actors_intern(actors, &actor);
            assert_int_equal(id, tid);
            if (tid == 1)
                first = id;
        }
    }
    assert_int_equal(kp_actors_count(actors), 20001);
    const struct kp_actor *one = kp_actors_get(actors, first);
    assert_true(kp_str_equal(one->comm, KP_STR("c1")));
    assert_int_equal(kp_actors_get(actors, 1u << 30)->tid, 0);
    struct kp_actor other = *one;
    other.comm = KP_STR("renamed");
    assert_true(kp_actor_same_thread(one, &other));
    other.boot = KP_STR("a boot"); /* that of `one` is not known */
    assert_true(kp_actor_same_thread(one, &other));
    struct kp_actor third = other;
    third.boot = KP_STR("the next");
    assert_false(kp_actor_same_thread(&other, &third));
    assert_int_not_equal(kp_actors_intern(actors, &other), kp_actors_intern(actors, &third));
    other.start = 11;
    assert_false(kp_actor_same_thread(one, &other));
    kp_actors_deinit(actors);
}

static void builder_gives_back_what_was_set(void **state)
{
    (void)state;
    const struct kp_stream *stream = kp_stream_by_name(KP_STR("spans"));
    int name = kp_stream_stored(stream, "name"), dur = kp_stream_stored(stream, "dur");
    struct kp_builder builder;
    assert_int_equal(kp_builder_init(&builder, stream, NULL, 512), KP_OK);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 512; i++) {
            char text[32];
            kp_builder_row(&builder, i, i + 1, 0, 0);
            kp_builder_i64(&builder, (uint32_t)dur, i * 7);
            int length = i % 3 == 0 ? 0 : snprintf(text, sizeof(text), "span %u", i);
            assert_int_equal(
                kp_builder_str(&builder, (uint32_t)name, (struct kp_str){text, (uint32_t)length}),
                KP_OK);
        }
        assert_true(kp_builder_full(&builder));
        const struct kp_batch *batch = kp_builder_batch(&builder);
        assert_ptr_equal(kp_builder_batch(&builder), batch);
        for (uint32_t i = 0; i < batch->rows; i++) {
            char text[32];
            int length = i % 3 == 0 ? 0 : snprintf(text, sizeof(text), "span %u", i);
            assert_true(kp_str_equal(kp_vec_str(&batch->cols[name], i),
                                     (struct kp_str){text, (uint32_t)length}));
            assert_int_equal(batch->cols[dur].i64[i], i * 7);
        }
        kp_builder_reset(&builder);
    }
    kp_builder_deinit(&builder);
}

static void rows_say_how_many_events_they_join(void **state)
{
    (void)state;
    const struct kp_stream *request = kp_stream_by_name(KP_STR("block_rq"));
    assert_int_equal(request->events, 2);
    assert_int_equal(request->events_more, kp_stream_stored(request, "queue_dur"));
    assert_int_equal(kp_stream_by_number(KP_S_SYSCALL)->events, 2);
    assert_int_equal(kp_stream_by_number(KP_S_SYSCALL)->events_more, 0);
    assert_int_equal(kp_stream_by_number(KP_S_SOCK)->events, 0);
    assert_int_equal(kp_stream_by_number(KP_S_SPANS)->events, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wire_layout_matches_the_structs),
        cmocka_unit_test(rows_say_how_many_events_they_join),
        cmocka_unit_test(actor_columns_show_their_attributes),
        cmocka_unit_test(enum_names_work_both_ways),
        cmocka_unit_test(actors_are_interned_once_and_stay),
        cmocka_unit_test(builder_gives_back_what_was_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
