/* SPDX-License-Identifier: Apache-2.0
 *
 * Expands catalogue.def into tables. Stored columns are constant; offsets on the wire and the flat
 * query columns are derived once, on first use.
 */
#include "column/catalogue.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "column/syscalls.h"

#define N(value, text) {value, text},
#define ENUM_TABLE(id)                                             \
    static const struct kp_name names_##id[] = {KP_NAMES_##id(N)}; \
    enum { NAMES_COUNT_##id = KP_ARRAY_LEN(names_##id) };
KP_NAME_TABLES(ENUM_TABLE)
#define names_NONE       ((const struct kp_name *)NULL)
#define names_SYSCALL_NR ((const struct kp_name *)NULL) /* filled from syscalls.inc */
enum { NAMES_COUNT_NONE = 0, NAMES_COUNT_SYSCALL_NR = 0 };

enum wire_size {
    SIZE_NOWIRE = 0,
    SIZE_u8 = 1,
    SIZE_u16 = 2,
    SIZE_s16 = 2,
    SIZE_u32 = 4,
    SIZE_s32 = 4,
    SIZE_u64 = 8,
    SIZE_s64 = 8,
    SIZE_CHARS_16 = 16,
    SIZE_CHARS_32 = 32,
    SIZE_ADDR_16 = 16,
    SIZE_CHARS_96 = 96,
    SIZE_CHARS_256 = 256
};
/* How the bytes of a wire field are read. */
enum wire_form {
    FORM_PLAIN = 0,
    FORM_SIGNED = 1,
    FORM_ADDR = 2,
    FORM_NOWIRE = FORM_PLAIN,
    FORM_u8 = FORM_PLAIN,
    FORM_u16 = FORM_PLAIN,
    FORM_u32 = FORM_PLAIN,
    FORM_u64 = FORM_PLAIN,
    FORM_s16 = FORM_SIGNED,
    FORM_s32 = FORM_SIGNED,
    FORM_s64 = FORM_SIGNED,
    FORM_CHARS_16 = FORM_PLAIN,
    FORM_CHARS_32 = FORM_PLAIN,
    FORM_CHARS_96 = FORM_PLAIN,
    FORM_CHARS_256 = FORM_PLAIN,
    FORM_ADDR_16 = FORM_ADDR
};

#define COMMON_COLUMNS                                                                            \
    {.name = "ts", .type = KP_TYPE_TIME, .unit = KP_UNIT_NS, .doc = "when it was complete, UTC"}, \
        {.name = "seq",                                                                           \
         .type = KP_TYPE_I64,                                                                     \
         .unit = KP_UNIT_ID,                                                                      \
         .doc = "number of the event on its host: (host, cpu, seq) names it"},                    \
        {.name = "cpu", .type = KP_TYPE_I64, .unit = KP_UNIT_ID, .doc = "CPU it happened on"},    \
    {                                                                                             \
        .name = "actor", .type = KP_TYPE_ACTOR, .doc = "thread it happened in"                    \
    }

#define STORED_COLUMN(col_name, col_type, col_unit, wire, col_names, col_index, col_doc) \
    {.name = #col_name,                                                                  \
     .type = KP_TYPE_##col_type,                                                         \
     .unit = KP_UNIT_##col_unit,                                                         \
     .index = KP_INDEX_##col_index,                                                      \
     .names = names_##col_names,                                                         \
     .names_count = NAMES_COUNT_##col_names,                                             \
     .wire_size = SIZE_##wire,                                                           \
     .wire_signed = FORM_##wire == FORM_SIGNED,                                          \
     .wire_addr = FORM_##wire == FORM_ADDR,                                              \
     .doc = col_doc},

#define STORED_TABLE(ID, sname, number, family, dflt, sdoc) \
    static struct kp_stored_column stored_##ID[] = {COMMON_COLUMNS, KP_COLUMNS_##ID(STORED_COLUMN)};
KP_STREAMS(STORED_TABLE)

enum { DEFAULT_OFF = 0, DEFAULT_ON = 1 };

#define STREAM_ENTRY(ID, sname, snumber, sfamily, dflt, sdoc)      \
    {.name = #sname,                                               \
     .number = snumber,                                            \
     .family = KP_FAMILY_##sfamily,                                \
     .on_by_default = DEFAULT_##dflt,                              \
     .stored = stored_##ID,                                        \
     .stored_count = sizeof(stored_##ID) / sizeof(stored_##ID[0]), \
     .doc = sdoc},
static struct kp_stream streams[] = {KP_STREAMS(STREAM_ENTRY)};

/* What the kernel's streams share; no row is stored in it. */
static struct kp_stored_column stored_events[] = {COMMON_COLUMNS};
static struct kp_stream events = {.name = "events",
                                  .family = KP_FAMILY_KERNEL,
                                  .stored = stored_events,
                                  .stored_count = sizeof(stored_events) / sizeof(stored_events[0]),
                                  .doc = "all events of the kernel"};

/* The same tables, writable while the derived fields are filled in. */
#define STORED_POINTER(ID, sname, number, family, dflt, doc) stored_##ID,
static struct kp_stored_column *const stored_tables[] = {KP_STREAMS(STORED_POINTER)};

#define STREAM_COUNT        (sizeof(streams) / sizeof(streams[0]))
#define RECORD_HEADER_BYTES 24
#define QUERY_COLUMNS_MAX   64
#define QUERY_NAMES_BYTES   8192

static struct kp_query_column query_columns[STREAM_COUNT + 1][QUERY_COLUMNS_MAX];
static char query_names[QUERY_NAMES_BYTES];
static size_t query_names_used;
static const struct kp_stream *by_number[KP_STREAM_MAX];
static pthread_once_t built = PTHREAD_ONCE_INIT;

static void derive_wire(struct kp_stream *stream, struct kp_stored_column *stored)
{
    uint16_t offset = RECORD_HEADER_BYTES;
    for (uint32_t i = KP_COL_FIRST; i < stream->stored_count; i++) {
        if (strcmp(stored[i].name, "nr") == 0 && stored[i].type == KP_TYPE_ENUM)
            stored[i].names = kp_syscall_names(&stored[i].names_count);
        if (stored[i].wire_size == 0)
            continue;
        stored[i].wire_offset = offset;
        offset = (uint16_t)(offset + stored[i].wire_size);
    }
    if (offset > RECORD_HEADER_BYTES)
        stream->record_size = (uint16_t)((offset + 7) & ~7);
}

static const char *attr_name(const char *column, const char *attr)
{
    if (strcmp(column, "actor") == 0)
        return attr;
    char *at = query_names + query_names_used;
    int length = snprintf(at, QUERY_NAMES_BYTES - query_names_used, "%s_%s", column, attr);
    query_names_used += (size_t)length + 1;
    kp_assert(query_names_used <= QUERY_NAMES_BYTES);
    return at;
}

static void add_column(struct kp_stream *stream, struct kp_query_column *columns, const char *name,
                       enum kp_type type, enum kp_unit unit, uint32_t stored, enum kp_attr attr)
{
    static const char *const attr_docs[] = {"",
                                            "host it happened on",
                                            "thread id",
                                            "process id",
                                            "name of the thread then",
                                            "control group of the thread then",
                                            "when it began: ts - dur",
                                            "name of the stream"};
    kp_assert(stream->columns_count < QUERY_COLUMNS_MAX);
    columns[stream->columns_count++] = (struct kp_query_column){
        .name = name,
        .type = type,
        .unit = unit,
        .ref = {(uint8_t)stored, (uint8_t)attr},
        .doc = attr == KP_ATTR_SELF ? stream->stored[stored].doc : attr_docs[attr]};
}

static void add_actor(struct kp_stream *stream, struct kp_query_column *columns, uint32_t i)
{
    const char *name = stream->stored[i].name;
    if (i == KP_COL_ACTOR)
        add_column(stream, columns, "host", KP_TYPE_STR, KP_UNIT_NONE, i, KP_ATTR_HOST);
    add_column(stream, columns, attr_name(name, "tid"), KP_TYPE_I64, KP_UNIT_ID, i, KP_ATTR_TID);
    add_column(stream, columns, attr_name(name, "pid"), KP_TYPE_I64, KP_UNIT_ID, i, KP_ATTR_PID);
    add_column(stream, columns, attr_name(name, "comm"), KP_TYPE_STR, KP_UNIT_NONE, i,
               KP_ATTR_COMM);
    add_column(stream, columns, attr_name(name, "cgroup"), KP_TYPE_STR, KP_UNIT_NONE, i,
               KP_ATTR_CGROUP);
}

/* Query order: ts, kind of thing, place, who, then the stream's own columns; seq last. */
static void derive_columns(struct kp_stream *stream, struct kp_query_column *columns)
{
    stream->columns = columns;
    add_column(stream, columns, "ts", KP_TYPE_TIME, KP_UNIT_NS, KP_COL_TS, KP_ATTR_SELF);
    if (stream == &events)
        add_column(stream, columns, "kind", KP_TYPE_STR, KP_UNIT_NONE, KP_COL_TS, KP_ATTR_KIND);
    int dur = kp_stream_stored(stream, "dur");
    if (dur >= 0)
        add_column(stream, columns, "start", KP_TYPE_TIME, KP_UNIT_NS, (uint32_t)dur,
                   KP_ATTR_START);
    add_column(stream, columns, "cpu", KP_TYPE_I64, KP_UNIT_ID, KP_COL_CPU, KP_ATTR_SELF);
    add_actor(stream, columns, KP_COL_ACTOR);
    for (uint32_t i = KP_COL_FIRST; i < stream->stored_count; i++) {
        const struct kp_stored_column *stored = &stream->stored[i];
        if (stored->type == KP_TYPE_ACTOR)
            add_actor(stream, columns, i);
        else
            add_column(stream, columns, stored->name,
                       stored->type == KP_TYPE_ENUM ? KP_TYPE_STR : stored->type, stored->unit, i,
                       KP_ATTR_SELF);
    }
    add_column(stream, columns, "seq", KP_TYPE_I64, KP_UNIT_ID, KP_COL_SEQ, KP_ATTR_SELF);
}

/* Of rows of which streams the kernel had more than none to tell. */
static void derive_events(void)
{
    static const struct {
        uint8_t number, events;
        const char *more;
    } table[] = {
#define EVENTS_ENTRY(ID, count, column) {KP_S_##ID, count, #column},
        KP_EVENTS(EVENTS_ENTRY)};
    for (size_t i = 0; i < KP_ARRAY_LEN(table); i++) {
        struct kp_stream *stream = streams;
        while (stream->number != table[i].number)
            stream++;
        int more = kp_stream_stored(stream, table[i].more);
        stream->events = table[i].events;
        stream->events_more = (uint8_t)(more < 0 ? 0 : more);
        kp_assert((more < 0) == (strcmp(table[i].more, "NONE") == 0));
    }
}

static void build(void)
{
    for (size_t i = 0; i < STREAM_COUNT; i++) {
        kp_assert(streams[i].stored_count <= KP_STORED_MAX);
        kp_assert(streams[i].number < KP_STREAM_MAX);
        derive_wire(&streams[i], stored_tables[i]);
        derive_columns(&streams[i], query_columns[i]);
        by_number[streams[i].number] = &streams[i];
    }
    derive_events();
    derive_columns(&events, query_columns[STREAM_COUNT]);
}

const struct kp_stream *kp_streams(uint32_t *out_count)
{
    pthread_once(&built, build);
    *out_count = STREAM_COUNT;
    return streams;
}

const struct kp_stream *kp_stream_events(void)
{
    pthread_once(&built, build);
    return &events;
}

const struct kp_stream *kp_stream_by_number(uint32_t number)
{
    pthread_once(&built, build);
    return number < KP_STREAM_MAX ? by_number[number] : NULL;
}

const struct kp_stream *kp_stream_by_name(struct kp_str name)
{
    pthread_once(&built, build);
    for (size_t i = 0; i < STREAM_COUNT; i++)
        if (kp_str_equal(name, kp_str_from(streams[i].name)))
            return &streams[i];
    return NULL;
}

const struct kp_query_column *kp_stream_column(const struct kp_stream *stream, struct kp_str name)
{
    for (uint32_t i = 0; i < stream->columns_count; i++)
        if (kp_str_equal(name, kp_str_from(stream->columns[i].name)))
            return &stream->columns[i];
    return NULL;
}

int kp_stream_stored(const struct kp_stream *stream, const char *name)
{
    for (uint32_t i = 0; i < stream->stored_count; i++)
        if (strcmp(stream->stored[i].name, name) == 0)
            return (int)i;
    return -1;
}

struct kp_str kp_enum_name(const struct kp_stored_column *column, int64_t value)
{
    uint32_t low = 0, high = column->names_count;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (column->names[mid].value < value)
            low = mid + 1;
        else
            high = mid;
    }
    if (low < column->names_count && column->names[low].value == value)
        return kp_str_from(column->names[low].name);
    return (struct kp_str){NULL, 0};
}

bool kp_enum_value(const struct kp_stored_column *column, struct kp_str name, int64_t *out)
{
    for (uint32_t i = 0; i < column->names_count; i++) {
        if (kp_str_equal(name, kp_str_from(column->names[i].name))) {
            *out = column->names[i].value;
            return true;
        }
    }
    return false;
}
