#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The OTLP door: protobuf beside JSON, what a real exporter sends, and what is refused.
exec python3 "$KP_ROOT/tests/cli/otlp.py" "$KP_BIN" "$KP_ROOT"
