/* SPDX-License-Identifier: Apache-2.0
 *
 * A line is `comm-tid [cpu] flags seconds: event: fields`; a comm can hold blanks and hyphens, the
 * flags can be missing, and fields are `name=value`, of which only comms can hold blanks.
 */
#include "ftrace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/assert.h"

#define LINE_MAX_BYTES 4096

struct line {
    char comm[32];
    uint32_t tid, cpu;
    char context; /* '.', 'h', 's', 'H' */
    kp_time ts;
    const char *event, *fields;
    size_t event_len;
};

/* Seconds with six or nine decimals. */
static bool read_stamp(const char *text, kp_time *out, const char **end)
{
    char *after;
    kp_time seconds = strtoll(text, &after, 10), part = 0, unit = KP_SEC;
    if (after == text || *after != '.')
        return false;
    for (after++; isdigit((unsigned char)*after); after++) {
        part = part * 10 + (*after - '0');
        unit /= 10;
    }
    *out = seconds * KP_SEC + part * unit;
    *end = after;
    return *after == ':';
}

static bool read_actor(const char *text, const char *bracket, struct line *out)
{
    const char *tid = bracket; /* behind the last hyphen, before "(tgid)" if there is one */
    while (tid > text && !(tid[-1] == '-' && isdigit((unsigned char)*tid)))
        tid--;
    while (*text == ' ')
        text++;
    if (tid <= text)
        return false;
    out->tid = (uint32_t)strtoul(tid, NULL, 10);
    snprintf(out->comm, sizeof(out->comm), "%.*s", (int)KP_MIN(tid - 1 - text, 31), text);
    return true;
}

static bool read_line(const char *text, struct line *out)
{
    const char *bracket = strstr(text, " ["), *at;
    char *end;
    if (text[0] == '#' || bracket == NULL || !read_actor(text, bracket, out))
        return false;
    out->cpu = (uint32_t)strtoul(bracket + 2, &end, 10);
    if (*end != ']')
        return false;
    at = end + 1 + strspn(end + 1, " ");
    out->context = '.';
    if (!read_stamp(at, &out->ts, &at)) { /* flags come first */
        out->context = at[2];
        at += strcspn(at, " ");
        at += strspn(at, " ");
        if (!read_stamp(at, &out->ts, &at))
            return false;
    }
    out->event = at + 1 + strspn(at + 1, " ");
    out->event_len = strcspn(out->event, ":\n");
    out->fields = out->event + out->event_len;
    return true;
}

static bool is_event(const struct line *line, const char *name)
{
    return strlen(name) == line->event_len && memcmp(line->event, name, line->event_len) == 0;
}

/* The value behind " name=", up to the field that follows, of which `next` is the name. */
static void field(const struct line *line, const char *name, const char *next, char *out,
                  size_t size)
{
    char key[32], stop[32];
    snprintf(key, sizeof(key), " %s=", name);
    snprintf(stop, sizeof(stop), " %s", next);
    const char *at = strstr(line->fields, key);
    assert_non_null(at);
    at += strlen(key);
    const char *end = next[0] == '\0' ? at + strcspn(at, " \n") : strstr(at, stop);
    snprintf(out, size, "%.*s", (int)(end == NULL ? 0 : end - at), at);
}

static uint32_t number(const struct line *line, const char *name)
{
    char text[32];
    field(line, name, "", text, sizeof(text));
    return (uint32_t)strtoul(text, NULL, 10);
}

/* As a letter, or as the number of older kernels. */
static int state_of(const char *text)
{
    static const struct {
        char letter;
        int state;
    } letters[] = {{'S', S}, {'D', D}, {'T', T}, {'t', 8}, {'X', X}, {'x', X}, {'Z', 32}, {'I', D}};
    if (isdigit((unsigned char)text[0])) {
        long value = strtol(text, NULL, 10);
        return value >= 256 ? RP : value == 64 ? X : (int)value;
    }
    for (size_t i = 0; i < KP_ARRAY_LEN(letters); i++)
        if (text[0] == letters[i].letter)
            return letters[i].state;
    return text[0] == 'R' && text[1] == '+' ? RP : R;
}

static kp_actor_id thread_of(struct world *w, uint32_t tid, const char *comm)
{
    return tid == 0 ? world_idle(w) : world_thread(w, tid, tid, comm);
}

/* What is said of a thread just after it fell asleep. */
static bool waits_for_io(const struct line *line, const struct line *next)
{
    return next != NULL && is_event(next, "sched_blocked_reason") &&
           number(next, "pid") == number(line, "prev_pid") && number(next, "iowait") == 1;
}

static void put_switch(struct world *w, const struct line *line, const struct line *after)
{
    char prev[32], next[32], state[16];
    field(line, "prev_comm", "prev_pid=", prev, sizeof(prev));
    field(line, "next_comm", "next_pid=", next, sizeof(next));
    field(line, "prev_state", "", state, sizeof(state));
    (waits_for_io(line, after) ? world_switch_io : world_switch)(
        w, line->ts, line->cpu, thread_of(w, number(line, "prev_pid"), prev), state_of(state),
        thread_of(w, number(line, "next_pid"), next));
}

static void put_wakeup(struct world *w, const struct line *line)
{
    char comm[32];
    field(line, "comm", "pid=", comm, sizeof(comm));
    enum world_context context = line->context == 'h' || line->context == 'H' ? IN_HARDIRQ
                                 : line->context == 's'                       ? IN_SOFTIRQ
                                                                              : IN_TASK;
    world_wake_irq(w, line->ts, line->cpu, thread_of(w, line->tid, line->comm),
                   thread_of(w, number(line, "pid"), comm), context, VEC_NONE, -1,
                   number(line, "target_cpu"));
}

static void put(struct world *w, const struct line *line, const struct line *after,
                struct ftrace *out)
{
    out->rows++;
    out->first = KP_MIN(out->first, line->ts);
    out->last = KP_MAX(out->last, line->ts);
    if (is_event(line, "sched_switch")) {
        assert_true(out->switches < FTRACE_SWITCHES);
        put_switch(w, line, after);
        out->switched[out->switches++] = (struct ftrace_switch){line->ts, number(line, "next_pid")};
    } else if (is_event(line, out->wakeup) || is_event(line, "sched_wakeup_new")) {
        assert_true(out->wakeups < FTRACE_WAKEUPS);
        put_wakeup(w, line);
        out->woken[out->wakeups++] = (struct ftrace_wakeup){line->ts, number(line, "pid")};
    }
}

void ftrace_load(struct world *w, const char *path, const char *wakeup, struct ftrace *out)
{
    static char text[2][LINE_MAX_BYTES];
    struct line lines[2];
    unsigned at = 0;
    bool held = false; /* lines[at] waits for the one after it */
    gzFile file = gzopen(path, "rb");
    assert_non_null(file);
    *out = (struct ftrace){.wakeup = wakeup, .first = KP_TIME_MAX, .last = KP_TIME_MIN};
    while (gzgets(file, text[!at], LINE_MAX_BYTES) != NULL) {
        if (!read_line(text[!at], &lines[!at]))
            continue;
        if (held)
            put(w, &lines[at], &lines[!at], out);
        held = true;
        at = !at;
    }
    if (held)
        put(w, &lines[at], NULL, out);
    gzclose(file);
    world_quota(w, out->last + 1, "/", 0, 0); /* the recording went on to its last line */
    world_commit(w);
}
