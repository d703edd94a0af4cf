#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A running kpd: its doors, its limits, its end.
exec python3 "$KP_ROOT/tests/cli/kpd.py" "$KP_BIN"
