#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kpd and kpq find each other without being told where.
exec python3 "$KP_ROOT/tests/cli/meeting.py" "$KP_BIN"
