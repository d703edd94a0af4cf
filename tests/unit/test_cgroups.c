/* SPDX-License-Identifier: Apache-2.0
 *
 * Cgroups are found by their inodes below the mounts, named by the meaningful hierarchy, and their
 * quota counters are read. The trees are directories of the test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder.h"
#include "ingest/cgroups.h"
#include "ingest/proc.h"

static char root[FOLDER_PATH];

static void make_dir(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

static void make_file(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", root, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static uint64_t inode(const char *name)
{
    char path[512];
    struct stat info;
    snprintf(path, sizeof(path), "%s/%s", root, name);
    assert_int_equal(stat(path, &info), 0);
    return info.st_ino;
}

static int set_up(void **state)
{
    (void)state;
    folder_make("cgroups", root);
    make_dir("v2");
    make_dir("v2/pay");
    make_dir("v2/pay/ledger");
    make_file("v2/pay/cgroup.controllers", "cpuset cpu io memory pids\n");
    char line[1024];
    snprintf(line, sizeof(line),
             "22 1 0:20 / /proc rw - proc proc rw\n"
             "41 31 0:38 / %s/v2 rw,relatime shared:3 - cgroup2 cgroup2 rw,nsdelegate\n"
             "a line that is no mount\n",
             root);
    make_file("mountinfo", line);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return folder_remove(root);
}

static struct kpi_cgroups *scan(void)
{
    struct kpi_cgroups *cgroups;
    char path[512];
    snprintf(path, sizeof(path), "%s/mountinfo", root);
    assert_int_equal(kpi_cgroups_init(&cgroups), KP_OK);
    assert_int_equal(kpi_cgroups_scan(cgroups, path), KP_OK);
    return cgroups;
}

static void a_scan_finds_every_group(void **state)
{
    (void)state;
    struct kpi_cgroups *cgroups = scan();
    assert_int_equal(kpi_cgroups_count(cgroups), 3);
    assert_int_equal(kpi_cgroups_find(cgroups, true, KP_STR("/pay/ledger")),
                     inode("v2/pay/ledger"));
    assert_int_equal(kpi_cgroups_find(cgroups, true, KP_STR("/")), inode("v2"));
    assert_int_equal(kpi_cgroups_find(cgroups, true, KP_STR("/none")), 0);
    for (uint32_t i = 0; i < 3; i++) {
        const struct kpi_cgroup *cgroup = kpi_cgroups_at(cgroups, i);
        bool pay = kp_str_equal(cgroup->path, KP_STR("/pay"));
        assert_int_equal(cgroup->controllers, pay ? 7 : 0);
        char dir[512];
        assert_true(kpi_cgroups_dir(cgroups, cgroup, dir, sizeof(dir)));
        assert_int_equal(access(dir, F_OK), 0);
    }
    assert_int_equal(kpi_cgroups_scan(cgroups, "/nonexistent"), KP_NOT_FOUND);
    kpi_cgroups_deinit(cgroups);
}

static void the_meaningful_path_wins(void **state)
{
    (void)state;
    static const struct {
        const char *v2, *v1, *path;
    } cases[] = {
        {"/", "/", "/"}, {"/a", "/b", "/a"}, {"/", "/b", "/b"}, {"", "/b", "/b"}, {"", "", "/"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_true(
            kp_str_equal(kpi_cgroup_choose(kp_str_from(cases[i].v2), kp_str_from(cases[i].v1)),
                         kp_str_from(cases[i].path)));
}

static void groups_come_and_go(void **state)
{
    (void)state;
    struct kpi_cgroups *cgroups = scan();
    uint32_t generation = kpi_cgroups_generation(cgroups);
    for (uint64_t id = 1000; id < 3000; id++) {
        char path[32];
        snprintf(path, sizeof(path), "/g%d", (int)id);
        struct kpi_cgroup cgroup = {.id = id, .level = 1, .path = kp_str_from(path)};
        assert_int_equal(kpi_cgroups_set(cgroups, &cgroup), KP_OK);
    }
    assert_int_equal(kpi_cgroups_generation(cgroups), generation); /* nobody had asked for them */
    for (uint64_t id = 1000; id < 3000; id += 2)
        kpi_cgroups_remove(cgroups, 0, id);
    kpi_cgroups_remove(cgroups, 0, 1000);
    assert_int_equal(kpi_cgroups_count(cgroups), 1003);
    assert_true(kp_str_equal(kpi_cgroups_path(cgroups, 2001, 0), KP_STR("/g2001")));
    assert_true(kp_str_equal(kpi_cgroups_path(cgroups, 2000, 0), KP_STR("/")));
    kpi_cgroups_deinit(cgroups);
}

static void quota_counters_are_read(void **state)
{
    (void)state;
    char dir[512];
    struct kpi_quota quota = {0};
    snprintf(dir, sizeof(dir), "%s/v2/pay", root);
    assert_false(kpi_cgroup_quota(dir, true, &quota));
    make_file("v2/pay/cpu.stat", "usage_usec 5\nnr_periods 40\nnr_throttled 3\n"
                                 "throttled_usec 1500\n");
    make_file("v2/pay/cpu.max", "max 100000\n");
    assert_false(kpi_cgroup_quota(dir, true, &quota));
    make_file("v2/pay/cpu.max", "20000 100000\n");
    assert_true(kpi_cgroup_quota(dir, true, &quota));
    assert_int_equal(quota.quota, 20 * KP_MS);
    assert_int_equal(quota.period, 100 * KP_MS);
    assert_int_equal(quota.periods, 40);
    assert_int_equal(quota.throttled, 3);
    assert_int_equal(quota.throttled_dur, 1500 * KP_US);
    make_file("v2/pay/cpu.stat", "nr_periods 7\nnr_throttled 2\nthrottled_time 900\n");
    make_file("v2/pay/cpu.cfs_period_us", "100000\n");
    make_file("v2/pay/cpu.cfs_quota_us", "-1\n");
    assert_false(kpi_cgroup_quota(dir, false, &quota));
    make_file("v2/pay/cpu.cfs_quota_us", "50000\n");
    assert_true(kpi_cgroup_quota(dir, false, &quota));
    assert_int_equal(quota.quota, 50 * KP_MS);
    assert_int_equal(quota.throttled_dur, 900);
}

static void this_machine_can_be_scanned(void **state)
{
    (void)state;
    struct kpi_cgroups *cgroups;
    struct kpi_proc_thread self;
    assert_int_equal(kpi_cgroups_init(&cgroups), KP_OK);
    assert_int_equal(kpi_cgroups_scan(cgroups, NULL), KP_OK);
    assert_true(kpi_proc_thread((uint32_t)getpid(), &self));
    assert_int_equal(self.pid, getpid());
    assert_true(self.start_ticks > 0);
    assert_true(self.comm[0] != '\0');
    assert_true(kpi_proc_has_thread(self.pid, self.tid));
    assert_false(kpi_proc_has_thread(self.pid, 1));
    assert_false(kpi_proc_thread(1u << 30, &self));
    if (kpi_cgroups_count(cgroups) == 0)
        print_message("no cgroup hierarchy is mounted here\n");
    kpi_cgroups_deinit(cgroups);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_scan_finds_every_group, set_up, tear_down),
        cmocka_unit_test(the_meaningful_path_wins),
        cmocka_unit_test_setup_teardown(groups_come_and_go, set_up, tear_down),
        cmocka_unit_test_setup_teardown(quota_counters_are_read, set_up, tear_down),
        cmocka_unit_test(this_machine_can_be_scanned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
