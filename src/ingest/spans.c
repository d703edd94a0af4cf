/* SPDX-License-Identifier: Apache-2.0
 *
 * Spans become rows. Clients send a request again when its answer was lost, so the last
 * WINDOW_SPANS stored (trace id, span id) pairs are remembered and not stored twice; a pair is
 * remembered only once its row was taken by the store. The window belongs to one open store at a
 * time: event numbers of a store never go back, nor do the rows appended since it was opened.
 */
#include "ingest/spans.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "ingest/pidns.h"
#include "ingest/proc.h"
#include "ingest/threads.h"

#define WINDOW_SPANS 65536u /* 24 bytes each, and 8 bytes of table */
#define WINDOW_SLOTS (2 * WINDOW_SPANS)
#define SPAN_ROWS    1024u  /* rows per append */
#define CLOCK_SLACK  KP_SEC /* span clocks are coarse: a thread may seem to begin after its span */

struct span_key {
    uint8_t bytes[(KPI_TRACE_ID_CHARS + KPI_SPAN_ID_CHARS) / 2];
};

struct window {
    struct kp_store *store;
    uint64_t seq_next; /* of the store, when the window was last used */
    uint64_t rows;     /* appended to it by then */
    uint64_t refused;  /* by it, or lost, by then: what is remembered may be among them */
    uint64_t ticket_first, ticket; /* cover every span remembered */
    uint64_t added;                /* keys so far; the oldest of WINDOW_SPANS is overwritten */
    struct span_key keys[WINDOW_SPANS];
    uint32_t slots[WINDOW_SLOTS]; /* index into keys + 1; 0 = free */
};

/* Columns of the stream, found once. */
struct span_columns {
    const struct kp_stream *stream;
    uint32_t dur, trace_id, span_id, parent_id, txn, service, name, kind, status, status_msg, link,
        attrs, events;
};

/* What the resource says about where its spans ran. */
struct place {
    const struct kpi_attrs *resource;
    struct kp_str host; /* empty = this one */
    uint32_t said;      /* process.pid, 0 = not said */
    uint32_t pid;       /* the same as this host sees it */
    bool inner;         /* its threads know themselves by other numbers */
};

struct sink {
    struct kp_store *store;
    const struct kp_span_opts *opts;
    struct span_columns col;
    struct kp_builder builder;
    struct kp_buf text;
    struct place place;
    struct kp_otlp_result result;
    uint64_t unkept; /* keys added to the window for rows not yet appended */
};

enum { LINK_NONE, LINK_PROCESS, LINK_THREAD };

static pthread_mutex_t window_lock = PTHREAD_MUTEX_INITIALIZER;
static struct window *window;

static kp_status store_all(struct sink *sink, const struct kpi_span *spans, uint32_t count);
static void describe(struct kp_otlp_result *result, const char *why);
static void find_columns(struct span_columns *col);
static bool window_ready(struct kp_store *store);

kp_status kpi_spans_store(struct kp_store *store, const struct kp_span_opts *opts,
                          const struct kpi_span *spans, uint32_t count, struct kp_otlp_result *out)
{
    struct sink *sink = calloc(1, sizeof(*sink));
    if (sink == NULL)
        return KP_NO_MEMORY;
    sink->store = store;
    sink->opts = opts;
    find_columns(&sink->col);
    kp_status status =
        kp_builder_init(&sink->builder, sink->col.stream, kp_store_actors(store), SPAN_ROWS);
    if (status == KP_OK) {
        pthread_mutex_lock(&window_lock);
        status = window_ready(store) ? store_all(sink, spans, count) : KP_NO_MEMORY;
        pthread_mutex_unlock(&window_lock);
        *out = sink->result;
    }
    kp_builder_deinit(&sink->builder);
    kp_buf_deinit(&sink->text);
    free(sink);
    return status;
}

static uint32_t column(const struct kp_stream *stream, const char *name)
{
    int at = kp_stream_stored(stream, name);
    kp_assert(at >= 0);
    return (uint32_t)at;
}

static void find_columns(struct span_columns *col)
{
    const struct kp_stream *stream = kp_stream_by_number(KP_S_SPANS);
    *col = (struct span_columns){
        .stream = stream,
        .dur = column(stream, "dur"),
        .trace_id = column(stream, "trace_id"),
        .span_id = column(stream, "span_id"),
        .parent_id = column(stream, "parent_id"),
        .txn = column(stream, "txn"),
        .service = column(stream, "service"),
        .name = column(stream, "name"),
        .kind = column(stream, "kind"),
        .status = column(stream, "status"),
        .status_msg = column(stream, "status_msg"),
        .link = column(stream, "link"),
        .attrs = column(stream, "attrs"),
        .events = column(stream, "events"),
    };
}

/* --- the window of spans already stored --- */

static bool window_ready(struct kp_store *store)
{
    if (window == NULL)
        window = calloc(1, sizeof(*window));
    if (window == NULL)
        return false;
    struct kp_store_stat stat;
    kp_store_stat(store, &stat);
    uint64_t next = kp_store_seq(store, 0);
    if (window->store != store || next < window->seq_next || stat.rows_appended < window->rows ||
        stat.rows_refused != window->refused)
        memset(window, 0, sizeof(*window));
    window->store = store;
    window->seq_next = next;
    window->rows = stat.rows_appended;
    window->refused = stat.rows_refused;
    return true;
}

static uint32_t window_slot(const struct span_key *key)
{
    uint32_t at = (uint32_t)kp_hash64(key, sizeof(*key), 0) % WINDOW_SLOTS;
    while (window->slots[at] != 0 &&
           memcmp(&window->keys[window->slots[at] - 1], key, sizeof(*key)) != 0)
        at = (at + 1) % WINDOW_SLOTS;
    return at;
}

static bool window_has(const struct span_key *key)
{
    return window->slots[window_slot(key)] != 0;
}

/* Backward-shift deletion (Knuth 6.4, algorithm R): later keys of the run move into the hole. */
static void window_remove(uint32_t hole)
{
    window->slots[hole] = 0;
    for (uint32_t at = (hole + 1) % WINDOW_SLOTS; window->slots[at] != 0;
         at = (at + 1) % WINDOW_SLOTS) {
        uint32_t index = window->slots[at];
        window->slots[at] = 0;
        window->slots[window_slot(&window->keys[index - 1])] = index;
    }
}

/* Removes keys[index] unless it is not there any more (undone, or stored again elsewhere). */
static void window_forget(uint32_t index)
{
    uint32_t slot = window_slot(&window->keys[index]);
    if (window->slots[slot] == index + 1)
        window_remove(slot);
}

static void window_add(const struct span_key *key)
{
    uint32_t index = (uint32_t)(window->added % WINDOW_SPANS);
    window_forget(index);
    window->keys[index] = *key;
    window->slots[window_slot(key)] = index + 1;
    window->added++;
}

/* Takes back the newest `count` keys: their rows were not stored. */
static void window_undo(uint64_t count)
{
    for (; count > 0; count--)
        window_forget((uint32_t)(--window->added % WINDOW_SPANS));
}

/* --- ids --- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Exactly chars hex digits, not all zero. */
static bool parse_id(struct kp_str text, uint32_t chars, uint8_t *out)
{
    uint8_t any = 0;
    if (text.len != chars)
        return false;
    for (uint32_t i = 0; i < chars; i += 2) {
        int high = hex_digit(text.ptr[i]), low = hex_digit(text.ptr[i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i / 2] = (uint8_t)(high << 4 | low);
        any |= out[i / 2];
    }
    return any != 0;
}

static kp_status set_id(struct sink *sink, uint32_t column_no, struct kp_str id)
{
    char lower[KPI_TRACE_ID_CHARS];
    kp_assert(id.len <= sizeof(lower));
    for (uint32_t i = 0; i < id.len; i++)
        lower[i] = (char)(id.ptr[i] >= 'A' && id.ptr[i] <= 'F' ? id.ptr[i] + 32 : id.ptr[i]);
    return kp_builder_str(&sink->builder, column_no, (struct kp_str){lower, id.len});
}

/* An absent parent is empty; some senders write it as zeros. */
static bool parent_absent(struct kp_str id)
{
    for (uint32_t i = 0; i < id.len; i++)
        if (id.ptr[i] != '0')
            return false;
    return id.len == 0 || id.len == KPI_SPAN_ID_CHARS;
}

static const char *check_span(const struct kpi_span *span, struct span_key *out_key)
{
    uint8_t parent[KPI_SPAN_ID_CHARS / 2];
    if (span->bad != NULL)
        return span->bad;
    if (!parse_id(span->trace_id, KPI_TRACE_ID_CHARS, out_key->bytes))
        return "traceId is not 32 hex digits, or is zero";
    if (!parse_id(span->span_id, KPI_SPAN_ID_CHARS, out_key->bytes + KPI_TRACE_ID_CHARS / 2))
        return "spanId is not 16 hex digits, or is zero";
    if (!parent_absent(span->parent_id) && !parse_id(span->parent_id, KPI_SPAN_ID_CHARS, parent))
        return "parentSpanId is not 16 hex digits";
    return NULL;
}

/* --- attributes --- */

static const struct kpi_attr *attr_find(const struct kpi_attrs *attrs, struct kp_str key)
{
    for (uint32_t i = 0; i < attrs->count; i++)
        if (kp_str_equal(attrs->items[i].key, key))
            return &attrs->items[i];
    return NULL;
}

static struct kp_str attr_text(const struct kpi_attrs *attrs, struct kp_str key)
{
    const struct kpi_attr *attr = attr_find(attrs, key);
    return attr != NULL && attr->scalar ? attr->text : (struct kp_str){"", 0};
}

/* A thread or process id: decimal, 1..2^31-1; 0 = none. */
static uint32_t attr_pid(const struct kpi_attrs *attrs, struct kp_str key)
{
    struct kp_str text = attr_text(attrs, key);
    uint64_t value = 0;
    if (text.len == 0 || text.len > 10)
        return 0;
    for (uint32_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return 0;
        value = value * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    return value <= INT32_MAX ? (uint32_t)value : 0;
}

static struct kp_str find_txn(const struct kp_span_opts *opts, const struct kpi_span *span)
{
    static const char *const defaults[] = {"txn.id", "transaction.id", "payment.id"};
    bool given = opts != NULL && opts->txn_keys_count > 0;
    const char *const *keys = given ? opts->txn_keys : defaults;
    uint32_t count = given ? opts->txn_keys_count : KP_ARRAY_LEN(defaults);
    const struct kpi_attrs *const sources[] = {&span->attrs, span->resource};
    for (uint32_t s = 0; s < KP_ARRAY_LEN(sources); s++) {
        for (uint32_t i = 0; i < count; i++) {
            struct kp_str text = attr_text(sources[s], kp_str_from(keys[i]));
            if (text.len > 0)
                return text;
        }
    }
    return (struct kp_str){"", 0};
}

static void join_members(struct kp_buf *text, const struct kpi_attrs *attrs,
                         const struct kpi_attrs *winner)
{
    for (uint32_t i = 0; i < attrs->count; i++) {
        if (winner != NULL && attr_find(winner, attrs->items[i].key) != NULL)
            continue;
        if (text->size > 1)
            kp_buf_char(text, ',');
        kp_buf_str(text, attrs->items[i].member);
    }
}

static struct kp_str attrs_object(struct sink *sink, const struct kpi_span *span)
{
    struct kp_buf *text = &sink->text;
    kp_buf_clear(text);
    kp_buf_char(text, '{');
    join_members(text, &span->attrs, NULL);
    join_members(text, span->resource, &span->attrs);
    kp_buf_char(text, '}');
    return (struct kp_str){text->data, (uint32_t)text->size};
}

/* --- who did it --- */

/* In a container process.pid is a number of the container; process.vpid is that for certain. When
 * nobody answers to all that the resource says, a process that has the number now is somebody else;
 * a number that nobody has now was the sender's. */
static void find_process(struct place *place)
{
    const struct kpi_attrs *resource = place->resource;
    uint32_t inner = attr_pid(resource, KP_STR("process.vpid"));
    struct kpi_process_claim claim = {
        .pid = inner != 0 ? inner : place->said,
        .container = attr_text(resource, KP_STR("container.id")),
        .cgroup = attr_text(resource, KP_STR("process.linux.cgroup")),
        .exe = attr_text(resource, KP_STR("process.executable.name")),
    };
    if (!kp_time_parse(attr_text(resource, KP_STR("process.creation.time")), &claim.created))
        claim.created = 0;
    struct kpi_process process = {0};
    if (kpi_pidns_find(&claim, &process) || kpi_proc_has_thread(place->said, place->said))
        place->pid = process.pid;
    place->inner = process.inner;
}

/* host.id may be the machine id (then it is this host whatever the name) or a cloud's; the name
 * decides among the others. Nothing said: the sender speaks for this host. */
static void set_place(struct sink *sink, const struct kpi_attrs *resource)
{
    if (sink->place.resource == resource)
        return;
    struct kp_str id = attr_text(resource, KP_STR("host.id"));
    struct kp_str name = attr_text(resource, KP_STR("host.name"));
    bool ours = (id.len > 0 && kp_str_equal(id, kp_str_from(kpi_machine_id()))) ||
                (name.len > 0 && kp_str_equal(name, kp_str_from(kp_host_name()))) ||
                (id.len == 0 && name.len == 0);
    sink->place = (struct place){.resource = resource,
                                 .host = ours           ? KP_STR("")
                                         : name.len > 0 ? name
                                                        : id,
                                 .said = attr_pid(resource, KP_STR("process.pid"))};
    sink->place.pid = sink->place.said;
    if (ours && sink->place.said != 0)
        find_process(&sink->place);
}

static kp_actor_id make_actor(struct sink *sink, uint32_t tid, uint32_t pid)
{
    struct kp_str host = sink->place.host;
    struct kp_actor actor = {.host = host.len > 0 ? host : kp_str_from(kp_host_name()),
                             .tid = tid,
                             .pid = pid,
                             .start = KP_ACTOR_START_UNKNOWN,
                             .comm = KP_STR(""),
                             .cgroup = KP_STR("")};
    return kp_store_actor(sink->store, &actor);
}

static uint32_t said_tid(const struct kpi_span *span)
{
    uint32_t tid = attr_pid(&span->attrs, KP_STR("linux.tid"));
    if (tid == 0)
        tid = attr_pid(&span->attrs, KP_STR("kprobe.tid"));
    if (tid == 0)
        tid = attr_pid(span->resource, KP_STR("linux.tid"));
    return tid != 0 ? tid : attr_pid(span->resource, KP_STR("kprobe.tid"));
}

/* The tid that the span says, as this host sees it. */
static uint32_t kernel_tid(const struct sink *sink, const struct kpi_span *span)
{
    uint32_t tid = said_tid(span);
    return tid != 0 && sink->place.inner ? kpi_pidns_thread(sink->place.pid, tid) : tid;
}

/* thread.id is a managed id in many runtimes: it counts only when it lies in the process. */
static uint32_t claimed_tid(const struct kpi_span *span, uint32_t pid, bool local)
{
    uint32_t tid = attr_pid(&span->attrs, KP_STR("thread.id"));
    if (tid == 0 || pid == 0)
        return 0;
    return tid == pid || (local && kpi_proc_has_thread(pid, tid)) ? tid : 0;
}

static int bind_local(struct sink *sink, const struct kpi_span *span, uint32_t pid,
                      kp_actor_id *out)
{
    struct kpi_proc_thread proc;
    kp_time not_after = KP_MAX(span->start, span->end) + CLOCK_SLACK;
    uint32_t tid = kernel_tid(sink, span);
    if (tid != 0 && kpi_threads_bind(sink->store, tid, pid, not_after, out))
        return LINK_THREAD;
    tid = claimed_tid(span, pid, true);
    if (tid != 0 && kpi_threads_bind(sink->store, tid, pid, not_after, out))
        return LINK_THREAD;
    if (pid == 0)
        return LINK_NONE;
    tid = kernel_tid(sink, span);
    if (tid != 0 && !kpi_proc_thread(tid, &proc)) { /* it has ended: questions check its process */
        *out = make_actor(sink, tid, pid);
        return LINK_THREAD;
    }
    if (!kpi_threads_bind(sink->store, pid, pid, not_after, out))
        *out = make_actor(sink, pid, pid);
    return LINK_PROCESS;
}

/* Another host: its tid cannot be checked here, so only the kernel's own id is believed. */
static int bind_remote(struct sink *sink, const struct kpi_span *span, uint32_t pid,
                       kp_actor_id *out)
{
    uint32_t tid = said_tid(span);
    if (tid == 0)
        tid = claimed_tid(span, pid, false);
    *out = make_actor(sink, tid != 0 ? tid : pid, pid);
    return tid != 0 ? LINK_THREAD : pid != 0 ? LINK_PROCESS : LINK_NONE;
}

static int bind_span(struct sink *sink, const struct kpi_span *span, kp_actor_id *out)
{
    set_place(sink, span->resource);
    uint32_t pid = attr_pid(&span->attrs, KP_STR("process.pid"));
    if (pid == 0 || pid == sink->place.said)
        pid = sink->place.pid;
    *out = KP_ACTOR_UNKNOWN;
    if (sink->place.host.len > 0)
        return bind_remote(sink, span, pid, out);
    int link = bind_local(sink, span, pid, out);
    if (link == LINK_NONE)
        *out = make_actor(sink, 0, 0);
    return link;
}

/* --- rows --- */

static kp_status append_rows(struct sink *sink)
{
    uint32_t rows = sink->builder.batch.rows;
    if (rows == 0)
        return KP_OK;
    uint64_t ticket = 0;
    kp_status status = kp_store_append(sink->store, kp_builder_batch(&sink->builder), &ticket);
    kp_builder_reset(&sink->builder);
    if (status == KP_OK) {
        sink->result.spans += rows;
        window->rows += rows;
        window->ticket = KP_MAX(window->ticket, ticket);
        if (window->ticket_first == 0)
            window->ticket_first = ticket;
        if (sink->result.ticket_first == 0)
            sink->result.ticket_first = ticket;
        sink->result.ticket = window->ticket;
    } else {
        window_undo(sink->unkept);
    }
    sink->unkept = 0;
    return status;
}

static kp_status set_strings(struct sink *sink, const struct kpi_span *span, struct kp_str txn)
{
    const struct span_columns *col = &sink->col;
    const struct {
        uint32_t column;
        struct kp_str value;
    } texts[] = {
        {col->txn, txn},
        {col->service, attr_text(span->resource, KP_STR("service.name"))},
        {col->name, span->name},
        {col->status_msg, span->status_msg},
        {col->attrs, attrs_object(sink, span)},
        {col->events, span->events},
    };
    kp_status status = sink->text.failed ? KP_NO_MEMORY : KP_OK;
    for (uint32_t i = 0; status == KP_OK && i < KP_ARRAY_LEN(texts); i++)
        status = kp_builder_str(&sink->builder, texts[i].column, texts[i].value);
    if (status == KP_OK)
        status = set_id(sink, col->trace_id, span->trace_id);
    if (status == KP_OK)
        status = set_id(sink, col->span_id, span->span_id);
    if (status == KP_OK && !parent_absent(span->parent_id))
        status = set_id(sink, col->parent_id, span->parent_id);
    return status;
}

static kp_status add_row(struct sink *sink, const struct kpi_span *span)
{
    kp_actor_id actor;
    int link = bind_span(sink, span, &actor);
    bool backwards = span->end < span->start;
    /* never finished (no end time): the row stands at its start */
    kp_time ts = span->end > 0 ? span->end : span->start;
    struct kp_str txn = find_txn(sink->opts, span);
    if (txn.len > 0 && link != LINK_NONE && sink->place.host.len == 0)
        kpi_threads_watch(sink->store, kp_actors_get(kp_store_actors(sink->store), actor)->pid);
    uint64_t seq = kp_store_seq(sink->store, 1);
    window->seq_next = seq + 1;
    kp_builder_row(&sink->builder, ts, seq, 0, actor);
    kp_builder_i64(&sink->builder, sink->col.dur, backwards ? 0 : span->end - span->start);
    kp_builder_i64(&sink->builder, sink->col.kind, span->kind);
    kp_builder_i64(&sink->builder, sink->col.status, span->status);
    kp_builder_i64(&sink->builder, sink->col.link, link);
    if (backwards || span->attrs.cut || span->resource->cut) {
        sink->result.warnings++;
        describe(&sink->result, backwards ? "a span ends before it begins; kept with duration 0"
                                          : "a span has too many attributes; the rest is cut");
    }
    return set_strings(sink, span, txn);
}

static kp_status store_all(struct sink *sink, const struct kpi_span *spans, uint32_t count)
{
    kp_status status = KP_OK;
    for (uint32_t i = 0; status == KP_OK && i < count; i++) {
        struct span_key key;
        const char *why = check_span(&spans[i], &key);
        if (why != NULL) {
            sink->result.rejected++;
            describe(&sink->result, why);
        } else if (window_has(&key)) {
            sink->result.duplicates++;
            sink->result.ticket = window->ticket;
            sink->result.ticket_first = window->ticket_first;
        } else {
            status = add_row(sink, &spans[i]);
            window_add(&key);
            sink->unkept++;
        }
        if (status == KP_OK && kp_builder_full(&sink->builder))
            status = append_rows(sink);
    }
    if (status != KP_OK) {
        window_undo(sink->unkept);
        sink->unkept = 0;
        return status;
    }
    return append_rows(sink);
}

/* The first reason stands for all. */
static void describe(struct kp_otlp_result *result, const char *why)
{
    if (result->message[0] == '\0')
        snprintf(result->message, sizeof(result->message), "%s", why);
}
