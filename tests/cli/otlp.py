# SPDX-License-Identifier: Apache-2.0
"""The OTLP door of a running kpd in both encodings: otlp.py BIN ROOT.

Spans are written by an encoder of a few lines, from the wire format's description, and sent as
protobuf and, the same, as JSON; the rows must be equal."""
import base64
import gzip
import json
import os
import struct
import subprocess
import sys
import tempfile

BIN, ROOT = (os.path.abspath(arg) for arg in sys.argv[1:3])
sys.path.insert(0, ROOT + "/tests/cli")
from port_kpd import Kpd, ask, check, node_modules, query  # noqa: E402

PROTO, JSON = "application/x-protobuf", "application/json"
BASE = 1795405620 * 10**9


# --- the wire ---

def varint(number):
    number &= 2**64 - 1
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def sized(number, payload):
    payload = payload.encode() if isinstance(payload, str) else payload
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def integer(number, value):
    return varint(number << 3) + varint(value)


def fixed(number, value):
    return varint(number << 3 | 1) + struct.pack("<Q", value)


def any_value(value):
    if value is None:
        return b""
    if isinstance(value, bool):
        return integer(2, value)
    if isinstance(value, int):
        return integer(3, value)
    if isinstance(value, float):
        return varint(4 << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, str):
        return sized(1, value)
    if isinstance(value, bytes):
        return sized(7, value)
    if isinstance(value, list):
        return sized(5, b"".join(sized(1, any_value(one)) for one in value))
    return sized(6, pairs(1, value))


def pairs(number, attributes):
    return b"".join(sized(number, sized(1, key) + sized(2, any_value(value)))
                    for key, value in attributes.items())


def proto_span(span):
    out = sized(1, bytes.fromhex(span["trace"])) + sized(2, bytes.fromhex(span["id"]))
    out += sized(3, "state=1") + sized(4, bytes.fromhex(span.get("parent", ""))) + sized(5, span["name"])
    out += integer(6, span.get("kind", 0)) + fixed(7, span["start"]) + fixed(8, span["end"])
    out += pairs(9, span.get("attrs", {})) + integer(10, 3)
    for at, name, attrs in span.get("events", []):
        out += sized(11, fixed(1, at) + sized(2, name) + pairs(3, attrs))
    out += sized(13, sized(1, b"\1" * 16)) + varint(16 << 3 | 5) + b"\1\0\0\0" + integer(99, 1)
    return out + sized(15, sized(2, span.get("message", "")) + integer(3, span.get("status", 0)))


def proto_request(resource, spans):
    scope = sized(1, sized(1, "scope")) + b"".join(sized(2, proto_span(span)) for span in spans)
    return sized(1, sized(2, scope) + sized(1, pairs(1, resource)) + sized(3, "schema"))


# --- the same as JSON ---

def json_value(value):
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    if isinstance(value, list):
        return {"arrayValue": {"values": [json_value(one) for one in value]}}
    return {"kvlistValue": {"values": json_pairs(value)}}


def json_pairs(attributes):
    return [{"key": key, "value": json_value(value)} for key, value in attributes.items()]


def json_request(resource, spans):
    return json.dumps({"resourceSpans": [{
        "resource": {"attributes": json_pairs(resource)},
        "scopeSpans": [{"spans": [{
            "traceId": span["trace"], "spanId": span["id"], "parentSpanId": span.get("parent", ""),
            "name": span["name"], "kind": span.get("kind", 0), "startTimeUnixNano": str(span["start"]),
            "endTimeUnixNano": str(span["end"]), "attributes": json_pairs(span.get("attrs", {})),
            "events": [{"timeUnixNano": str(at), "name": name, "attributes": json_pairs(attrs)}
                       for at, name, attrs in span.get("events", [])],
            "status": {"message": span.get("message", ""), "code": span.get("status", 0)},
        } for span in spans]}]}]}).encode()


# --- tests ---

class Kpd(Kpd):
    FLAGS = ["--otlp-listen", "127.0.0.1:0"]

    def send(self, body, kind=PROTO, **headers):
        return ask(self.otlp, "POST", "/v1/traces", body, {"Content-Type": kind, **headers}, raw=True)


def spans_of(trace):
    deep = "x"
    for _ in range(20):
        deep = [deep]
    return [
        {"trace": trace, "id": "00f067aa0ba902b7", "name": "POST /pay", "kind": 2, "start": BASE, "end": BASE + 9,
         "attrs": {"txn.id": "p-1", "n": -7, "yes": True, "no": False, "real": 1.5, "none": None, "raw": b"\0\xff",
                   "list": ["a", 1, [2.25]], "map": {"k": {"l": "\"\\\n\u00e9\U0001f600"}}, "deep": deep,
                   "big": 2**63 - 1, "empty": "", "raw4": b"abcd", "raw5": b"abcde"},
         "events": [(BASE + 1, "one", {"a": 1}), (BASE + 2, "two", {})], "status": 2, "message": "it \"failed\""},
        {"trace": trace, "id": "00f067aa0ba902b8", "parent": "00f067aa0ba902b7", "name": "", "kind": 3,
         "start": BASE, "end": BASE + 2**40, "attrs": {"transaction.id": 42}},
        {"trace": trace, "id": "00f067aa0ba902b9", "name": "unfinished", "start": BASE, "end": 0},
    ]


def test_same(kpd):
    resource = {"service.name": "pay", "host.name": "far", "process.pid": 77}
    answers = []
    for trace, make, kind in (("a" * 32, proto_request, PROTO), ("b" * 32, json_request, JSON)):
        status, body, headers = kpd.send(make(resource, spans_of(trace)), kind)
        check(status == 200 and headers["Content-Type"] == kind and body == (b"" if kind == PROTO else b"{}"),
              f"{kind} is taken and answered in kind", (status, body))
        text = f"spans | where trace_id == '{trace}' | sort by span_id asc | project-away trace_id, seq"
        answers.append(json.loads(query(kpd, text, epoch="ns")[1])["results"][0]["series"][0])
    check(len(answers[0]["values"]) == 3 and answers[0] == answers[1], "both make the same rows", answers)
    packed = gzip.compress(proto_request(resource, spans_of("c" * 32)))
    check(kpd.send(packed, **{"Content-Encoding": "gzip"})[0] == 200, "gzip")
    check(kpd.send(b"")[:2] == (200, b""), "an empty request")
    check(kpd.send(sized(7, "later") + integer(9, 1))[0] == 200, "unknown fields are skipped")


def test_partial(kpd):
    good, bad, zero = (dict(span, trace="d" * 32) for span in spans_of("d" * 32))
    bad = dict(bad, trace="dd")
    zero = dict(zero, id="0" * 16)
    status, body, _ = kpd.send(proto_request({}, [good, bad, zero]))
    check(status == 200 and body[:1] == b"\x0a" and body[2:4] == b"\x08\x02" and b"hex digits" in body,
          "two of three are rejected and counted", (status, body))
    wrong = sized(1, sized(2, sized(2, proto_span(dict(good, id="00f067aa0ba90200")) + sized(5, b"\xff\xfe"))))
    status, body, _ = kpd.send(wrong)
    check(status == 200 and b"UTF-8" in body, "a name that is no text is rejected", (status, body))
    deep = "x"
    for _ in range(60):
        deep = [deep]
    status, body, _ = kpd.send(proto_request({}, [dict(good, id="00f067aa0ba90201", attrs={"deep": deep})]))
    check(status == 200 and b"nested" in body, "a value that is too deep is rejected", (status, body))


def test_refused(kpd):
    whole = proto_request({"service.name": "x"}, spans_of("e" * 32))
    for cut in range(1, len(whole)):
        status, body, headers = kpd.send(whole[:cut])
        if status != 400 or body[:2] != b"\x08\x03" or headers["Content-Type"] != PROTO:
            check(False, f"cut off after {cut} bytes", (status, body))
    check(True, f"cut off anywhere ({len(whole)} places): 400 and google.rpc.Status")
    count = json.loads(query(kpd, f"spans | where trace_id == '{'e' * 32}' | count")[1])
    check(count["results"][0]["series"][0]["values"] == [[0]], "and nothing of it is stored", count)
    for body in (b"\xff" * 30, b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0b", b"\0\0", b"{}"):
        check(kpd.send(body)[0] == 400, f"no message: {body[:12]!r}")
    check(kpd.send(b"x", "text/plain")[0] == 415, "another type is 415")
    check(kpd.send(b"not gzip", **{"Content-Encoding": "gzip"})[0] == 400, "no gzip")
    status, body, headers = ask(kpd.otlp, "POST", "/v1/traces", b"", {"Content-Type": PROTO, "Host": "evil"},
                                raw=True)
    check(status == 403 and body[:2] == b"\x08\x07", "refusals of the door itself are protobuf too", body)


def test_exporter(kpd):
    modules = node_modules("@opentelemetry/exporter-trace-otlp-proto@0.223.0",
                           "@opentelemetry/sdk-trace-node@2.12.0")
    if modules is None:
        print("skip    npm @opentelemetry/exporter-trace-otlp-proto is not here and cannot be fetched")
        return
    done = subprocess.run(["node", ROOT + "/tests/cli/otlp_exporter.js", modules, str(kpd.otlp)],
                          capture_output=True, text=True, timeout=60)
    check(done.returncode == 0, "OpenTelemetry's exporter of node", done.stdout + done.stderr)
    rows = json.loads(query(kpd, "spans | where service == 'exporter' | project name, kind, txn, dur, events "
                                 "| sort by txn asc")[1])["results"][0]["series"][0]["values"]
    check(len(rows) == 200 and rows[0][:2] == ["work", "server"] and all("it happened" in row[4] for row in rows),
          "its 200 spans, plain and gzip", rows[:2])


with tempfile.TemporaryDirectory() as base:
    kpd = Kpd(BIN, ROOT, base)
    try:
        for test in (test_same, test_partial, test_refused, test_exporter):
            print(f"-- {test.__name__}")
            test(kpd)
    finally:
        kpd.process.terminate()
        kpd.process.wait(30)
