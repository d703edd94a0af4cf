# SPDX-License-Identifier: Apache-2.0
"""Queries that ask for too much: bombs.py BIN ROOT. Each ends by a limit that is named, within the
time and the memory a query may use, and a kpd that answers them loses no span that it took. They
go to HTTP, to the text port and to kpq in turn; with KP_BOMBS=all, each to all three."""
import json
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time

BIN, ROOT = os.path.abspath(sys.argv[1]), sys.argv[2]
sys.path.insert(0, ROOT + "/tests/cli")
from port_kpd import Kpd, ask, check  # noqa: E402

TIMEOUT, MEMORY_MB = 0.2, 32
LATE = 0.3  # CPU seconds of all else: threads that end, spans taken in, the kernel's page faults
SLACK_MB = 48  # of all else that lives beside a query: threads, answers, spans, what malloc keeps
LARGE = "strcat_array(repeat('a', 1000000), '')"
MANY = "range x from 1 to 1000000000 step 1 | "
SOME = "range x from 1 to 100000 step 1 | "
DEEP = 5000


def lists(kind, count):
    return ", ".join(kind % i for i in range(count))


def at(operators):
    """Out of time or of memory, whichever comes first on this machine, and where."""
    return rf"limit of [^:]*: it was at ({operators})\b|\b({operators}) needs more memory"


# What is asked, and what ends it: words of the error, or None where an answer is as good.
BOMBS = [
    ("a regular expression that backtracks without end",
     "range x from 1 to 1000 step 1 | where strcat(strcat_array(repeat('a', 3000), ''), 'b', x) "
     "matches regex '^(a+)+(a+)+(a+)+$'", "the regular expression needs more|" + at("where")),
    ("one that looks at a long text from each of its places",
     f"print {LARGE} matches regex 'a+[bc]'", at("query")),
    ("a regular expression of 50,000 groups", f"print 'a' matches regex '{'(a' * 50000}{')' * 50000}'",
     "regular expression"),
    ("all matches of a long text, each replaced by it", f"print replace_regex({LARGE}, 'a', {LARGE})",
     at("query")),
    ("all matches in a list", f"{SOME}extend a = extract_all('(a)', strcat(x, {LARGE}))", at("extend")),
    ("a cross join", "range x from 1 to 300000 step 1 | extend k = 1 | join kind=inner "
     "(range y from 1 to 300000 step 1 | extend k = 1) on k | summarize sum(x * y)", at("join|summarize")),
    ("a billion groups", MANY + "summarize count() by x", at("summarize")),
    ("a billion distinct values", MANY + "distinct x", at("distinct")),
    ("a list of a billion", MANY + "summarize make_list(x)", at("summarize")),
    ("a set of lists", MANY + "extend a = range(x, x + 1000, 1) | summarize make_set(a)",
     at("summarize|extend")),
    ("a bag of a billion", MANY + "summarize make_bag(pack(tostring(x), x))", at("summarize|extend")),
    ("percentiles of everything", MANY + "summarize percentiles(x, 1, 50, 99)", at("summarize")),
    ("a sort of a billion", MANY + "sort by x % 7919 desc, x asc", at("sort")),
    ("a window over a billion", MANY + "sort by x desc | extend p = prev(x), n = row_number()", at("sort")),
    ("a trillion rows", "range x from 1 to 1000000000000 step 1 | where x % 7 == 8", at("where")),
    ("a million partitions", MANY + "partition by x (summarize count() by x)", at("partition")),
    ("rows expanded to a hundred thousand each, twice",
     SOME + "extend a = range(1, 100000, 1) | mv-expand a | extend b = range(1, 100000, 1) "
     "| mv-expand b | count", at("mv-expand|extend|summarize|count")),
    ("a subquery for each row", SOME + "extend a = range(1, 100000, 1) | mv-apply a on (summarize "
     "sum(tolong(a)))", at("mv-apply|extend")),
    ("a series of a billion bins", "range x from 1 to 10 step 1 | extend t = datetime(2026-01-01) + x * 1s "
     "| make-series n = count() on t from datetime(2000-01-01) to datetime(2026-01-01) step 800ms",
     "a series of more than"),
    ("a series for each of a billion", MANY + "extend t = datetime(2026-01-01) + x * 1ms | make-series "
     "n = count() on t from datetime(2026-01-01) to datetime(2026-01-02) step 1s by x", at("make-series|extend")),
    ("a million columns", "range x from 1 to 1000000 step 1 | evaluate pivot(x)", "columns"),
    ("top of everything, nested", MANY + "top-nested 1000000 of x by count()", at("top-nested")),
    ("patterns of everything", MANY + "extend a = x % 97, b = x % 89, c = x % 83 | evaluate basket()",
     at("basket|extend")),
    ("patterns of texts", MANY + "extend s = strcat(x, ' b ', x) | reduce by s", at("reduce|extend")),
    ("two hundred times the same", "union " + ", ".join(["(range x from 1 to 1000000 step 1)"] * 200),
     "a union of more than"),
    ("text that doubles forty times", "let d = (s: string) { strcat(s, s) }; print "
     + "d(" * 40 + "'aaaaaaaa'" + ")" * 40, at("query")),
    ("functions within functions, 2^30 times",
     "let f1 = (x: long) { x + 1 }; " + "".join(
         f"let f{i + 1} = (x: long) {{ f{i}(x) + f{i}(x) }}; " for i in range(1, 30)) + "print f30(1)",
     "nested too deeply"),
    ("brackets, five thousand deep", "print " + "(" * DEEP + "1" + ")" * DEEP, "nested too deeply"),
    ("not, five thousand times", "print " + "not(" * DEEP + "true" + ")" * DEEP, "nested too deeply"),
    ("case in case", "print " + "case(1 > 2, 1, " * DEEP + "3" + ")" * DEEP, "nested too deeply"),
    ("JSON, five thousand deep", "print a = parse_json('" + "[" * DEEP + "]" * DEEP + "') | project a[0]", None),
    ("a long JSON for each row",
     SOME + "extend a = parse_json(strcat('{\"', strcat_array(range(x, 100000, 1), '\":1,\"'), '\":1}')) "
     "| where array_length(bag_keys(a)) == 1", at("where|extend")),
    ("twenty thousand numbers in a list", f"{SOME}where x in ({lists('%d', 20000)}) | count", "'in' has too many"),
    ("ten thousand conditions", MANY + "where " + " or ".join(f"x == -{i}" for i in range(9999)), "too many"),
    ("long texts searched in every row", f"{SOME}where countof({LARGE}, strcat('a', x)) > 5 | count", at("where")),
    ("a long text in a long text", f"print {LARGE} has strcat_array(repeat('A', 100000), '')", at("query")),
    ("a long text replaced by itself", f"print replace_string({LARGE}, 'a', {LARGE})", at("query")),
    ("lists of a million", SOME + "extend a = range(x, 1000000, 1)", at("extend")),
    ("a sort of half a million in each row", SOME + "extend a = array_sort_asc(range(x, 500000, 1))", at("extend")),
    ("sets of a hundred thousand",
     SOME + "extend a = set_union(range(1, 100000, 1), range(x, 200000, 1))", at("extend")),
    ("a filter as long as its series",
     SOME + "extend a = series_fir(range(x, 100000, 1), range(1, 100000, 1))", at("extend")),
    ("texts of 1 MB in every row", SOME + "extend s = strrep(tostring(x), 1000000) | where s has 'b'", at("extend|where")),
    ("a name of 100,000 letters", "range x from 1 to 10 step 1 | where " + "y" * 100000 + " == 1", "unknown column"),
    ("a query of 300,000 bytes", "print '" + "y" * 300000 + "'", "longer than"),
    ("causes of everything", "CULPRITS OF (txn) WITHIN 2s", None),
]


class BombedKpd(Kpd):
    FLAGS = ["--otlp-listen", "127.0.0.1:0", "--timeout", f"{TIMEOUT * 1000:.0f}ms", "--memory", f"{MEMORY_MB}M"]


class Sender(threading.Thread):
    """Sends spans until told to stop, and counts what was acknowledged."""

    def __init__(self, kpd):
        super().__init__()
        self.kpd, self.taken, self.number, self.stop = kpd, 0, 0, threading.Event()

    def body(self):
        base = time.time_ns()
        spans = []
        for _ in range(20):
            self.number += 1
            spans.append({"traceId": "5b8efff798038103d269b633813fc60c", "spanId": f"{self.number:016x}",
                          "name": "bombed", "kind": 2, "startTimeUnixNano": str(base),
                          "endTimeUnixNano": str(base + 1000)})
        service = {"key": "service.name", "value": {"stringValue": "bombed"}}
        return json.dumps({"resourceSpans": [{"resource": {"attributes": [service]},
                                              "scopeSpans": [{"spans": spans}]}]})

    def run(self):
        while not self.stop.wait(0.02):
            status, _, _ = ask(self.kpd.otlp, "POST", "/v1/traces", self.body(),
                               {"Content-Type": "application/json"})
            if status == 200:
                self.taken += 20


def memory_mb(kpd):
    with open(f"/proc/{kpd.process.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read()).group(1)) // 1024


def cpu_seconds(kpd):
    with open(f"/proc/{kpd.process.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# --- three ways in: each gives the error, empty when there is none, and the CPU time it took ---

def by_http(kpd, text):
    before = cpu_seconds(kpd)
    status, body, _ = ask(kpd.api, "POST", "/api/query", text, {"Content-Type": "text/plain"})
    good = status == 200 and '"error":' not in body
    return "" if good else body[body.index('"error"'):], cpu_seconds(kpd) - before


def by_text(kpd, text):
    before = cpu_seconds(kpd)
    with socket.create_connection(("127.0.0.1", kpd.port), timeout=60) as client:
        client.sendall(text.encode() + b"\n")
        lines = []
        with client.makefile("rb") as answer:
            while (line := answer.readline()) not in (b"\n", b""):
                lines.append(line)
    errors = [line for line in lines if line.startswith(b"# error")]
    return b"".join(errors).decode(), cpu_seconds(kpd) - before


def by_kpq(kpd, text):
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([BIN + "/kpq", ROOT + "/demo/recording/data", "--timeout", f"{TIMEOUT}s",
                               "--memory", f"{MEMORY_MB}M", "-f", file.name], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, timeout=120, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    check(done.returncode >= 0, "kpq ends by itself", done.returncode)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return "" if done.returncode == 0 else done.stderr, used


def throw(kpd, way, what, text, word):
    error, used = way(kpd, text)
    check(kpd.process.poll() is None, f"kpd outlives {what}", kpd.text()[-2000:])
    good = re.search(word, error, re.I) if word is not None else not error or "limit" in error
    check(good, f"{way.__name__[3:]}, {what}: {error[:150]!r}", error[:600])
    check(used < 2 * TIMEOUT + LATE, f"in {used:.2f} s of CPU time")  # two threads may work at it


with tempfile.TemporaryDirectory() as base:
    kpd = BombedKpd(BIN, ROOT, base)
    try:
        sender = Sender(kpd)
        before = memory_mb(kpd)
        sender.start()
        ways = [by_http, by_text, by_kpq]
        for number, bomb in enumerate(BOMBS):
            for way in ways if os.environ.get("KP_BOMBS") == "all" else [ways[number % 3]]:
                throw(kpd, by_http if way is by_kpq and bomb[1].startswith("let ") else way, *bomb)
        most = memory_mb(kpd) - before
        check(most <= MEMORY_MB + SLACK_MB, f"no query made kpd more than {most} MB larger")
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
        check(most <= MEMORY_MB + SLACK_MB, f"and kpq larger than {most} MB")
        sender.stop.set()
        sender.join()
        check(sender.taken > 0, f"{sender.taken} spans were taken meanwhile")
        _, body, _ = ask(kpd.api, "POST", "/api/query", "spans | where name == 'bombed' | count",
                         {"Content-Type": "text/plain"})
        check(json.loads(body)["rows"][0][0] == sender.taken, "all of them are there", body)
        kpd.process.terminate()
        check(kpd.process.wait(30) == 0, "and kpd ends cleanly", kpd.text()[-2000:])
    finally:
        if kpd.process.poll() is None:
            kpd.process.kill()
