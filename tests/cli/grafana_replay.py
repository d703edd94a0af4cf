# SPDX-License-Identifier: Apache-2.0
"""Requests of stock Grafana 9 to 13, as each version sends them, and the frames it makes of the answers.

grafana/requests.json has what is asked, in which versions, and the frames: run with KP_RECORD=1 to
write the latter, and look at what changed. Every version must get the same bytes."""
import gzip
import json
import os
import subprocess
import urllib.parse

import grafana_frames as frames
from port_kpd import ask, check, node_modules

VERSIONS = {9: "9.5.21", 10: "10.4.19", 11: "11.6.4", 12: "12.4.0", 13: "13.1.0"}
DIALECT = {"annotations": ["datatype", "group", "default"], "delimiter": ",", "header": True}


def influxql(version, request, post):
    """Version 9 asks through the browser for lists, all others by Go's client, which takes gzip."""
    headers = {"User-Agent": "Grafana/" + VERSIONS[version], "Authorization": "Basic Z3JhZmFuYTp4"}
    params = {"db": "kprobe", "epoch": "ms"}
    if version == 9 and request["form"] == "metadata":
        headers["Accept"] = "application/json, text/plain, */*"
    else:
        headers["Accept-Encoding"] = "gzip"
    if not post:
        return "GET", "/query?" + urllib.parse.urlencode({**params, "q": request["ask"]}), None, headers
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    return "POST", "/query?" + urllib.parse.urlencode(params), urllib.parse.urlencode({"q": request["ask"]}), headers


def flux(version, request, post):
    headers = {"User-Agent": "Grafana/" + VERSIONS[version], "Authorization": "Token x",
               "Accept-Encoding": "gzip", "Content-Type": "application/json; charset=utf-8"}
    body = {"dialect": request.get("dialect", DIALECT), "query": request["ask"], "type": "flux"}
    return "POST", "/api/v2/query?org=kprobe", json.dumps(body), headers


def send(kpd, door, request):
    """The answer, which is the same for every version and both methods."""
    wanted = range(request.get("since", 9), request.get("until", 13) + 1)
    seen = set()
    for version in wanted:
        status, body, headers = ask(kpd.port, *door(version, request, post=version % 2 == 0), raw=True)
        if headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        seen.add((status, body))
    check(len(seen) == 1, f"{request['what']}: the same in Grafana {wanted[0]} to {wanted[-1]}",
          [(status, body[:600]) for status, body in seen])
    check(frames.check_reply(request, status, body.decode(), headers) is None, "  as its decoder wants it",
          f"{frames.check_reply(request, status, body.decode(), headers)}\n{status} {body[:2000]}")
    return {"form": request["form"], "body": body.decode(),
            "delimiter": request.get("dialect", DIALECT)["delimiter"]}


def replay(kpd, root):
    path = root + "/tests/cli/grafana/requests.json"
    with open(path, encoding="utf-8") as file:
        doors = json.load(file)
    asked = [(request, send(kpd, door, request)) for name, door in (("influxql", influxql), ("flux", flux))
             for request in doors[name]]
    modules = node_modules("@grafana/data@13.2.3")
    if modules is None:
        print("skip    npm @grafana/data is not here and cannot be fetched")
        return
    shown = [(request, answer) for request, answer in asked if request["form"] != "error"]
    done = subprocess.run(["node", root + "/tests/cli/grafana_replay.js", modules], check=False, timeout=60,
                          input=json.dumps([answer for _, answer in shown]), capture_output=True, text=True)
    check(done.returncode == 0, "frames of @grafana/data", done.stderr)
    for (request, _), got in zip(shown, json.loads(done.stdout)):
        if os.environ.get("KP_RECORD"):
            request["frames"] = got
        check(request.get("frames") == got, f"frames: {request['what']}",
              f"{json.dumps(got)}\ninstead of\n{json.dumps(request.get('frames'))}")
    if os.environ.get("KP_RECORD"):
        lines = {name: ",\n".join("  " + json.dumps(one, ensure_ascii=False) for one in requests)
                 for name, requests in doors.items()}
        with open(path, "w", encoding="utf-8") as file:
            file.write("{\n" + ",\n".join(f' "{name}": [\n{text}\n ]' for name, text in lines.items()) + "\n}\n")
