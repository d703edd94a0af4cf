#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the records of tests/cli/*.t on the built programs.
exec python3 "$KP_ROOT/tests/cli/records.py" "$KP_BIN" "$KP_ROOT"/tests/cli/*.t
