#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The shell of kpq through a pseudo-terminal.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# libedit never frees the names of functions added to it (EL_ADDFN); anything else is our leak.
echo leak:wcsdup >"$dir/lsan"
export LSAN_OPTIONS=suppressions=$dir/lsan:print_suppressions=0
cp "$KP_ROOT/tests/cli/spans.jsonl" "$dir/store.jsonl"
"$KP_BIN/kpq" import "$dir/store.jsonl" --data "$dir/store"
python3 -B "$KP_ROOT/tests/cli/shell.py" "$KP_BIN/kpq" "$dir/store"
