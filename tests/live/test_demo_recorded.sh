#!/usr/bin/env bash
# The recording that comes with kprobe is answered like a live run, without any privilege, and the
# screen says that it is not this machine.
set -u
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export TMPDIR=$tmp
before=$(find "$KP_ROOT/demo/recording" -type f -exec sha256sum {} + | sort)
"$KP_BIN/kpq" demo --recorded >"$tmp/out" 2>&1
status=$?
cat "$tmp/out"
[ $status = 0 ] || exit 1
head -n 1 "$tmp/out" | grep -q '^NOT THIS MACHINE' || exit 1
grep -q 'FAIL' "$tmp/out" && exit 1
grep -q 'ok   the root row names' "$tmp/out" || exit 1
after=$(find "$KP_ROOT/demo/recording" -type f -exec sha256sum {} + | sort)
[ "$before" = "$after" ] || { echo "the recording was changed"; exit 1; }
