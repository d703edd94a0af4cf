# SPDX-License-Identifier: Apache-2.0
"""A running kpd as its clients see it: kpd.py BIN. Ports are chosen by the kernel."""
import gzip
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

BIN = os.path.abspath(sys.argv[1])
BASE = 1795405620 * 10**9


def check(good, what, more=""):
    print(("ok      " if good else "FAILED  ") + what)
    if not good:
        print(more)
        sys.exit(1)


class Kpd:
    """One kpd on a data directory."""

    def __init__(self, data, *flags, notify=None):
        env = dict(os.environ)
        if notify:
            env["NOTIFY_SOCKET"] = notify
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [BIN + "/kpd", "--data", data, "--listen", "127.0.0.1:0", "--otlp-listen",
             "127.0.0.1:0", "--query-listen", "127.0.0.1:0", *flags], stderr=self.log, stdout=self.log, env=env)
        end = time.time() + 30
        while time.time() < end and self.process.poll() is None:
            ports = re.findall(r"\(port (\d+)\)", self.text())
            if len(ports) == 3:
                self.api, self.otlp, self.query = (int(port) for port in ports)
                return
            time.sleep(0.02)
        self.process.kill()
        check(False, "kpd starts", self.text())

    def text(self):
        self.log.seek(0)
        return self.log.read()

    def stop(self):
        start = time.time()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        return code, time.time() - start


def ask(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, text.decode("utf-8", "replace"), answer.headers


def query(kpd, text, **params):
    form = "&".join(f"{k}={v}" for k, v in params.items())
    status, body, _ = ask(kpd.api, "POST", "/api/query" + ("?" + form if form else ""), text,
                          {"Content-Type": "text/plain"})
    return status, body


def span(number, txn="98721", trace="5b8efff798038103d269b633813fc60c"):
    return {"traceId": trace, "spanId": f"{number:016x}", "name": f"step {number}", "kind": 2,
            "startTimeUnixNano": str(BASE + number * 1000), "endTimeUnixNano": BASE + number * 2000,
            "attributes": [{"key": "txn.id", "value": {"stringValue": txn}}]}


def request(*spans):
    service = {"key": "service.name", "value": {"stringValue": "payment-handler"}}
    return json.dumps({"resourceSpans": [{"resource": {"attributes": [service]},
                                          "scopeSpans": [{"spans": list(spans)}]}]})


def send(kpd, body, **headers):
    headers = {k.replace("_", "-"): v for k, v in headers.items()}
    headers.setdefault("Content-Type", "application/json")
    return ask(kpd.otlp, "POST", "/v1/traces", body, headers)


def count_spans(kpd):
    status, body = query(kpd, "spans | count")
    check(status == 200, "the spans can be counted", body)
    return json.loads(body)["rows"][0][0]


def test_otlp(kpd):
    status, body, headers = send(kpd, request(span(1)))
    check((status, body) == (200, "{}") and headers["Content-Type"] == "application/json",
          "a JSON body is stored and answered in JSON", body)
    check(count_spans(kpd) == 1, "an acknowledged span can be queried")
    status, body, _ = send(kpd, gzip.compress(request(span(2)).encode()), Content_Encoding="gzip")
    check(status == 200 and count_spans(kpd) == 2, "a gzip body", body)
    pieces = [request(span(3)).encode()[i:i + 50] for i in range(0, 10**4, 50)]
    status, body, _ = send(kpd, (p for p in pieces if p))
    check(status == 200 and count_spans(kpd) == 3, "a chunked body", body)
    check(send(kpd, "{}")[0] == 200, "an empty request is a success")
    status, body, _ = send(kpd, request(span(4), span(5, trace="00" * 16)))
    part = json.loads(body).get("partialSuccess", {})
    check(status == 200 and part.get("rejectedSpans") == "1" and part.get("errorMessage"),
          "a span without a trace id is rejected and counted", body)
    check(count_spans(kpd) == 4, "the good span beside it is stored")


def test_otlp_refusals(kpd):
    for body in ("", "hello", "[1]", '{"resourceSpans": 7}', request(span(1))[:-7]):
        status, text, _ = send(kpd, body)
        check(status == 400 and json.loads(text)["code"] == 3 and json.loads(text)["message"],
              f"400 with a Status for {body[:20]!r}", text)
    check(send(kpd, "{}", Content_Type="text/plain")[0] == 415, "415 for another type")
    check(send(kpd, "{}", Content_Encoding="br")[0] == 415, "415 for another encoding")
    check(send(kpd, "no gzip", Content_Encoding="gzip")[0] == 400, "400 for broken gzip")
    bomb = gzip.compress(b" " * (65 << 20))
    status, text, _ = send(kpd, bomb, Content_Encoding="gzip")
    check(status == 413 and json.loads(text)["code"] == 8, "413 after inflation", text)
    chunks = (b" " * (1 << 20) for _ in range(65))
    status, text, _ = send(kpd, chunks)
    check(status == 413 and json.loads(text)["code"] == 8, "413 for a long chunked body", text)
    for path in ("/v1/metrics", "/v1/logs"):
        status, text, _ = ask(kpd.otlp, "POST", path, "{}", {"Content-Type": "application/json"})
        check(status == 404 and "traces only" in text, f"404 for {path}", text)
    status, _, headers = ask(kpd.otlp, "GET", "/v1/traces")
    check(status == 405 and headers["Allow"] == "POST", "405 for GET")
    check(count_spans(kpd) == 4, "nothing of all that was stored")


def test_query(kpd):
    status, body = query(kpd, "spans | sort by start asc | project name, dur", format="csv")
    check(status == 200 and body.split("\r\n")[1] == "step 1,1000", "CSV over HTTP", body)
    status, body, _ = ask(kpd.api, "GET", "/api/query?q=spans+%7C+count&format=ndjson")
    check(status == 200 and list(json.loads(body).values()) == [4], "GET with parameters", body)
    status, body = query(kpd, "spans | where servce == 1")
    error = json.loads(body)["error"]
    check(status == 400 and error["line"] == 1 and error["column"] == 15 and error["width"] == 6 and
          "service" in error["hint"], "a wrong query is 400 with its place and a hint", body)
    check(query(kpd, "")[0] == 400, "no query is 400")
    check(query(kpd, "spans", format="xml")[0] == 400, "an unknown format is 400")
    check(query(kpd, "spans", timeout="soon")[0] == 400, "a wrong timeout is 400")
    check(query(kpd, "CAUSES OF txn 4242")[0] == 404, "an unknown transaction is 404")
    status, body = query(kpd, "x" * (2 << 20))
    check(status == 413, "a query of 2 MiB is 413", body[:200])


def test_since(kpd):
    """Relative times count back from the newest row; a text with a time of its own is left alone."""
    spans = "spans | summarize n = count(), last = max(ts)"
    everything = query(kpd, spans)
    some = query(kpd, spans, since="1ns")
    check("looks at the last 1 ns" in some[1] and "looks at" not in everything[1], "since, and the answer says so",
          some[1])
    bound = spans.replace("|", "| where ts > ago(100000d) |", 1)
    check(query(kpd, bound, since="1ns")[1] == query(kpd, bound)[1], "a query with a time keeps to it")
    check(query(kpd, "spans", since="soon")[0] == 400, "since=soon is refused")


def kpq(target, text, *flags):
    done = subprocess.run([BIN + "/kpq", target, "-c", text, *flags], capture_output=True, text=True,
                          timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_kpq_against_it(kpd, data):
    text = "spans | sort by start asc | project start, name, dur"
    here = kpq(data, text)
    for target in (f"http://127.0.0.1:{kpd.api}", f"http://127.0.0.1:{kpd.api}/",
                   f"unix:{data}/kpd.sock"):
        for flags in ((), ("--format", "json"), ("--format", "line"), ("--format", "timeline")):
            there, beside = kpq(target, text, *flags), kpq(data, text, *flags)
            check(there == beside,
                  f"{target.split(':')[0]} {' '.join(flags)} and the directory give the same",
                  f"{there}\n{beside}")
    check(here[0] == 0 and "step 1" in here[1], "a directory is read beside the running kpd")
    wrong = "spans |\n where servce == 1"
    check(kpq(f"unix:{data}/kpd.sock", wrong) == kpq(data, wrong), "and the same error and caret")
    check(os.stat(data + "/kpd.sock").st_mode & 0o777 == 0o600, "the socket is its owner's")


def test_small_paths(kpd):
    check(ask(kpd.api, "GET", "/healthz")[:2] == (200, "ok\n"), "/healthz")
    check(ask(kpd.api, "GET", "/readyz")[:2] == (200, "ready\n"), "/readyz")
    check("version" in json.loads(ask(kpd.api, "GET", "/version")[1]), "/version")
    check(ask(kpd.api, "HEAD", "/healthz")[0] == 200, "HEAD")
    check(ask(kpd.api, "GET", "/nix")[0] == 404, "404")
    check(ask(kpd.api, "DELETE", "/api/query")[0] == 405, "405")
    text = ask(kpd.api, "GET", "/metrics")[1]
    names = set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name = line.split()[2]
            check(name not in names, f"{name} is declared once") if name in names else names.add(name)
        elif not line.startswith("#"):
            name, value = re.match(r"^([a-z_]+)(?:\{[a-z]+=\"[^\"]*\"\})? (-?[0-9.]+)$", line).groups()
            check(name in names, f"{name} has a type") if name not in names else float(value)
    check("kprobe_otlp_spans_total 4" in text, "/metrics counts the spans", text)
    status = ask(kpd.api, "GET", "/healthz", headers={"X-Long": "y" * 100000})[0]
    check(status in (400, 431), f"headers of 100 kB are refused with {status}")


def test_hang_up(kpd):
    """A client that leaves is noticed; the server goes on."""
    with socket.create_connection(("127.0.0.1", kpd.api)) as client:
        client.sendall(b"POST /api/query HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nspans")
    with socket.create_connection(("127.0.0.1", kpd.api)) as client:
        client.sendall(b"\x00\xff garbage\r\n\r\n")
    check(ask(kpd.api, "GET", "/healthz")[0] == 200, "half requests and garbage do no harm")


def test_one_writer(data):
    done = subprocess.run([BIN + "/kpd", "--data", data, "--listen", "127.0.0.1:0", "--otlp-listen",
                           "off", "--query-listen", "off"], capture_output=True, text=True, timeout=30)
    check(done.returncode == 4 and "kpd:" in done.stderr, "a second kpd on the directory: exit 4",
          done.stderr)


def test_kill(data):
    """kill -9 between acknowledged requests loses none of them."""
    kpd = Kpd(data)
    before = count_spans(kpd)
    for number in range(100, 110):
        check(send(kpd, request(span(number)))[0] == 200, f"span {number} acknowledged")
    kpd.process.kill()
    kpd.process.wait()
    kpd = Kpd(data)
    check(count_spans(kpd) == before + 10, "after kill -9 every acknowledged span is there")
    check(kpd.stop()[0] == 0, "and the next end is clean", kpd.text())


with tempfile.TemporaryDirectory() as base:
    data = base + "/" + "deep" * 40 + "/data"
    os.mkdir(os.path.dirname(data))
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(base + "/notify")
    kpd = Kpd(data, notify=base + "/notify")
    try:
        notify.settimeout(10)
        check(notify.recv(100).startswith(b"READY=1"), "READY=1 to the service manager")
        test_otlp(kpd)
        test_otlp_refusals(kpd)
        test_query(kpd)
        test_since(kpd)
        test_kpq_against_it(kpd, data)
        test_small_paths(kpd)
        test_hang_up(kpd)
        test_one_writer(data)
        code, seconds = kpd.stop()
        check(code == 0 and seconds < 10, f"SIGTERM: exit 0 in {seconds:.1f} s", kpd.text())
        check(not os.path.exists(data + "/kpd.sock"), "the socket is gone")
        check(kpq(data, "spans | count", "--format", "csv")[1].split()[1] == "4",
              "the spans are in the directory")
        check(kpq(f"http://127.0.0.1:{kpd.api}", "spans")[0] == 4, "no server: exit 4")
        test_kill(data)
    finally:
        if kpd.process.poll() is None:
            kpd.process.kill()
