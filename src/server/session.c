/* SPDX-License-Identifier: Apache-2.0
 *
 * A client of the text protocol: takes its lines one after another and answers each statement with
 * rows, "# ok ..." and a blank line. Rows are pulled only as fast as the client reads, so that a
 * slow one costs a piece of text and not memory; one that reads nothing for long is let go.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "server/auth.h"
#include "server/port.h"
#include "server/run.h"
#include "server/text.h"

#define STEP_MS 50

/* --- sending --- */

bool kpi_text_send_now(struct kpi_session *session, struct kp_str text)
{
    ssize_t sent = send(session->fd, text.ptr, text.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    return sent >= 0 || errno == EAGAIN || errno == EINTR;
}

static bool is_gone(struct kpi_session *session)
{
    pthread_mutex_lock(&session->lock);
    bool gone = session->gone;
    pthread_mutex_unlock(&session->lock);
    return gone;
}

static void set_gone(struct kpi_session *session)
{
    pthread_mutex_lock(&session->lock);
    session->gone = true;
    pthread_mutex_unlock(&session->lock);
    atomic_store(&session->cancel, true);
}

static kp_dur stall_limit(const struct kpi_session *session)
{
    return session->opts->stall != 0 ? session->opts->stall : KPI_TEXT_STALL;
}

/* Waits until the client takes more; false when it left or takes nothing for too long. */
static bool wait_writable(struct kpi_session *session, int64_t since)
{
    struct pollfd entry = {.fd = session->fd, .events = POLLOUT};
    if (poll(&entry, 1, STEP_MS) > 0 && (entry.revents & POLLOUT) != 0)
        return true;
    if (is_gone(session))
        return false;
    if (kp_time_monotonic() - since < stall_limit(session))
        return true;
    atomic_fetch_add(&session->opts->server->port_stat.slow, 1);
    kp_log(KP_LOG_WARN, "query", "a text client does not read its answer: let go");
    return false;
}

/* The kp_write_fn of the renderer. */
static bool send_all(void *ctx, const char *text, size_t size)
{
    struct kpi_session *session = ctx;
    int64_t since = kp_time_monotonic();
    pthread_mutex_lock(&session->lock);
    session->answered = true; /* from here on no sign of life may come between */
    pthread_mutex_unlock(&session->lock);
    while (size > 0) {
        ssize_t sent = send(session->fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            text += sent;
            size -= (size_t)sent;
            since = kp_time_monotonic();
        } else if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            set_gone(session);
        }
        if (size > 0 && (is_gone(session) || !wait_writable(session, since))) {
            set_gone(session);
            return false;
        }
    }
    return true;
}

static void send_buf(struct kpi_session *session, struct kp_buf *text)
{
    if (text->failed)
        set_gone(session);
    else
        send_all(session, kp_buf_cstr(text), text->size);
    kp_buf_deinit(text);
}

static void send_error(struct kpi_session *session, const struct kp_error *err)
{
    struct kp_buf text = {0};
    kpi_text_error(err, &text);
    send_buf(session, &text);
}

/* --- a query --- */

struct answer {
    struct kpi_session *session;
    struct kpi_run run;
    struct kp_render *render;
    struct kp_str text; /* of the statement */
    uint32_t notes;     /* in the document */
    uint64_t bytes;
    char last; /* byte sent; the trailer begins a line */
};

static bool send_rows(void *ctx, const char *text, size_t size)
{
    struct answer *answer = ctx;
    answer->bytes += size;
    if (size > 0)
        answer->last = text[size - 1];
    return send_all(answer->session, text, size);
}

static kp_status open_answer(struct answer *answer, struct kp_str text, struct kp_error *err)
{
    struct kpi_session *session = answer->session;
    struct kp_term term = {.utf8 = true};
    char name[KP_RENDER_NAME_MAX];
    struct kpi_wish wish = {.timeout = session->timeout, .cancel = &session->cancel};
    kp_status status = kpi_run_open(&answer->run, session->opts->server, text, &wish, err);
    if (status != KP_OK)
        return status;
    kp_render_name(text, name);
    status = kp_render_open(session->format, kp_query_schema(answer->run.query), name, &term,
                            send_rows, answer, &answer->render);
    if (status != KP_OK)
        kp_error_set(err, status, "format %s cannot show this answer",
                     kp_format_name(session->format));
    return status;
}

/* Rows until END, or until the first error. */
static kp_status send_batches(struct answer *answer, struct kp_error *err)
{
    const struct kp_batch *batch = NULL;
    kp_status status = KP_OK;
    while (status == KP_OK) {
        status = kpi_run_next(&answer->run, &batch, err);
        if (status == KP_OK && kp_render_batch(answer->render, batch) != KP_OK)
            return kp_error_set(err, KP_CANCELLED, "the client left");
    }
    return status;
}

static kp_status end_document(struct answer *answer)
{
    const struct kp_str *notes = NULL;
    if (kp_format_has_notes(answer->session->format))
        answer->notes = kp_query_notes(answer->run.query, &notes);
    return kp_render_end(answer->render, notes, answer->notes);
}

struct remarks {
    uint32_t known; /* that many of the first are in the document */
    struct kp_buf text;
};

static void add_remark(void *ctx, struct kp_str remark)
{
    struct remarks *remarks = ctx;
    if (remarks->known == 0)
        kpi_text_note(remark, &remarks->text);
    else
        remarks->known--;
}

static void send_trailer(struct answer *answer)
{
    struct kp_query_stat stat;
    struct remarks remarks = {.known = answer->notes};
    struct kp_buf text = {0};
    kpi_run_finish(&answer->run, &stat);
    if (answer->last != '\n' && answer->bytes > 0)
        kp_buf_char(&text, '\n');
    kpi_run_remarks(&answer->run, answer->text, add_remark, &remarks);
    kp_buf_add(&text, remarks.text.data, remarks.text.size);
    kp_buf_deinit(&remarks.text);
    kp_buf_printf(&text, "# ok rows=%" PRIu64 " bytes=%" PRIu64 " elapsed_ns=%" PRId64 "\n\n",
                  stat.rows_out, answer->bytes, stat.elapsed);
    send_buf(answer->session, &text);
}

static void send_failure(struct answer *answer, struct kp_error *err)
{
    atomic_fetch_add(&answer->session->opts->server->query_errors, 1);
    if (err->code == KP_CANCELLED)
        atomic_fetch_add(&answer->session->opts->server->port_stat.cancelled, 1);
    /* Line protocol would say it twice: its own # error, and ours. */
    bool says = answer->session->format != KP_FORMAT_LINE;
    if (answer->render != NULL && (says ? kp_render_fail(answer->render, err)
                                        : kp_render_end(answer->render, NULL, 0)) != KP_OK)
        set_gone(answer->session);
    if (answer->bytes > 0 && answer->last != '\n')
        send_all(answer->session, "\n", 1);
    send_error(answer->session, err);
}

static void answer_query(struct kpi_session *session, struct kp_str text)
{
    struct answer answer = {.session = session, .text = text};
    struct kp_error err = {0};
    atomic_fetch_add(&session->opts->server->port_stat.queries, 1);
    kp_status status = open_answer(&answer, text, &err);
    if (status == KP_OK)
        status = send_batches(&answer, &err);
    if (status == KP_END)
        status = end_document(&answer);
    err.code = status;
    if (status == KP_OK)
        send_trailer(&answer);
    else
        send_failure(&answer, &err);
    kp_render_close(answer.render);
    kpi_run_close(&answer.run);
}

/* --- lines --- */

/* Length of the line that can be taken now: a whole one, or the rest of what was sent. */
static size_t line_size(const struct kpi_session *session, bool *out_whole)
{
    const struct kp_buf *in = &session->in;
    size_t left = in->size - session->taken;
    const char *from = left > 0 ? in->data + session->taken : NULL;
    const char *end = left > 0 ? memchr(from, '\n', left) : NULL;
    *out_whole = end != NULL || left > KPI_LINE_BYTES_MAX;
    return end != NULL ? (size_t)(end - from) + 1 : left;
}

static void take_bytes(struct kpi_session *session, size_t size, struct kp_buf *out)
{
    kp_buf_add(out, session->in.data + session->taken, size);
    session->query_at = session->in_at + session->taken;
    session->taken += size;
    kpi_port_room(session);
}

bool kpi_text_ready(const struct kpi_session *session)
{
    bool whole = false;
    line_size(session, &whole);
    return whole || session->eof || session->stop;
}

/* The next line; false when there is none by now, or nothing more is to be answered. */
static bool next_line(struct kpi_session *session, struct kp_buf *out)
{
    bool whole = false;
    kp_buf_clear(out);
    pthread_mutex_lock(&session->lock);
    size_t size = line_size(session, &whole);
    bool good = !session->gone && !session->stop && size > 0 && (whole || session->eof);
    if (good)
        take_bytes(session, size, out);
    pthread_mutex_unlock(&session->lock);
    return good && !out->failed;
}

static void begin_query(struct kpi_session *session)
{
    pthread_mutex_lock(&session->lock);
    session->running = true;
    session->answered = false;
    session->alive_at = kp_time_monotonic();
    atomic_store(&session->cancel, session->gone || session->cancel_to > session->query_at);
    pthread_mutex_unlock(&session->lock);
}

static void end_query(struct kpi_session *session)
{
    pthread_mutex_lock(&session->lock);
    session->running = false;
    pthread_mutex_unlock(&session->lock);
    kp_buf_clear(&session->statement);
}

static void send_setting(struct kpi_session *session, const struct kpi_line *line)
{
    struct kp_buf text = {0};
    if (line->kind == KPI_LINE_FORMAT) {
        session->format = line->format;
        kp_buf_printf(&text, "# ok format=%s\n\n", kp_format_name(line->format));
    } else {
        session->timeout = line->timeout;
        kp_buf_printf(&text, "# ok timeout_ns=%" PRId64 "\n\n", line->timeout);
    }
    send_buf(session, &text);
}

/* False: a wrong token ends the session, which gets no second guess. */
static bool take_token(struct kpi_session *session, struct kp_str token)
{
    struct kp_server *server = session->opts->server;
    struct kp_buf text = {0};
    struct kp_error err;
    if (kpi_auth_secret(server->query_auth, token) == KPI_AUTH_GOOD) {
        session->let_in = true;
        kp_buf_text(&text, server->query_auth == NULL ? "# ok auth=none\n\n" : "# ok auth\n\n");
        send_buf(session, &text);
        return true;
    }
    atomic_fetch_add(&server->http.denied, 1);
    kp_error_set(&err, KP_DENIED, "authorization failed");
    send_error(session, &err);
    return false;
}

/* A token is asked for before the first query. */
static bool is_let_in(struct kpi_session *session)
{
    struct kp_error err;
    if (session->let_in || session->opts->server->query_auth == NULL)
        return true;
    atomic_fetch_add(&session->opts->server->http.denied, 1);
    kp_buf_clear(&session->statement);
    kp_error_set(&err, KP_DENIED, "a token is needed");
    kp_error_hint(&err, ".auth TOKEN or .auth USER:PASSWORD goes first");
    send_error(session, &err);
    return false;
}

/* False: the session is over. */
static bool take_line(struct kpi_session *session, struct kp_str text)
{
    struct kpi_line line;
    if (text.len > KPI_LINE_BYTES_MAX) {
        struct kp_error err;
        kp_error_set(&err, KP_LIMIT, "a line is longer than %u bytes", KPI_LINE_BYTES_MAX);
        send_error(session, &err);
        return false;
    }
    kpi_line_read(text, &line);
    switch (line.kind) {
    case KPI_LINE_FORMAT:
    case KPI_LINE_TIMEOUT:
        send_setting(session, &line);
        break;
    case KPI_LINE_AUTH:
        return take_token(session, line.text) && !is_gone(session);
    case KPI_LINE_WRONG:
        send_error(session, &line.err);
        break;
    case KPI_LINE_CANCEL:
        kp_buf_clear(&session->statement);
        break;
    case KPI_LINE_QUIT:
        return false;
    default:
        if (!kpi_statement_add(&session->statement, &line) || !is_let_in(session))
            break;
        begin_query(session);
        answer_query(session, (struct kp_str){kp_buf_cstr(&session->statement),
                                              (uint32_t)session->statement.size});
        end_query(session);
    }
    return !is_gone(session);
}

/* What is left when the client stops sending in the middle of a statement is run as it is. */
static void take_rest(struct kpi_session *session)
{
    pthread_mutex_lock(&session->lock);
    bool waits = session->eof && !session->gone && !session->stop;
    pthread_mutex_unlock(&session->lock);
    if (waits && session->statement.size > 0)
        take_line(session, KP_STR("\n"));
}

/* What is to be done when no line is left: more came meanwhile, nothing by now, or nothing ever. */
enum next { NEXT_LINES, NEXT_REST, NEXT_END };

static enum next find_next(struct kpi_session *session, bool more)
{
    pthread_mutex_lock(&session->lock);
    bool over = !more || session->gone || session->stop;
    bool empty = session->in.size == session->taken;
    enum next next = over                       ? NEXT_END
                     : !kpi_text_ready(session) ? NEXT_REST
                     : session->eof && empty    ? NEXT_END
                                                : NEXT_LINES;
    session->done = next == NEXT_END;
    pthread_mutex_unlock(&session->lock);
    return next;
}

void *kpi_text_serve(void *ctx)
{
    struct kpi_session *session = ctx;
    struct kp_buf line = {0};
    bool more = true;
    enum next next = NEXT_LINES;
    while (next == NEXT_LINES) {
        while (more && next_line(session, &line))
            more = take_line(session, (struct kp_str){kp_buf_cstr(&line), (uint32_t)line.size});
        next = find_next(session, more && !line.failed);
    }
    if (more && next == NEXT_END)
        take_rest(session);
    kp_buf_deinit(&line);
    kpi_port_tell(session);
    return NULL;
}
