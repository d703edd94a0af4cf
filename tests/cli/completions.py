# SPDX-License-Identifier: Apache-2.0
"""Presses Tab in a real shell: completions.py SHELL DIR. DIR has the completions and comes first in PATH."""
import os
import pty
import re
import select
import sys
import tempfile
import time

SHELL, DIR = sys.argv[1], sys.argv[2]
START = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], f"source {DIR}/bash; PS1='ready''> '\n"),
    "zsh": (["zsh", "-f", "-i"],
            f"fpath=({DIR}/site $fpath); autoload -Uz compinit; compinit -D -u; unsetopt zle_bracketed_paste; "
            "LISTMAX=1000; PROMPT='ready''> '\n"),
}
CASES = [  # typed, with Tab at the end; then what the line becomes, or what is offered
    ("kpq rec\t", "kpq record "),
    ("kpq record --sysc\t", "kpq record --syscall-min"),
    ("kpd --query-li\t", "kpd --query-listen"),
    ("kpq store --form\t", "kpq store --format"),
    ("kpq store --format vert\t", "kpq store --format vertical"),
    ("kpq store --progress ne\t", "kpq store --progress never"),
    ("kpq ver\t", "kpq verify "),
    ("kpq verify sto\t", "kpq verify store"),
    ("kpq verify store --sysc\tx", "kpq verify store --syscx"),
]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]|\r|\x07|\x08")


def read_until(fd, wanted, seconds=15):
    """What is on the screen once `wanted` is, or when the time is over."""
    seen, end = "", time.time() + seconds
    while wanted not in seen and time.time() < end:
        if select.select([fd], [], [], 0.1)[0]:
            try:
                seen += ESCAPES.sub("", os.read(fd, 65536).decode("utf-8", "replace"))
            except OSError:
                break
    return seen


with tempfile.TemporaryDirectory() as home:
    argv, start = START[SHELL]
    os.mkdir(home + "/store")
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(home)
        os.execvpe(argv[0], argv, dict(os.environ, HOME=home, ZDOTDIR=home, TERM="dumb", LC_ALL="C.UTF-8",
                                       PATH=DIR + ":" + os.environ["PATH"]))
    os.write(fd, start.encode())
    failed = "ready> " not in read_until(fd, "ready> ")
    for typed, wanted in CASES:
        os.write(fd, typed.encode())
        seen = read_until(fd, wanted, 1.5 if failed else 15)
        good = wanted in seen
        print(f"{'ok     ' if good else 'FAILED '} {SHELL}: {typed.strip()} Tab: {wanted}" + ("" if good else f"\n{seen!r}"))
        failed |= not good
        os.write(fd, b"\x15\n")
        read_until(fd, "ready> ")
    os.write(fd, b"exit\n")
    os.close(fd)
    os.waitpid(pid, 0)
    sys.exit(failed)
