# SPDX-License-Identifier: Apache-2.0
"""Runs kpq with its stderr on a pseudo-terminal. Used by progress.sh: progress.py BIN DIR.

The long query reads the two spans of the store at once (their column dur) and then counts until two seconds are
over, to a number found by trying; the endless one is stopped by its time limit.
"""
import os
import pty
import subprocess
import sys
import time

BIN, DATA = sys.argv[1], sys.argv[2]
KPQ, ERASE = os.path.join(BIN, "kpq"), "\r\x1b[K"
COUNT = "union (spans | where dur >= 0s | project x = 1), (range x from 1 to %d step 1) | summarize n = count()"
ENDLESS = ("-c", COUNT % 10**15, "--timeout", "1500ms")


def run(*words, target=DATA, terminal=True, all_of_it=False):
    """kpq on one pseudo-terminal: its exit code, stdout and stderr (together when all_of_it)."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [KPQ, target, "--format", "csv", *words], stdin=subprocess.DEVNULL,
        stdout=theirs if all_of_it else subprocess.PIPE,
        stderr=theirs if terminal else subprocess.PIPE)
    os.close(theirs)
    screen = b""
    while terminal:
        try:
            data = os.read(ours, 65536)
        except OSError:
            break
        if not data:
            break
        screen += data
    os.close(ours)
    out, err = child.communicate(timeout=120)
    text = screen.decode() if terminal else err.decode()
    return child.returncode, (out or b"").decode(), text


def check(good, what, seen=""):
    print(("ok      " if good else "FAILED  ") + what)
    if not good:
        print(seen)
        sys.exit(1)


number, took = 10**8, 0.0
while took < 2:
    number = int(number * (3 if took < 0.5 else 2.5 / took))
    LONG, ANSWER = COUNT % number, f"n\r\n{number + 2}\r\n"
    began = time.monotonic()
    code, out, err = run("-c", LONG)
    took = time.monotonic() - began
check(code == 0 and out == ANSWER, "the answer is whole", out)
check("\r2 rows read, " in err and " rows/s" in err, "a long query says what it read", repr(err))
check(err.endswith(ERASE) and err.count("\n") == 0, "the line is taken away", repr(err))

code, _, screen = run("-c", LONG, all_of_it=True)
told, _, rest = screen.rpartition(ERASE)
check(code == 0 and "rows read" in told, "stdout on the terminal too: it is told", repr(screen))
check(rest.replace("\r", "") == ANSWER.replace("\r", ""), "the answer comes after the line is gone",
      repr(screen))

check(run("-c", "spans | count")[2] == "", "a short query is not spoken of")
check("rows" not in run(*ENDLESS, "--progress=never")[2], "never is never")
check("rows" not in run(*ENDLESS, terminal=False)[2], "nothing is said where nobody looks")
code, out, err = run(*ENDLESS, "--progress", "always", terminal=False)
check(code != 0 and err.startswith("2 rows read, ") and "\r" not in err,
      "always is always, in plain lines", repr(err))
code, _, err = run("-c", "print 1", "--progress=maybe", terminal=False)
check(code == 2 and "auto, never or always" in err, "another word is refused", err)

with subprocess.Popen([os.path.join(BIN, "kpd"), "--data", DATA, "--listen", "127.0.0.1:0",
                       "--otlp-listen", "off"], stderr=subprocess.DEVNULL) as kpd:
    try:
        end = time.time() + 20
        while not os.path.exists(os.path.join(DATA, "kpd.sock")) and time.time() < end:
            time.sleep(0.05)
        code, _, err = run(*ENDLESS, target=f"unix:{DATA}/kpd.sock")
        told, _, rest = err.rpartition(ERASE)
        check(code != 0 and "\rworking for 1 s" in told and "limit of 1.500 s" in rest,
              "through a server it says how long", repr(err))
    finally:
        kpd.terminate()
