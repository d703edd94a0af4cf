#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Queries that ask for too much, of a kpd that takes in spans meanwhile.
exec python3 "$KP_ROOT/tests/cli/bombs.py" "$KP_BIN" "$KP_ROOT"
