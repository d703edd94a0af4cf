#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What an auditor does (docs/forensics.md): key and head leave the machine, then the store is
# proved, and what was done to it afterwards is named.
set -euo pipefail
kpq=$(realpath "$KP_BIN/kpq") kpd=$(realpath "$KP_BIN/kpd") spans=$(realpath "$KP_ROOT/tests/cli/spans.jsonl")
dir=$(mktemp -d)
pid=
trap 'test -z "$pid" || kill "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"

fail() {
    echo "FAILED  $1"
    cat log
    exit 1
}

# expect CODE WORD ARGS...: kpq verify ARGS ends with CODE and says WORD
expect() {
    local want=$1 word=$2 code=0
    shift 2
    "$kpq" verify "$@" >log 2>&1 || code=$?
    [[ $code == "$want" ]] && grep -q -- "$word" log || fail "verify $*: exit $code, wanted $want and '$word'"
    echo "ok      verify ${*//$dir\//}: $word"
}

# serve: a kpd on the store, stopped in an orderly way after two of its epochs
serve() {
    "$kpd" --data s --listen 127.0.0.1:0 --otlp-listen off --query-listen off --seal-every 1s \
        --seal-key-out key >kpd.log 2>&1 &
    pid=$!
    for _ in $(seq 200); do [[ -S s/kpd.sock ]] && break; sleep 0.05; done
    sleep 1.3
    kill "$pid"
    wait "$pid"
    pid=
}

serve
[[ $(stat -c %a key) == 600 ]] || fail "the key is for its owner only"
cp key elsewhere.key
"$kpq" import "$spans" --data s >log 2>&1 || fail import
serve
cmp -s key elsewhere.key || fail "a key that was written once stays"
"$kpq" checkpoint s >head.txt
serve
expect 0 "0 findings" s --full --seal-key elsewhere.key --head head.txt
expect 0 "no head was given" s --seal-key elsewhere.key
[[ $("$kpq" verify s --format json | python3 -c 'import json, sys; json.load(sys.stdin); print(1)') == 1 ]] ||
    fail "json of verify"

cp -r s older
serve
"$kpq" checkpoint s >newest.txt
expect 5 "cut" older --head newest.txt --seal-key elsewhere.key
od -An -tx1 -v -N32 /dev/urandom | tr -d " \n" >wrong.key
sed "s/[0-9a-f]\{64\}/$(head -1 wrong.key)/" elsewhere.key >other.key
expect 5 "key" s --seal-key other.key
sed '2s/.*/1/' newest.txt >forged.txt # another size than was signed
expect 5 "checkpoint" s --head forged.txt
cp -r s altered
log=$(find altered/wal -type f | sort | head -1)
at=$("$kpq" inspect "$log" | sed -n 's/.*block at \([0-9]*\):.*/\1/p' | head -1)
printf 'X' | dd of="$log" bs=1 seek=$((at + 100)) conv=notrunc status=none
expect 5 "altered/wal\|$(basename "$log")" altered --full --seal-key elsewhere.key
