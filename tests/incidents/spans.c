/* SPDX-License-Identifier: Apache-2.0
 *
 * Spans of the service and its helpers, kept in shared memory while the incident lasts and written
 * as OTLP JSON, one document a line, when it is over: nothing is exported during a transaction.
 */
#include "incidents/incident.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SPANS_MAX 8192

static struct {
    atomic_uint count;
    struct kpi_span spans[SPANS_MAX];
} * shared;

void kpi_spans_init(void)
{
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        kpi_die("no memory for spans: %s", strerror(errno));
    memset(shared, 0, sizeof(*shared)); /* no page fault of it inside a transaction */
}

struct kpi_span *kpi_span_begin(const char *txn, int64_t trace, const char *parent,
                                const char *service, const char *name, enum kpi_span_kind kind)
{
    uint32_t at = atomic_fetch_add(&shared->count, 1);
    if (at >= SPANS_MAX)
        kpi_die("more than %d spans", SPANS_MAX);
    struct kpi_span *span = &shared->spans[at];
    snprintf(span->txn, sizeof(span->txn), "%s", txn);
    snprintf(span->id, sizeof(span->id), "%016x", at + 1);
    snprintf(span->parent, sizeof(span->parent), "%s", parent);
    snprintf(span->name, sizeof(span->name), "%s", name);
    snprintf(span->service, sizeof(span->service), "%s", service);
    span->trace = trace;
    span->kind = kind;
    span->pid = getpid();
    span->tid = gettid();
    span->start = kpi_utc();
    return span;
}

void kpi_span_end(struct kpi_span *span)
{
    span->end = kpi_utc();
}

static void text_attr(FILE *out, const char *before, const char *key, const char *value)
{
    fprintf(out, "%s{\"key\":\"%s\",\"value\":{\"stringValue\":\"%s\"}}", before, key, value);
}

static void int_attr(FILE *out, const char *key, int64_t value)
{
    fprintf(out, ",{\"key\":\"%s\",\"value\":{\"intValue\":\"%lld\"}}", key, (long long)value);
}

static void span_write(FILE *out, const char *host, const struct kpi_span *span)
{
    text_attr(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[", "service.name",
              span->service);
    text_attr(out, ",", "host.name", host);
    int_attr(out, "process.pid", span->pid);
    fprintf(out,
            "]},\"scopeSpans\":[{\"spans\":[{\"traceId\":\"%032llx\",\"spanId\":\"%s\","
            "\"parentSpanId\":\"%s\",\"name\":\"%s\",\"kind\":%d,",
            (unsigned long long)span->trace, span->id, span->parent, span->name, (int)span->kind);
    fprintf(out, "\"startTimeUnixNano\":\"%lld\",\"endTimeUnixNano\":\"%lld\",",
            (long long)span->start, (long long)span->end);
    text_attr(out, "\"attributes\":[", "txn.id", span->txn);
    int_attr(out, "linux.tid", span->tid);
    fprintf(out, "],\"status\":{\"code\":%d}}]}]}]}\n", span->failed ? 2 : 1);
}

void kpi_spans_write(const char *path)
{
    char host[64] = "";
    FILE *out = fopen(path, "we");
    if (out == NULL)
        kpi_die("cannot write %s: %s", path, strerror(errno));
    gethostname(host, sizeof(host) - 1);
    for (uint32_t i = 0; i < atomic_load(&shared->count); i++)
        span_write(out, host, &shared->spans[i]);
    if (fclose(out) != 0)
        kpi_die("cannot write %s: %s", path, strerror(errno));
}
