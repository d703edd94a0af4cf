# SPDX-License-Identifier: Apache-2.0
"""A kpd over the recording of the demo, and the programs of others that ask it, for the tests of the
query port. Programs come from the folder KP_CLIENTS, which fills itself where that is possible."""
import http.client
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse

CLIENTS = os.environ.get("KP_CLIENTS") or os.path.join(tempfile.gettempdir(), "kp_clients")


def check(good, what, more=""):
    print(("ok      " if good else "FAILED  ") + what)
    if not good:
        print(more)
        sys.exit(1)


def ask(port, method, path, body=None, headers=None, raw=False):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, text if raw else text.decode("utf-8"), answer.headers


def query(kpd, text, headers=None, **params):
    path = "/query?" + urllib.parse.urlencode({"db": "kprobe", "q": text, **params})
    status, body, heads = ask(kpd.port, "GET", path, headers=headers)
    return status, body, heads


class Kpd:
    """kpd over a copy of the demo's recording."""
    FLAGS = ["--otlp-listen", "off"]

    def __init__(self, binaries, root, base):
        self.data = base + "/data"
        shutil.copytree(root + "/demo/recording/data", self.data)
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [binaries + "/kpd", "--data", self.data, "--listen", "127.0.0.1:0",
             "--query-listen", "127.0.0.1:0", *self.FLAGS], stderr=self.log, stdout=self.log)
        end = time.time() + 30
        while time.time() < end and self.process.poll() is None:
            ports = dict(re.findall(r"(api|otlp|query)=[^ \"]*\(port (\d+)\)", self.text().replace(" (", "(")))
            if "query" in ports and len(ports) == 2 + ("off" not in self.FLAGS):
                self.api, self.port, self.otlp = (int(ports.get(name, 0)) for name in ("api", "query", "otlp"))
                return
            time.sleep(0.02)
        self.process.kill()
        check(False, "kpd starts", self.text())

    def text(self):
        self.log.seek(0)
        return self.log.read()

    def metric(self, name):
        text = ask(self.api, "GET", "/metrics")[1]
        return int(re.search(rf"^kprobe_{name} (\d+)$", text, re.M).group(1))


def run_quietly(command, folder):
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, timeout=60, check=False).returncode
    except (OSError, subprocess.TimeoutExpired):
        return -1


def debian_program(package, name):
    """A program of Debian: installed, or taken out of its package into KP_CLIENTS; None without."""
    path = shutil.which(name) or f"{CLIENTS}/debian/usr/bin/{name}"
    if not os.path.exists(path):
        folder = CLIENTS + "/" + package
        os.makedirs(folder, exist_ok=True)
        if run_quietly(["apt-get", "download", package], folder) == 0:
            for file in os.listdir(folder):
                run_quietly(["dpkg-deb", "-x", file, CLIENTS + "/debian"], folder)
    return path if os.path.exists(path) else None


def node_modules(*packages):
    """The folder of npm's packages ("name@version"), which are fetched when missing; None without."""
    folder = CLIENTS + "/node_modules"
    missing = [one for one in packages if not os.path.isdir(folder + "/" + one.rsplit("@", 1)[0])]
    if missing:
        os.makedirs(CLIENTS, exist_ok=True)
        run_quietly(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", CLIENTS, *missing],
                    CLIENTS)
    good = all(os.path.isdir(folder + "/" + one.rsplit("@", 1)[0]) for one in packages)
    return folder if good and shutil.which("node") else None
