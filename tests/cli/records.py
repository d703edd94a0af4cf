# SPDX-License-Identifier: Apache-2.0
"""Runs command records: records.py BIN FILE.t...

A record is NAME, RUN (a bash line), EXIT (default 0), and any number of EXPECT (text that must be in
the output, stdout and stderr together) and REJECT (text that must not). Blank lines part records,
# lines are talk. RUN sees $DATA (a store with the spans of spans.jsonl), $EMPTY (a store without
rows), $TMP (a folder of its own) and kpq, kpd on PATH.
"""
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def read_records(path):
    record = {}
    for number, line in enumerate(open(path), 1):
        line = line.rstrip("\n")
        if line.startswith("#"):
            continue
        if not line:
            if record:
                yield record
            record = {}
            continue
        key, _, value = line.partition(" ")
        if key in ("EXPECT", "REJECT"):
            record.setdefault(key, []).append(value)
        elif key in ("NAME", "RUN", "EXIT"):
            record[key] = value
        else:
            sys.exit(f"{path}:{number}: unknown key {key!r}")
    if record:
        yield record


def complaints(record, env):
    with tempfile.TemporaryDirectory() as tmp:
        try:
            done = subprocess.run(["bash", "-c", record["RUN"]], env=dict(env, TMP=tmp), timeout=60,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
        except subprocess.TimeoutExpired:
            return ["it did not end within 60 s"]
    output = done.stdout.decode("utf-8", "replace")
    found = []
    if done.returncode != int(record.get("EXIT", "0")):
        found.append(f"exit {done.returncode}, not {record.get('EXIT', '0')}")
    found += [f"no {text!r}" for text in record.get("EXPECT", []) if text not in output]
    found += [f"there is {text!r}" for text in record.get("REJECT", []) if text in output]
    return found + ["output:\n" + output] if found else []


def main():
    bin_dir = os.path.abspath(sys.argv[1])
    failed = count = 0
    with tempfile.TemporaryDirectory() as base:
        env = dict(os.environ, PATH=bin_dir + ":" + os.environ["PATH"], DATA=base + "/data",
                   EMPTY=base + "/empty", HERE=HERE, LC_ALL="C.UTF-8", TERM="xterm")
        os.mkdir(base + "/none")
        open(base + "/none/spans.jsonl", "w").close()
        for store, spans in ((env["DATA"], HERE + "/spans.jsonl"),
                             (env["EMPTY"], base + "/none/spans.jsonl")):
            subprocess.run([bin_dir + "/kpq", "import", spans, "--data", store], check=True)
        for path in sys.argv[2:]:
            for record in read_records(path):
                count += 1
                found = complaints(record, env)
                if found:
                    failed += 1
                    print(f"FAILED {os.path.basename(path)}: {record['NAME']}\n  " +
                          record["RUN"] + "\n  " + "\n  ".join(found))
    print(f"{count} records, {failed} failed")
    sys.exit(1 if failed or count == 0 else 0)


main()
