# SPDX-License-Identifier: Apache-2.0
"""The shell of kpq on a pseudo-terminal, for tests.

A test types something and waits for text on the screen; what waits too long fails with everything
seen so far.
"""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

KPQ, DATA = sys.argv[1], sys.argv[2]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]|\r")


class Shell:
    def __init__(self, state, target=DATA, **more):
        self.seen = self.raw = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            env = dict(os.environ, XDG_STATE_HOME=state, TERM="xterm", LC_ALL="C.UTF-8",
                       PAGER="cat", HOME=state, EDITOR="sed -i s/again/edited\\ it/")
            env.pop("NO_COLOR", None)
            env.update(more)
            os.execve(KPQ, [KPQ, target], env)

    def read(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return False
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.raw += data.decode("utf-8", "replace")
        self.seen += ESCAPES.sub("", data.decode("utf-8", "replace"))
        return bool(data)

    def expect(self, text, seconds=20):
        """Waits for text after everything expected so far, and returns what stood before it."""
        end = time.time() + seconds
        while text not in self.seen:
            if time.time() > end:
                self.fail(f"no {text!r}")
            self.read(0.2)
        before, self.seen = self.seen.split(text, 1)
        return before

    def expect_answer(self):
        """Waits for the timing line; returns what stood before it."""
        return self.expect("(") + self.expect(" in ") + self.expect(")")

    def type(self, text):
        os.write(self.fd, text.encode())

    def fail(self, why):
        print(f"FAILED: {why}; on the screen:\n{self.seen}")
        os.kill(self.pid, signal.SIGKILL)
        sys.exit(1)

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def leave(self):
        self.type("\x04")
        return self.gone()

    def gone(self):
        end = time.time() + 20
        while time.time() < end:
            self.read(0.1)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        self.fail("Ctrl-D did not leave")


def check(good, what, more=""):
    print(("ok      " if good else "FAILED  ") + what)
    if not good:
        print(more)
        sys.exit(1)
