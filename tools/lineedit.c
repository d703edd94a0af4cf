/* SPDX-License-Identifier: Apache-2.0
 *
 * libedit in its own terms (el_*), not through the readline disguise: the disguise hides the
 * difference between Ctrl-C and the end of input. A statement of several lines is one history
 * entry; its lines are joined by spaces unless a comment makes the line ends matter.
 *
 * The history file belongs to every shell of the user at once: an entry is appended when it is
 * made, under the file's lock, in the form libedit reads. Only a file that grew to twice the limit
 * is written anew, by the next shell that opens it.
 *
 * The terminal is asked to put brackets around what is pasted: a tab in there is a blank, not a
 * question for names, and where the paste ends is known, not guessed from what has arrived.
 */
#include "lineedit.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#include "base/assert.h"

#define HISTORY_MAX    2000 /* entries */
#define HISTORY_HEAD   "_HiStOrY_V2_\n"
#define CANDIDATES_MAX 256
#define NAME_MAX_BYTES 64
#define PASTE_BEGIN    "\033[200~"
#define PASTE_END      "\033[201~"
#define PASTE_WAIT_MS  200 /* for the rest of a paste */

struct kpi_lineedit {
    EditLine *el;
    const _Atomic bool *interrupted;
    History *history;
    char *path;
    int in; /* the terminal, for reads that do not wait */
    const char *prompt;
    bool stopped;  /* by Ctrl-C, not by the end of input that may come with it */
    bool ahead;    /* something was typed before the prompt, and none of it was read yet */
    bool brackets; /* the terminal knows them */
    bool pasting;  /* between them */
    char peeked[sizeof(PASTE_END)]; /* read, and not taken yet */
    uint32_t peeked_count;
    struct kp_str before;
    kpi_complete_fn complete;
    kpi_paint_fn paint;
    struct kp_buf painted;
    void *ctx;
};

struct candidates {
    struct kp_str word; /* what is typed of the name */
    const char *end;    /* what follows a name that is whole */
    char names[CANDIDATES_MAX][NAME_MAX_BYTES];
    uint32_t count;
    uint32_t more; /* that had no room */
};

static char *give_prompt(EditLine *el)
{
    struct kpi_lineedit *edit = NULL;
    static char text[32];
    el_get(el, EL_CLIENTDATA, &edit);
    snprintf(text, sizeof(text), "%s", edit->prompt);
    return text;
}

/* Terminal columns of a line; -1 when it cannot be painted in place. */
static int line_width(struct kp_str line)
{
    mbstate_t state = {0};
    int width = 0;
    for (uint32_t at = 0; at < line.len;) {
        wchar_t c;
        size_t length = mbrtowc(&c, line.ptr + at, line.len - at, &state);
        int columns = length == 0 || length > line.len ? -1 : wcwidth(c);
        if (columns < 0)
            return -1;
        width += columns;
        at += (uint32_t)length;
    }
    return width;
}

static struct winsize screen_size(void)
{
    struct winsize size = {0};
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    if (size.ws_col == 0) /* as libedit has it */
        size = (struct winsize){.ws_row = 24, .ws_col = 80};
    return size;
}

/* libedit draws without colours. While it waits, the line is drawn over once more with them: the
 * same characters in the same places, so what libedit believes of the screen stays true. Lines that
 * go on in a second row, or hold a search, stay plain. */
static void paint(struct kpi_lineedit *edit)
{
    const LineInfo *info = el_line(edit->el);
    struct kp_str line = {info->buffer, (uint32_t)(info->lastchar - info->buffer)};
    int width = edit->paint == NULL || line.len == 0 ? -1 : line_width(line);
    if (width < 0 || (size_t)width + strlen(edit->prompt) + 1 >= screen_size().ws_col)
        return;
    kp_buf_clear(&edit->painted);
    kp_buf_printf(&edit->painted, "\0337\r\033[%zuC", strlen(edit->prompt));
    edit->paint(edit->ctx, line, &edit->painted);
    kp_buf_text(&edit->painted, "\0338");
    if (edit->painted.failed)
        return;
    fwrite(edit->painted.data, 1, edit->painted.size, stdout);
    fflush(stdout);
}

/* The end of input typed while the terminal made lines comes as NUL. Any other NUL is dropped:
 * libedit would take it for the terminal's literal-next, which has no character here. */
static bool take_nul(struct kpi_lineedit *edit, wchar_t *out)
{
    *out = 'D' & 0x1f;
    return edit->ahead;
}

static ssize_t read_byte(struct kpi_lineedit *edit, char *out)
{
    if (edit->peeked_count == 0)
        return read(edit->in, out, 1);
    *out = edit->peeked[0];
    memmove(edit->peeked, edit->peeked + 1, --edit->peeked_count);
    return 1;
}

/* What a character of a paste stands for; 0 = it is left out. The escape may begin the end. */
static wchar_t pasted(wchar_t c)
{
    bool plain = c == '\n' || c == '\r' || c == '\033' || (c >= ' ' && c != 0x7f);
    return c == '\t' ? ' ' : plain ? c : 0;
}

/* Waits for one character. Ctrl-C may come at any instant: it is blocked except inside ppoll, so
 * that one that comes just before the wait ends the wait too. It also makes the terminal drop what
 * was typed before it, so what ppoll saw may be gone when it is read. */
static int get_char(EditLine *el, wchar_t *out)
{
    struct kpi_lineedit *edit = NULL;
    sigset_t interrupt, before;
    mbstate_t state = {0};
    int result = 0;
    el_get(el, EL_CLIENTDATA, &edit);
    paint(edit);
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    pthread_sigmask(SIG_BLOCK, &interrupt, &before);
    while (result == 0) {
        struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
        char byte = 0;
        int ready = atomic_load(edit->interrupted) ? -1
                    : edit->peeked_count > 0       ? 1
                                                   : ppoll(&in, 1, NULL, &before);
        if (ready < 0 && !atomic_load(edit->interrupted))
            continue; /* another signal: the window, a return to the foreground */
        ssize_t got = ready < 0 ? -1 : read_byte(edit, &byte);
        if (ready > 0 && got < 0 && errno == EAGAIN)
            continue;
        if (got <= 0) {
            errno = ready < 0 ? EINTR : errno;
            edit->stopped = ready < 0;
            result = got == 0 ? -2 : -1;
            break;
        }
        size_t length = mbrtowc(out, &byte, 1, &state);
        if (length == (size_t)-1)
            memset(&state, 0, sizeof(state)); /* not a character of this locale: dropped */
        else if (length != (size_t)-2)
            result = edit->pasting ? (*out = pasted(*out)) != 0 : length > 0 || take_nul(edit, out);
        edit->ahead = false;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result == -2 ? 0 : result;
}

/* --- completion --- */

static void add_candidate(void *ctx, struct kp_str name, const char *what)
{
    struct candidates *found = ctx;
    (void)what;
    if (name.len < found->word.len || name.len >= NAME_MAX_BYTES || line_width(name) < 0)
        return; /* recorded names may be anything; no control character reaches the terminal */
    if (!kp_str_equal_nocase((struct kp_str){name.ptr, found->word.len}, found->word))
        return;
    for (uint32_t i = 0; i < found->count; i++)
        if (kp_str_equal(kp_str_from(found->names[i]), name))
            return;
    if (found->count == CANDIDATES_MAX) {
        found->more++;
        return;
    }
    memcpy(found->names[found->count], name.ptr, name.len);
    found->names[found->count++][name.len] = '\0';
}

static bool word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '\\';
}

/* Bytes that all candidates share, ignoring case. */
static uint32_t common_length(const struct candidates *found)
{
    struct kp_str first = kp_str_from(found->names[0]);
    uint32_t length = first.len;
    for (uint32_t i = 1; i < found->count; i++) {
        struct kp_str name = kp_str_from(found->names[i]);
        length = KP_MIN(length, name.len);
        while (length > 0 && !kp_str_equal_nocase((struct kp_str){first.ptr, length},
                                                  (struct kp_str){name.ptr, length}))
            length--;
    }
    return length;
}

static int name_width(const char *name)
{
    int width = line_width(kp_str_from(name));
    return width >= 0 ? width : (int)strlen(name);
}

/* As many as the screen can hold, in their order: the nearest come first. */
static void list_candidates(const struct candidates *found)
{
    struct winsize size = screen_size();
    int width = 0;
    for (uint32_t i = 0; i < found->count; i++)
        width = KP_MAX(width, name_width(found->names[i]));
    uint32_t per_line = KP_MAX((size.ws_col - 1u) / ((uint32_t)width + 2), 1u);
    uint32_t lines = KP_MAX(size.ws_row, 6u) - 3;
    uint32_t shown = KP_MIN(found->count, per_line * lines);
    printf("\n");
    for (uint32_t i = 0; i < shown; i++) {
        bool last = (i + 1) % per_line == 0 || i + 1 == shown;
        printf("%s%*s", found->names[i], last ? 0 : width + 2 - name_width(found->names[i]), "");
        if (last)
            printf("\n");
    }
    if (shown < found->count + found->more)
        printf("... %u more: type on\n", found->count + found->more - shown);
    fflush(stdout);
}

/* What is typed of the name at the cursor: inside a string all of it, else letters and digits. */
static void find_word(const LineInfo *line, struct candidates *found)
{
    const char *word = line->cursor, *quote = NULL;
    for (const char *at = line->buffer; at < line->cursor; at++) {
        if (quote != NULL && *at == *quote)
            quote = NULL;
        else if (quote == NULL && (*at == '\'' || *at == '"'))
            quote = at;
    }
    while (word > line->buffer && word_char(word[-1]))
        word--;
    if (quote != NULL)
        word = quote + 1;
    found->word = (struct kp_str){word, (uint32_t)(line->cursor - word)};
    found->end = quote == NULL ? " " : *quote == '"' ? "\"" : "'";
}

static void find_candidates(struct kpi_lineedit *edit, const LineInfo *line,
                            struct candidates *found)
{
    struct kp_buf text = {0};
    find_word(line, found);
    kp_buf_str(&text, edit->before);
    kp_buf_add(&text, line->buffer, (size_t)(line->cursor - line->buffer));
    if (!text.failed)
        edit->complete(edit->ctx, (struct kp_str){kp_buf_cstr(&text), (uint32_t)text.size},
                       (uint32_t)text.size, add_candidate, found);
    kp_buf_deinit(&text);
}

static unsigned char on_tab(EditLine *el, int key)
{
    struct kpi_lineedit *edit = NULL;
    struct candidates found = {.count = 0};
    (void)key;
    el_get(el, EL_CLIENTDATA, &edit);
    find_candidates(edit, el_line(el), &found);
    if (found.count == 0)
        return CC_REFRESH_BEEP;
    uint32_t typed = found.word.len, common = common_length(&found);
    if (common <= typed && found.count > 1) {
        list_candidates(&found);
        return CC_REDISPLAY;
    }
    char insert[NAME_MAX_BYTES + 2];
    bool whole = found.count == 1 && common > 0 && found.names[0][common - 1] != '/';
    snprintf(insert, sizeof(insert), "%.*s%s", (int)common, found.names[0], whole ? found.end : "");
    el_deletestr(el, (int)typed);
    el_insertstr(el, insert);
    return CC_REFRESH;
}

/* --- pasting --- */

static unsigned char on_paste(EditLine *el, int key)
{
    struct kpi_lineedit *edit = NULL;
    (void)key;
    el_get(el, EL_CLIENTDATA, &edit);
    edit->pasting = !edit->pasting;
    return CC_NORM;
}

/* Whether a paste goes on; its closing bracket is taken. */
static bool paste_goes_on(struct kpi_lineedit *edit)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    el_set(edit->el, EL_PREP_TERM, 1); /* else the terminal keeps the bracket until a line ends */
    while (edit->pasting && poll(&in, 1, PASTE_WAIT_MS) == 1 &&
           read(edit->in, &edit->peeked[edit->peeked_count], 1) == 1) {
        edit->peeked_count++;
        if (memcmp(edit->peeked, PASTE_END, edit->peeked_count) != 0)
            break;
        if (edit->peeked_count == strlen(PASTE_END))
            edit->peeked_count = 0, edit->pasting = false;
    }
    el_set(edit->el, EL_PREP_TERM, 0);
    return edit->peeked_count > 0;
}

bool kpi_lineedit_more(struct kpi_lineedit *edit)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    if (edit->pasting && paste_goes_on(edit))
        return true;
    return poll(&in, 1, 0) == 1 && (in.revents & POLLIN) != 0;
}

static void ask_for_brackets(const struct kpi_lineedit *edit, bool on)
{
    if (!edit->brackets)
        return;
    fputs(on ? "\033[?2004h" : "\033[?2004l", stdout);
    fflush(stdout);
}

/* --- life --- */

/* The history file, nobody else's while it is open; -1 = it cannot be had. */
static int open_history(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd >= 0)
        flock(fd, LOCK_EX);
    return fd;
}

/* An entry as libedit reads it: one line, what is not plain as \ooo. */
static void write_entry(struct kp_buf *out, struct kp_str entry)
{
    for (uint32_t i = 0; i < entry.len; i++) {
        unsigned char c = (unsigned char)entry.ptr[i];
        if (c > ' ' && c < 0x7f && c != '\\')
            kp_buf_char(out, (char)c);
        else
            kp_buf_printf(out, "\\%03o", c);
    }
    kp_buf_char(out, '\n');
}

static void append_history(const char *path, struct kp_str entry)
{
    struct kp_buf text = {0};
    struct stat info;
    int fd = open_history(path);
    if (fd < 0)
        return;
    if (fstat(fd, &info) == 0 && info.st_size == 0)
        kp_buf_text(&text, HISTORY_HEAD);
    write_entry(&text, entry);
    ssize_t put = text.failed ? -1 : write(fd, text.data, text.size);
    (void)put; /* a full disk costs the entry, not the statement */
    close(fd);
    kp_buf_deinit(&text);
}

static void load_history(struct kpi_lineedit *edit, const char *path)
{
    HistEvent event;
    edit->history = history_init();
    if (edit->history == NULL)
        return;
    history(edit->history, &event, H_SETSIZE, HISTORY_MAX);
    history(edit->history, &event, H_SETUNIQUE, 1);
    el_set(edit->el, EL_HIST, history, edit->history);
    if (path == NULL)
        return;
    int fd = open_history(path);
    if (fd < 0)
        return;
    fchmod(fd, 0600);
    edit->path = strdup(path);
    if (history(edit->history, &event, H_LOAD, path) > 2 * HISTORY_MAX)
        history(edit->history, &event, H_SAVE, path);
    close(fd);
}

/* Another description of the terminal that stdin is: stdin's own may be shared with programs that
 * want to wait. */
static int open_terminal(void)
{
    char name[64];
    int fd = ttyname_r(STDIN_FILENO, name, sizeof(name)) == 0
                 ? open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
                 : -1;
    return fd >= 0 ? fd : STDIN_FILENO;
}

kp_status kpi_lineedit_open(const char *history_path, const _Atomic bool *interrupted,
                            kpi_complete_fn complete, void *ctx, struct kpi_lineedit **out)
{
    struct kpi_lineedit *edit = calloc(1, sizeof(*edit));
    if (edit == NULL)
        return KP_NO_MEMORY;
    edit->interrupted = interrupted;
    edit->complete = complete;
    edit->ctx = ctx;
    edit->prompt = "";
    edit->in = open_terminal();
    const char *term = getenv("TERM");
    edit->brackets = isatty(STDOUT_FILENO) && term != NULL && strcmp(term, "dumb") != 0;
    edit->el = el_init("kpq", stdin, stdout, stderr);
    if (edit->el == NULL) {
        if (edit->in != STDIN_FILENO)
            close(edit->in);
        free(edit);
        return KP_NO_MEMORY;
    }
    el_set(edit->el, EL_CLIENTDATA, edit);
    el_set(edit->el, EL_PROMPT, give_prompt);
    el_set(edit->el, EL_GETCFN, get_char);
    el_set(edit->el, EL_SIGNAL, 1); /* Ctrl-Z and back */
    el_set(edit->el, EL_EDITOR, "emacs");
    el_set(edit->el, EL_ADDFN, "kp-complete", "complete a name", on_tab);
    el_set(edit->el, EL_ADDFN, "kp-paste", "a paste begins or ends", on_paste);
    el_set(edit->el, EL_BIND, "^I", "kp-complete", NULL);
    el_set(edit->el, EL_BIND, PASTE_BEGIN, "kp-paste", NULL);
    el_set(edit->el, EL_BIND, PASTE_END, "kp-paste", NULL);
    el_set(edit->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_set(edit->el, EL_BIND, "\\e[3~", "ed-delete-next-char", NULL);
    el_set(edit->el, EL_BIND, "\\e[H", "ed-move-to-beg", NULL);
    el_set(edit->el, EL_BIND, "\\e[F", "ed-move-to-end", NULL);
    load_history(edit, history_path);
    el_source(edit->el, NULL); /* the user's own ~/.editrc */
    *out = edit;
    return KP_OK;
}

void kpi_lineedit_close(struct kpi_lineedit *edit)
{
    if (edit == NULL)
        return;
    if (edit->history != NULL)
        history_end(edit->history);
    el_end(edit->el);
    if (edit->in != STDIN_FILENO)
        close(edit->in);
    kp_buf_deinit(&edit->painted);
    free(edit->path);
    free(edit);
}

kp_status kpi_lineedit_read(struct kpi_lineedit *edit, const char *prompt, struct kp_str before,
                            struct kp_buf *out)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    int length = 0;
    edit->prompt = prompt;
    edit->before = before;
    edit->stopped = false;
    kp_buf_clear(out);
    el_resize(edit->el); /* the window may have changed while a query ran */
    edit->ahead = poll(&in, 1, 0) == 1;
    el_set(edit->el, EL_PREP_TERM, 1); /* before the prompt: who sees it may type */
    ask_for_brackets(edit, true);
    const char *line = el_gets(edit->el, &length);
    ask_for_brackets(edit, false);
    if (line == NULL || length <= 0) {
        if (edit->stopped) {
            edit->pasting = false;
            el_set(edit->el, EL_PREP_TERM, 0); /* leave the half-typed line and its mode behind */
            el_reset(edit->el);
        }
        return edit->stopped ? KP_CANCELLED : KP_END;
    }
    while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
        length--;
    kp_buf_add(out, line, (size_t)length);
    return out->failed ? KP_NO_MEMORY : KP_OK;
}

void kpi_lineedit_paint(struct kpi_lineedit *edit, kpi_paint_fn how)
{
    edit->paint = how;
}

void kpi_lineedit_remember(struct kpi_lineedit *edit, struct kp_str statement)
{
    struct kp_buf entry = {0};
    HistEvent event;
    bool comment = memmem(statement.ptr, statement.len, "//", 2) != NULL;
    kp_buf_str(&entry, statement);
    for (size_t i = 0; i < entry.size && !comment; i++)
        if (entry.data[i] == '\n')
            entry.data[i] = ' ';
    const char *text = kp_buf_cstr(&entry);
    if (edit->history == NULL || entry.failed || entry.size == 0) {
        kp_buf_deinit(&entry);
        return;
    }
    bool again = history(edit->history, &event, H_FIRST) != -1 && strcmp(event.str, text) == 0;
    history(edit->history, &event, H_ENTER, text);
    if (edit->path != NULL && !again)
        append_history(edit->path, (struct kp_str){text, (uint32_t)entry.size});
    kp_buf_deinit(&entry);
}
