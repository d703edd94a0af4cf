#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The shell of kpq through a pseudo-terminal.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$KP_BIN/kpq" import "$KP_ROOT/tests/cli/spans.jsonl" --data "$dir/store"
python3 "$KP_ROOT/tests/cli/shell.py" "$KP_BIN/kpq" "$dir/store"
