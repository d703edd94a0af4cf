"""Style rules that run as a test (tests/tidy.sh). Prints every breach; exit 1 if there is one."""
import json
import os
import re
import subprocess
import sys

# Who may include whom: folder -> folders below it whose public header it may use.
MAY_INCLUDE = {
    "base": set(),
    "column": {"base"},
    "storage": {"base", "column"},
    "ingest": {"base", "column", "storage"},
    "causal": {"base", "column", "storage"},
    "query": {"base", "column", "storage", "causal"},
    "render": {"base", "column"},
    "server": {"base", "column", "storage", "ingest", "query", "render"},
}
# Folders whose every header is public.
OPEN_FOLDERS = {"base", "column"}
# Library header prefix -> the only files that may include it.
SEAMS = {
    "bpf/libbpf": {"src/ingest/source_ring.c"},
    "bpf/bpf.h": {"src/ingest/source_ring.c"},
    "capture.skel.h": {"src/ingest/source_ring.c"},
    "liburing": {"src/storage/io_uring.c"},
    "zstd": {"src/storage/codec_zstd.c"},
    "xxhash": {"src/base/hash.c"},
    "microhttpd": {"src/server/http.c"},
    "jansson": {"src/ingest/otlp_json.c"},
    "histedit": {"tools/lineedit.c"},
    "editline": {"tools/lineedit.c"},
    "curl/": {"tools/client.c"},
    "zlib": {"src/server/gzip.c"},
    "pcre2": {"src/query/regex.c"},
    "openssl": {"src/storage/crypto_openssl.c"},
}
EVENT_H_USERS = re.compile(r"^(bpf/|src/ingest/(decode|source_\w+|source)\.[ch]$|tests/)")
BANNED = {
    "strcpy": "copy with a bound", "strcat": "append with a bound (kp_buf)",
    "sprintf": "use snprintf or kp_buf_printf", "vsprintf": "use vsnprintf",
    "gets": "never", "strtok": "scan with kp_str", "atoi": "parse with a check",
    "atol": "parse with a check", "alloca": "use the arena", "assert": "use kp_assert",
    "localtime": "UTC only", "rand": "seeded generator only",
}
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 800
LINE_COLUMNS_MAX = 100
HEADER_FUNCTIONS_MAX = 24
MAKEFILE_LINES_MAX = 250
# A parser's token switch and the like: named, with the reason.
LONG_FUNCTIONS_ALLOWED = {}
# Places of one machine: the checkout itself, homes, and hosts that packages come from.
WORDS = re.compile(re.escape(os.getcwd()) + r"(?![\w-])|(?<![\w.$])/(?:home|root)/"
                   r"|\b(?:registry|deb|mirrors?)\.[a-z0-9-]+\.[a-z]{2,}", re.I)
MARKS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")

breaches = []


def breach(path, line, text):
    breaches.append(f"{path}:{line}: {text}")


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "--",
                          *patterns], capture_output=True, text=True, check=True).stdout
    return sorted(p for p in out.split("\n") if p and os.path.exists(p))


def read(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return f.read()


def folder_of(path):
    parts = path.split("/")
    return parts[1] if parts[0] == "src" and len(parts) == 3 else None


def check_includes(path, text):
    folder = folder_of(path)
    for number, line in enumerate(text.split("\n"), 1):
        m = re.match(r'\s*#\s*include\s+[<"]([^>"]+)[>"]', line)
        if not m:
            continue
        target = m.group(1)
        for prefix, users in SEAMS.items():
            if target.startswith(prefix) and path not in users and not path.startswith(("tests/", "bpf/")):
                breach(path, number, f"{target} belongs to {', '.join(sorted(users))} only")
        if target.endswith("event.h") and not EVENT_H_USERS.match(path):
            breach(path, number, "the wire structs are for bpf/, decode.c and the sources only")
        m = re.match(r"(base|column|storage|ingest|causal|query|render|server)/(\w+\.(?:h|def))$", target)
        if not m:
            continue
        other, header = m.groups()
        if other != folder and other not in OPEN_FOLDERS and header != other + ".h" \
                and not path.startswith("tests/"):
            breach(path, number, f"{target} is private to src/{other}")
        if folder and other != folder and other not in MAY_INCLUDE[folder]:
            breach(path, number, f"src/{folder} may not include src/{other}")


def check_text(path, text):
    lines = text.split("\n")
    if len(lines) > FILE_LINES_MAX and not path.startswith("src/column/catalogue"):
        breach(path, len(lines), f"file longer than {FILE_LINES_MAX} lines")
    if not re.search(r"SPDX-License-Identifier", "\n".join(lines[:3])):
        breach(path, 1, "no SPDX line")
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_COLUMNS_MAX:
            breach(path, number, f"line wider than {LINE_COLUMNS_MAX} columns")
        if "\t" in line:
            breach(path, number, "tab")
        code = re.sub(r'"(?:\\.|[^"\\])*"', '""', line)
        code = re.sub(r"//.*|/\*.*?\*/|^\s*\*.*", "", code)
        for name, why in BANNED.items():
            if re.search(rf"(?<![\w.>]){name}\s*\(", code) and not (
                    name == "assert" and path.startswith("tests/")):
                breach(path, number, f"{name}(): {why}")


def check_words(path, text):
    if path == "tests/tidy.py":
        return
    for number, line in enumerate(text.split("\n"), 1):
        if WORDS.search(line):
            breach(path, number, "names a place that is not part of the project")
        if MARKS.search(line):
            breach(path, number, "mark of unfinished work")


def check_functions(paths):
    out = subprocess.run(["ctags", "--languages=C", "--kinds-C=f", "--fields=+neS", "--output-format=json",
                          "-f", "-", *paths], capture_output=True, text=True, check=True).stdout
    for row in out.split("\n"):
        if not row.strip():
            continue
        tag = json.loads(row)
        path, name, first, last = tag["path"], tag["name"], tag["line"], tag.get("end", tag["line"])
        if last - first + 1 > FUNCTION_LINES_MAX and name not in LONG_FUNCTIONS_ALLOWED:
            breach(path, first, f"{name} has {last - first + 1} lines, more than {FUNCTION_LINES_MAX}")
        static = "file" in tag or tag.get("access") == "private"
        if path.startswith("src/") and not static and not re.match(r"kpi?_", name):
            source = read(path).split("\n")
            head = " ".join(source[max(0, first - 2):first])
            if "static" not in head:
                breach(path, first, f"{name}: functions that leave a file start with kp_ or kpi_")


def check_borders(paths):
    """kpi_ names stay inside their folder."""
    owners = {}
    for path in paths:
        folder = folder_of(path)
        if folder:
            for name in re.findall(r"^[\w\s\*]*\b(kpi_\w+)\(", read(path), re.M):
                owners.setdefault(name, folder)
    for path in paths:
        folder = folder_of(path)
        if path.startswith("tests/"):
            continue
        for number, line in enumerate(read(path).split("\n"), 1):
            for name in re.findall(r"\b(kpi_\w+)\(", line):
                if owners.get(name, folder) != folder:
                    breach(path, number, f"{name} is private to src/{owners[name]}")


def check_headers(headers, everything):
    texts = {p: read(p) for p in everything}
    for path in headers:
        base = os.path.basename(path)
        if not any(f'{base}"' in text for other, text in texts.items() if other != path):
            breach(path, 1, "included by nobody")
        functions = re.findall(r"^[a-z][\w\s\*]*\b\w+\([^;{]*\)[^;{]*;", read(path), re.M)
        if path.startswith("src/") and len(functions) > HEADER_FUNCTIONS_MAX:
            breach(path, 1, f"{len(functions)} functions in one header")


def include_graph(headers):
    graph = {}
    for path in headers:
        targets = re.findall(r'#\s*include\s+"([^"]+\.h)"', read(path))
        graph[path] = [t for t in ("src/" + x for x in targets) if t in headers]
    return graph


def check_cycles(headers):
    graph = include_graph(set(headers))
    state = {}

    def visit(node, trail):
        if state.get(node) == "done":
            return
        if node in trail:
            breach(node, 1, "include cycle: " + " -> ".join(trail + [node]))
            return
        for target in graph[node]:
            visit(target, trail + [node])
        state[node] = "done"

    for node in graph:
        visit(node, [])


def check_documents(paths):
    for path in paths:
        text = re.sub(r"```.*?```", "", read(path), flags=re.S)
        titles = re.findall(r"^# ", text, re.M)
        if len(titles) != 1:
            breach(path, 1, f"{len(titles)} titles; a document has one")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            if not os.path.exists(os.path.join(os.path.dirname(path), target)):
                breach(path, 1, f"dead link {target}")


def check_cases(path):
    """The last cell of a row in a table of edge cases names programs and tests of them."""
    table = read(path).split("## Edge cases")[1].split("\n## ")[0]
    rows = [row for row in table.split("\n") if row.startswith("| ")][2:]
    for row in rows:
        cell = row.rstrip(" |").split(" | ")[-1]
        if "`test_" not in cell:
            breach(path, 1, f"no test: {row[:60]}")
        for program, names in re.findall(r"`(test_\w+)` ([\w, ]+)", cell):
            source = f"tests/unit/{program}.c"
            text = read(source) if os.path.exists(source) else ""
            for name in re.split(r",\s*", names.strip(" ,")):
                defined = f"static void {name}(void **state)" in text
                if not defined or len(re.findall(rf"\b{name}\b", text)) < 2:
                    breach(path, 1, f"{source} does not run {name}")


def check_format(paths):
    if not paths:
        return
    done = subprocess.run(["clang-format", "--dry-run", "-Werror", *paths], capture_output=True, text=True)
    bad = sorted({line.split(":")[0] for line in done.stderr.split("\n") if "error:" in line})
    for path in bad:
        breach(path, 1, "not formatted: run `make format`")


def main():
    sources = tracked("src/*.c", "src/*.h", "bpf/*.c", "bpf/*.h", "tools/*.c", "tools/*.h", "demo/*.c",
                      "demo/*.h", "tests/*.c", "tests/*.h", "bench/*.c")
    for path in sources:
        text = read(path)
        check_includes(path, text)
        check_text(path, text)
    for path in tracked():
        if not re.search(r"\.(png|kps|gz|bin|zst)$|corpus|golden|recording", path):
            check_words(path, read(path))
    check_functions([p for p in sources if not p.startswith("tests/unit/")])
    code = [p for p in sources if p.startswith("src/")]
    check_borders(sources)
    headers = [p for p in code if p.endswith(".h")]
    check_headers(headers, sources)
    check_cycles(headers)
    check_documents(tracked("*.md", "docs/*.md", "docs/decisions/*.md"))
    check_cases("docs/causality.md")
    check_format(sources)
    if len(read("Makefile").split("\n")) > MAKEFILE_LINES_MAX:
        breach("Makefile", 1, f"longer than {MAKEFILE_LINES_MAX} lines")
    for line in breaches:
        print(line)
    print(f"tidy: {len(sources)} sources, {len(breaches)} breaches")
    return 1 if breaches else 0


sys.exit(main())
