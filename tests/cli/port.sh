#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The query port of a running kpd, over the recording of the demo: text, InfluxDB's API, Grafana.
exec python3 "$KP_ROOT/tests/cli/port.py" "$KP_BIN" "$KP_ROOT"
