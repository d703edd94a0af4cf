#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kpq hold: with nobody writing, beside a kpd, beside a writer that takes no holds.
set -eu
dir=$(mktemp -d)
pid=
trap 'test -z "$pid" || kill "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT
kpq=$KP_BIN/kpq
data=$dir/s

fail() {
    echo "FAILED: $1"
    cat "$dir/log"
    exit 1
}

# run CODE ARGS...: kpq hold ARGS, its words to the log
run() {
    local want=$1 code=0
    shift
    "$kpq" hold "$@" >"$dir/log" 2>&1 || code=$?
    [ $code -eq "$want" ] || fail "hold $*: exit $code, not $want"
}

says() { grep -q -- "$1" "$dir/log" || fail "no '$1'"; }

"$kpq" import "$KP_ROOT/tests/cli/spans.jsonl" --data "$data" >"$dir/log" 2>&1 || fail import

run 0 list "$data"
says '^no holds$'
run 0 add "$data" --txn 98721 --reason 'case 4711'
says '^hold 1: 2026-11-23T03:46:00.000000000Z .. 2026-11-23T03:48:0'
run 0 add "$data" --from 2026-01-01 --to 2026-02-01T00:00:00Z --reason two
says '^hold 2: '
run 0 release "$data" 2
run 0 list "$data"
says '^hold 1: .*, in force since .*, case 4711$'
says '^hold 2: .*, released .*, two$'
run 1 release "$data" 2
says 'no hold 2 is in force'
run 1 add "$data" --txn nobody --reason x
says 'no span of transaction nobody'
run 2 add "$data" --from 2026-01-01 --reason x
says '--to TIME is missing'
run 2 add "$data" --txn 1 --from 2026-01-01 --reason x
run 2 add "$data" --txn 98721
says '--reason TEXT is missing'
run 1 add "$dir/none" --from 2026-01-01 --to 2026-02-01 --reason x
[ ! -e "$dir/none" ] || fail "a directory was made"

# Through the socket of a running kpd.
"$KP_BIN/kpd" --data "$data" --listen 127.0.0.1:0 --otlp-listen off --retain-age 3650d \
    --retain-bytes 1G >"$dir/kpd" 2>&1 &
pid=$!
for _ in $(seq 200); do
    grep -q 'api=' "$dir/kpd" && break
    sleep 0.05
done
run 0 add "$data" --txn 98721 --margin 1h --reason 'case 4712'
says '^hold 3: 2026-11-23T02:47:00'
run 0 list "$data"
says '^hold 3: .*, case 4712$'
run 0 release "$data" 1
run 1 release "$data" 1
says 'no hold 1 is in force'
port=$(sed -n 's/.*(port \([0-9]*\)).*/\1/p' "$dir/kpd" | head -n 1)
curl -s "http://127.0.0.1:$port/metrics" >"$dir/log"
says '^kprobe_store_holds 1$'
says '^kprobe_store_dropped_rows_total 0$'
curl -s -d release=3 "http://127.0.0.1:$port/api/hold" >"$dir/log"
says 'no such path'
kill "$pid"
wait "$pid" || fail "kpd: exit $?"
pid=
run 0 list "$data"
says '^hold 3: .*, in force'

# A writer without a socket has the lock.
flock "$data/lock" sh -c 'echo $$ > "$0/held"; exec sleep 30' "$dir" &
pid=$!
for _ in $(seq 100); do
    [ -s "$dir/held" ] && break
    sleep 0.05
done
run 4 release "$data" 3
says 'is being written by'
says 'hint: that process takes no holds'
kill "$(cat "$dir/held")"
echo "holds work"
