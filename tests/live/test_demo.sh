#!/usr/bin/env bash
# The demo end to end on this kernel: the root row names the batch job, the rows add up, without the
# batch job nothing blames the kernel, and nothing is left behind, also after Ctrl-C.
set -u
if [ "$(id -u)" != 0 ] || [ ! -r /sys/kernel/btf/vmlinux ]; then
    echo "needs root and a kernel with BTF"
    exit 77
fi
kpq=$KP_BIN/kpq
tmp=$(mktemp -d)
export TMPDIR=$tmp/tmp
mkdir "$TMPDIR"
demo=
if "$kpq" record --data "$tmp/probe" --for 1ms 2>&1 | grep 'built without capture'; then
    rm -rf "$tmp"
    exit 77
fi
finish() {
    [ -z "$demo" ] || kill -KILL "$demo" 2>/dev/null
    rm -rf "$tmp"
}
trap finish EXIT

fail() {
    echo "FAILED: $1"
    cat "$tmp/out" "$tmp/err"
    exit 1
}

# Runs the demo in a session of its own, so that whatever it leaves behind can be found.
run_demo() { # seconds until SIGINT or "" , flags...
    local after=$1 session status
    shift
    setsid "$kpq" demo "$@" >"$tmp/out" 2>"$tmp/err" &
    demo=$!
    session=$demo
    if [ -n "$after" ]; then
        sleep "$after"
        kill -INT "$demo"
    fi
    wait "$demo"
    status=$?
    demo=
    [ -z "$(ps -o pid=,args= -s "$session")" ] || fail "left running: $(ps -o pid=,args= -s "$session")"
    [ -z "$(ls -A "$TMPDIR")" ] || fail "left behind: $(ls "$TMPDIR")"
    return $status
}

column() { # query, column: its values, one a line
    "$kpq" "$tmp/data" --format csv -c "$1 | project $2" | tail -n +2 | tr -d '\r'
}

# A kernel that hides what happens in one process's context can hide the one wakeup that matters. The
# answer then says `unknown(lost)` and names nobody: such a run is void and made once more.
run_demo "" --payments 40 --keep "$tmp/data"
status=$?
if [ $status != 0 ] && grep -q '^false  unknown(lost)' "$tmp/out"; then
    echo "void: the kernel did not show a wakeup of the payment's path; once more"
    rm -rf "$tmp/data"
    run_demo "" --payments 40 --keep "$tmp/data"
    status=$?
fi
[ $status = 0 ] || fail "the demo ended with $status"
grep -q '^payment 98721, INR 50,000.00: limbo' "$tmp/out" || fail "the payment is not in limbo"
grep -q 'FAIL' "$tmp/out" && fail "a check of the demo failed"

batch=$(sed -n 's/.*the batch job is pid \([0-9]*\).*/\1/p' "$tmp/out")
causes='CAUSES OF txn 98721 WITHIN 2s'
root=$(column "$causes | where root" culprit_pid)
[ -n "$batch" ] && [ "$root" = "$batch" ] || fail "root names pid $root, the batch job was $batch"
sum=$(column "$causes" dur | awk '{ s += $1 } END { printf "%d", s }')
wall=$(column 'spans | where txn == "98721" and parent_id == ""' dur)
[ "$sum" = "$wall" ] || fail "the rows add up to $sum ns, the payment took $wall ns"
column "$causes | where root" kind | grep -qx runnable.preempted || fail "wrong kind of root"
echo "root pid $root, $sum ns in all rows"

run_demo "" --payments 30 --no-batch || fail "the run without batch job ended with $?"
grep -q '^payment 98721, INR 50,000.00: settled' "$tmp/out" || fail "slow without the batch job"

run_demo 3 --payments 200
[ $? = 130 ] || fail "after Ctrl-C the exit code is not 130"
echo "interrupted: nothing left"
