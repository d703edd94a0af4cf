#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The query port beside a real InfluxDB: the same rows in both, the same requests, the answers compared.
exec python3 "$KP_ROOT/tests/cli/influxd.py" "$KP_BIN" "$KP_ROOT"
