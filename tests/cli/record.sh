#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kpq record on this kernel: a command, a period, Ctrl-C, a command that is not there.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
kpq=$KP_BIN/kpq

fail() {
    echo "FAILED: $1"
    cat "$dir/log"
    exit 1
}

says() { grep -q -- "$1" "$dir/log" || fail "no '$1'"; }

code=0
"$kpq" record --data "$dir/rec" --for 1s >"$dir/log" 2>&1 || code=$?
if [ $code -eq 4 ] || [ $code -eq 7 ]; then
    grep -q '^hint: ' "$dir/log" || fail "no hint why it cannot record"
    echo "cannot record here: $(head -n 1 "$dir/log")"
    exit 77
fi
[ $code -eq 0 ] || fail "exit $code"
says '^recorded [1-9][0-9,]* events in 1\.[0-9] s, [0-9,]* lost, '

# A command: recording starts before it, ends with it, and keeps its own exit code.
cp "$(type -P true)" "$dir/kp-cli-true"
"$kpq" record --data "$dir/rec" -- sh -c "$dir/kp-cli-true; exit 7" >"$dir/log" 2>&1 || fail "exit $?"
says 'the command ended with exit code 7'
"$kpq" "$dir/rec" -c 'task | where op == "exec" and exe endswith "kp-cli-true" | count' --format csv \
    >"$dir/log" 2>&1 || fail "exit $?"
says '^1'

# Ctrl-C is the ordinary end.
"$kpq" record --data "$dir/rec" >"$dir/log" 2>&1 &
pid=$!
sleep 1
kill -INT $pid
wait $pid || fail "exit $? after SIGINT"
says '^recorded '

# A command that is not there: usage error, and the store stays whole.
code=0
"$kpq" record --data "$dir/rec" -- "$dir/none" >"$dir/log" 2>&1 || code=$?
[ $code -eq 2 ] || fail "exit $code for a command that is not there"
says 'cannot start'
"$kpq" verify "$dir/rec" >"$dir/log" 2>&1 || fail "the store is damaged"

# Only what was asked for.
"$kpq" record --data "$dir/sched" --kinds sched --for 1s >"$dir/log" 2>&1 || fail "exit $?"
"$kpq" "$dir/sched" -c 'syscall | count' --format csv >"$dir/log" 2>&1 || fail "exit $?"
says '^0'
