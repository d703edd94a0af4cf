#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the shell of kpq shows: formats, colours, widths, the pager, and how it ends what is stuck.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
echo leak:wcsdup >"$dir/lsan" # see shell.sh
export LSAN_OPTIONS=suppressions=$dir/lsan:print_suppressions=0
"$KP_BIN/kpq" import "$KP_ROOT/tests/cli/spans.jsonl" --data "$dir/store"
python3 -B "$KP_ROOT/tests/cli/shell_looks.py" "$KP_BIN/kpq" "$dir/store"
