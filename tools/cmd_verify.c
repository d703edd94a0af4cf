/* SPDX-License-Identifier: Apache-2.0
 *
 * `kpq verify`: every sum and link of a data directory read again (damage), then the proof that it
 * is what was recorded (findings). Both go to stdout, one a line or as one JSON object; exit 5 when
 * there was one.
 */
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "cmd.h"
#include "progress.h"
#include "seal_key.h"
#include "session.h"
#include "storage/storage.h"

static const char help[] =
    "usage: kpq verify DIR [--full] [--head FILE] [--seal-key FILE] [--format json]\n\n"
    "  kpq verify /tmp/rec\n"
    "  kpq verify /var/lib/kprobe --full --head head.txt --seal-key case.key\n\n"
    "Reads everything again, checks every sum and link, and proves the seals; also beside a\n"
    "running kpd. Without --head a cut tail cannot be excluded, without --seal-key a store that\n"
    "was written anew as a whole. docs/forensics.md says what is proved.\n\n";

struct verifying {
    struct kpi_progress progress;
    bool json, comma;
    struct kp_verify_report report;
    struct kp_proof proof;
};

/* ---------- one finding ---------- */

static void print_time(kp_time t)
{
    char text[KP_TIME_TEXT_MAX];
    kp_time_format(t, text);
    printf("%s", text);
}

static void print_json_text(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < ' ')
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

static void print_json_range(kp_time from, kp_time to)
{
    if (from > to)
        return;
    printf(",\"from\":\"");
    print_time(from);
    printf("\",\"to\":\"");
    print_time(to);
    putchar('"');
}

static void print_range(kp_time from, kp_time to)
{
    if (from <= to) {
        printf(", ");
        print_time(from);
        printf(" to ");
        print_time(to);
    }
    printf("\n");
}

static void on_damage(void *ctx, const struct kp_damage *damage)
{
    struct verifying *v = ctx;
    kpi_progress_end(&v->progress);
    if (v->json) {
        printf("%s{\"kind\":\"damaged\",\"file\":", v->comma ? "," : "");
        print_json_text(damage->file);
        printf(",\"offset\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"rows\":%" PRId64 ",\"text\":",
               damage->offset, damage->size, damage->rows);
        print_json_text(damage->what);
        print_json_range(damage->from, damage->to);
        putchar('}');
        v->comma = true;
        return;
    }
    printf("damaged: %s at byte %llu, %llu bytes: %s", damage->file,
           (unsigned long long)damage->offset, (unsigned long long)damage->size, damage->what);
    if (damage->rows >= 0)
        printf(", %lld rows", (long long)damage->rows);
    print_range(damage->from, damage->to);
}

static void on_finding(void *ctx, const struct kp_finding *finding)
{
    struct verifying *v = ctx;
    const char *word = kp_finding_word(finding->kind);
    if (v->json) {
        printf("%s{\"kind\":\"%s\",\"text\":", v->comma ? "," : "", word);
        print_json_text(finding->text);
        print_json_range(finding->from, finding->to);
        putchar('}');
        v->comma = true;
        return;
    }
    printf("%s: %s", word, finding->text);
    print_range(finding->from, finding->to);
}

static void on_progress(void *ctx, uint64_t done, uint64_t total)
{
    kpi_progress_bytes(&((struct verifying *)ctx)->progress, "verifying", done, total);
}

/* ---------- the whole ---------- */

static void print_sums(const struct kp_verify_report *report)
{
    struct kp_buf text = {0};
    kp_text_count(&text, (int64_t)report->rows);
    kp_buf_text(&text, " rows in ");
    kp_text_count(&text, (int64_t)report->files);
    kp_buf_text(&text, " files, ");
    kpi_text_bytes(&text, report->bytes);
    kp_buf_text(&text, ", ");
    kp_text_count(&text, (int64_t)report->damaged);
    printf("%s damaged places\n", kp_buf_cstr(&text));
    kp_buf_deinit(&text);
}

/* What stays open although nothing was found. */
static void print_limits(const struct kp_proof *proof)
{
    if (!proof->keyed)
        printf("note: no seal key was given: a chain that was written anew as a whole cannot be "
               "excluded\n");
    if (!proof->headed)
        printf("note: no head was given: a cut tail cannot be excluded%s\n",
               proof->key_follows ? ", if the key file was put back with it" : "");
    if (proof->log_records_after > 0)
        printf("note: %" PRIu64 " log records came after the last seal\n",
               proof->log_records_after);
    if (proof->drops_after > 0)
        printf("note: the tombstones of %" PRIu64 " segments are not in the chain yet; their files "
               "are still there\n",
               proof->drops_after);
    if (proof->segments_after > 0)
        printf("note: %" PRIu64 " segments are not in the chain yet; the log still proves them\n",
               proof->segments_after);
}

static void print_proof(const struct kp_proof *proof)
{
    if (!proof->sealed) {
        printf("not sealed: nothing is proved about who wrote this store\n");
        return;
    }
    if (proof->segments_before > 0) {
        printf("not sealed before ");
        print_time(proof->from);
        printf(": %" PRIu64 " segments\n", proof->segments_before);
    }
    printf("sealed ");
    print_time(proof->from);
    printf(" to ");
    print_time(proof->to);
    printf(": %" PRIu64 " seals over %" PRIu64 " epochs (%" PRIu64 " down), %" PRIu64
           " segments, %" PRIu64 " dropped by retention, %" PRIu64 " findings\n",
           proof->seals, proof->epochs, proof->epochs_down, proof->segments, proof->dropped,
           proof->findings);
    printf("head %" PRIu64 " %s%s\n", proof->records, proof->root,
           proof->closed ? ", closed in an orderly way" : "");
    print_limits(proof);
}

static void print_json_end(const struct verifying *v)
{
    const struct kp_verify_report *report = &v->report;
    const struct kp_proof *proof = &v->proof;
    printf("],\"rows\":%" PRIu64 ",\"files\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"damaged\":%" PRIu64
           ",\"sealed\":%s",
           report->rows, report->files, report->bytes, report->damaged,
           proof->sealed ? "true" : "false");
    if (proof->sealed) {
        printf(",\"records\":%" PRIu64 ",\"root\":\"%s\",\"seals\":%" PRIu64 ",\"epochs\":%" PRIu64
               ",\"epochs_down\":%" PRIu64 ",\"segments\":%" PRIu64 ",\"segments_dropped\":%" PRIu64
               ",\"segments_before_seals\":%" PRIu64,
               proof->records, proof->root, proof->seals, proof->epochs, proof->epochs_down,
               proof->segments, proof->dropped, proof->segments_before);
        printf(",\"log_records_after\":%" PRIu64 ",\"keyed\":%s,\"headed\":%s,\"closed\":%s",
               proof->log_records_after, proof->keyed ? "true" : "false",
               proof->headed ? "true" : "false", proof->closed ? "true" : "false");
        print_json_range(proof->from, proof->to);
    }
    printf(",\"findings\":%" PRIu64 "}\n", proof->findings);
}

static kp_status read_text(const struct kpi_opts *opts, enum kpi_opt_id id, struct kp_buf *buf,
                           struct kp_str *out, struct kp_error *err)
{
    if (opts->value[id] == NULL)
        return KP_OK;
    kp_status status = kpi_text_file(opts->value[id], buf, err);
    *out = (struct kp_str){buf->data, (uint32_t)buf->size};
    return status;
}

/* Both passes; the first error of the machine ends it, damage does not. */
static kp_status both(struct verifying *v, const char *dir, const struct kp_prove_opts *opts,
                      struct kp_error *err)
{
    struct kp_error proved = {0};
    printf("%s", v->json ? "{\"places\":[" : "");
    kp_status status = kp_verify(dir, NULL, on_damage, on_progress, v, &v->report, err);
    kpi_progress_end(&v->progress);
    if (status != KP_OK && status != KP_CORRUPT)
        return status;
    kp_status proof = kp_prove(dir, NULL, opts, on_finding, v, &v->proof, &proved);
    if (proof != KP_OK && status == KP_OK)
        *err = proved;
    status = status == KP_OK ? proof : status;
    if (proof != KP_OK && proof != KP_CORRUPT)
        return status;
    if (v->json) {
        print_json_end(v);
        return status;
    }
    print_sums(&v->report);
    print_proof(&v->proof);
    return status;
}

static kp_status verify(const struct kpi_opts *opts, struct kp_error *err)
{
    struct verifying v = {0};
    struct kp_buf head = {0}, key = {0};
    struct kp_prove_opts how = {.full = opts->value[KPI_OPT_FULL] != NULL};
    const char *format = opts->value[KPI_OPT_FORMAT];
    v.json = format != NULL && strcmp(format, "json") == 0;
    if (format != NULL && !v.json && strcmp(format, "table") != 0)
        return kp_error_set(err, KP_USAGE, "verify answers as table or json");
    kp_status status = read_text(opts, KPI_OPT_HEAD, &head, &how.head, err);
    if (status == KP_OK)
        status = read_text(opts, KPI_OPT_SEAL_KEY, &key, &how.secret, err);
    kpi_progress_begin(&v.progress);
    if (status == KP_OK)
        status = both(&v, opts->args[0], &how, err);
    explicit_bzero(key.data, key.size);
    kp_buf_deinit(&key);
    kp_buf_deinit(&head);
    return status;
}

int kp_cmd_verify(int argc, char **argv)
{
    struct kpi_opts opts = {0};
    struct kpi_session session;
    struct kp_error err = {0};
    kp_status status = kpi_opts_parse(argc, argv, KPI_VERIFY, &opts, &err);
    if (status == KP_OK && kpi_opts_answered(&opts, help))
        return 0;
    if (status == KP_OK && opts.args_count != 1)
        status = kp_error_set(&err, KP_USAGE, "one data directory to verify, please");
    if (status == KP_OK)
        status = kpi_session_init(&session, &opts, &err);
    if (status == KP_OK && session.remote)
        status = kp_error_set(&err, KP_USAGE, "verify reads a directory, not a server");
    if (status == KP_OK)
        status = verify(&opts, &err);
    if (status == KP_OK)
        return 0;
    if (err.code == KP_OK)
        kp_error_set(&err, status, "'%s' is damaged; the places are listed above", opts.args[0]);
    return kpi_tool_fail(&err, (struct kp_str){NULL, 0});
}
