#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Records a mixed load (database, messages between processes, compiles, block I/O) until so many
# kernel events are stored, then adds a stream of spans over the same time. Kept and used again.
#   bench/record.sh BIN DIR [EVENTS [TRANSACTIONS]]     BIN with kpq; DIR/data is made
set -eu
bin=$1 dir=$2 events=${3:-20000000} txns=${4:-105000}
data=$dir/data
[ ! -e "$dir/complete" ] || exit 0
if [ "$(id -u)" != 0 ] || [ ! -r /sys/kernel/btf/vmlinux ]; then
    echo "recording needs root and a kernel with BTF" >&2
    exit 1
fi
mkdir -p "$dir"
if [ -e "$data" ]; then
    echo "$data is there but not complete; remove it to record again" >&2
    exit 1
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/kprobe-load-XXXXXX")
chmod 755 "$work"
mkdir "$work/fio" "$work/objects"
record=""
loads=""
groups=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)
# Every load works in rounds of a few seconds and looks for this file between them.
stop=$work/stop
finish() {
    touch "$stop"
    [ -z "$record" ] || kill -INT "$record" 2>/dev/null || true
    for pid in $loads $record; do wait "$pid" || true; done
    record="" loads=""
    [ -z "$groups" ] || rmdir "$groups"/kprobe-load-* 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# A control group of its own for a load, where that can be had.
own_group() {
    [ -z "$groups" ] || { mkdir "$groups/kprobe-load-$1" && echo "$BASHPID" >"$groups/kprobe-load-$1/cgroup.procs"; } 2>/dev/null || true
}
until_stop() {
    own_group "$1"
    while [ ! -e "$stop" ]; do
        "$@" >>"$work/log" 2>&1 || sleep 1
    done
}
# A cluster of its own, gone with the command.
database() {
    own_group database
    # shellcheck disable=SC2016
    pg_virtualenv sh -c 'pgbench -q -i -s 10 && while [ ! -e "$0" ]; do pgbench -n -c 6 -j 2 -T 3; done' "$stop"
}
messages() {
    hackbench -g 1 -l 400
    perf bench sched messaging -g 1 -l 200
    sleep 0.3
}
compiles() {
    for source in src/base/*.c; do
        cc -std=gnu11 -O2 -w -Isrc -I. -Ibuild/gen -DKP_BUILD_VERSION='""' -c "$source" -o "$work/objects/out.o" || return 1
    done
}
disk() {
    fio --name=mixed --directory="$work/fio" --rw=randrw --bs=4k --size=64M --ioengine=io_uring \
        --iodepth=8 --fdatasync=64 --time_based --runtime=3
}
stored() {
    "$bin/kpq" "$data" -c 'events | count' --format tsv 2>/dev/null | tail -n 1
}

echo "recording $events kernel events into $data"
"$bin/kpq" record --data "$data" --ring 256M >"$work/record" 2>&1 &
record=$!
sleep 2
database >>"$work/log" 2>&1 &
loads="$loads $!"
for load in messages compiles disk; do
    until_stop "$load" &
    loads="$loads $!"
done
while kill -0 "$record" 2>/dev/null; do
    count=$(stored || echo 0)
    [ "${count:-0}" -lt "$events" ] 2>/dev/null || break
    sleep 5
done
touch "$stop"
for pid in $loads; do wait "$pid" || true; done
loads=""
kill -INT "$record" 2>/dev/null || true
if ! wait "$record"; then
    cat "$work/record" "$work/log" >&2
    exit 1
fi
record=""
tail -n 1 "$work/record"

range=$("$bin/kpq" "$data" -c 'events | summarize from = tolong(min(ts)), till = tolong(max(ts))' \
    --format tsv 2>/dev/null | tail -n 1)
# shellcheck disable=SC2086
python3 bench/otlp_lines.py $range "$txns" >"$work/spans.jsonl"
"$bin/kpq" import "$work/spans.jsonl" --data "$data" 2>&1 | tail -n 1
"$bin/kpq" "$data" -c 'gaps | summarize gaps = count(), events_lost = sumif(count, count > 0) by reason' 2>/dev/null
touch "$dir/complete"
