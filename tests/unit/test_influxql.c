/* SPDX-License-Identifier: Apache-2.0
 *
 * InfluxQL to our language: text against text, and what is refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/assert.h"
#include "server/influxql.h"
#include "server/text.h"

static void gives(const char *influx, const char *ours)
{
    struct kpi_inquiry inquiry;
    struct kp_error err = {0};
    if (kpi_influxql(kp_str_from(influx), &inquiry, &err) != KP_OK)
        fail_msg("%s: %s", influx, err.text);
    assert_string_equal(kp_buf_cstr(&inquiry.text), ours);
    kp_buf_deinit(&inquiry.text);
}

static void refuses(const char *influx, const char *why)
{
    struct kpi_inquiry inquiry;
    struct kp_error err = {0};
    assert_int_not_equal(kpi_influxql(kp_str_from(influx), &inquiry, &err), KP_OK);
    if (strstr(err.text, why) == NULL)
        fail_msg("%s: %s", influx, err.text);
    kp_buf_deinit(&inquiry.text);
}

static void our_language_passes(void **state)
{
    static const char *const same[] = {
        "CAUSES OF txn 98721 WITHIN 2s",
        "spans | where name == ' WHERE ' | count",
        "spans | where a / 2 > b / 3",
        "union irq, (softirq | where vec == 'TIMER')",
        "let w = 5; print w // where \"it's\"",
        "print @'c:\\' | where print_0 != ' where '",
        "show tables",
        "",
    };
    (void)state;
    for (size_t i = 0; i < KP_ARRAY_LEN(same); i++)
        gives(same[i], same[i]);
}

static void a_trailing_where_becomes_an_operator(void **state)
{
    (void)state;
    gives("spans WHERE \"service\" = 'a'", "spans  | where ['service'] == 'a'");
    gives("spans where \"service\" != 'it\\'s' AND x=1 | count",
          "spans  | where ['service'] != 'it\\'s' and ['x'] == 1| count");
    gives("CAUSES OF txn 1 WHERE time >= 5ms and time <= 7ms",
          "CAUSES OF txn 1  | where ['start'] >= 5ms and ['start'] <= 7ms");
    gives("irq WHERE \"cpu\" = '1'", "irq  | where ['cpu'] == 1");
    gives("T WHERE \"made\" = '1'", "T  | where tostring(['made']) == '1'");
    gives("CAUSES OF txn 1 | EMIT nodes WHERE \"comm\" = 'x'",
          "CAUSES OF txn 1  | where ['comm'] == 'x' | EMIT nodes ");
    gives("irq | take 1 | render chart where cpu = 1",
          "irq | take 1  | where ['cpu'] == 1 | render chart ");
    gives("irq WHERE time > '2026-11-23 03:47:00'",
          "irq  | where ['time'] > datetime(2026-11-23T03:47:00)");
}

static void alternatives_are_matched(void **state)
{
    (void)state;
    gives("irq WHERE name =~ /^(a|b\\.c)$/", "irq  | where (['name'] == 'a' or ['name'] == 'b.c')");
    gives("irq WHERE name !~ /x/", "irq  | where not(['name'] contains_cs 'x')");
    gives("irq WHERE name =~ /^x/", "irq  | where (['name'] startswith_cs 'x')");
    gives("irq WHERE name =~ /.*/", "irq  | where (true)");
    gives("irq WHERE name =~ /a.*'b/", "irq  | where (['name'] matches regex @'a.*''b')");
    gives("irq WHERE dur !~ /^\\d\\/$/",
          "irq  | where not(tostring(['dur']) matches regex @'^\\d/$')");
    gives("irq WHERE cpu =~ /^(0|1)$/", "irq  | where (['cpu'] == 0 or ['cpu'] == 1)");
    gives("irq WHERE cpu =~ /^1/ AND rank =~ /^(1)$/",
          "irq  | where (tostring(['cpu']) startswith_cs '1') and (tostring(['rank']) == '1')");
    gives("irq WHERE name =~ /^a|b$/", "irq  | where (['name'] matches regex @'^a|b$')");
    gives("CAUSES OF txn 1 WHERE root = 'true' AND share != '9.5' AND rank < '3' AND kind = 'x'",
          "CAUSES OF txn 1  | where tostring(['root']) == 'true' and tostring(['share']) != '9.5' "
          "and ['rank'] < 3 and ['kind'] == 'x'");
    gives("CAUSES OF txn 1 WHERE ts_ns = '17' AND time > '2026-01-01'",
          "CAUSES OF txn 1  | where tolong(start) == 17 and ['start'] > datetime(2026-01-01)");
    gives("irq WHERE ts_ns = '1795458343575968904' AND dur = '5' AND name = 'x'",
          "irq  | where tolong(ts) == 1795458343575968904 and ['dur'] == 5 and ['name'] == 'x'");
}

static void select_is_translated(void **state)
{
    (void)state;
    gives("SELECT \"dur\", nr FROM \"db\".\"rp\".\"syscall\" LIMIT 3",
          "syscall | sort by ts asc | take 3 | project ts, ['dur'] = (['dur']), ['nr'] = (['nr'])");
    gives("select * from irq order by time desc", "irq | sort by ts desc");
    gives(
        "select * from irq group by name, cpu",
        "irq | sort by ['name'] asc, ['cpu'] asc, ts asc | project-reorder ts, ['name'], ['cpu']");
    gives(
        "SELECT mean(\"dur\") FROM irq WHERE cpu = '0' GROUP BY time(10s), \"name\"::tag",
        "irq | where ['cpu'] == 0 | summarize value_0 = (avg(['dur'])) by ['name'], "
        "ts = bin_at(ts, 10000000000ns, datetime(1970-01-01) + 0ns) | sort by ['name'] asc, ts asc "
        "| project ts, ['name'], ['mean'] = value_0");
    gives("SELECT percentile(dur, 95) / 1000 AS us FROM irq",
          "irq | summarize value_0 = (percentile(['dur'], 95))/ 1000 | extend ts = "
          "datetime(1970-01-01) + 0ns | where isnotnull(value_0) | sort by ts asc "
          "| project ts, ['us'] = value_0");
    gives("SELECT top(dur, 3) FROM irq GROUP BY name",
          "irq | extend value_0 = ['dur'] | where isnotnull(value_0) | sort by ['name'] asc, "
          "value_0 desc, ts asc | extend place = row_number(1, not(true and prev(['name'], 1) == "
          "['name'])) | where place <= 3 | sort by ['name'] asc, ts asc | project ts, ['name'], "
          "['top'] = value_0");
    gives("SELECT distinct(name) FROM irq tz('UTC')",
          "irq | extend value_0 = ['name'] | where isnotnull(value_0) | summarize times = count(), "
          "since = min(ts) by value_0 | extend ts = datetime(1970-01-01) + 0ns | sort by ts asc, "
          "since asc | project ts, ['distinct'] = value_0");
    gives("SELECT dur FROM \"autogen\"./^(softirq|nix)$/",
          "softirq | sort by ts asc | project ts, ['dur'] = (['dur'])");
    gives("SELECT difference(max(dur)) FROM irq GROUP BY time(1s), name",
          "irq | summarize value_0 = (max(['dur'])) by ['name'], ts = bin_at(ts, 1000000000ns, "
          "datetime(1970-01-01) + 0ns) | sort by ['name'] asc, ts asc | extend value_0 = "
          "todouble(value_0) | extend value_0 = iff(true and prev(['name'], 1) == ['name'], "
          "(value_0 - prev(value_0)), real(null)) | where isnotnull(value_0) | project ts, "
          "['name'], ['difference'] = value_0");
    refuses("SELECT derivative(max(dur)) FROM irq GROUP BY time(1s) fill(previous)", "fill(null)");
    refuses("SELECT moving_average(max(dur), 1) FROM irq GROUP BY time(1s)", "2 to 100");
    refuses("SELECT moving_average(dur) FROM irq", "2 to 100");
    refuses("SELECT derivative(dur, 0s) FROM irq", "unit");
    refuses("SELECT difference(difference(dur)) FROM irq", "'difference' is not supported");
    refuses("SELECT integral(dur) FROM irq", "'integral' is not supported");
    refuses("SELECT top(dur, 0) FROM irq", "at least one row");
    refuses("SELECT top(dur) FROM irq", "a number of rows");
    refuses("SELECT distinct(dur), max(dur) FROM irq", "stand alone");
    refuses("SELECT mean(*) FROM irq", "name the column");
    refuses("SELECT dur FROM /irq/", "several match");
    refuses("SELECT dur FROM /^nix$/", "no measurement matches");
    refuses("SELECT dur FROM /^i.q$/", "names are matched");
    refuses("SELECT dur FROM (SELECT dur FROM irq)", "subqueries");
    refuses("SELECT max(dur) FROM irq GROUP BY time(1d) tz('Europe/Berlin')", "no time zone");
    refuses("SHOW SERIES", "not at 'SERIES'");
    refuses("SHOW TAG VALUES CARDINALITY WITH KEY = a", "SHOW knows");
    refuses("SHOW TAG", "SHOW knows");
    refuses("CREATE DATABASE other", "one database");
    refuses("DROP MEASUREMENT irq", "change nothing");
    refuses("SELECT dur FROM \"a | b\"", "name of a measurement");
    refuses("SELECT dur, mean(dur) FROM irq", "cannot be mixed");
    refuses("SELECT dur FROM irq GROUP BY time(1s)", "needs a function");
    refuses("SELECT", "a name is missing");
}

static void bounds_of_time_are_kept(void **state)
{
    static const struct {
        const char *where;
        bool has_from, has_to;
        kp_time from, to;
    } cases[] = {
        {"time >= 5ms and time <= 7ms", true, true, 5 * KP_MS, 7 * KP_MS},
        {"time > 5 AND (cpu = '0' OR cpu = '1') AND time < 2s - 1s", true, true, 6, KP_SEC - 1},
        {"time >= 5 and time > 9", true, false, 10, 0},
        {"time = 1u", true, true, KP_US, KP_US},
        {"time >= '1970-01-01T00:00:01Z'", true, false, KP_SEC, 0},
        {"time >= 5ms or time <= 7ms", false, false, 0, 0},
        {"(time >= 5ms or cpu = 1)", false, false, 0, 0},
        {"time > 9223372036854775807", false, false, 0, 0},
        {"cpu = '0'", false, false, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < KP_ARRAY_LEN(cases); i++) {
        struct kpi_inquiry inquiry;
        struct kp_error err = {0};
        char text[256];
        snprintf(text, sizeof(text), "SELECT max(dur) FROM irq WHERE %s GROUP BY time(1s)",
                 cases[i].where);
        assert_int_equal(kpi_influxql(kp_str_from(text), &inquiry, &err), KP_OK);
        assert_int_equal(inquiry.has_from, cases[i].has_from);
        assert_int_equal(inquiry.has_to, cases[i].has_to);
        if (inquiry.has_from)
            assert_int_equal(inquiry.from, cases[i].from);
        if (inquiry.has_to)
            assert_int_equal(inquiry.to, cases[i].to);
        kp_buf_deinit(&inquiry.text);
    }
}

static void statements_end_at_their_semicolon(void **state)
{
    (void)state;
    assert_int_equal(kpi_influxql_end(KP_STR("SELECT a FROM b; SHOW x")), 15);
    assert_int_equal(kpi_influxql_end(KP_STR("show 'a;b' \";\"; x")), 14);
    assert_int_equal(kpi_influxql_end(KP_STR("let a = 1; print a")), 18);
    assert_int_equal(kpi_influxql_end(KP_STR("")), 0);
}

static void names_cannot_break_out(void **state)
{
    (void)state;
    gives("SELECT \"a'] | x\" FROM irq",
          "irq | sort by ts asc | project ts, ['a\\'] | x'] = (['a\\'] | x'])");
    gives("SHOW TAG VALUES FROM irq WITH KEY = \"a') | x\"",
          "datatable(m:string,key:string,value:string)[] | project m, key, value "
          "| sort by m asc, key asc, value asc | take 1000");
    gives("SHOW TAG VALUES FROM txn WITH KEY = \"a') | x\"",
          "(txn | distinct value = tostring(['a\\') | x']) | where value != '' | extend m = 'txn', "
          "key = 'a\\') | x') | project m, key, value | sort by m asc, key asc, value asc "
          "| take 1000");
}

static void a_connection_is_told_by_its_first_bytes(void **state)
{
    (void)state;
    assert_int_equal(kpi_sniff(KP_STR("GET /")), KPI_SNIFF_HTTP);
    assert_int_equal(kpi_sniff(KP_STR("OPTIONS ")), KPI_SNIFF_HTTP);
    assert_int_equal(kpi_sniff(KP_STR("P")), KPI_SNIFF_MORE);
    assert_int_equal(kpi_sniff(KP_STR("PRINT 1")), KPI_SNIFF_TEXT);
    assert_int_equal(kpi_sniff(KP_STR("P\n")), KPI_SNIFF_TEXT);
    assert_int_equal(kpi_sniff(KP_STR("get /")), KPI_SNIFF_TEXT);
}

static void lines_say_what_they_are(void **state)
{
    struct kpi_line line;
    (void)state;
    kpi_line_read(KP_STR("  .timeout 1.5s \r\n"), &line);
    assert_int_equal(line.kind, KPI_LINE_TIMEOUT);
    assert_int_equal(line.timeout, 1500 * KP_MS);
    kpi_line_read(KP_STR(".timeout -3s"), &line);
    assert_int_equal(line.kind, KPI_LINE_WRONG);
    kpi_line_read(KP_STR(".cancel now"), &line);
    assert_int_equal(line.kind, KPI_LINE_WRONG);
    kpi_line_read(KP_STR("\t# spans"), &line);
    assert_int_equal(line.kind, KPI_LINE_EMPTY);
    kpi_line_read(KP_STR("spans\n"), &line);
    assert_int_equal(line.kind, KPI_LINE_QUERY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_language_passes),
        cmocka_unit_test(a_trailing_where_becomes_an_operator),
        cmocka_unit_test(alternatives_are_matched),
        cmocka_unit_test(select_is_translated),
        cmocka_unit_test(bounds_of_time_are_kept),
        cmocka_unit_test(statements_end_at_their_semicolon),
        cmocka_unit_test(names_cannot_break_out),
        cmocka_unit_test(a_connection_is_told_by_its_first_bytes),
        cmocka_unit_test(lines_say_what_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
