/* SPDX-License-Identifier: Apache-2.0
 *
 * A real PostgreSQL: a cluster of its own in a directory of its own, for the time of the incident.
 * The few messages of its protocol that are needed are made by hand, so that nothing is linked.
 *
 * Row lock: a neighbour has changed the row that the service wants to change, and computes or
 * sleeps before it commits. Truth: that time, from when the service asked, by the neighbour's
 * clock. Checkpoint: a neighbour has changed all pages of a table and makes the server's
 * checkpointer write them, to a disk of its own that the service's commits have to go to. Truth:
 * how much longer the same commits took than just before, less what schedstat says the service and
 * the server's process for it waited for a CPU.
 */
#include "incidents/incident.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glob.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define VERSION  196608 /* of the protocol: 3.0 */
#define COMMITS  12     /* of a transaction, where the log's disk is what matters */
#define FULL     12     /* requests on their way to the disk: no commit has as many */
#define DISK     (INT64_C(3) << 30)
#define SPEED    (INT64_C(200) << 20) /* bytes a second */
#define STARTING "57P03"              /* code of the refusal while the server starts */
#define PATIENCE 300                  /* tries to connect, 100 ms apart */

static char folder[64], programs[128];
static pid_t server;
static int peer = -1;
static struct kpi_helper *neighbour;
static pid_t backend; /* the server's process for the connection made last */
static pid_t checkpointer;
static struct kpi_disk disk;
static int64_t asked, took, usual, queued;
static bool sleeps;

/* --- protocol --- */

static void receive(int fd, void *bytes, size_t size)
{
    if (size > 0 && recv(fd, bytes, size, MSG_WAITALL) != (ssize_t)size)
        kpi_die("the database hung up");
}

/* Reads messages up to the one that says it is ready for the next query. False: not yet. */
static bool await_ready(int fd)
{
    char type = 0, text[8192];
    while (type != 'Z') {
        uint32_t size;
        receive(fd, &type, 1);
        receive(fd, &size, sizeof(size));
        size = ntohl(size) - (uint32_t)sizeof(size);
        if (size >= sizeof(text))
            kpi_die("a message of %u bytes from the database", size);
        receive(fd, text, size);
        text[size] = '\0';
        if (type == 'E' && memmem(text, size, STARTING, strlen(STARTING)) != NULL)
            return false;
        if (type == 'E')
            kpi_die("the database refuses: %.*s", (int)size, text + 1);
        if (type == 'K')
            backend = (pid_t)ntohl(*(uint32_t *)text);
    }
    return true;
}

static void query(int fd, const char *sql)
{
    char message[512] = "Q";
    size_t size = strlen(sql) + 1;
    uint32_t wire = htonl((uint32_t)(size + sizeof(wire)));
    memcpy(message + 1, &wire, sizeof(wire));
    memcpy(message + 1 + sizeof(wire), sql, size);
    size += 1 + sizeof(wire);
    if (send(fd, message, size, 0) != (ssize_t)size)
        kpi_die("the database hung up");
    if (!await_ready(fd))
        kpi_die("the database starts again");
}

static int database_connect(void)
{
    static const char hello[] = "user\0postgres\0database\0postgres\0";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    uint32_t head[2] = {htonl((uint32_t)(sizeof(head) + sizeof(hello))), htonl(VERSION)};
    char message[sizeof(head) + sizeof(hello)];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/.s.PGSQL.5432", folder);
    if (fd < 0 || connect(fd, (void *)&address, sizeof(address)) != 0) {
        close(fd);
        return -1;
    }
    memcpy(message, head, sizeof(head));
    memcpy(message + sizeof(head), hello, sizeof(hello));
    if (send(fd, message, sizeof(message), 0) != sizeof(message))
        kpi_die("the database hung up");
    if (await_ready(fd))
        return fd;
    close(fd);
    return -1;
}

/* --- the server --- */

static void find_programs(void)
{
    glob_t found;
    if (glob("/usr/lib/postgresql/*/bin/postgres", 0, NULL, &found) != 0)
        kpi_skip("PostgreSQL is not installed");
    snprintf(programs, sizeof(programs), "%s", found.gl_pathv[found.gl_pathc - 1]);
    *strrchr(programs, '/') = '\0';
    globfree(&found);
}

static void server_run(const struct passwd *user)
{
    char program[160], data[80];
    snprintf(program, sizeof(program), "%s/postgres", programs);
    snprintf(data, sizeof(data), "%s/data", folder);
    if (setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0 || chdir(folder) != 0)
        kpi_die("cannot be user postgres: %s", strerror(errno));
    prctl(PR_SET_PDEATHSIG, SIGQUIT);
    execl(program, "postgres", "-D", data, "-k", folder, "-h", "", "-c", "autovacuum=off", "-c",
          "shared_buffers=1GB", "-c", "checkpoint_flush_after=0", "-c", "bgwriter_lru_maxpages=0",
          "-c", "checkpoint_timeout=1h", "-c", "full_page_writes=off", "-c", "wal_level=minimal",
          "-c", "max_wal_senders=0", "-c", "logging_collector=off", "-c", "log_min_messages=fatal",
          NULL);
    _exit(127);
}

static void server_stop(void)
{
    if (server > 0) {
        kill(server, SIGQUIT);
        waitpid(server, NULL, 0);
        server = 0;
    }
    if (folder[0] != '\0') {
        umount2(folder, MNT_DETACH); /* if it is a disk of its own */
        kpi_shell("rm -rf %s", folder);
    }
    folder[0] = '\0';
}

static int server_await(void)
{
    for (int i = 0; i < PATIENCE; i++) {
        int fd = database_connect();
        if (fd >= 0)
            return fd;
        kpi_sleep(100 * KPI_MS);
    }
    kpi_die("the database does not start");
}

static void make_folder(void)
{
    find_programs();
    snprintf(folder, sizeof(folder), "/tmp/kp-postgres-XXXXXX");
    if (mkdtemp(folder) == NULL)
        kpi_die("no directory for the database: %s", strerror(errno));
    atexit(server_stop);
}

static void server_start(void)
{
    const struct passwd *user = getpwnam("postgres");
    if (user == NULL || chown(folder, user->pw_uid, user->pw_gid) != 0)
        kpi_die("no user postgres: %s", strerror(errno));
    kpi_shell("cd %s && runuser -u postgres -- %s/initdb -D %s/data -A trust -N --no-locale "
              ">/dev/null",
              folder, programs, folder);
    server = fork();
    if (server == 0)
        server_run(user);
    peer = server_await();
    query(peer, "create table account as select g as id, 0 as v from generate_series(1, 100) g");
    query(peer, "alter table account add primary key (id)");
}

static void teardown(struct kpi_run *run)
{
    (void)run;
    kpi_helper_stop(neighbour);
    close(peer);
    server_stop();
}

/* --- row lock --- */

static void change_and_think(const struct kpi_order *order, struct kpi_report *report)
{
    static int fd = -1;
    if (fd < 0) {
        fd = database_connect();
        query(fd, "set synchronous_commit = off");
    }
    query(fd, "begin");
    query(fd, "update account set v = v + 1 where id = 1");
    kpi_sleep_until(order->at);
    if (order->arg != 0)
        kpi_sleep(order->ns);
    else
        kpi_burn(order->ns);
    report->to = kpi_now();
    query(fd, "commit");
}

static void setup_row(struct kpi_run *run)
{
    struct kpi_order order = {0};
    struct kpi_report report;
    (void)run;
    make_folder();
    server_start();
    query(peer, "set synchronous_commit = off");
    neighbour = kpi_helper_start("month-end", change_and_think);
    kpi_helper_order(neighbour, &order); /* connects */
    kpi_helper_report(neighbour, &report);
}

static void arm_row(struct kpi_run *run)
{
    if (!run->fault)
        return;
    sleeps = kpi_draw(run, 0, 1) != 0;
    struct kpi_order order = {kpi_now() + 10 * KPI_MS, run->size_ns, 0, sleeps};
    kpi_helper_order(neighbour, &order);
    kpi_sleep_until(order.at + KPI_MS);
}

static void serve_row(struct kpi_run *run)
{
    (void)run;
    kpi_burn(KPI_MS);
    asked = kpi_now();
    query(peer, "update account set v = v + 1 where id = 1");
}

static void settle_row(struct kpi_run *run)
{
    struct kpi_report report;
    if (!run->fault)
        return;
    kpi_helper_report(neighbour, &report);
    run->truth = (struct kpi_truth){sleeps ? "timer.sleep" : "running",
                                    kpi_helper_pid(neighbour),
                                    "",
                                    report.to - asked,
                                    true,
                                    NULL};
}

KPI_INCIDENT(row_lock) = {
    .name = "pg-row",
    .about = "PostgreSQL: another client has changed the row",
    .size_min_ms = 40,
    .size_max_ms = 150,
    .setup = setup_row,
    .arm = arm_row,
    .serve = serve_row,
    .settle = settle_row,
    .teardown = teardown,
};

/* --- checkpoint --- */

/* Changes a row of every page, so that all of the table has to be written. */
static void change_everything(const struct kpi_order *order, struct kpi_report *report)
{
    static int fd = -1;
    (void)order;
    if (fd < 0) {
        fd = database_connect();
        query(fd, "set synchronous_commit = off");
        query(fd, "create table ledger with (fillfactor = 80) as "
                  "select g as id, 0 as v, repeat('x', 200) as text "
                  "from generate_series(1, 500000) g");
    }
    query(fd, "update ledger set v = v + 1 where id % 25 = 0");
    query(fd, "checkpoint");
    report->to = kpi_now();
}

/* The process of the server that writes for a checkpoint. */
static pid_t find_checkpointer(void)
{
    char path[64], line[256];
    int pid;
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)server, (int)server);
    FILE *children = fopen(path, "re");
    while (children != NULL && fscanf(children, "%d", &pid) == 1) {
        snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
        FILE *file = fopen(path, "re");
        bool found = file != NULL && fgets(line, sizeof(line), file) != NULL &&
                     strstr(line, "checkpointer") != NULL;
        if (file != NULL)
            fclose(file);
        if (!found)
            continue;
        fclose(children);
        return pid;
    }
    kpi_die("the database has no checkpointer");
}

static void setup_checkpoint(struct kpi_run *run)
{
    struct kpi_order order = {0};
    struct kpi_report report;
    (void)run;
    make_folder();
    kpi_disk_mount(&disk, folder, DISK, SPEED);
    server_start();
    checkpointer = find_checkpointer();
    neighbour = kpi_helper_start("month-end", change_everything);
    kpi_helper_order(neighbour, &order);
    kpi_helper_report(neighbour, &report);
}

/* Waits until the pages of the checkpoint fill the queue of the disk. */
static void arm_checkpoint(struct kpi_run *run)
{
    struct kpi_order order = {0};
    if (!run->fault)
        return;
    usual = took - queued;
    kpi_helper_order(neighbour, &order);
    for (int i = 0; i < PATIENCE * 10 && kpi_disk_writes(&disk) < FULL; i++)
        kpi_sleep(KPI_MS);
}

static int64_t commit_waited(void)
{
    return kpi_now_waited(backend) + kpi_now_waited(gettid());
}

static void serve_checkpoint(struct kpi_run *run)
{
    (void)run;
    kpi_burn(KPI_MS / 2);
    queued = commit_waited();
    asked = kpi_now();
    for (int i = 0; i < COMMITS; i++)
        query(peer, "update account set v = v + 1 where id = 1");
    took = kpi_now() - asked;
    queued = commit_waited() - queued;
}

static void settle_checkpoint(struct kpi_run *run)
{
    struct kpi_report report;
    if (!run->fault)
        return;
    kpi_helper_report(neighbour, &report);
    int64_t longer = report.to < asked ? 0 : took - queued - usual; /* 0: it was over before */
    run->truth = (struct kpi_truth){
        "block_io.queue,block_io.device", checkpointer, disk.object, longer, false, NULL};
}

KPI_INCIDENT(checkpoint) = {
    .name = "pg-checkpoint",
    .about = "PostgreSQL: a checkpoint fills the disk of the log",
    .setup = setup_checkpoint,
    .arm = arm_checkpoint,
    .serve = serve_checkpoint,
    .settle = settle_checkpoint,
    .teardown = teardown,
};
