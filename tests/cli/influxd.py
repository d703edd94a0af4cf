# SPDX-License-Identifier: Apache-2.0
"""The query port beside influxd 1.6.7 over the same rows: influxd.py BIN ROOT.

Rows of the recording are written to influxd as line protocol; then both are asked the same. Where
nothing depends on the tags and fields there are, answers are compared byte for byte, otherwise in
shape: keys, order of keys, types of cells, headers, status."""
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

BIN, ROOT = (os.path.abspath(arg) for arg in sys.argv[1:3])
sys.path.insert(0, ROOT + "/tests/cli")
from port_kpd import Kpd, ask, check, debian_program, query  # noqa: E402

CONFIG = """reporting-disabled = true
bind-address = "127.0.0.1:0"
[meta]
dir = "{0}/meta"
[data]
dir = "{0}/data"
wal-dir = "{0}/wal"
query-log-enabled = false
[http]
bind-address = "127.0.0.1:{1}"
log-enabled = false
[monitor]
store-enabled = false
"""
ROWS = 20000  # all of them
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Influxd:
    def __init__(self, program, base):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        with open(base + "/influxd.conf", "w", encoding="utf-8") as file:
            file.write(CONFIG.format(base + "/influxd", self.port))
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([program, "-config", base + "/influxd.conf"], stdout=self.log,
                                        stderr=self.log)
        end = time.time() + 30
        while time.time() < end and self.process.poll() is None:
            try:
                if ask(self.port, "GET", "/ping")[0] == 204:
                    return
            except OSError:
                time.sleep(0.05)
        self.log.seek(0)
        check(False, "influxd starts", self.log.read())


# --- the same rows in both ---

def escape(text):
    return re.sub(r"([, =])", r"\\\1", text)


def copy_rows(kpd, influxd):
    """Rows of two streams as line protocol; what kpd calls tags are tags."""
    lines = []
    for table, tags, fields in (("syscall", ("comm", "tid", "host"), ("dur", "ret")),
                                ("softirq", ("comm", "cpu", "vec"), ("dur", "count"))):
        names = ", ".join(tags + fields)
        body = query(kpd, f"{table} | take {ROWS} | project ts, {names}", epoch="ns")[1]
        for row in json.loads(body)["results"][0]["series"][0]["values"]:
            cells = dict(zip(("ts",) + tags + fields, row))
            lines.append(table + "".join(f",{tag}={escape(str(cells[tag]))}" for tag in tags
                                         if cells[tag] not in ("", None)) +
                         " " + ",".join(f"{field}={cells[field]}i" for field in fields) + f" {row[0]}")
    check(query(influxd, "CREATE DATABASE kprobe")[0] == 200, "a database")
    status, body, _ = ask(influxd.port, "POST", "/write?db=kprobe", "\n".join(lines))
    check(status == 204, f"{len(lines)} rows for influxd", body)


def post_back(kpd, influxd):
    """What the text protocol answers can be written to InfluxDB as it is, remarks and all."""
    check(query(influxd, "CREATE DATABASE back")[0] == 200, "a database for what is written back")
    for text in ("CAUSES OF txn 98721 WITHIN 2s", "syscall | take 100", "spans", "gaps",
                 "print a = 'x,\"y\"', b = 1.5, c = 1 < 2, ts = datetime(2026-11-23)", "nix",
                 "CAUSES OF txn 98721 | EMIT nodes", "spans | where name == 'no such'"):
        with socket.create_connection(("127.0.0.1", kpd.port), timeout=20) as client:
            client.sendall(text.encode() + b"\n.quit\n")
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        status, body, _ = ask(influxd.port, "POST", "/write?db=back&precision=ns", answer)
        check(status == 204 and answer.endswith(b"\n\n"), f"written back: {text[:50]}", (body, answer[:500]))


# --- comparing ---

def shape(value):
    """The form of a JSON value: names and types, lists by their first element."""
    if isinstance(value, dict):
        return {key: shape(one) for key, one in value.items()}
    if isinstance(value, list):
        if value and isinstance(value[0], list):  # rows: the types of each column
            return [sorted({shape(cell) for cell in column}) for column in zip(*value)]
        return [shape(one) for one in value[:1]]
    return "null" if value is None else "number" if isinstance(value, (int, float)) and \
        not isinstance(value, bool) else type(value).__name__


def heads(headers):
    return headers.get("Content-Type", "").split(";")[0], "X-Influxdb-Version" in headers, \
        "X-Influxdb-Error" in headers


def parsed(body):
    try:
        return [json.loads(line) for line in body.splitlines()] if body.startswith("{\"") else body
    except ValueError:
        return body


def both(kpd, influxd, method, path, body, headers):
    return [ask(port, method, path, body, headers) for port in (kpd.port, influxd.port)]


def compare(kpd, influxd, what, method, path, body=None, headers=None, how="same"):
    """how: same = the same bytes; shape = the same form; head = status and headers."""
    ours, theirs = both(kpd, influxd, method, path, body, headers)
    good = ours[0] == theirs[0] and heads(ours[2]) == heads(theirs[2])
    if how == "same":
        good = good and ours[1] == theirs[1]
    elif how == "shape":
        first, second = shape(parsed(ours[1])), shape(parsed(theirs[1]))
        good = good and json.dumps(first) == json.dumps(second)
    check(good, f"{how}: {what}", "\n".join(f"{one[0]} {heads(one[2])} {one[1][:1500]}" for one in (ours, theirs)))


SAME = [
    "SHOW DATABASES",
    'SHOW RETENTION POLICIES ON "kprobe"',
    'SHOW RETENTION POLICIES',
    'SHOW MEASUREMENTS WITH MEASUREMENT = "syscall"',
    'SHOW MEASUREMENTS WITH MEASUREMENT =~ /(?i)SYSC/ LIMIT 100',
    'SHOW FIELD KEYS FROM "nosuch"',
    'SHOW TAG KEYS FROM "nosuch"',
    'SELECT mean("dur") FROM "syscall" WHERE time < 0 GROUP BY time(10s) fill(none)',
    'SELECT count("dur") FROM "syscall"; SHOW DATABASES; SELECT sum("dur") FROM "syscall"',
    'SHOW TAG VALUES FROM "syscall" WITH KEY = "comm" LIMIT 3 OFFSET 2',
    'SHOW TAG VALUES FROM "syscall" WITH KEY IN ("comm", "host")',
    'SHOW TAG VALUES FROM "softirq" WITH KEY = "vec" WHERE "cpu" = \'0\'',
    'SELECT "dur", "ret" FROM "syscall" LIMIT 5',
    'SELECT "dur", "ret" FROM "syscall" LIMIT 5 OFFSET 3',
    'SELECT "dur" FROM "syscall" ORDER BY time DESC LIMIT 5',
    'SELECT "dur", "comm" FROM "syscall" WHERE "comm" =~ /^(ar|as)$/ LIMIT 5',
    'SELECT "dur", "comm" FROM "syscall" WHERE "comm" =~ /^k.*r$/ LIMIT 5',
    'SELECT "dur", "comm" FROM "syscall" WHERE "comm" !~ /[aeiou]{1}/ LIMIT 5',
    'SELECT "dur" FROM "syscall" WHERE ("comm"::tag = \'ledger\' OR "comm"::tag = \'kpq\') AND "ret" > 0 LIMIT 9',
    'SELECT count("dur"), max("dur"), min("ret") FROM "syscall" GROUP BY "comm"',
    'SELECT "dur" FROM "syscall" GROUP BY "comm" LIMIT 2 SLIMIT 3 SOFFSET 1',
    'SELECT spread("dur") FROM "softirq" GROUP BY "cpu"',
    'SELECT sum("dur"), count("dur") FROM "softirq" GROUP BY "cpu", "vec"',
    'SELECT max("dur") FROM "syscall"',
    'SELECT min("dur") FROM "softirq" GROUP BY "cpu"',
    'SELECT first("dur") FROM "syscall" GROUP BY "comm"',
    'SELECT last("ret") AS "code" FROM "syscall"',
    'SELECT top("dur", 3) FROM "syscall"',
    'SELECT bottom("dur", 2) AS "least" FROM "softirq" GROUP BY "cpu"',
    'SELECT top("dur", 5) FROM "syscall" WHERE "ret" < 0 GROUP BY "comm"',
    'SELECT mode("ret") FROM "syscall"',
    'SELECT mode("count") FROM "softirq" GROUP BY "cpu", "vec"',
    'SELECT distinct("count") FROM "softirq"',
    'SELECT distinct("ret") FROM "syscall" GROUP BY "comm"',
    'SELECT count(distinct("ret")) FROM "syscall" GROUP BY "comm"',
    'SELECT mean("ret") FROM "autogen"."syscall" WHERE "comm" = \'no such\'',
    'SELECT max("dur") FROM "kprobe"."autogen".syscall',
    'SELECT max("dur") FROM "kprobe".."syscall" tz(\'UTC\')',
    'SELECT max("dur") FROM /^syscall$/',
    'SELECT max("dur") FROM "autogen"./^sysc/ GROUP BY "comm"',
    'SHOW TAG VALUES FROM "autogen"."syscall" WITH KEY = "comm"',
    'SHOW TAG VALUES FROM /^(softirq|syscall)$/ WITH KEY IN ("comm", "host") LIMIT 4',
    'SHOW TAG VALUES FROM "softirq" WITH KEY =~ /^(vec|cpu)$/ WHERE "cpu" = \'0\'',
    'SELECT count("dur") FROM "syscall" WHERE "comm" =~ /^ar|as$/',
    'SELECT count("dur"), max("ret") FROM "syscall" WHERE "comm" = \'no such\'',
    'SELECT max("ret") FROM "syscall" WHERE "comm" = \'no such\'',
    'SELECT last("ret") FROM "syscall" WHERE "comm" = \'no such\'',
    'SELECT count(distinct("ret")) FROM "syscall" WHERE "comm" = \'no such\'',
    'SELECT max("dur") AS "worst" FROM "syscall" WHERE "ret" < 0 GROUP BY "comm" ',
]
# Over the time of the recording, and some more.
BINNED = [
    'SELECT count("dur") FROM "syscall" WHERE {range} GROUP BY time(500ms)',
    'SELECT sum("dur") FROM "syscall" WHERE {range} GROUP BY time(1s) fill(none)',
    'SELECT sum("dur") FROM "syscall" WHERE {range} GROUP BY time(1s) fill(null)',
    'SELECT max("dur") FROM "syscall" WHERE {range} GROUP BY time(250ms) fill(previous)',
    'SELECT max("dur") FROM "syscall" WHERE {range} GROUP BY time(250ms) fill(-1)',
    'SELECT max("dur") FROM "syscall" WHERE {range} GROUP BY time(1s, 300ms) fill(7)',
    'SELECT sum("dur"), count("ret") FROM "syscall" WHERE {range} GROUP BY time(1s), "comm" fill(null) SLIMIT 4',
    'SELECT sum("dur") FROM "syscall" WHERE {range} GROUP BY time(1s) fill(null) ORDER BY time DESC',
    'SELECT sum("dur") FROM "syscall" WHERE {range} GROUP BY time(1s) fill(previous) LIMIT 4 OFFSET 2',
    'SELECT difference(sum("dur")) FROM "syscall" WHERE {range} GROUP BY time(500ms), "comm"',
    'SELECT non_negative_difference(count("dur")) AS "more" FROM "syscall" WHERE {range} GROUP BY time(250ms) fill(none)',
    'SELECT cumulative_sum(count("dur")) FROM "syscall" WHERE {range} GROUP BY time(250ms) fill(none)',
    'SELECT derivative(max("dur")) / 2 FROM "syscall" WHERE {range} GROUP BY time(500ms) fill(none)',
    'SELECT non_negative_derivative(max("dur"), 250ms) FROM "syscall" WHERE {range} GROUP BY time(500ms), "comm"',
    'SELECT moving_average(max("dur"), 2) FROM "syscall" WHERE {range} GROUP BY time(250ms) fill(none)',
    'SELECT difference("dur") FROM "softirq" WHERE "cpu" = \'0\' GROUP BY "vec" LIMIT 5',
    'SELECT elapsed("dur", 1u) FROM "softirq" WHERE "cpu" = \'0\' LIMIT 9',
    'SELECT top("dur", 2) FROM "syscall" WHERE {range} GROUP BY time(1s), "comm" fill(null)',
    'SELECT mode("ret") FROM "syscall" WHERE {range} GROUP BY time(1s) fill(null)',
    'SELECT distinct("count") FROM "softirq" WHERE {range} GROUP BY time(1s), "cpu" fill(null)',
    'SELECT count(distinct("ret")) FROM "syscall" WHERE {range} GROUP BY time(1s)',
    'SELECT count("dur") FROM "syscall" WHERE {range} AND "comm" = \'no such\' GROUP BY time(1s)',
]
SHAPES = [
    "SHOW MEASUREMENTS LIMIT 2",
    'SHOW TAG KEYS FROM "syscall"',
    'SHOW FIELD KEYS FROM "syscall"',
    'SHOW TAG VALUES FROM "syscall" WITH KEY = "comm"',
    'SELECT mean("dur") FROM "syscall"',
    'SELECT mean("dur"), max("ret") AS "m" FROM "syscall" GROUP BY "comm"',
    'SELECT "dur", "comm" FROM "syscall" LIMIT 3',
]
WRONG = ["", "SELECT FROM", 'SELECT "dur"', 'SELECT mean("dur") FROM "syscall" WHERE', "SELECT 1",
         'SELECT mean( FROM "syscall"']


def url(text, **params):
    return "/query?" + urllib.parse.urlencode({"db": "kprobe", "q": text, **params})


def test_queries(kpd, influxd):
    for text in SAME:
        compare(kpd, influxd, text, "GET", url(text))
        compare(kpd, influxd, f"{text} in ns", "GET", url(text, epoch="ns"))
    first, last = (json.loads(query(influxd, f'SELECT {one}("dur") FROM "syscall"', epoch="ms")[1])
                   ["results"][0]["series"][0]["values"][0][0] for one in ("first", "last"))
    for text in BINNED:
        for margin in (0, 2500):
            text = text.replace("{range}", f"time >= {first - margin}ms and time <= {last + margin}ms")
            for params in ({}, {"epoch": "ms"}):
                compare(kpd, influxd, f"{text} {params}", "GET", url(text, **params))
            compare(kpd, influxd, f"CSV: {text}", "GET", url(text), headers={"Accept": "application/csv"})
    for text in SHAPES:
        for params in ({}, {"epoch": "ms"}, {"epoch": "ns", "pretty": "true"}):
            compare(kpd, influxd, f"{text} {params}", "GET", url(text, **params), how="shape")


def test_forms(kpd, influxd):
    compare(kpd, influxd, "CREATE DATABASE", "POST", url('CREATE DATABASE "kprobe"'))
    for method in ("GET", "POST"):
        compare(kpd, influxd, f"{method}, the query in the URL", method, url("SHOW DATABASES"))
        compare(kpd, influxd, f"{method}, pretty", method, url("SHOW DATABASES", pretty="true"))
        compare(kpd, influxd, f"{method}, CSV", method, url("SHOW DATABASES"),
                headers={"Accept": "application/csv"})
    compare(kpd, influxd, "the query in a form", "POST", "/query?db=kprobe", "q=SHOW+DATABASES", FORM)
    compare(kpd, influxd, "params are ignored", "GET", url("SHOW DATABASES", params="{}"))
    compare(kpd, influxd, "chunks", "GET", url('SELECT "dur" FROM "syscall" LIMIT 3', epoch="ns",
                                               chunked="true", chunk_size="2"), how="shape")
    compare(kpd, influxd, "CSV of rows", "GET", url('SELECT "dur" FROM "syscall" LIMIT 3', epoch="ns"),
            headers={"Accept": "application/csv"}, how="head")
    for path in ("/ping", "/status"):
        for method in ("GET", "HEAD"):
            compare(kpd, influxd, f"{method} {path}", method, path)


def test_errors(kpd, influxd):
    for text in WRONG:
        compare(kpd, influxd, f"wrong: {text}", "GET", url(text), how="shape")
    compare(kpd, influxd, "no query", "GET", "/query?db=kprobe")
    compare(kpd, influxd, "no query in the form", "POST", "/query", "", FORM)
    compare(kpd, influxd, "an error that is pretty", "GET", "/query?pretty=true", how="shape")
    ours, theirs = both(kpd, influxd, "GET", url("SELECT FROM"), None, {"Accept": "application/csv"})
    check(ours[0] == theirs[0] and ours[1].splitlines()[0] == theirs[1].splitlines()[0] == "error",
          "an error in CSV", (ours, theirs))
    for body in ("garbage", "a b=c", "", "# a remark", "spans name=\"a\" 1700000000000000000",
                 "spans,service=x name=\"a,b=c \\\"d\\\"\",n=1i,r=1.5,t=true 1700000000000000000\n\n"):
        for extra in ({}, {"precision": "ns"}):
            path = "/write?" + urllib.parse.urlencode({"db": "kprobe", **extra})
            compare(kpd, influxd, f"written: {body!r} {extra}", "POST", path, body, how="shape")
    for method, path in (("DELETE", "/query"), ("GET", "/nosuch"), ("GET", "/write"), ("POST", "/ping")):
        ours, theirs = both(kpd, influxd, method, path, None, None)
        check(ours[0] == theirs[0], f"{method} {path} is {theirs[0]}", (ours, theirs))


program = debian_program("influxdb", "influxd")
if program is None:
    print("influxd is not here and Debian's package influxdb cannot be fetched")
    sys.exit(77)
with tempfile.TemporaryDirectory() as base:
    kpd = Kpd(BIN, ROOT, base)
    influxd = None
    try:
        influxd = Influxd(program, base)
        copy_rows(kpd, influxd)
        for test in (test_queries, test_forms, test_errors, post_back):
            print(f"-- {test.__name__}")
            test(kpd, influxd)
    finally:
        for server in (kpd, influxd):
            if server is not None:
                server.process.terminate()
                server.process.wait(30)
