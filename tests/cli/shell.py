# SPDX-License-Identifier: Apache-2.0
"""Drives the shell of kpq through a pseudo-terminal. Used by shell.sh: shell.py KPQ DIR.

Each step types something and waits for text on the screen; a step that waits too long fails with
everything seen so far.
"""
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
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


with tempfile.TemporaryDirectory() as state:
    shell = Shell(state)
    shell.expect("kpq> ")

    shell.type("clock | take 1\n")
    shell.expect_answer()
    shell.expect("kpq> ")
    check(True, "a complete line runs at once, with a timing line")

    shell.type("clock |\n")
    shell.expect("...> ")
    shell.type("take 1;\n")
    shell.expect_answer()
    shell.expect("kpq> ")
    check(True, "an unfinished statement goes on in the next line")

    shell.type("clock\n| take 1\n| project cpu, bound\n")
    before = shell.expect_answer()
    check(before.count("bound") >= 2 and "mono" not in before, "a pasted pipe is one statement")
    shell.expect("kpq> ")

    shell.type("clock | where bound > 5ms and comm == 'x' // why")
    shell.expect("// why")
    for color, word in (("1;34", "where"), ("33", "5ms"), ("32", "'x'"), ("2", "// why")):
        check(f"\x1b[{color}m{word}\x1b[0m" in shell.raw, f"{word} has its colour")
    shell.type("\x03")
    shell.expect("kpq> ")
    plain = Shell(state, NO_COLOR="1")
    plain.expect("kpq> ")
    plain.type("clock | where bound > 5ms")
    plain.expect("5ms")
    check("\x1b[1;34m" not in plain.raw, "NO_COLOR is kept to")
    plain.type("\x03")
    plain.expect("kpq> ")
    plain.leave()

    shell.type("clock | whe\x03")
    shell.expect("^C")
    shell.expect("kpq> ")
    check(True, "Ctrl-C clears the line and stays")

    shell.type("clock |\n")
    shell.expect("...> ")
    shell.type("\x03")
    shell.expect("kpq> ")
    shell.type("clock | take 1\n")
    shell.expect_answer()
    shell.expect("kpq> ")
    check(True, "Ctrl-C drops the lines so far")

    shell.type("clock | wherre x\n")
    before = shell.expect("kpq> ")
    check("kpq: " in before and "^" in before, "a mistake is shown with a caret")

    shell.type("\x1b[A")
    shell.expect("clock | wherre x")
    shell.type("\x1b[A\x1b[A\n")
    shell.expect("project cpu, bound")
    shell.expect_answer()
    shell.expect("kpq> ")
    check(True, "a statement of three lines is one history entry")

    shell.type("sched_sw\t")
    shell.expect("sched_switch")
    check(True, "Tab completes a table")
    shell.type("\x03")
    shell.expect("kpq> ")

    shell.type("spans | where service == 'pay\t")
    shell.expect("service == 'payment-handler'")
    shell.type("\x03")
    shell.expect("kpq> ")
    shell.type("CAUSES OF txn 98\t")
    shell.expect("txn 98721")
    shell.type("\x03")
    shell.expect("kpq> ")
    shell.type("print x where '\t")
    shell.type("\x03")
    shell.expect("kpq> ")
    check(True, "Tab completes values: names in strings, ids of transactions")

    shell.type("sched_switch | where \t")
    listed = shell.expect("endswith\n")
    check("next_comm" in listed and "strcat" not in listed, "Tab lists columns, not 300 functions")
    shell.type("strcat_d\t")
    shell.expect("where strcat_delim")
    shell.type("\x03")
    shell.expect("kpq> ")
    shell.type("syscall | where \x15print s\t")
    listed = shell.expect("more: type on\n")
    check(listed.count("\n") < 24, "a list is not taller than the screen", listed)
    shell.type("\x03")
    shell.expect("^C")
    shell.expect("kpq> ")

    def paste(text):
        shell.type(f"\x1b[200~{text}\x1b[201~")

    check("\x1b[?2004h" in shell.raw, "the terminal is asked to bracket pastes")
    paste("clock\r\t| take 1\r|\tproject cpu,\tbound\r")
    before = shell.expect_answer()
    check(before.count("bound") >= 2 and "mono" not in before, "a bracketed paste is one statement, tabs are blanks")
    shell.expect("kpq> ")
    paste("print x = 'one of'\rprint x = 'two'\r")
    shell.expect("one of\n")
    shell.expect_answer()
    shell.expect("two\n")
    shell.expect_answer()
    shell.expect("kpq> ")
    check(True, "two pasted statements are two")
    paste("print x = 'not\x07\t\u00fc yet'")
    shell.expect("'not \u00fc yet'")
    check(not shell.read(0.3) or "row in" not in shell.seen, "a pasted line without an end waits for Enter")
    shell.type("\n")
    shell.expect("not \u00fc yet\n")
    shell.expect_answer()
    shell.expect("kpq> ")
    shell.type("\x1b[200~clock\r")
    time.sleep(0.1)
    shell.type("| take 1\r| project bound\r\x1b[201~")
    before = shell.expect_answer()
    check(before.count("bound") >= 2, "a paste that comes slowly is still one statement")
    shell.expect("kpq> ")

    shell.type("\\d clock\n")
    shell.expect("bound")
    shell.expect("kpq> ")
    shell.type("\\form\t")
    shell.expect("\\format")
    shell.type("csv\n")
    shell.expect("kpq> ")
    shell.type("clock | take 1 | project cpu\n")
    shell.expect("cpu\n")
    shell.expect("kpq> ")
    shell.type("\\format tabel\n")
    shell.expect("did you mean table?")
    shell.expect("kpq> ")
    shell.type("\\d sched_swich\n")
    shell.expect("did you mean 'sched_switch'?")
    shell.expect("kpq> ")
    shell.type("\\format table\n")
    shell.expect("kpq> ")
    shell.type("\\x\n")
    shell.expect("on")
    shell.expect("kpq> ")
    shell.type("\\timing\n")
    shell.expect("timing is off")
    shell.expect("kpq> ")
    shell.type("\\nix\n")
    shell.expect("unknown command")
    shell.expect("kpq> ")
    check(True, "backslash commands")

    answer = os.path.join(state, "answer.csv")
    shell.type(f"\\o {answer}\n\\format csv\nprint x = 'to a file'\n\\o\nprint x = 'to the screen'\n")
    shell.expect("answers go to the screen")
    shell.expect("kpq> ")
    shell.expect("to the screen\n")
    with open(answer) as file:
        check(file.read().split() == ["x", "to", "a", "file"], "\\o sends answers to a file")
    shell.expect("kpq> ")

    script = os.path.join(state, "script.kql")
    with open(script, "w") as file:
        file.write("print x = 'first of two';\nprint x =")
    shell.type(f"\\i {script}\n")
    shell.expect("first of two")
    shell.expect("kpq: ")
    shell.expect("kpq> ")
    shell.type("\\i /nowhere.kql\n")
    shell.expect("cannot read '/nowhere.kql'")
    shell.expect("kpq> ")
    check(True, "\\i runs a file, up to its first mistake")

    shell.type("\\set timeout 3s\n\\set\n")
    shell.expect("timeout   3s\n")
    shell.expect("memory    256M\n")
    shell.expect("kpq> ")
    shell.type("\\set since 15m\nspans | count\n")
    shell.expect("note: no time condition: this looks at the last 900")
    shell.expect("kpq> ")
    shell.type("\\set\n")
    shell.expect("since     15m\n")
    shell.expect("kpq> ")
    shell.type("\\set since\n\\set\n")
    shell.expect("all of it")
    shell.expect("kpq> ")
    shell.type("\\set timeout later\n")
    shell.expect("'later'")
    shell.type("\\set tiemout 1s\n")
    shell.expect("there is no setting 'tiemout'")
    shell.expect("kpq> ")
    check(True, "\\set shows, changes and refuses")

    shell.type("print x = 'again'\n")
    shell.expect("again\n")
    shell.expect("kpq> ")
    shell.type("\\watch 50ms\n")
    for _ in range(3):
        shell.expect("every 50.0")
        shell.expect("again\n")
    shell.type("\x03")
    shell.expect("kpq> ")
    check(True, "\\watch repeats until Ctrl-C and stays")

    shell.type("\\e\n")
    shell.expect("edited it\n")
    shell.expect("kpq> ")
    shell.type("\x1b[A")
    shell.expect("print x = 'edited it'")
    shell.type("\x03")
    shell.expect("kpq> ")
    check(True, "\\e edits the last statement and runs it")

    shell.type("\\help summarize\n")
    shell.expect("aggregate rows by groups")
    shell.expect("| summarize n = count()")
    shell.type("\\help bin\n")
    shell.expect("bin(long, long)")
    shell.type("\\help sumarize\n")
    shell.expect("there is no statement, operator or function 'sumarize'")
    shell.expect("kpq> ")
    check(True, "\\help explains a word")

    shell.type("\\open /nowhere\n")
    shell.expect("cannot open data directory '/nowhere'")
    shell.expect(f"on {DATA}\n")
    shell.expect("kpq> ")
    other = os.path.join(state, "other")
    subprocess.run([KPQ, "import", "/dev/null", "--data", other], check=True, stdout=subprocess.DEVNULL)
    shell.type(f"\\open {other}\n")
    shell.expect(f"on {other}\n")
    shell.type("spans | count\n")
    shell.expect("holds no rows yet")
    shell.expect("kpq> ")
    shell.type(f"\\open {DATA};\n")
    shell.expect(f"on {DATA}\n")
    shell.type("\\open http://ann:secret@127.0.0.1:1\n")
    before = shell.expect(f"on {DATA}\n")
    check("cannot ask http://127.0.0.1:1:" in before, "\\open changes to what answers, else nothing", before)
    shell.expect("kpq> ")
    shell.type(" print x = 'not kept'\n")
    shell.expect("not kept\n")
    shell.expect("kpq> ")

    shell.type("\\l\n")
    shell.expect("recordings")
    shell.expect("kpq> ")
    check(True, "\\l lists the hosts")

    check(shell.leave() == 0, "Ctrl-D leaves with 0")
    path = os.path.join(state, "kprobe", "history")
    check(os.stat(path).st_mode & 0o777 == 0o600, "the history is nobody else's to read")

    with open(path) as history:
        kept = history.read().replace("\\040", " ")
    check("secret" not in kept and "\\134open http://127.0.0.1:1" in kept and "not kept" not in kept,
          "no password is kept, nor what begins with a blank", kept)
    check("clock | take 1;" in kept, "a statement of two lines is one line of the history file")

    again = Shell(state)
    again.expect("kpq> ")
    again.type("\x1b[A")
    again.expect("\\l")
    again.type("\x03")
    again.expect("kpq> ")
    check(again.leave() == 0, "the history is there the next day")

    one, two = Shell(state), Shell(state)
    for shell, statement in ((one, "print 'one \\\\ \u00fc'"), (two, "print 'two'"), (one, "print 3")):
        shell.expect("kpq> ")
        shell.type(statement + "\n")
        shell.expect_answer()
    for shell in (one, two):
        shell.expect("kpq> ")
        shell.leave()
    with open(path) as history:
        kept = history.read()
    check(kept.count("_HiStOrY_V2_") == 1 and kept.endswith("print\\0403\n") and
          "print\\040'two'\n" in kept, "two shells at once lose nothing of the history")
    third = Shell(state)
    third.expect("kpq> ")
    third.type("\x1b[A\x1b[A\x1b[A\n")
    check("\u00fc" in third.expect_answer(), "what is not plain comes back as it was typed")
    third.expect("kpq> ")
    third.leave()

    with open(path, "w") as history:
        history.write("_HiStOrY_V2_\n" + "".join(f"print\\040{i}\n" for i in range(4100)))
    fourth = Shell(state)
    fourth.expect("kpq> ")
    fourth.leave()
    with open(path) as history:
        kept = history.read().split("\n")
    check(len(kept) == 2002 and kept[1] == "print\\0402100" and kept[2000] == "print\\0404099",
          "a long history is cut at its old end")

    # A server that takes a query and never answers stands for a query that takes too long.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        slow = Shell(state, url)
        slow.expect("kpq> ")
        slow.type("CAUSES OF txn 9\t8721")
        slow.expect("txn 98721", 5)
        check(True, "Tab does not wait for a server that hangs")
        while select.select([silent], [], [], 0)[0]:
            silent.accept()[0].close()
        slow.type("\x03")
        slow.expect("kpq> ")
        slow.type("clock | take 1\n")
        client, _ = silent.accept()
        slow.type("\x03")
        slow.expect("kpq: cancelled")
        slow.expect("kpq> ")
        check(slow.leave() == 0, "Ctrl-C cancels what runs and stays")
        client.close()
        ahead = Shell(state, url)
        ahead.expect("kpq> ")
        ahead.type("clock | take 1\n")
        client, _ = silent.accept()
        ahead.type("\x04")
        time.sleep(0.2)
        client.close()
        check(ahead.gone() == 0, "Ctrl-D typed before the prompt leaves at the prompt")
        once = subprocess.Popen([KPQ, url, "-c", "clock"], stderr=subprocess.PIPE)
        client, _ = silent.accept()
        once.send_signal(signal.SIGINT)
        check(once.wait(20) == 130 and b"kpq: cancelled" in once.stderr.read(),
              "Ctrl-C ends a query from the command line with 130")
        client.close()
