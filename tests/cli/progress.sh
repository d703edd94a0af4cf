#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a query that takes long says of its progress.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$KP_BIN/kpq" import "$KP_ROOT/tests/cli/spans.jsonl" --data "$dir/store"
python3 "$KP_ROOT/tests/cli/progress.py" "$KP_BIN" "$dir/store"
