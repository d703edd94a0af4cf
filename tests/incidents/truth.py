#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes faults for real, asks for their causes and scores the answers against what is true.

  truth.py BUILD [--runs N] [--seed S] [--keep DIR] [--check] [CLASS...]

Recordings of each class until N episodes are valid: one whose fault had no effect of its own (see
tests/incidents/main.c) is void and made again under another seed, up to 3 N tries. Beside the
answer the same store is asked simple-minded questions: the longest span, who ended the longest
wait, the last waker, and by the rules of other tools (ORACLE): whom offwaketime blames most of the
time off the CPU, and who or what has most of the critical path of Perfetto and of Trace Compass.
Before the spans are added, the largest row of the thread's time has to say the same ("bare").
--check: exit 1 unless every class is right in at least 85 % of its episodes and nothing is wrong
but strong. A class that misses the first without the second gets one more recording: with few
episodes on a busy machine one may fail for a reason of its own. The simple-minded questions name a
process, so they cannot be right where a control group or a disk is to blame, unless the rules of a
tool know that kind of time; in the control class they are right when they name nobody.
"""
import argparse
import collections
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TRIES = 3  # episodes made at most for each that is asked for, to replace void ones
ROUND = 5  # episodes of a recording at least, where so many are asked for
RECORD_FLAGS = {"loss": ["--ring", "64K", "--no-realtime"]}
NOBODY = (None, "")
OFF_CPU = "kind != 'running' and isnotnull(culprit_pid)"
SIMPLE = (("longest span", "span"), ("longest wait", "wait"), ("last waker", "waker"),
          ("offwaketime", "offwake"), ("perfetto", "perfetto"), ("trace compass", "tcompass"))
MAY_BE_SILENT = {"loss"}  # no root is a right answer too


def utc(ns):
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 10**9))
    return f"{seconds}.{ns % 10**9:09}Z"


def run(*command, errors=subprocess.PIPE):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=errors, text=True,
                          start_new_session=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr or done.stdout}")
    return done.stdout


class Skipped(Exception):
    """This machine cannot have the fault."""


class Store:
    """One recording with its spans."""

    def __init__(self, kpq, incident, name, seed, episodes, folder):
        self.kpq, self.data = kpq, os.path.join(folder, "data")
        self.seconds = []
        said = run(kpq, "record", "--data", self.data, *RECORD_FLAGS.get(name, []), "--", incident,
                   name, "--seed", str(seed), "--episodes", str(episodes), "--dir", folder,
                   errors=subprocess.STDOUT)
        for line in said.splitlines():
            if line.startswith("skip: "):
                raise Skipped(line[len("skip: "):])
        spans = os.path.join(folder, "spans.jsonl")
        if not os.path.exists(spans):  # what it writes last
            sys.exit(f"{name} did not get to its end: {said}")
        with open(os.path.join(folder, "truth.jsonl"), encoding="utf-8") as lines:
            self.truths = [json.loads(line) for line in lines]
        self.bare = {t["txn"]: self.bare_causes(t) for t in self.valid()}
        self.seconds = []
        run(kpq, "import", spans, "--data", self.data)

    def valid(self):
        return [truth for truth in self.truths if not truth["void"]]

    def ask(self, query):
        begin = time.monotonic()
        out = run(self.kpq, self.data, "--memory", "2G", "--format", "ndjson", "-c", query)
        self.seconds.append(time.monotonic() - begin)
        return [json.loads(line) for line in out.splitlines()]

    def bare_causes(self, truth):
        """Where the thread's time went, asked before the store has a single span."""
        begin, end = (utc(truth[side]) for side in ("from", "to"))
        return self.ask(f'CAUSES OF thread {truth["tid"]} BETWEEN {begin} AND {end}')

    def causes(self, txn):
        return self.ask(f"CAUSES OF txn {txn}")

    def oracle(self, txn, rules, condition="true"):
        """The process and the kind of time that most of the path is, by the rules of a tool."""
        rows = self.ask(f"CAUSES OF txn {txn} ORACLE {rules} | where {condition} | "
                        "summarize dur = sum(dur) by kind, culprit_pid | top 1 by dur")
        return (rows[0]["culprit_pid"], rows[0]["kind"]) if rows else NOBODY

    def simple(self, txn):
        """What the simple-minded questions name: a process or None, and the kind of time or ""."""
        seconds, self.seconds = self.seconds, []
        spans = self.ask(f'spans | where txn == "{txn}" | project start_ns = tolong(start), '
                         "end_ns = tolong(ts), dur, pid, tid, parent_id")
        root = next(s for s in spans if s["parent_id"] == "")
        leaf = max(spans, key=lambda s: (s["parent_id"] != "", s["dur"]))
        waits = self.ask(f'thread_state | where tid == {root["tid"]} and state != "running" '
                         "| project start_ns = tolong(start), end_ns = tolong(ts), waker_pid")
        inside = [w for w in waits
                  if w["end_ns"] > root["start_ns"] and w["start_ns"] < root["end_ns"]]
        woken = [w for w in inside if w["waker_pid"] is not None]
        longest = max(inside, key=lambda w: w["end_ns"] - w["start_ns"], default=None)
        last = max(woken, key=lambda w: w["end_ns"], default=None)
        named = {"longest span": (leaf["pid"], ""),
                 "longest wait": (longest and longest["waker_pid"], ""),
                 "last waker": (last and last["waker_pid"], ""),
                 "offwaketime": self.oracle(txn, "offwaketime", OFF_CPU),
                 "perfetto": self.oracle(txn, "perfetto"),
                 "trace compass": self.oracle(txn, "tracecompass")}
        self.seconds = seconds
        return named


def matches(row, cause):
    """Does this row say what is true? Its kind, its culprit."""
    kind = row["kind"] in cause["kinds"].split(",")
    pid = cause["pid"] == 0 or row["culprit_pid"] == cause["pid"]
    return kind, pid and cause["object"] in row["object"]


def blamed(rows, cause):
    return sum(row["dur"] for row in rows if all(matches(row, cause)))


def judge_root(truth, rows, root):
    """Kind and culprit of the root. With two causes both must be seen, and one be the root."""
    causes = truth["causes"]
    if causes[0]["kinds"] == "":
        return root is None, root is None
    if root is None:
        return (truth["class"] in MAY_BE_SILENT,) * 2
    if any(blamed(rows, cause) < cause["ns"] / 2 for cause in causes[1:]):
        return False, False
    return max((matches(root, cause) for cause in causes), key=sum)


def judge_bare(truth, rows):
    """Without spans and so without a baseline the largest row has to be it."""
    if truth["causes"][0]["kinds"] == "" or truth["class"] in MAY_BE_SILENT:
        return True
    return any(all(matches(rows[0], cause)) for cause in truth["causes"])


def is_named(truth, pid, kind):
    """A process where one is to blame, else the kind of time."""
    if truth["causes"][0]["kinds"] == "":
        return pid is None
    return any(pid == cause["pid"] if cause["pid"] else kind in cause["kinds"].split(",")
               for cause in truth["causes"])


def score(truth, rows, simple, bare):
    root = next((row for row in rows if row["root"]), None)
    wall = sum(row["dur"] for row in rows)
    unknown = sum(row["dur"] for row in rows if row["kind"].startswith("unknown"))
    kind, culprit = judge_root(truth, rows, root)
    strong = root is not None and root["strength"].startswith("strong")
    return {"impact": truth["wall"] / truth["normal"], "kind": kind,
            "culprit": culprit,
            "error": sum(abs(blamed(rows, c) - c["ns"]) for c in truth["causes"]) / wall,
            "unknown": unknown / wall, "false": strong and not (kind and culprit),
            "strong": strong, "bare": judge_bare(truth, bare), "sums": wall == truth["wall"],
            "root": root, "truth": truth,
            "simple": {name: is_named(truth, *said) for name, said in simple.items()}}


class Measured:
    """What came out of one class: scores of the valid episodes, why the others were void."""

    def __init__(self):
        self.scores, self.voids, self.seconds, self.tries = [], collections.Counter(), [], 0

    def add(self, store):
        self.scores += [score(t, store.causes(t["txn"]), store.simple(t["txn"]),
                              store.bare[t["txn"]]) for t in store.valid()]
        self.voids.update(t["void"] for t in store.truths if t["void"])
        self.seconds += store.seconds
        self.tries += len(store.truths)


def measure(options, incident):
    """Makes episodes until as many are valid as asked for, or too many were void."""
    measured, most = Measured(), options.runs * TRIES
    while len(measured.scores) < options.runs and measured.tries < most:
        missing = options.runs - len(measured.scores)
        episodes = min(max(missing, min(ROUND, options.runs)), most - measured.tries)
        folder = tempfile.mkdtemp(prefix="kp-truth-")
        try:
            store = Store(options.kpq, options.incident, incident,
                          options.seed + measured.tries * 1000, episodes, folder)
            if options.keep:
                shutil.copytree(folder,
                                os.path.join(options.keep, f"{incident}-{measured.tries}"))
            measured.add(store)
        finally:
            shutil.rmtree(folder)
    return measured


def percent(values):
    values = list(values)
    return 100.0 * sum(values) / len(values)


def tell_wrong(scores):
    for s in scores:
        if s["kind"] and s["culprit"]:
            continue
        root, truth = s["root"], s["truth"]
        said = "no root" if root is None else (
            f"{root['kind']} {root['culprit_comm']} {root['culprit_pid']} {root['object']} "
            f"{root['strength']}")
        true = " and ".join(f"{c['kinds'] or 'no root'} {c['pid'] or ''} {c['object']}".strip()
                            for c in truth["causes"])
        print(f"    {truth['txn']}: true {true}, said {said}")


HEAD = (f"{'class':13} {'n':>3} {'tries':>5} {'impact':>7} {'kind':>6} {'culprit':>7} {'error':>6} "
        f"{'unknown':>7} {'strong':>6} {'false':>5} {'bare':>5} {'query':>8} | "
        + " ".join(short for _, short in SIMPLE))


def tell_void(measured, runs):
    if measured.voids:
        print("    void: " + ", ".join(f"{n} {why}" for why, n in measured.voids.most_common()),
              flush=True)
    if len(measured.scores) < runs:
        print(f"    only {len(measured.scores)} of {runs} are valid", flush=True)


def tell(name, measured, runs):
    scores = measured.scores
    if not scores:
        print(f"{name:13} {0:3} {measured.tries:5}  every episode was void", flush=True)
        tell_void(measured, runs)
        return
    median = statistics.median
    print(f"{name:13} {len(scores):3} {measured.tries:5} "
          f"{median(s['impact'] for s in scores):6.1f}x "
          f"{percent(s['kind'] for s in scores):5.0f}% {percent(s['culprit'] for s in scores):6.0f}% "
          f"{100 * median(s['error'] for s in scores):5.1f}% "
          f"{100 * statistics.mean(s['unknown'] for s in scores):6.1f}% "
          f"{percent(s['strong'] for s in scores):5.0f}% {percent(s['false'] for s in scores):4.0f}% "
          f"{percent(s['bare'] for s in scores):4.0f}% "
          f"{1000 * median(measured.seconds):5.0f} ms | "
          + " ".join(f"{percent(s['simple'][name] for s in scores):{len(short)}.0f}"
                     for name, short in SIMPLE), flush=True)
    tell_void(measured, runs)
    tell_wrong(scores)


def is_good(scores):
    right = [s["kind"] and s["culprit"] for s in scores]
    return bool(scores) and percent(right) >= 85 and not any(s["false"] for s in scores) \
        and all(s["sums"] for s in scores)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("classes", nargs="*")
    options = parser.parse_intermixed_args()
    options.kpq = os.path.join(options.build, "bin/kpq")
    options.incident = os.path.join(options.build, "tests/incident")
    known = [line.split("\t")[0] for line in run(options.incident, "--list").splitlines()]
    print(HEAD)
    everything, good, short = [], True, []
    for name in options.classes or known:
        try:
            measured = measure(options, name)
        except Skipped as why:
            print(f"{name:13} skipped: {why}", flush=True)
            continue
        tell(name, measured, options.runs)
        scores = measured.scores
        if options.check and not is_good(scores) and not any(s["false"] for s in scores):
            print(f"    {name} is made once more")
            options.seed += 100_000
            measured = measure(options, name)
            tell(name, measured, options.runs)
        good = good and is_good(measured.scores)
        everything += measured.scores
        if len(measured.scores) < options.runs:
            short.append(name)
    if not everything:
        print("nothing was validated")
        return 1
    right = percent(s["kind"] and s["culprit"] for s in everything)
    print(f"{len(everything)} validated incidents: kind and culprit right in {right:.1f} %, wrong but "
          f"strong in {percent(s['false'] for s in everything):.1f} %")
    if short:
        print(f"fewer than {options.runs} valid: {', '.join(short)}")
    return 0 if good or not options.check else 1


sys.exit(main())
