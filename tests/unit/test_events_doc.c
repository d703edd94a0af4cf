/* SPDX-License-Identifier: Apache-2.0
 *
 * docs/events.md is what the catalogue says. KP_UPDATE=1 rewrites it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "column/catalogue.h"

#define ENUM_NAMES_SHOWN 24

static void add_head(struct kp_buf *out)
{
    kp_buf_text(
        out,
        "# Events\n\n"
        "Every stream and every column, derived from `src/column/catalogue.def` (a test keeps this "
        "page equal to it). Each stream is a table of the query language; `events` is the merged "
        "view of all kernel streams.\n\n"
        "- `ts` is always the instant at which the event was complete, in ns since the epoch, UTC. "
        "Streams with `dur` also have `start` = `ts` - `dur`.\n"
        "- `(host, cpu, seq)` names one event; the total order is (ts, host, cpu, seq).\n"
        "- `tid pid comm cgroup host` describe the thread the event happened in, as it was then; "
        "`next_tid`, `wakee_comm` and the like describe the other thread involved.\n"
        "- Names in `code` under a column are the values it can have; others print as numbers.\n");
}

static void add_names(struct kp_buf *out, const struct kp_stored_column *stored)
{
    if (stored->names_count == 0)
        return;
    if (stored->names_count > ENUM_NAMES_SHOWN) {
        kp_buf_text(out, ": the kernel's name, e.g. `fsync`");
        return;
    }
    kp_buf_char(out, ':');
    for (uint32_t i = 0; i < stored->names_count; i++)
        kp_buf_printf(out, " `%s`", stored->names[i].name);
}

static void add_stream(struct kp_buf *out, const struct kp_stream *stream)
{
    kp_buf_printf(out, "\n## %s\n\n%c%s. Number %u, %s%s.\n\n", stream->name, stream->doc[0] - 32,
                  stream->doc + 1, stream->number,
                  stream->family == KP_FAMILY_KERNEL ? "from the kernel" : "from user space",
                  stream->on_by_default ? ", on by default" : "");
    kp_buf_text(out, "| column | type | unit | meaning |\n| --- | --- | --- | --- |\n");
    for (uint32_t i = 0; i < stream->columns_count; i++) {
        const struct kp_query_column *column = &stream->columns[i];
        kp_buf_printf(out, "| `%s` | %s | %s | %s", column->name, kp_type_name(column->type),
                      kp_unit_name(column->unit), column->doc);
        if (column->ref.attr == KP_ATTR_SELF)
            add_names(out, &stream->stored[column->ref.stored]);
        else if (column->ref.stored > KP_COL_ACTOR && column->ref.attr != KP_ATTR_START)
            kp_buf_printf(out, ": %s", stream->stored[column->ref.stored].doc);
        kp_buf_text(out, " |\n");
    }
}

static void document_equals_the_catalogue(void **state)
{
    (void)state;
    const char *root = getenv("KP_ROOT");
    char path[512];
    snprintf(path, sizeof(path), "%s/docs/events.md", root == NULL ? "." : root);
    struct kp_buf want = {0}, have = {0};
    add_head(&want);
    uint32_t count;
    const struct kp_stream *streams = kp_streams(&count);
    for (uint32_t i = 0; i < count; i++)
        add_stream(&want, &streams[i]);
    if (getenv("KP_UPDATE") != NULL) {
        FILE *f = fopen(path, "w");
        assert_non_null(f);
        assert_int_equal(fwrite(want.data, 1, want.size, f), want.size);
        fclose(f);
    }
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char part[4096];
    size_t got;
    while ((got = fread(part, 1, sizeof(part), f)) > 0)
        kp_buf_add(&have, part, got);
    fclose(f);
    assert_string_equal(kp_buf_cstr(&have), kp_buf_cstr(&want));
    kp_buf_deinit(&want);
    kp_buf_deinit(&have);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(document_equals_the_catalogue)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
