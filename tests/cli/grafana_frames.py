# SPDX-License-Identifier: Apache-2.0
"""What the decoders of Grafana's InfluxDB data source demand of an answer, as checks."""
import csv
import io
import json


def check_cells(series):
    """Cells are scalars, rows as wide as the columns, no number beyond what a double holds."""
    for row in series["values"]:
        if len(row) != len(series["columns"]):
            raise ValueError(f"a row of {len(row)} cells under {len(series['columns'])} columns")
        for cell in row:
            if isinstance(cell, (list, dict)):
                raise ValueError(f"a cell that is no scalar: {cell}")
            if isinstance(cell, int) and not isinstance(cell, bool) and abs(cell) > 2**53 and \
                    len(str(cell)) != 19:
                raise ValueError(f"a number that a double does not hold: {cell}")


def check_document(document):
    """The series of element 0; raises ValueError for what would break a frame."""
    if not document.get("results"):
        raise ValueError("results must hold an element")
    result = document["results"][0]
    if "error" in result:
        raise ValueError(result["error"])
    series = result.get("series", [])
    for one in series:
        check_cells(one)
        if "time" in one["columns"][1:]:
            raise ValueError("time must be column 0")
        if any(column.lower() == "time" and column != "time" for column in one["columns"]):
            raise ValueError("time is written small")
    return series


def check_times(series):
    """Grafana asks with epoch=ms: times are numbers of that size."""
    for one in series:
        if one["columns"][0] != "time":
            raise ValueError("there is no time column")
        for row in one["values"]:
            if isinstance(row[0], bool) or not isinstance(row[0], int) or len(str(row[0])) > 13:
                raise ValueError(f"not milliseconds: {row[0]}")


def check_annotated(text):
    """Annotated CSV of one table; the two columns of the protocol are left out."""
    table = list(csv.reader(io.StringIO(text, newline="")))
    if [row[0] for row in table[:3]] != ["#datatype", "#group", "#default"]:
        raise ValueError("three annotations are missing")
    if "\n" in text.replace("\r\n", "").replace('\\n', "") and '"' not in text:
        raise ValueError("lines end in CRLF")
    width = len(table[0])
    body = [row for row in table[4:] if row]
    if any(len(row) != width for row in table[:4] + body):
        raise ValueError("rows of different width")
    return {"types": table[0][3:], "columns": table[3][3:], "rows": [row[3:] for row in body]}


def check_form(form, series):
    """What the asking part of Grafana does with the series."""
    if form == "time_series":
        check_times(series)
    if form == "table" and any(one.get("tags") for one in series):
        raise ValueError("tags come out in any order in a table")
    if form == "variable" and (not series or "time" in series[0]["columns"]):
        raise ValueError("a variable needs rows and a column that is no time")
    if (form == "empty") != (not series):
        raise ValueError(f"{len(series)} series")


def check_reply(request, status, body, headers):
    """None, or what is wrong with the reply to a request of the table."""
    try:
        if request["form"] == "error":
            if status != 400 or not (json.loads(body).get("error") or json.loads(body).get("message")):
                raise ValueError("an error without a message shows as nothing")
            return None
        if status != 200:
            raise ValueError(f"status {status}")
        if not headers.get("X-Grafana-Meta-Add-Rows"):
            raise ValueError("no numbers for the query inspector")
        if request["form"] != "flux":
            check_form(request["form"], check_document(json.loads(body)))
    except (ValueError, KeyError, IndexError) as error:
        return repr(error)
    return None
