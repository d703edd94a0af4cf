# SPDX-License-Identifier: Apache-2.0
"""What the shell of kpq shows on its terminal. Used by shell_looks.sh: shell_looks.py KPQ DIR."""
import json
import os
import re
import tempfile
import time

from terminal import Shell, check

FORMATS = {  # what stands in an answer of `spans | project ts, name, dur` in this format only
    "table": "──────",
    "vertical": "dur   ",
    "json": '"notes":[]',
    "ndjson": '{"ts":"',
    "csv": "ts,name,dur",
    "tsv": "ts\tname\tdur",
    "markdown": "| --- |",
    "line": "spans ",
    "timeline": "axis: ",
    "chart": "██",
    "chrome-trace": '"traceEvents"',
}


def formats(shell):
    for name, mark in FORMATS.items():
        shell.type(f"\\format {name}\nspans | project ts, name, dur\n")
        shell.expect("name, dur\n")
        answer = shell.expect_answer()
        shell.expect("kpq> ")
        check(mark in answer, f"\\format {name}", answer)
    shell.type("\\format json\nspans | project name, dur | render markdown\n")
    shell.expect("| --- |")
    shell.expect("kpq> ")
    shell.type("\\format\n")
    shell.expect("format is json\n")
    check(True, "render chooses for one statement")
    shell.type("\\format table\n\\x\n")
    shell.expect("one line a column is on")
    shell.type("\\x\n")
    shell.expect("one line a column is off")


def units_and_zones(shell):
    shell.type("print d = 1234567ns, t = datetime(2026-11-23T03:47)\n")
    check("1.234 ms" in shell.expect_answer(), "durations have units")
    shell.type("\\set raw true\n\\set tz Asia/Tokyo\nprint d = 1234567ns, t = datetime(2026-11-23T03:47)\n")
    answer = shell.expect_answer()
    check("1234567" in answer and "2026-11-23T12:47:00.000000000+09:00" in answer, "\\set raw, \\set tz", answer)
    shell.type("\\set tz Atlantis\n")
    shell.expect("there is no time zone 'Atlantis'")
    shell.type("\\set raw\n\\set tz\n")
    shell.expect("kpq> ")


def widths(shell):
    """Tables fold at the width the screen has now, whatever it was before."""
    for columns in (120, 60, 90):
        shell.resize(24, columns)
        shell.seen = ""
        shell.type("print a = strrep('x', 30) | extend b = a, c = a\n")
        shell.expect("c = a\n")
        lines = shell.expect_answer().split("\n")
        check(max(map(len, lines)) <= columns and (lines[0].count("c") == 1) == (columns > 66),
              f"a table in {columns} columns", "\n".join(lines))
        shell.expect("kpq> ")
        shell.type("\\d\n")
        lines = shell.expect("kpq> ").split("\n")
        check(max(map(len, lines)) <= columns, f"\\d in {columns} columns", "\n".join(lines))
    shell.resize(24, 80)


def pager(state):
    """It comes when an answer is taller than the screen, and who leaves it gets the prompt."""
    log = state + "/paged"
    shell = Shell(state, PAGER=f"tee {log} | head -3")
    shell.expect("kpq> ")
    shell.resize(12, 80)
    shell.type("range x from 1 to 8 step 1\n")
    shell.expect_answer()
    shell.expect("kpq> ")
    check(not os.path.exists(log), "what fits the screen needs no pager")
    shell.type("range x from 1 to 1000000000 step 1\n")
    shell.expect_answer()
    shell.expect("kpq> ")
    check(os.path.exists(log), "what does not fit goes through PAGER, and work ends when that left")
    os.unlink(log)
    shell.type("range x from 1 to 30 step 1\n")
    shell.expect_answer()
    shell.type("\\watch 50ms\n")
    for _ in range(2):
        shell.expect("every 50.0")
        shell.expect("30\n")
    shell.type("\x03")
    shell.expect("kpq> ")
    os.unlink(log)
    shell.type(f"\\o {state}/file\nrange x from 1 to 30 step 1\n\\o\n")
    shell.expect("answers go to the screen")
    check(not os.path.exists(log), "no pager for \\watch and \\o")
    check(shell.leave() == 0, "and the shell goes on")


def colours(state):
    for more, what in (({"NO_COLOR": "1"}, "NO_COLOR"), ({"TERM": "dumb"}, "TERM=dumb")):
        shell = Shell(state, **more)
        shell.expect("kpq> ")
        shell.type("spans | where dur > 5ms | wherre\n")
        shell.expect("kpq: ")
        shell.expect("kpq> ")
        shell.type("spans | project ts, name, dur | render timeline\n")
        shell.expect("axis")
        shell.expect("kpq> ")
        check(not re.search(r"\x1b\[[0-9;]*m", shell.raw), f"{what}: no colour at all")
        check(("\x1b[?2004h" in shell.raw) == ("TERM" not in more), f"{what}: brackets around pastes")
        check("█" in shell.raw, f"{what}: drawings are still drawn")
        shell.leave()
    shell = Shell(state, LC_ALL="C")
    shell.expect("kpq> ")
    shell.type("spans | project ts, name, dur | render timeline\n")
    shell.expect("axis")
    drawn = shell.expect_answer()
    check("##" in drawn and drawn.isascii(), "without UTF-8 drawings are ASCII", drawn)
    shell.leave()


def ctrl_c(state):
    shell = Shell(state)
    shell.expect("kpq> ")
    shell.type("range x from 1 to 1000000000000 step 1 | summarize n = count()\n")
    shell.expect("working for ")
    began = time.monotonic()
    shell.type("\x03")
    before = shell.expect("kpq> ")
    check("cancelled" in before and "^\n" not in before and time.monotonic() - began < 5,
          "Ctrl-C cancels what runs, and blames nothing in the text", before)
    for _ in range(3):
        shell.type("\x03\x03")  # two at once may be one signal
        shell.expect("kpq> ")
    shell.type("print x = 'still here'\n")
    shell.expect("still here\n")
    check(shell.leave() == 0, "Ctrl-C at the prompt never leaves")
    for _ in range(20):
        shell = Shell(state)
        shell.expect("kpq> ")
        shell.type("\x03")
        shell.leave()
    check(True, "Ctrl-D right behind Ctrl-C leaves")


with tempfile.TemporaryDirectory() as state:
    shell = Shell(state, NO_COLOR="1")  # what is typed comes back once, not painted over
    shell.expect("kpq> ")
    shell.resize(24, 80)
    formats(shell)
    units_and_zones(shell)
    widths(shell)
    check(shell.leave() == 0, "Ctrl-D leaves")
    pager(state)
    colours(state)
    ctrl_c(state)
