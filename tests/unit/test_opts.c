/* SPDX-License-Identifier: Apache-2.0
 *
 * The flag table's parser, the configuration of kpd, and the splitting of statements.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "settings.h"
#include "session.h"
#include "txn_keys.h"

/* Parses words (ended by NULL) for a command. */
static kp_status parse(unsigned command, const char *const *words, struct kpi_opts *out,
                       struct kp_error *err)
{
    char *argv[16] = {(char *)(uintptr_t) "kpq"};
    int argc = 1;
    for (; words[argc - 1] != NULL; argc++)
        argv[argc] = (char *)(uintptr_t)words[argc - 1];
    static char *kept[16];
    memcpy(kept, argv, sizeof(argv));
    return kpi_opts_parse(argc, kept, command, out, err);
}

static void flags_in_every_spelling(void **state)
{
    (void)state;
    struct kpi_opts opts;
    const char *words[] = {"dir", "--format=csv", "-c", "clock", "-t5s", NULL};
    assert_int_equal(parse(KPI_QUERY, words, &opts, NULL), KP_OK);
    assert_int_equal(opts.args_count, 1);
    assert_string_equal(opts.args[0], "dir");
    assert_string_equal(opts.value[KPI_OPT_FORMAT], "csv");
    assert_string_equal(opts.value[KPI_OPT_COMMAND], "clock");
    kp_dur timeout = 0;
    assert_int_equal(kpi_opts_dur(&opts, KPI_OPT_TIMEOUT, 0, &timeout, NULL), KP_OK);
    assert_int_equal(timeout, 5 * KP_SEC);
    const char *rest[] = {"--data", "d", "--", "make", "--for", NULL};
    assert_int_equal(parse(KPI_RECORD, rest, &opts, NULL), KP_OK);
    assert_string_equal(opts.rest[0], "make");
    assert_string_equal(opts.rest[1], "--for");
    assert_null(opts.value[KPI_OPT_FOR]);
}

static void wrong_flags_are_explained(void **state)
{
    (void)state;
    static const struct {
        unsigned command;
        const char *words[4];
        const char *text, *hint;
    } cases[] = {
        {KPI_QUERY, {"--formta", "csv", NULL}, "unknown flag --formta", "did you mean --format?"},
        {KPI_QUERY, {"--listen", "x", NULL}, "unknown flag --listen", "--help"},
        {KPI_QUERY, {"-z", NULL}, "unknown flag -z", "--help"},
        {KPI_QUERY, {"--format", NULL}, "--format needs a value", ""},
        {KPI_QUERY, {"--format=a", "--format=b", NULL}, "given twice", ""},
        {KPI_RECORD, {"--no-realtime=1", NULL}, "takes no value", ""},
    };
    for (size_t i = 0; i < KP_ARRAY_LEN(cases); i++) {
        struct kpi_opts opts;
        struct kp_error err = {0};
        assert_int_equal(parse(cases[i].command, cases[i].words, &opts, &err), KP_USAGE);
        assert_non_null(strstr(err.text, cases[i].text));
        assert_non_null(strstr(err.hint, cases[i].hint));
    }
}

static void sizes_have_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bytes; /* 0 = not a size */
    } cases[] = {{"1", 1},
                 {"64K", 65536},
                 {"256M", 256ull << 20},
                 {"1GiB", 1ull << 30},
                 {"2kB", 2048},
                 {"", 0},
                 {"M", 0},
                 {"1X", 0},
                 {"1MM", 0},
                 {"-1", 0},
                 {"99999999999999999999", 0},
                 {"99999999999T", 0}};
    for (size_t i = 0; i < KP_ARRAY_LEN(cases); i++) {
        struct kpi_opts opts = {.value[KPI_OPT_MEMORY] = cases[i].text};
        uint64_t bytes = 0;
        kp_status wanted = cases[i].bytes != 0 ? KP_OK : KP_USAGE;
        assert_int_equal(kpi_opts_bytes(&opts, KPI_OPT_MEMORY, &bytes, NULL), wanted);
        assert_int_equal(bytes, cases[i].bytes);
    }
}

static void statements_end_at_semicolons_only(void **state)
{
    (void)state;
    struct kp_str text = KP_STR(" a | b ; // c; d\n e == ';' ;; \"x;\\\";y\" ;\n // only; talk\n");
    static const char *const wanted[] = {"a | b", "// c; d\n e == ';'", "\"x;\\\";y\""};
    struct kp_str statement;
    uint32_t at = 0;
    for (size_t i = 0; i < KP_ARRAY_LEN(wanted); i++) {
        assert_true(kpi_statement_next(text, &at, &statement));
        assert_true(kp_str_equal(statement, kp_str_from(wanted[i])));
    }
    assert_false(kpi_statement_next(text, &at, &statement));
}

static void a_let_belongs_to_what_follows(void **state)
{
    (void)state;
    struct kp_str text = KP_STR("let b = 5; // of b;\n let f = (x) { let y = x; y + b };\n"
                                "print f(1); print letter; { a; b");
    static const char *const wanted[] = {
        "let b = 5; // of b;\n let f = (x) { let y = x; y + b };\nprint f(1)", "print letter",
        "{ a; b"};
    struct kp_str statement;
    uint32_t at = 0;
    for (size_t i = 0; i < KP_ARRAY_LEN(wanted); i++) {
        assert_true(kpi_statement_next(text, &at, &statement));
        assert_true(kp_str_equal(statement, kp_str_from(wanted[i])));
    }
    assert_false(kpi_statement_next(text, &at, &statement));
}

static void transaction_keys_are_a_list(void **state)
{
    (void)state;
    struct kpi_txn_keys keys;
    assert_int_equal(kpi_txn_keys_parse("txn.id,pay.id", &keys, NULL), KP_OK);
    assert_int_equal(keys.count, 2);
    assert_string_equal(keys.names[1], "pay.id");
    assert_int_equal(kpi_txn_keys_parse("a,,b", &keys, NULL), KP_USAGE);
    assert_int_equal(kpi_txn_keys_parse("", &keys, NULL), KP_USAGE);
    assert_int_equal(kpi_txn_keys_parse("1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", &keys, NULL),
                     KP_USAGE);
    assert_int_equal(kpi_txn_keys_parse(NULL, &keys, NULL), KP_OK);
    assert_int_equal(keys.count, 0);
}

/* Runs kpi_settings_kpd on a file with this content and the given flags. */
static kp_status config(const char *content, struct kpi_opts *opts, struct kp_arena *arena,
                        struct kp_error *err)
{
    char path[] = "/tmp/kp_test_opts_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
    opts->command = KPI_KPD;
    opts->value[KPI_OPT_CONFIG] = path;
    kp_status status = kpi_settings_kpd(opts, arena, err);
    unlink(path);
    return status;
}

static void flags_win_over_environment_over_file(void **state)
{
    (void)state;
    struct kp_arena arena;
    struct kpi_opts opts = {.value[KPI_OPT_KINDS] = "flag"};
    kp_arena_init(&arena, 0);
    setenv("KPD_KINDS", "env", 1);
    setenv("KPD_TXN_KEYS", "env", 1);
    assert_int_equal(config("# talk\n kinds = file \ntxn-keys=file\nlisten = file\n"
                            "no-realtime = true\n",
                            &opts, &arena, NULL),
                     KP_OK);
    assert_string_equal(opts.value[KPI_OPT_KINDS], "flag");
    assert_string_equal(opts.value[KPI_OPT_TXN_KEYS], "env");
    assert_string_equal(opts.value[KPI_OPT_LISTEN], "file");
    assert_string_equal(opts.value[KPI_OPT_OTLP_LISTEN], "127.0.0.1:4318");
    assert_non_null(opts.value[KPI_OPT_NO_REALTIME]);
    unsetenv("KPD_KINDS");
    unsetenv("KPD_TXN_KEYS");
    kp_arena_deinit(&arena);
}

static void queries_have_settings_too(void **state)
{
    (void)state;
    char dir[] = "/tmp/kp_test_opts_XXXXXX", path[128];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/kprobe", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/kprobe/kpq.conf", dir);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs("url = unix:/run/kpd\nformat = csv\ntimeout = 9s\n", file);
    fclose(file);
    setenv("XDG_CONFIG_HOME", dir, 1);
    setenv("KPQ_FORMAT", "json", 1);
    struct kp_arena arena;
    struct kpi_opts opts = {.command = KPI_QUERY, .value[KPI_OPT_TIMEOUT] = "1s"};
    kp_arena_init(&arena, 0);
    assert_int_equal(kpi_settings_query(&opts, &arena, NULL), KP_OK);
    assert_string_equal(opts.value[KPI_OPT_TIMEOUT], "1s");
    assert_string_equal(opts.value[KPI_OPT_FORMAT], "json");
    assert_string_equal(opts.value[KPI_OPT_URL], "unix:/run/kpd");
    assert_string_equal(opts.value[KPI_OPT_MEMORY], "256M");
    unlink(path);
    opts = (struct kpi_opts){.command = KPI_QUERY};
    assert_int_equal(kpi_settings_query(&opts, &arena, NULL), KP_OK); /* no file is no mistake */
    assert_null(opts.value[KPI_OPT_URL]);
    snprintf(path, sizeof(path), "%s/kprobe", dir);
    assert_int_equal(rmdir(path) | rmdir(dir), 0);
    unsetenv("KPQ_FORMAT");
    unsetenv("XDG_CONFIG_HOME");
    kp_arena_deinit(&arena);
}

/* The manual page as one text; the caller frees it. */
static char *manual(const char *path)
{
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    char *text = calloc(1, 256 * 1024);
    assert_non_null(text);
    assert_in_range(fread(text, 1, 256 * 1024 - 1, file), 1, 256 * 1024 - 2);
    fclose(file);
    return text;
}

static void every_flag_is_in_its_manual(void **state)
{
    (void)state;
    char *kpq = manual("man/kpq.1"), *kpd = manual("man/kpd.8");
    for (int i = 0; i < KPI_OPT_COUNT; i++) {
        const struct kpi_opt *opt = &kpi_opt_table[i];
        char wanted[64] = "\\-\\-";
        size_t used = strlen(wanted);
        for (const char *c = opt->name; *c != '\0' && used + 3 < sizeof(wanted); c++) {
            if (*c == '-')
                wanted[used++] = '\\';
            wanted[used++] = *c;
            wanted[used] = '\0';
        }
        if (opt->commands == KPI_ALL)
            continue;
        if ((opt->commands & KPI_KPD) != 0 && strstr(kpd, wanted) == NULL)
            fail_msg("man/kpd.8 lacks --%s", opt->name);
        if ((opt->commands & ~(unsigned)KPI_KPD) != 0 && strstr(kpq, wanted) == NULL)
            fail_msg("man/kpq.1 lacks --%s", opt->name);
    }
    free(kpq);
    free(kpd);
}

static void wrong_lines_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *content, *text, *hint;
    } cases[] = {
        {"data = x\nlistne = y\n", ":2: unknown key 'listne'", "did you mean listen?"},
        {"listen\n", ":1: 'listen' is not key = value", ""},
        {"data = x\ndata = y\n", ":2: key 'data' is given twice", ""},
        {"no-realtime = yes\n", "true or false", ""},
        {"check-config = true\n", "unknown key 'check-config'", "command line only"},
        {"format = csv\n", "unknown key 'format'", ""},
    };
    for (size_t i = 0; i < KP_ARRAY_LEN(cases); i++) {
        struct kp_arena arena;
        struct kpi_opts opts = {0};
        struct kp_error err = {0};
        kp_arena_init(&arena, 0);
        assert_int_equal(config(cases[i].content, &opts, &arena, &err), KP_USAGE);
        assert_non_null(strstr(err.text, cases[i].text));
        assert_non_null(strstr(err.hint, cases[i].hint));
        kp_arena_deinit(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(flags_in_every_spelling),
        cmocka_unit_test(wrong_flags_are_explained),
        cmocka_unit_test(sizes_have_units),
        cmocka_unit_test(statements_end_at_semicolons_only),
        cmocka_unit_test(a_let_belongs_to_what_follows),
        cmocka_unit_test(transaction_keys_are_a_list),
        cmocka_unit_test(flags_win_over_environment_over_file),
        cmocka_unit_test(queries_have_settings_too),
        cmocka_unit_test(every_flag_is_in_its_manual),
        cmocka_unit_test(wrong_lines_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
