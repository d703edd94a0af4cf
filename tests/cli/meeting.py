# SPDX-License-Identifier: Apache-2.0
"""The socket on which kpd and kpq meet without being told: meeting.py BIN."""
import os
import pty
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time

BIN = os.path.abspath(sys.argv[1])


def check(good, what, more=""):
    print(("ok      " if good else "FAILED  ") + what)
    if not good:
        print(more)
        sys.exit(1)


class Kpd:
    """One kpd on a directory of its own, reached by sockets only."""

    def __init__(self, runtime, data, *flags):
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [BIN + "/kpd", "--data", data, "--listen", "127.0.0.1:0", "--otlp-listen", "off",
             "--query-listen", "off", *flags], stderr=self.log, stdout=self.log,
            env=dict(os.environ, XDG_RUNTIME_DIR=runtime))
        end = time.time() + 30
        while "(port " not in self.text() and time.time() < end and self.process.poll() is None:
            time.sleep(0.02)

    def text(self):
        self.log.seek(0)
        return self.log.read()

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(30)


def kpq(runtime, *words, **env):
    done = subprocess.run([BIN + "/kpq", *words], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL, env=dict(os.environ, XDG_RUNTIME_DIR=runtime, **env))
    return done.returncode, done.stdout, done.stderr


def on_terminal(runtime, *words, until):
    """What kpq writes to its terminal before and with `until`."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(BIN + "/kpq", ["kpq", *words],
                  dict(os.environ, XDG_RUNTIME_DIR=runtime, TERM="dumb", HOME=runtime, XDG_STATE_HOME=runtime))
    seen, end = b"", time.time() + 20
    while until.encode() not in seen and time.time() < end:
        try:
            seen += os.read(fd, 65536)
        except OSError:
            break
    if b"kpq> " in seen:
        os.write(fd, b"\x04")
    os.waitpid(pid, 0)
    os.close(fd)
    return seen.decode()


def taken():
    """Something answers where kpq looks last: a kpd of this machine that is not ours."""
    for family, address in ((socket.AF_UNIX, "/run/kprobe/kpd.sock"), (socket.AF_INET, ("127.0.0.1", 7433))):
        with socket.socket(family) as probe:
            if probe.connect_ex(address) == 0:
                return True
    return False


with tempfile.TemporaryDirectory() as base:
    path = base + "/kprobe.sock"
    one = Kpd(base, base + "/one")
    check(one.process.poll() is None, "kpd starts", one.text())
    mode = os.stat(path).st_mode
    check(stat.S_ISSOCK(mode) and mode & 0o777 == 0o660, "its socket is for its group, too", oct(mode))
    check(kpq(base, "-c", "print x = 7", "-F", "csv") == (0, "x\n7\n", ""), "kpq without a target asks it")
    seen = on_terminal(base, "-c", "print x = 7", until="\n7")
    check(f"asking unix:{path}" in seen, "and says so to who looks on", seen)
    seen = on_terminal(base, until="kpq> ")
    check(f"on unix:{path}" in seen, "the shell names it", seen)
    code, _, err = kpq(base, "hold", "list", base + "/one")
    check(code == 0, "holds go through the other socket", err)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(b"POST /api/hold HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nrelease=1")
        check(client.recv(100).startswith(b"HTTP/1.1 404"), "... not through this one")

    two = Kpd(base, base + "/two")
    check(two.process.poll() is None and "goes on without" in two.text(), "a second kpd does without",
          two.text())
    check(two.end() == 0 and os.path.exists(path), "and leaves the first one's alone")
    named = Kpd(base, base + "/two", "--socket", path)
    check(named.process.wait(30) == 4 and "another kpd answers" in named.text(),
          "one that must have it ends with 4", named.text())

    one.end(signal.SIGKILL)
    check(os.path.exists(path), "one that was killed leaves its socket behind")
    if not taken():
        code, _, err = kpq(base, "-c", "print x = 7")
        check(code == 4 and path in err and "/run/kprobe/kpd.sock" in err and "127.0.0.1:7433" in err and
              "hint: kpq DIR" in err, "nobody answers: exit 4, with every place tried", err)
    one = Kpd(base, base + "/one")
    check(kpq(base, "-c", "print x = 8", "-F", "csv")[1] == "x\n8\n", "the next one takes its place",
          one.text())
    check(kpq(base, "-c", "print x = 7", KPQ_URL=base + "/nowhere")[0] == 4, "KPQ_URL goes first")
    check(one.end() == 0 and not os.path.exists(path), "the socket goes with its kpd")

    with open(path, "w") as file:
        file.write("mine")
    one = Kpd(base, base + "/one")
    check(one.process.poll() is None and "goes on without" in one.text(), "a file in its place", one.text())
    check(one.end() == 0 and os.path.exists(path), "... is not touched")
    off = Kpd(base + "/off", base + "/two", "--socket", "off")
    check(off.process.poll() is None and "for kpq" not in off.text(), "--socket off", off.text())
    check(off.end() == 0, "ends well")
