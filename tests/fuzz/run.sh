#!/usr/bin/env bash
# Runs fuzzers one after another. Usage: run.sh SECONDS BINARY...
# New inputs go to build/fuzz/corpus/NAME, crashing ones to build/fuzz; any crash fails the run.
set -u
here=$(cd "$(dirname "$0")" && pwd)
seconds=${1:?usage: run.sh SECONDS BINARY...}
shift
failed=0
for binary in "$@"; do
    name=${binary##*/fuzz_}
    found=build/fuzz/corpus/$name
    mkdir -p "$found"
    seeds=()
    [ -d "$here/corpus/$name" ] && seeds=("$here/corpus/$name")
    echo "fuzz $name for $seconds s"
    if ! "$binary" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="build/fuzz/$name-" "$found" "${seeds[@]}" 2>"build/fuzz/$name.log"; then
        failed=1
        tail -n 40 "build/fuzz/$name.log"
    fi
    grep -E 'stat::(number_of_executed_units|average_exec_per_sec|new_units_added)' "build/fuzz/$name.log"
done
exit $failed
