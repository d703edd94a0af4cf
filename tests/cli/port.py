# SPDX-License-Identifier: Apache-2.0
"""The query port as its clients see it: port.py BIN ROOT."""
import base64
import csv
import gzip
import http.client
import io
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

BIN, ROOT = (os.path.abspath(arg) for arg in sys.argv[1:3])
sys.path.insert(0, ROOT + "/tests/cli")
import grafana_frames as frames  # noqa: E402
import grafana_replay  # noqa: E402
from port_kpd import Kpd, ask, check, debian_program, node_modules, query  # noqa: E402



def rows(kpd, text, **params):
    status, body, _ = query(kpd, text, epoch="ms", **params)
    check(status == 200, f"answered: {text[:60]}", body)
    return frames.check_document(json.loads(body))


# --- text ---

class Text:
    """A client of the text protocol."""

    def __init__(self, kpd):
        self.socket = socket.create_connection(("127.0.0.1", kpd.port), timeout=20)
        self.file = self.socket.makefile("rb")

    def send(self, text):
        self.socket.sendall(text if isinstance(text, bytes) else text.encode())

    def answer(self):
        """Lines up to the blank one that ends an answer."""
        lines = []
        while True:
            line = self.file.readline()
            if line in (b"\n", b""):
                return lines
            lines.append(line.decode().rstrip("\n"))

    def ask(self, text):
        self.send(text + "\n")
        return self.answer()

    def close(self):
        self.file.close()
        self.socket.close()


def test_text(kpd):
    client = Text(kpd)
    lines = client.ask("spans | where txn == '98721' | sort by start asc | project ts, service, name, dur")
    check(re.fullmatch(r"spans,service=[\w-]+ name=\"[^\"]+\",dur_ns=\d+i \d{19}", lines[0]),
          "rows are line protocol", lines)
    check(re.fullmatch(r"# ok rows=\d+ bytes=\d+ elapsed_ns=\d+", lines[-1]), "the trailer", lines)
    check(int(re.search(r"rows=(\d+)", lines[-1]).group(1)) ==
          len([line for line in lines if not line.startswith("#")]), "which counts the rows")
    check(client.ask("spans | where servce == 1")[0].startswith("# error line=1 col=15 unknown column"),
          "an error has its place")
    check(client.ask("range x from 1 to 3 step 1 |\n\n count")[0].startswith("# error"),
          "a blank line ends a statement")
    check(client.answer()[0].startswith("# error"), "and what follows is another")
    check(client.ask("range x from 1 to 3 step 1 |\n count")[0] == "range Count=3i",
          "a statement over lines")
    check(client.ask("print a = 1;")[0] == "print a=1i", "a ; at the end")
    check(client.ask("# a remark\n\nprint a = 2")[0] == "print a=2i", "remarks and blanks are nothing")
    took = []
    for _ in range(30):
        start = time.time()
        client.ask("print a = 1")
        took.append(time.time() - start)
    check(min(took) < 0.02, f"the trailer does not wait for an acknowledgement: {min(took) * 1000:.2f} ms", took)
    check(client.ask("CAUSES OF txn 98721 WITHIN 2s")[-1].startswith("# ok rows="), "the causal verb")
    client.close()


def test_words(kpd):
    client = Text(kpd)
    check(client.ask(".format json") == ["# ok format=json"], ".format")
    lines = client.ask("print a = 1, b = 'x'")
    check(json.loads("".join(lines[:-1]))["rows"] == [[1, "x"]], "JSON", lines)
    check(client.ask(".format csv") == ["# ok format=csv"], ".format csv")
    check(client.ask("print a = 1")[:2] == ["a\r", "1\r"], "CSV")
    check(client.ask(".format ndjson") == ["# ok format=ndjson"], ".format ndjson")
    check(json.loads(client.ask("print a = 1")[0]) == {"a": 1}, "NDJSON")
    check(client.ask(".format xml")[0].startswith("# error line=1 col=1 unknown format"), "no XML")
    check(client.ask(".timeout 100ms") == ["# ok timeout_ns=100000000"], ".timeout")
    start = time.time()
    check("# error" in client.ask("range x from 1 to 1000000000000 step 1 | summarize sum(x)")[-1] and
          time.time() - start < 5, "which is kept")
    check(client.ask(".timeout off") == ["# ok timeout_ns=0"], ".timeout off")
    check(client.ask(".auth secret") == ["# ok auth=none"], ".auth is taken: nothing is asked for")
    check(client.ask(".nix")[0].startswith("# error line=1 col=1 unknown session word"), "no other word")
    client.send(".quit\nprint 1\n")
    check(client.file.read() == b"", ".quit ends the session")
    client.close()


LONG = "range x from 1 to 1000000000000 step 1 | summarize sum(x)\n"


def wait_for(what, seconds, good):
    end = time.time() + seconds
    while time.time() < end:
        if good():
            check(True, what)
            return
        time.sleep(0.02)
    check(False, what)


def test_cancel(kpd):
    client = Text(kpd)
    took = []
    for text in [LONG] * 5 + ["range x from 1 to 100000 step 1 | extend a = 1 | join kind=inner "
                              "(range y from 1 to 100000 step 1 | extend a = 1) on a | count\n",
                              "range x from 1 to 100000000 step 1 | sort by x desc | take 1\n"]:
        client.send(text)
        time.sleep(0.15)
        start = time.time()
        client.send(".cancel\n")
        lines = client.answer()
        took.append(time.time() - start)
        check("cancelled" in lines[-1], f".cancel ends it in {took[-1] * 1000:.1f} ms: {text.strip()}", lines)
    check(sorted(took)[len(took) // 2] < 0.05, "most of them within 50 ms", took)
    check(client.ask("print a = 1")[0] == "print a=1i", "and the session goes on")
    client.send(LONG + LONG + ".cancel\nprint a = 2\n")
    check("cancelled" in client.answer()[-1] and "cancelled" in client.answer()[-1] and
          client.answer()[0] == "print a=2i", ".cancel reaches every query sent before it")
    before = kpd.metric("text_cancelled_total")
    client.send(LONG)
    time.sleep(0.3)
    client.close()
    wait_for("a client that leaves ends its query", 10,
             lambda: kpd.metric("text_cancelled_total") > before)
    before = kpd.metric("http_disconnects_total")
    web = socket.create_connection(("127.0.0.1", kpd.port), timeout=20)
    web.sendall(b"GET /query?q=" + urllib.parse.quote(LONG).encode() + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    time.sleep(0.3)
    web.close()
    wait_for("and so does one of HTTP", 5, lambda: kpd.metric("http_disconnects_total") > before)
    half = Text(kpd)
    half.send("print a = 3")
    half.socket.shutdown(socket.SHUT_WR)
    check(half.file.read().startswith(b"print a=3i\n# ok rows=1"),
          "a client that only says it sends no more gets its answer")
    half.close()


def resident(kpd):
    with open(f"/proc/{kpd.process.pid}/status", encoding="utf-8") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1))


def sanitized(kpd):
    with open(f"/proc/{kpd.process.pid}/maps", encoding="utf-8") as file:
        return re.search(r"lib[at]san", file.read()) is not None


def test_limits(kpd):
    client = Text(kpd)
    client.send(b"x" * (3 << 20) + b"\n")
    check("longer than" in client.answer()[-1], "a line of 3 MiB is refused")
    client.close()
    slow = Text(kpd)
    slow.send("range x from 1 to 100000000 step 1\n")
    time.sleep(1)
    check(resident(kpd) < 500_000, f"a slow reader costs no memory: {resident(kpd)} KiB resident")
    slow.close()
    with_stall = Text(kpd)
    with_stall.send("range x from 1 to 100000000 step 1\n.cancel\n")
    wait_for("one that reads nothing can still be cancelled", 5,
             lambda: kpd.metric("text_clients") == 0 or "cancelled" in tail(with_stall))
    with_stall.close()


def tail(client):
    """The end of an answer that was cut off."""
    line = b""
    while not line.startswith(b"# error"):
        line = client.file.readline()
    return line.decode()


def test_thousand(kpd):
    """A thousand clients of each door that say nothing, and fifty that ask, at once."""
    before = resident(kpd)
    idle = [Text(kpd) for _ in range(1000)]
    for client in idle[:500]:
        client.send("# a remark, which makes it a text client\n")
    web = [http.client.HTTPConnection("127.0.0.1", kpd.port, timeout=60) for _ in range(200)]
    for connection in web:
        connection.request("GET", "/ping")
        connection.getresponse().read()
    wait_for("500 text clients that wait", 20, lambda: kpd.metric("text_clients") == 500)
    wrong = []

    def busy(number):
        client = Text(kpd)
        for turn in range(20):
            if client.ask(f"range x from 1 to {number + turn} step 1 | count")[0] != \
                    f"range Count={number + turn}i":
                wrong.append(number)
        client.close()

    threads = [threading.Thread(target=busy, args=(number + 1,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(not wrong, "50 busy clients beside 1,000 idle ones and 200 of HTTP", wrong)
    grown = resident(kpd) - before
    check(grown < 60_000 or sanitized(kpd), f"which cost {grown} KiB")
    check(idle[999].ask("print a = 1")[0] == "print a=1i" and idle[0].ask("print a = 2")[0] == "print a=2i",
          "and answer when they are asked")
    for client in idle:
        client.close()
    for connection in web:
        connection.close()
    wait_for("their places are free again", 10, lambda: kpd.metric("text_clients") == 0)


def test_turns(kpd):
    """More clients that compute than there are threads for them: all get their turn."""
    clients = [Text(kpd) for _ in range(80)]
    for client in clients:
        client.send(".timeout 100ms\n" + LONG)
    answers = [client.answer() + client.answer() for client in clients]
    check(all("# error" in answer[-1] and "time" in answer[-1] for answer in answers),
          "80 clients whose queries never end all run into their limit", answers[-1])
    for client in clients:
        client.close()


def test_many(kpd):
    """Clients at once get their own answers."""
    wrong = []

    def one(number):
        client = Text(kpd)
        for turn in range(20):
            if client.ask(f"print a = {number * 100 + turn}")[0] != f"print a={number * 100 + turn}i":
                wrong.append(number)
        client.close()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(not wrong, "16 clients at once get their own answers", wrong)


def test_sniff(kpd):
    """One byte after another, HTTP is HTTP and text is text."""
    client = socket.create_connection(("127.0.0.1", kpd.port), timeout=20)
    for byte in b"GET /ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n":
        client.send(bytes([byte]))
        time.sleep(0.005)
    check(client.recv(100).startswith(b"HTTP/1.1 204"), "HTTP that comes byte by byte")
    client.close()
    text = Text(kpd)
    for byte in b"print a = 1\n":
        text.send(bytes([byte]))
    check(text.answer()[0] == "print a=1i", "text that comes byte by byte")
    text.close()
    post = Text(kpd)
    post.send("P\n")
    check("unknown table 'P'" in post.answer()[-1], "P alone is text")
    post.close()
    status, body, _ = ask(kpd.port, "GET", "/ping", headers={"Host": "evil.example"})
    check(status == 403 and "Host" in json.loads(body)["error"], "a foreign Host is refused", body)


def took(kpd, name, before, connection):
    """Seconds until a counter of /metrics has moved."""
    start = time.time()
    while time.time() < start + 10:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        if int(re.search(rf"^kprobe_{name} (\d+)$", text, re.M).group(1)) > before:
            return time.time() - start
        time.sleep(0.002)
    return 10


def test_leaving(kpd):
    """Who closes the connection ends the query: by HTTP, while rows are sent, and by text."""
    metrics = http.client.HTTPConnection("127.0.0.1", kpd.api, timeout=20)
    get = b"GET /query?q=" + urllib.parse.quote(LONG).encode() + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
    rows_first = get.replace(b"%20%7C%20summarize%20sum%28x%29", b"") + b""
    for what, begin, name in (("before the first row", get, "query_errors_total"), ("of text", LONG.encode(), "text_cancelled_total"),
                              ("among rows", rows_first, "http_disconnects_total")):
        times = []
        for _ in range(5):
            client = socket.create_connection(("127.0.0.1", kpd.port), timeout=20)
            client.sendall(begin)
            time.sleep(0.15)
            before = kpd.metric(name)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            times.append(took(kpd, name, before, metrics))
        check(min(times) < 0.05, f"a client that leaves {what}: {min(times) * 1000:.0f} ms, mostly "
              f"{sorted(times)[2] * 1000:.0f} ms", times)
    metrics.close()


def test_rude(kpd):
    """Clients that send everything at once, next to nothing, or the wrong thing; others are served meanwhile."""
    request = "GET /query?q=print+a%3D{} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    client = socket.create_connection(("127.0.0.1", kpd.port), timeout=20)
    client.sendall("".join(request.format(number) for number in range(50)).encode())
    got = b""
    while got.count(b"values") < 50:
        piece = client.recv(65536)
        check(piece != b"" or got.count(b"values") == 50, "50 requests at once", got[-300:])
        got += piece
    check([int(number) for number in re.findall(rb'"values":\[\[(\d+)\]', got)] == list(range(50)),
          "are answered one after another")
    client.close()
    text = Text(kpd)
    text.send("".join(f"print a = {number}\n" for number in range(500)))
    check([text.answer()[0] for _ in range(500)] == [f"print a={number}i" for number in range(500)],
          "and so are 500 statements")
    text.close()
    slow = [socket.create_connection(("127.0.0.1", kpd.port), timeout=20) for _ in range(300)]
    for turn, piece in enumerate((b"POST /query HTTP/1.1\r\nHost", b": localhost\r\nContent-Type: "
                                   b"application/x-www-form-urlencoded\r\nContent-Le", b"ngth: 13\r\n\r\nq=pr",
                                  b"int+a%3D")):
        for client in slow:
            client.sendall(piece)
        start = time.time()
        check(json.loads(query(kpd, f"print a = {turn}")[1])["results"][0]["series"][0]["values"] == [[turn]],
              f"beside 300 requests that are not there yet: {(time.time() - start) * 1000:.0f} ms")
    for client in slow[:5]:
        client.sendall(b"7")
        check(b'"values":[[7]]' in client.recv(4096), "which are answered once they are")
    for client in slow:
        client.close()
    for wrong in (b"GET /query HTTP/9.9\r\n\r\n", b"GET  \r\n\r\n", b"POST /query HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                  b"POST /write HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                  b"GET /query?q=%zz%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
                  b"GET /ping HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20000 + b"\r\n"):
        client = socket.create_connection(("127.0.0.1", kpd.port), timeout=20)
        try:
            client.sendall(wrong)
            client.shutdown(socket.SHUT_WR)
            got = client.recv(200)
        except OSError:  # closed while we send
            got = b""
        check(not got.startswith(b"HTTP/1.1 2") and kpd.process.poll() is None, f"refused: {wrong[:50]!r}", got)
        client.close()


# --- InfluxDB ---

def test_influx(kpd):
    for method in ("GET", "HEAD"):
        status, _, headers = ask(kpd.port, method, "/ping")
        check(status == 204 and headers["X-Influxdb-Version"].startswith("1.8."), f"{method} /ping")
    series = rows(kpd, "CAUSES OF txn 98721 WITHIN 2s")[0]
    check(series["name"] == "causes" and series["columns"][0] == "time" and
          series["columns"][-1] == "ts_ns", "CAUSES OF as a table", series)
    check(all(str(row[0]) == row[-1][:13] and len(row[-1]) == 19 for row in series["values"]),
          "ms in time, ns in ts_ns")
    expected = {"ns": 19, "u": 16, "ms": 13, "s": 10, "m": 8, "h": 6}
    for epoch, digits in expected.items():
        value = json.loads(query(kpd, "spans | take 1", epoch=epoch)[1])["results"][0]["series"][0]["values"][0][0]
        check(isinstance(value, int) and len(str(value)) == digits, f"epoch={epoch}", value)
    value = json.loads(query(kpd, "spans | take 1")[1])["results"][0]["series"][0]["values"][0][0]
    check(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:]{8}\.\d{1,9}Z", value), "no epoch: RFC 3339", value)
    check(query(kpd, "spans", epoch="year")[0] == 400, "a wrong epoch is 400")
    status, body, _ = query(kpd, "nix")
    check(status == 400 and "unknown table" in json.loads(body)["error"], "errors are 400", body)
    check(query(kpd, "")[0] == 400, "no query is 400")
    check(rows(kpd, "spans | where name == 'no such'") == [], "no rows")
    status, body, headers = query(kpd, "spans | take 3", epoch="ms", u="x", p="y")
    check(headers["X-Grafana-Meta-Add-Rows"] == "3" and
          int(headers["X-Grafana-Meta-Add-Bytes"]) == len(body) and
          int(headers["X-Grafana-Meta-Add-Elapsed-Ns"]) > 0, "numbers for the query inspector", headers)
    status, body, _ = query(kpd, "range x from 1 to 5 step 1", chunked="true", chunk_size=2)
    parts = [json.loads(line)["results"][0] for line in body.splitlines()]
    check([part.get("partial", False) for part in parts] == [True, True, False] and
          sum((part["series"][0]["values"] for part in parts), []) == [[1], [2], [3], [4], [5]],
          "chunked", body)
    status, body, headers = query(kpd, "spans | take 2", {"Accept": "application/csv"})
    table = list(csv.reader(io.StringIO(body)))
    check(headers["Content-Type"].startswith("text/csv") and table[0][:3] == ["name", "tags", "time"] and
          len(table) == 3 and len({len(row) for row in table}) == 1, "CSV", body)
    plain, pretty = (query(kpd, "spans | take 2", **extra)[1] for extra in ({}, {"pretty": "true"}))
    check(json.loads(plain) == json.loads(pretty) and pretty.count("\n") > 20, "pretty")
    form = urllib.parse.urlencode({"q": "print a = 1"})
    for path, body in (("/query?db=x&epoch=ms", form), ("/query?db=x&" + form, "")):
        status, text, _ = ask(kpd.port, "POST", path, body,
                              {"Content-Type": "application/x-www-form-urlencoded"})
        check(status == 200 and json.loads(text)["results"][0]["series"][0]["values"] == [[1]],
              "POST with the query in the " + ("form" if body else "URL"), text)
    check(ask(kpd.port, "GET", "/nix")[0] == 404, "404")
    large = rows(kpd, "range x from 1 to 400000 step 1")[0]["values"]
    check(len(large) == 400000 and large[-1] == [400000], "an answer that streams")


def test_gzip(kpd):
    """Answers are packed for who takes that, in one piece and as they stream; the bytes are the same."""
    packed = {"Accept-Encoding": "deflate, gzip;q=0.8"}
    for text, extra in (("spans", {}), ("range x from 1 to 600000 step 1", {}), ("syscall | take 3000", {"pretty": "true"}),
                        ("range x from 1 to 30000 step 1", {"chunked": "true", "chunk_size": 1000})):
        for accept in ("application/json", "application/csv"):
            path = "/query?" + urllib.parse.urlencode({"q": text, "epoch": "ns", **extra})
            plain, got = (ask(kpd.port, "GET", path, headers={"Accept": accept, **more}, raw=True)
                          for more in ({}, packed))
            check("Content-Encoding" not in plain[2] and got[2]["Content-Encoding"] == "gzip" and
                  got[2]["Vary"] == "Accept-Encoding" and gzip.decompress(got[1]) == plain[1],
                  f"{accept}: {text} {extra}: {len(plain[1])} bytes, {len(got[1])} packed")
    body = json.dumps({"query": "spans"})
    got = ask(kpd.port, "POST", "/api/v2/query", body, packed, raw=True)
    check(gzip.decompress(got[1]) == ask(kpd.port, "POST", "/api/v2/query", body, raw=True)[1], "annotated CSV")
    for headers in ({}, {"Accept-Encoding": "gzip;q=0"}, {"Accept-Encoding": "br"}):
        check("Content-Encoding" not in query(kpd, "spans", headers)[2], f"not asked for: {headers}")
    check("Content-Encoding" not in query(kpd, "print 1", packed)[2], "nor for a few bytes")
    bomb = gzip.compress(b"spans name=\"" + b"x" * (80 << 20) + b"\"", 9)
    before = resident(kpd)
    threads = [threading.Thread(target=ask, args=(kpd.port, "POST", "/write", bomb, {"Content-Encoding": "gzip"}))
               for _ in range(10)]
    for thread in threads:
        thread.start()
    most = before
    while any(thread.is_alive() for thread in threads):
        most = max(most, resident(kpd))
        time.sleep(0.005)
    check(most - before < 600_000, f"10 bodies of {len(bomb)} bytes that are 80 MiB each cost {most - before} KiB at most")
    status, body, _ = ask(kpd.port, "POST", "/write", bomb, {"Content-Encoding": "gzip"})
    check(status == 413 and "larger than" in json.loads(body)["error"], "and are refused", (status, body))


def test_write(kpd):
    def written(body, path="/write?db=kprobe", **headers):
        status, text, _ = ask(kpd.port, "POST", path, body, headers)
        return status, json.loads(text) if text else {}
    now = int(time.time())
    line = f'spans,service=batch,host=far\\ away name="step, \\"1\\"",dur_ns=1200i,txn="w1",rows=7i,good=t {now}000000001'
    check(written(line) == (204, {}) and written(line) == (204, {}), "a span, sent twice")
    row = rows(kpd, "spans | where txn == 'w1' | project ts, service, host, name, dur, attrs")[0]["values"]
    check(len(row) == 1 and row[0][1:5] == ["batch", "far away", 'step, "1"', 1200] and
          json.loads(row[0][5])["rows"] == 7 and json.loads(row[0][5])["good"] is True, "is there once", row)
    check(written(f'spans name="s",txn="w2" {now}', "/api/v2/write?org=o&bucket=b&precision=s")[0] == 204 and
          rows(kpd, "spans | where txn == 'w2' | project ts, dur")[0]["values"][0][:2] == [now * 1000, 0],
          "in seconds, by the second generation")
    packed = gzip.compress(f'spans name="s",txn="w3" {now}000000000\n# a remark\n\n'.encode())
    check(written(packed, **{"Content-Encoding": "gzip"})[0] == 204, "gzip")
    status, answer = written(f'cpu value=1\nspans name="s",txn="w4" {now}000000000\nspans name=\n')
    check(status == 400 and answer["error"].startswith("partial write: ") and
          answer["error"].endswith("dropped=2") and rows(kpd, "spans | where txn == 'w4'") != [],
          "wrong lines are dropped alone, and counted", answer)
    status, answer = written("garbage", "/api/v2/write?precision=ns")
    check(status == 400 and answer["code"] == "invalid" and answer["message"], "code and message of the second",
          answer)
    check(written("x", "/write?precision=year")[0] == 400, "a wrong precision")
    client = Text(kpd)
    lines = client.ask("spans | where txn == '98721'")
    client.close()
    before = rows(kpd, "spans | count")
    check(written("\n".join(lines))[0] == 204 and rows(kpd, "spans | count") == [
        {**before[0], "values": [[before[0]["values"][0][0] + len(lines) - 1]]}],
        "what the text protocol answers is taken (other ids were not seen by this server before)")


def test_remarks(kpd):
    """Notes of an answer reach every client: a word of kpq that a port does not draw, and what is not certain."""
    result = json.loads(query(kpd, "spans | take 1 | render timechart")[1])["results"][0]
    check(result["messages"] == [{"level": "warning", "text": "render timechart: drawn by kpq only; here its "
                                  "rows are given"}] and list(result) == ["statement_id", "series", "messages"],
          "render has no effect, and that is said where InfluxDB has its messages", result)
    status, body, headers = query(kpd, "CAUSES OF txn 98721 | where rank > 9999")
    result = json.loads(body)["results"][0]
    texts = [message["text"] for message in result["messages"]]
    check("series" not in result and any(text.startswith("not recorded: ") for text in texts),
          "notes of the causal verbs, also without rows", result)
    check(headers["X-Grafana-Meta-Add-Note"].startswith(texts[0] + "; "), "and in Grafana's inspector", headers)
    parts = [json.loads(line)["results"][0] for line in
             query(kpd, "range x from 1 to 5 step 1 | render table", chunked="true", chunk_size=2)[1].splitlines()]
    check(["messages" in part for part in parts] == [False, False, True], "behind the last chunk", parts)
    for headers in ({"Accept": "application/csv"}, {}):
        heads = query(kpd, "spans | take 1 | render table", headers)[2]
        check("render table" in heads["X-Grafana-Meta-Add-Note"], f"in the head: {headers}")
    heads = ask(kpd.port, "POST", "/api/v2/query?org=x", json.dumps({"query": "spans | take 1 | render table"}))[2]
    check("render table" in heads["X-Grafana-Meta-Add-Note"], "and of the second generation")
    check("messages" not in json.loads(query(kpd, "spans | take 1")[1])["results"][0], "none without a remark")
    client = Text(kpd)
    for form in ("line", "csv", "ndjson", "json"):
        client.ask(".format " + form)
        lines = client.ask("print a = 1 | render piechart")
        check(lines[-2] == "# note: render piechart: drawn by kpq only; here its rows are given" and
              lines[-1].startswith("# ok rows=1"), f"render in a session of {form}", lines)
        lines = client.ask("CAUSES OF txn 98721 | take 1")
        said = [line for line in lines if "not recorded: " in line]
        check(len(said) == 1 and said[0].startswith('"notes":[' if form == "json" else "# note: "),
              "notes once, in each form", lines)
    client.close()


def test_rewriting(kpd):
    full = rows(kpd, "CAUSES OF txn 98721 WITHIN 2s")[0]
    comm = full["columns"].index("comm")
    one = full["values"][0][comm]
    got = rows(kpd, f"CAUSES OF txn 98721 WITHIN 2s WHERE \"comm\" = '{one}' AND time >= 1700000000000ms "
                    "and time <= 1900000000000ms")[0]["values"]
    check(got == [row for row in full["values"] if row[comm] == one], "an ad-hoc filter behind CAUSES OF")
    check(rows(kpd, f"CAUSES OF txn 98721 WITHIN 2s | EMIT flame WHERE \"comm\" = '{one}'") ==
          rows(kpd, f"CAUSES OF txn 98721 WITHIN 2s | where comm == '{one}' | EMIT flame"), "and behind EMIT")
    check(rows(kpd, "CAUSES OF txn 98721 WITHIN 2s WHERE \"comm\" =~ /^(a|b)$/") == [], "alternatives")
    for column in ("root", "share", "rank", "kind", "dur", "tid", "ts_ns"): # "filter for value" of a cell
        cell = full["values"][0][full["columns"].index(column)]
        cell = json.dumps(cell) if isinstance(cell, bool) else cell
        got = rows(kpd, f"CAUSES OF txn 98721 WITHIN 2s WHERE \"{column}\" = '{cell}'")
        check(full["values"][0] in got[0]["values"], f"the filter of a cell: {column} = '{cell}'", got)
    check(rows(kpd, "spans | where name == 'x WHERE \"k\" = 1' or name == \" where \" | count")[0]["values"]
          == [[0]], "a WHERE inside quotes stays")
    check(rows(kpd, "union irq, (syscall | where dur > 1ms) | count") != [], "and one in brackets")
    tid = rows(kpd, "syscall | take 1 | project tid")[0]["values"][0][0]
    check(rows(kpd, f"syscall WHERE \"tid\" = '{tid}' | count") ==
          rows(kpd, f"syscall | where tid == {tid} | count"), "a number that is quoted as a tag")
    check(rows(kpd, "syscall WHERE \"comm\" =~ /^k.*q$/ | distinct comm")[0]["values"] == [["kpq"]],
          "any regular expression")
    status, body, _ = query(kpd, "syscall WHERE \"comm\" =~ /a(b/")
    check(status == 400 and json.loads(body)["error"], "one that is none is refused", body)


def test_select(kpd):
    names = [row[0] for row in rows(kpd, "SHOW MEASUREMENTS")[0]["values"]]
    check("syscall" in names and "thread_state" in names, "SHOW MEASUREMENTS")
    check(rows(kpd, 'SHOW MEASUREMENTS WITH MEASUREMENT =~ /(?i)SYSC/ LIMIT 100')[0]["values"] ==
          [["syscall"]], "with a filter")
    for name in names:
        check(query(kpd, f'SELECT * FROM "{name}" LIMIT 2')[0] in (200, 400), f"SELECT * FROM {name}")
    for stream in (series["name"] for series in rows(kpd, "SHOW FIELD KEYS")):
        fields = rows(kpd, f'SHOW FIELD KEYS FROM "{stream}"')[0]["values"]
        tags = [row[0] for row in rows(kpd, f'SHOW TAG KEYS FROM "{stream}"')[0]["values"]]
        columns = [row[0] for row in rows(kpd, f"show columns {stream}")[0]["values"]]
        check(sorted([field[0] for field in fields] + tags + ["ts"]) == sorted(columns),
              f"keys of {stream}", (fields, tags, columns))
    mean = rows(kpd, "SELECT mean(\"dur\") FROM \"syscall\" WHERE (\"comm\"::tag = 'settlement-svc') AND "
                     "time >= 1700000000000ms and time <= 1900000000000ms GROUP BY time(1s), "
                     "\"comm\"::tag fill(none)")
    ours = rows(kpd, "syscall | where comm == 'settlement-svc' | summarize avg(dur) by ts = bin(ts, 1s) "
                     "| sort by ts asc")[0]["values"]
    check(mean[0]["tags"] == {"comm": "settlement-svc"} and
          mean[0]["values"] == [row[:2] for row in ours], "mean by time and tag", (mean, ours))
    tags = rows(kpd, 'SELECT count("dur"), last("dur") FROM "syscall" GROUP BY "comm"')
    check([series["tags"]["comm"] for series in tags] ==
          sorted({series["tags"]["comm"] for series in tags}) and
          tags[0]["columns"] == ["time", "count", "last"], "a series for each tag")
    every = rows(kpd, 'SELECT * FROM "softirq" GROUP BY "cpu", "vec" LIMIT 1')
    check({tuple(series["tags"]) for series in every} == {("cpu", "vec")} and len(every) > 2 and
          all("dur" in series["columns"] and "cpu" not in series["columns"] for series in every), "* by tags", every)
    values = rows(kpd, 'SELECT mean("dur") FROM "lock" GROUP BY time(100ms) fill(0)')[0]["values"]
    check(all(b[0] - a[0] == 100 for a, b in zip(values, values[1:])) and any(v[1] == 0 for v in values),
          "fill(0) leaves no gap")
    values = rows(kpd, 'SELECT mean("dur") FROM "lock" GROUP BY time(100ms)')[0]["values"]
    check(any(v[1] is None for v in values), "fill(null) is the default")
    values = rows(kpd, 'SELECT "dur" / 1000 AS us, "nr" FROM "syscall" ORDER BY time DESC LIMIT 3')[0]
    check(values["columns"] == ["time", "us", "nr"] and len(values["values"]) == 3 and
          values["values"][0][0] >= values["values"][2][0], "columns, reckoned, newest first", values)
    for wrong in ('SELECT integral("dur") FROM "irq"', 'SELECT "dur"', 'SELECT FROM x', 'SELECT mean( FROM x',
                  'SELECT * FROM "irq" GROUP BY *', 'SELECT mean("dur") FROM "irq" LIMIT x',
                  'SELECT "dur" FROM "a b"', 'SHOW TAG VALUES', 'SELECT "dur" FROM "irq" WHERE'):
        status, body, _ = query(kpd, wrong)
        check(status == 400 and json.loads(body)["error"], f"refused: {wrong}", body)


def test_traps(kpd):
    """What would break a frame in Grafana's decoder, one by one."""
    for text in ("spans | where name == 'no such'", "SHOW TAG KEYS FROM \"no\"", "datatable(x:long)[]"):
        results = json.loads(query(kpd, text, epoch="ms")[1])["results"]
        check(len(results) == 1 and "series" not in results[0], f"an element without rows: {text}", results)
    one = rows(kpd, "print a = dynamic({'x': [1]}), b = dynamic([1, 2]), c = 1d, d = bool(null), e = true, f = long(null)")
    check([type(cell) for cell in one[0]["values"][0]] == [str, str, int, type(None), bool, type(None)],
          "cells are scalars", one)
    one = rows(kpd, "print a = 1.0 / 0.0, b = 0.0 / 0.0, c = 9007199254740992, d = 9007199254740993, "
                    "e = -9223372036854775807, f = 0.1")[0]["values"][0]
    check(one == [None, None, 9007199254740992, "9007199254740993", "-9223372036854775807", 0.1],
          "no infinities, and integers that a double does not hold are text", one)
    one = rows(kpd, "datatable(v:long, ts:datetime)[1, datetime(null), 2, datetime(2020-01-01T00:00:00.0009Z)]")[0]
    check(one["columns"] == ["time", "v", "ts_ns"] and one["values"][0][0] == 0 and
          one["values"][1] == [1577836800000, 2, "1577836800000900000"], "every time is a number, the first cell", one)
    one = rows(kpd, "print ts = datetime(2020-01-01), time = 5, Time = 'x'")[0]
    check(one["columns"] == ["time", "time_", "Time_", "ts_ns"], "another column is not called time", one)
    one = rows(kpd, "print time = 5, a = 1")[0]
    check(one["columns"] == ["time_", "a"], "nor is it when there is no time", one)
    for series in rows(kpd, "CAUSES OF txn 98721") + rows(kpd, "spans | take 5") + rows(kpd, "EVIDENCE OF txn 98721"):
        check("tags" not in series, f"our tables have no tags: {series['name']}")
    status, body, headers = query(kpd, "spans | where", epoch="ms")
    check(status == 400 and set(json.loads(body)) == {"error"} and headers["X-Influxdb-Error"], "errors say why", body)
    check(rows(kpd, "print a = 'a\\u0001\\n\\t\"\\\\\u00e9\U0001f600'")[0]["values"] == [["a\u0001\n\t\"\\\u00e9\U0001f600"]],
          "any text survives")


def test_timeout(base):
    """A query that has given rows when its time is over: the answer ends well formed, with the reason."""
    os.mkdir(base + "/short")
    kpd = Short(BIN, ROOT, base + "/short")
    endless = "range x from 1 to 1000000000000 step 1 | extend pad = 'yyyyyyyyyyyyyyyyyyyyyyyy'"
    try:
        body = query(kpd, endless, epoch="ms")[1]
        result = json.loads(body)["results"][0]
        check(len(result["series"][0]["values"]) > 100000 and "time" in result["error"], "JSON", body[-300:])
        body = query(kpd, endless, epoch="ms", chunked="true", chunk_size="1000")[1]
        parts = [json.loads(line)["results"][0] for line in body.splitlines()]
        check(all(part["partial"] for part in parts[:-1]) and "time" in parts[-1]["error"], "chunks", body[-300:])
        body = query(kpd, endless, {"Accept": "application/csv"})[1]
        check(body.splitlines()[-2] == "error" and "time" in body.splitlines()[-1], "CSV", body[-300:])
        body = ask(kpd.port, "POST", "/api/v2/query?org=x", json.dumps({"query": endless}))[1]
        tail = body.split("\r\n\r\n")
        check(tail[-2].split("\r\n")[-2] == ",error,reference" and "time" in tail[-2].split("\r\n")[-1],
              "a table with error and reference in annotated CSV", body[-300:])
        client = Text(kpd)
        lines = client.ask(endless)
        check(lines[-1].startswith("# error") and "time" in lines[-1] and len(lines) > 1000, "text", lines[-1])
        client.close()
    finally:
        kpd.process.terminate()
        kpd.process.wait(30)


class Short(Kpd):
    FLAGS = Kpd.FLAGS + ["--timeout", "300ms"]


def test_flux(kpd):
    def flux(text):
        return ask(kpd.port, "POST", "/api/v2/query?org=x",
                   json.dumps({"query": text, "type": "flux",
                               "dialect": {"annotations": ["datatype", "group", "default"]}}),
                   {"Content-Type": "application/json", "Authorization": "Token x"})
    status, body, headers = flux("buckets()")
    check(status == 200 and headers["Content-Type"] == "text/csv; charset=utf-8" and
          frames.check_annotated(body)["rows"] == [["kprobe", "kprobe"]], "buckets()", body)
    table = frames.check_annotated(flux("CAUSES OF txn 98721 WITHIN 2s")[1])
    start = table["columns"].index("start")
    check(table["types"][start] == "dateTime:RFC3339Nano" and
          all(re.search(r"\.\d{9}Z$", row[start]) for row in table["rows"]), "nanoseconds in frames")
    table = frames.check_annotated(flux("print a = 'x,\"y\"\\n', b = 1 < 2, c = 9223372036854775807")[1])
    check(table["rows"] == [['x,"y"\n', "true", "9223372036854775807"]], "text, boolean, long", table)
    check(flux("spans | where name == 'no such'")[1] == "", "no rows")
    body = flux('SELECT max("dur") FROM "syscall" GROUP BY time(1s), "comm"')[1]
    tables = list(csv.reader(io.StringIO(body)))
    numbers = {row[4]: row[2] for row in tables[4:] if row}
    check(tables[1][3:6] == ["false", "true", "false"] and len(numbers) == len(set(numbers.values())) and
          sorted(map(int, numbers.values())) == list(range(len(numbers))), "a table for each series", body[:900])
    status, body, _ = flux("nix")
    check(status == 400 and json.loads(body)["code"] == "invalid" and json.loads(body)["message"],
          "errors are 400 with code and message", body)
    for body in ("", "{}", '{"query": 7}', '{"query": "a', '{"q":{"query":"print 1"}}'):
        check(ask(kpd.port, "POST", "/api/v2/query", body)[0] == 400, f"refused: {body!r}")
    check(json.loads(ask(kpd.port, "GET", "/health")[1])["status"] == "pass", "/health")
    test_dialect(kpd)


def test_dialect(kpd):
    def told(dialect):
        return ask(kpd.port, "POST", "/api/v2/query", json.dumps({
            "query": "print a = 'x;y', t = datetime(2020-01-01)", "dialect": dialect}))
    row = ',_result,0,x;y,2020-01-01T00:00:00.000000000Z\r\n\r\n'
    check(told({})[1] == ",result,table,a,t\r\n" + row, "no annotations are asked for, none are given", told({})[1])
    check(told({"header": False})[1] == row, "nor a header", told({"header": False})[1])
    body = told({"annotations": ["group", "datatype"], "delimiter": ";", "commentPrefix": "!",
                 "dateTimeFormat": "RFC3339"})[1]
    check(body == "!datatype;string;long;string;dateTime:RFC3339\r\n!group;false;false;false;false\r\n"
                  ";result;table;a;t\r\n" + ';_result;0;"x;y";2020-01-01T00:00:00.000000000Z\r\n\r\n',
          "another delimiter and prefix", body)
    for wrong in ({"delimiter": ",,"}, {"delimiter": '"'}, {"delimiter": 7}, {"commentPrefix": ""},
                  {"dateTimeFormat": "RFC822"}):
        check(told(wrong)[0] == 400, f"refused: {wrong}")
    for call in ('v1.tagValues(bucket: "b")', 'v1.tagValues(bucket: "b", tag: "comm", start: -30d)', 'v1.nix()',
                 'schema.measurements(bucket: "b") |> filter(fn: (r) => true)', 'import "x"', "v1.tagKeys("):
        status, body, _ = ask(kpd.port, "POST", "/api/v2/query", json.dumps({"query": call}))
        check(status == 400 and json.loads(body)["message"], f"refused: {call}", body)


def test_replay(kpd):
    grafana_replay.replay(kpd, ROOT)


def dashboard_query(kpd, text):
    first, last = (rows(kpd, "spans | summarize a = tolong(min(ts)) / 1000000, b = tolong(max(ts)) / 1000000")
                   [0]["values"][0])
    thread = rows(kpd, "CAUSES OF txn 98721 | where tid > 0 | take 1 | project tid")[0]["values"][0][0]
    text = text.replace("$timeFilter", f"time >= {first}ms and time <= {last}ms")
    text = text.replace("${txn}", "98721").replace("${thread}", str(thread))
    return rows(kpd, text.replace("$__interval", "1s"))


def test_dashboard(kpd):
    """Every query of deploy/grafana answers, and the node graph's edges end at its nodes."""
    with open(ROOT + "/deploy/grafana/dashboards/kprobe-transaction.json", encoding="utf-8") as file:
        dashboard = json.load(file)
    shown = []
    for panel in dashboard["panels"]:
        answers = {target["refId"]: dashboard_query(kpd, target["query"]) for target in panel["targets"]}
        check(all(answers.values()), f"panel: {panel['title']}", answers)
        if panel["type"] == "nodeGraph":
            nodes = {row[0] for row in answers["nodes"][0]["values"]}
            edges = answers["edges"][0]
            check(edges["columns"][:3] == ["id", "source", "target"] and
                  all(row[1] in nodes and row[2] in nodes for row in edges["values"]), "edges end at nodes")
        if panel["type"] == "state-timeline":
            frames.check_times(answers["A"])
            times = [row[0] for row in answers["A"][0]["values"]]
            check(times == sorted(times), "states in order of time")
        shown.append({"type": panel["type"], "title": panel["title"], "answers": answers,
                      "transformations": panel.get("transformations", [])})
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            answer = dashboard_query(kpd, variable["query"])
            check(answer and len(answer[0]["columns"]) == 1, f"variable: {variable['name']}", answer)
    for annotation in dashboard["annotations"]["list"]:
        dashboard_query(kpd, annotation["query"])


    modules = node_modules("@grafana/data@13.2.3")
    if modules is None:
        print("skip    npm @grafana/data is not here and cannot be fetched")
        return
    done = subprocess.run(["node", ROOT + "/tests/cli/grafana_panels.js", modules], input=json.dumps(shown),
                          capture_output=True, text=True, timeout=60)
    print(done.stdout, end="")
    check(done.returncode == 0, "the frames of @grafana/data suit their panels", done.stderr)


# --- real clients, where there are any ---

def test_influx_cli(kpd):
    program = debian_program("influxdb-client", "influx")
    if program is None:
        print("skip    the influx shell is not here and cannot be fetched (Debian's influxdb-client)")
        return
    done = subprocess.run([program, "-host", "127.0.0.1", "-port", str(kpd.port), "-database", "kprobe",
                           "-precision", "ns", "-format", "json", "-execute", "CAUSES OF txn 98721 WITHIN 2s"],
                          capture_output=True, text=True, timeout=60)
    shape = frames.check_document(json.loads(done.stdout))
    check(done.returncode == 0 and shape[0]["columns"][0] == "time" and len(str(shape[0]["values"][0][0])) == 19,
          "the influx shell", done.stdout + done.stderr)
    done = subprocess.run([program, "-host", "127.0.0.1", "-port", str(kpd.port), "-execute", "SHOW DATABASES"],
                          capture_output=True, text=True, timeout=60)
    check("kprobe" in done.stdout.split(), "SHOW DATABASES in it", done.stdout + done.stderr)


def test_auth(base):
    """With a file of secrets only who has one is let in, by every way to say so."""
    os.mkdir(base + "/known")
    path = base + "/known/tokens"
    with open(path, "w", encoding="utf-8") as file:
        file.write("# who may ask\ntoken-of-grafana\n\nana:se:cret \n")
    os.chmod(path, 0o644)
    done = subprocess.run([BIN + "/kpd", "--data", base + "/known/none", "--query-auth", path], check=False,
                          capture_output=True, text=True, timeout=20)
    check(done.returncode != 0 and "chmod" in done.stderr, "a file that everyone reads is refused", done.stderr)
    os.chmod(path, 0o600)

    class Known(Kpd):
        FLAGS = ["--otlp-listen", "127.0.0.1:0", "--query-auth", path, "--otlp-auth", path]
    kpd = Known(BIN, ROOT, base + "/known")
    try:
        known_by_http(kpd)
        known_by_text(kpd)
        known_by_clients(kpd)
    finally:
        kpd.process.terminate()
        kpd.process.wait(30)


def basic(pair):
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def known_by_http(kpd):
    good = [{"Authorization": "Bearer token-of-grafana"}, {"Authorization": "token  token-of-grafana"},
            {"Authorization": "Token ana:se:cret"}, basic("ana:se:cret"), basic("x:token-of-grafana")]
    wrong = [{"Authorization": "Bearer token-of-grafan"}, {"Authorization": "Bearer token-of-grafanaa"},
             basic("ana:se"), basic("bob:se:cret"), basic("token-of-grafana:x"), {"Authorization": "Basic !!"},
             {"Authorization": "Bearer"}, {"Authorization": "Bearer # who may ask"}, {"Authorization": "Basic Og=="}]
    before = kpd.metric("denied_total")
    for headers in good:
        check(query(kpd, "print 1", headers)[0] == 200, f"let in: {headers}")
    for headers in wrong:
        status, body, heads = query(kpd, "print 1", headers)
        check(status == 401 and json.loads(body) == {"error": "authorization failed"} and
              heads["WWW-Authenticate"].startswith("Basic"), f"not let in: {headers}", (status, body))
    status, body, _ = query(kpd, "print 1")
    check(status == 401 and json.loads(body) == {"error": "unable to parse authentication credentials"},
          "nor who says nothing", body)
    check(query(kpd, "print 1", u="ana", p="se:cret")[0] == 200 and query(kpd, "print 1", u="ana", p="x")[0] == 401,
          "u and p in the URL")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    check(ask(kpd.port, "POST", "/query", "u=x&p=token-of-grafana&q=print+1", form)[0] == 200, "and in a form")
    for path in ("/api/v2/query", "/api/v2/write"):
        status, body, _ = ask(kpd.port, "POST", path, json.dumps({"query": "print 1"}))
        check(status == 401 and json.loads(body) == {"code": "unauthorized", "message": "unauthorized access"}, path, body)
    check(ask(kpd.port, "POST", "/write", "spans name=\"a\"")[0] == 401, "/write")
    check([ask(kpd.port, "GET", path)[0] for path in ("/ping", "/health", "/status", "/nix")] == [204, 200, 204, 404],
          "what is open to all")
    check(kpd.metric("denied_total") == before + len(wrong) + 5, "all of it is counted")
    for headers, status in (({}, 401), (good[0], 200), (wrong[0], 401)):
        check(ask(kpd.otlp, "POST", "/v1/traces", "{}", {"Content-Type": "application/json", **headers})[0] == status,
              f"spans: {status} {headers}")


def known_by_text(kpd):
    client = Text(kpd)
    check(client.ask("print a = 1")[0].startswith("# error line=0 col=0 a token is needed (.auth TOKEN"),
          "a query before .auth is refused")
    check(client.ask(".format json") == ["# ok format=json"] and client.ask(".format line"), "other words are not")
    check(client.ask(".auth token-of-grafana") == ["# ok auth"] and client.ask("print a = 1")[0] == "print a=1i",
          ".auth TOKEN")
    client.close()
    client = Text(kpd)
    check(client.ask(".auth ana:se:cret") == ["# ok auth"], ".auth USER:PASSWORD")
    client.close()
    client = Text(kpd)
    client.send(".auth guess\n.auth token-of-grafana\nprint a = 1\n")
    check(client.file.read() == b"# error line=0 col=0 authorization failed\n\n", "a wrong one ends the session")
    client.close()


def known_by_clients(kpd):
    program = debian_program("influxdb-client", "influx")
    for password, good in (("se:cret", True), ("wrong", False)) if program else ():
        done = subprocess.run([program, "-host", "127.0.0.1", "-port", str(kpd.port), "-username", "ana", "-password",
                               password, "-execute", "SHOW DATABASES"], check=False, capture_output=True, text=True,
                              timeout=60)
        check(("kprobe" in done.stdout.split()) == good and ("authorization failed" in done.stderr + done.stdout) != good,
              f"the influx shell, {password}", done.stdout + done.stderr)
    run_node_clients(kpd, "token-of-grafana")


def run_node_clients(kpd, *token):
    modules = node_modules("influx@5.12.0", "@influxdata/influxdb-client@1.35.0")
    if modules is None:
        print("skip    npm influx and @influxdata/influxdb-client are not here and cannot be fetched")
        return
    done = subprocess.run(["node", ROOT + "/tests/cli/port_clients.js", modules, str(kpd.port), *token],
                          capture_output=True, text=True, timeout=60)
    print(done.stdout, end="")
    check(done.returncode == 0, "clients of node", done.stderr)


def test_node_clients(kpd):
    run_node_clients(kpd)


with tempfile.TemporaryDirectory() as base:
    kpd = Kpd(BIN, ROOT, base)
    try:
        for test in (test_replay, test_text, test_words, test_cancel, test_leaving, test_limits, test_many, test_thousand,
                     test_turns, test_rude, test_sniff, test_influx, test_gzip, test_write, test_remarks,
                     test_rewriting, test_select, test_traps, test_flux, test_dashboard, test_influx_cli,
                     test_node_clients):
            print(f"-- {test.__name__}")
            test(kpd)
        print("-- test_timeout")
        test_timeout(base)
        print("-- test_auth")
        test_auth(base)
        client = Text(kpd)
        client.ask("print 1")
        client.send(LONG)
        start = time.time()
        kpd.process.terminate()
        code = kpd.process.wait(30)
        check(code == 0 and time.time() - start < 15, f"SIGTERM ends kpd in {time.time() - start:.1f} s",
              kpd.text())
        client.close()
    finally:
        if kpd.process.poll() is None:
            kpd.process.kill()
