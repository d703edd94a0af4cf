/* SPDX-License-Identifier: Apache-2.0
 *
 * Spans of one process, sent as OTLP/JSON to /v1/traces by a thread of its own.
 *
 * The request path only copies a span into a bounded queue; it never wakes the exporter, which
 * looks every 200 ms. A full queue and a batch that cannot be delivered are counted and reported.
 */
#include "demo/common.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define QUEUE_MAX    1024
#define BATCH_MAX    64
#define ATTEMPTS_MAX 5

static struct {
    pthread_mutex_t mutex;
    struct kpi_span spans[QUEUE_MAX];
    uint32_t first, count;
    uint64_t lost; /* queue full, or not delivered */
    bool stopping;
    bool stopped;
    char service[32];
    char host[64];
    int64_t port;
    int64_t deadline; /* monotonic; of the last flush */
} queue = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* --- JSON --- */

static void put_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\' || c < 0x20)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void put_str_attr(FILE *out, const char *before, const char *key, const char *value)
{
    fprintf(out, "%s{\"key\":\"%s\",\"value\":{\"stringValue\":", before, key);
    put_text(out, value);
    fputs("}}", out);
}

static void put_int_attr(FILE *out, const char *before, const char *key, int64_t value)
{
    fprintf(out, "%s{\"key\":\"%s\",\"value\":{\"intValue\":\"%lld\"}}", before, key,
            (long long)value);
}

static void put_span(FILE *out, const struct kpi_span *span)
{
    fprintf(out, "{\"traceId\":\"%s\",\"spanId\":\"%s\",\"parentSpanId\":\"%s\",\"name\":",
            span->payment.trace_id, span->id, span->payment.parent_id);
    put_text(out, span->name);
    fprintf(out, ",\"kind\":%d,\"startTimeUnixNano\":\"%lld\",\"endTimeUnixNano\":\"%lld\"",
            (int)span->kind, (long long)span->start, (long long)span->end);
    put_str_attr(out, ",\"attributes\":[", "txn.id", span->payment.txn);
    put_int_attr(out, ",", "linux.tid", span->tid);
    put_int_attr(out, ",", "payment.amount", span->payment.amount);
    put_int_attr(out, ",", "payment.exponent", 2);
    put_str_attr(out, ",", "payment.currency", span->payment.currency);
    put_str_attr(out, ",", "payment.state", span->state);
    fprintf(out, "],\"status\":{\"code\":%d", span->failed ? 2 : 1);
    if (span->failed) {
        fputs(",\"message\":", out);
        put_text(out, span->message);
    }
    fputs("}}", out);
}

/* The document of one batch; the caller frees it. NULL = no memory. */
static char *document(const struct kpi_span *spans, uint32_t count, size_t *out_size)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, out_size);
    if (out == NULL)
        return NULL;
    put_str_attr(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[", "service.name",
                 queue.service);
    put_str_attr(out, ",", "host.name", queue.host);
    put_int_attr(out, ",", "process.pid", getpid());
    fputs("]},\"scopeSpans\":[{\"scope\":{\"name\":\"kprobe-demo\"},\"spans\":[", out);
    for (uint32_t i = 0; i < count; i++) {
        fputs(i == 0 ? "" : ",", out);
        put_span(out, &spans[i]);
    }
    fputs("]}]}]}", out);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

/* --- the exporting thread --- */

static void sleep_ms(int64_t ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&t, NULL);
}

static bool may_retry(int status)
{
    return status < 0 || status == 429 || (status >= 502 && status <= 504);
}

/* Sends a batch, again after 100, 200, 400... ms while that can help. */
static bool deliver(const struct kpi_span *spans, uint32_t count)
{
    size_t size = 0;
    char *json = document(spans, count, &size);
    bool sent = false;
    for (int i = 0; json != NULL && i < ATTEMPTS_MAX && !sent; i++) {
        int status = kpi_post_json(queue.port, "/v1/traces", json, size, 2000);
        sent = status == 200;
        if (!sent && !may_retry(status))
            break;
        if (!sent)
            sleep_ms(INT64_C(100) << i);
    }
    free(json);
    return sent;
}

/* *out_stop: this is the last batch. */
static uint32_t take(struct kpi_span *out, bool *out_stop)
{
    pthread_mutex_lock(&queue.mutex);
    uint32_t count = queue.count < BATCH_MAX ? queue.count : BATCH_MAX;
    for (uint32_t i = 0; i < count; i++)
        out[i] = queue.spans[(queue.first + i) % QUEUE_MAX];
    queue.first = (queue.first + count) % QUEUE_MAX;
    queue.count -= count;
    *out_stop = queue.stopping && (count < BATCH_MAX || kpi_now_mono() > queue.deadline);
    pthread_mutex_unlock(&queue.mutex);
    return count;
}

static void *exporter(void *arg)
{
    static struct kpi_span batch[BATCH_MAX];
    bool stop = false;
    (void)arg;
    while (!stop) {
        uint32_t count = take(batch, &stop);
        if (count > 0 && !deliver(batch, count)) {
            pthread_mutex_lock(&queue.mutex);
            queue.lost += count;
            pthread_mutex_unlock(&queue.mutex);
        }
        if (count < BATCH_MAX && !stop)
            sleep_ms(200);
    }
    pthread_mutex_lock(&queue.mutex);
    queue.stopped = true;
    pthread_mutex_unlock(&queue.mutex);
    return NULL;
}

void kpi_export_start(const struct kpi_options *options)
{
    snprintf(queue.service, sizeof(queue.service), "%s", options->service);
    gethostname(queue.host, sizeof(queue.host) - 1);
    queue.port = options->otlp_port;
    if (queue.port != 0)
        kpi_thread("otlp-export", exporter, NULL);
}

void kpi_export_stop(void)
{
    bool done = queue.port == 0;
    pthread_mutex_lock(&queue.mutex);
    queue.stopping = true;
    queue.deadline = kpi_now_mono() + 2000 * KPI_MS;
    pthread_mutex_unlock(&queue.mutex);
    for (int i = 0; i < 400 && !done; i++) {
        sleep_ms(10);
        pthread_mutex_lock(&queue.mutex);
        done = queue.stopped;
        pthread_mutex_unlock(&queue.mutex);
    }
    pthread_mutex_lock(&queue.mutex);
    uint64_t lost = queue.lost + (queue.port == 0 ? 0 : queue.count);
    pthread_mutex_unlock(&queue.mutex);
    if (lost > 0) {
        fprintf(stderr, "%s: %llu spans were not exported\n", queue.service,
                (unsigned long long)lost);
    }
}

/* --- the request path --- */

void kpi_span_begin(struct kpi_span *span, const struct kpi_payment *payment, const char *name,
                    enum kpi_kind kind, struct kpi_payment *out_inner)
{
    *span = (struct kpi_span){.payment = *payment, .kind = kind, .tid = gettid()};
    snprintf(span->name, sizeof(span->name), "%s", name);
    kpi_random_hex(span->id, 16);
    *out_inner = *payment;
    memcpy(out_inner->parent_id, span->id, sizeof(span->id));
    span->start = kpi_now_real();
}

void kpi_span_end(struct kpi_span *span, const char *state, const char *failure)
{
    span->end = kpi_now_real();
    span->state = state;
    span->failed = failure != NULL;
    snprintf(span->message, sizeof(span->message), "%s", failure == NULL ? "" : failure);
    pthread_mutex_lock(&queue.mutex);
    if (queue.count < QUEUE_MAX) {
        queue.spans[(queue.first + queue.count) % QUEUE_MAX] = *span;
        queue.count++;
    } else {
        queue.lost++;
    }
    pthread_mutex_unlock(&queue.mutex);
}
