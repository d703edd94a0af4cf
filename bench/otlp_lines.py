#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Spans as OTLP JSON documents, one a line, over a range of time: two or three to a transaction,
each transaction with a random id. The same for the same arguments.

    otlp_lines.py FROM_NS TILL_NS TRANSACTIONS
"""
import json
import random
import sys

SPANS_A_LINE = 200
SERVICES = ("gateway", "payments", "ledger", "risk")
NAMES = ("POST /pay", "authorize", "INSERT entry", "score")


def attribute(key, value):
    return {"key": key, "value": {"stringValue": value}}


def span(dice, trace, txn, parent, number, start, end):
    out = {"traceId": trace, "spanId": f"{dice.getrandbits(64):016x}",
           "name": NAMES[number], "kind": 2 if parent is None else 3,
           "startTimeUnixNano": str(start), "endTimeUnixNano": str(end),
           "attributes": [attribute("txn.id", txn)]}
    if parent is not None:
        out["parentSpanId"] = parent["spanId"]
    return out


def transaction(dice, start):
    """(service, span) of one transaction: a root and what it waits for."""
    trace, txn = f"{dice.getrandbits(128):032x}", f"{dice.getrandbits(64):016x}"
    length = int(dice.expovariate(1 / 2e6)) + 50_000
    root = span(dice, trace, txn, None, 0, start, start + length)
    yield SERVICES[0], root
    for number in range(1, dice.randint(2, 3)):
        yield SERVICES[number], span(dice, trace, txn, root, number, start + length // 10 * number,
                                     start + length // 10 * (number + 6))


def write_line(spans):
    by_service = {}
    for service, one in spans:
        by_service.setdefault(service, []).append(one)
    resources = [{"resource": {"attributes": [attribute("service.name", service)]},
                  "scopeSpans": [{"spans": some}]} for service, some in by_service.items()]
    print(json.dumps({"resourceSpans": resources}, separators=(",", ":")))


def main():
    first, last, count = (int(text) for text in sys.argv[1:4])
    dice = random.Random(1)
    starts = sorted(dice.randrange(first, max(last - 50_000_000, first + 1)) for _ in range(count))
    line = []
    for start in starts:
        line.extend(transaction(dice, start))
        if len(line) >= SPANS_A_LINE:
            write_line(line)
            line = []
    if line:
        write_line(line)


main()
