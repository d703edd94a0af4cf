#!/usr/bin/env bash
# Runs every test program below one build folder and prints one summary line.
# A program exits 0 = passed, 77 = skipped (it says why), anything else = failed.
# With KP_REQUIRE_LIVE set, a skip in tests/live is a failure.
set -u
out=$1
here=$(cd "$(dirname "$0")" && pwd)
export KP_BIN=$out/bin KP_ROOT=${here%/tests}
# A kpd of a test and a kpq without a target meet in here, not in the machine's own place.
XDG_RUNTIME_DIR=$(mktemp -d)
export XDG_RUNTIME_DIR
trap 'rm -rf "$XDG_RUNTIME_DIR"' EXIT
export KP_SHARED=${KP_SHARED:-$KP_ROOT/../shared}
passed=0 failed=0 skipped=0
failures=""

run_one() { # name command...
    local name=$1 log status start
    shift
    log=$(mktemp)
    start=$(date +%s%N)
    timeout 600 "$@" >"$log" 2>&1 </dev/null
    status=$?
    local ms=$((($(date +%s%N) - start) / 1000000))
    if [ $status -eq 77 ] && [ -n "${KP_REQUIRE_LIVE:-}" ] && [[ $name == live/* ]]; then
        echo "SKIPPED BUT REQUIRED" >>"$log"
        status=1
    fi
    if [ $status -eq 0 ]; then
        passed=$((passed + 1))
        printf '  ok      %-34s %6d ms\n' "$name" "$ms"
    elif [ $status -eq 77 ]; then
        skipped=$((skipped + 1))
        printf '  skip    %-34s %s\n' "$name" "$(tail -n 1 "$log")"
    else
        failed=$((failed + 1))
        failures="$failures $name"
        printf '  FAILED  %-34s exit %d\n' "$name" "$status"
        tail -n 60 "$log" | sed 's/^/    | /'
    fi
    rm -f "$log"
}

cd "$KP_ROOT" || exit 2
only=${KP_ONLY:-}
for dir in unit query oracle fault cli live; do
    for t in "$out"/tests/$dir/*; do
        [ -f "$t" ] && [ -x "$t" ] && [[ $t != *.o ]] && [[ $t != *.d ]] || continue
        name=$dir/$(basename "$t")
        [ -z "$only" ] || [[ $name == *$only* ]] || continue
        run_one "$name" "$t"
    done
    for t in "$here"/$dir/*.sh; do
        [ -f "$t" ] || continue
        name=$dir/$(basename "$t")
        [ -z "$only" ] || [[ $name == *$only* ]] || continue
        run_one "$name" bash "$t"
    done
done
for t in "$out"/tests/replay_*; do
    [ -x "$t" ] && [[ $t != *.d ]] || continue
    corpus=$here/fuzz/corpus/${t##*/replay_fuzz_}
    name=fuzz/$(basename "$t")
    [ -z "$only" ] || [[ $name == *$only* ]] || continue
    run_one "$name" "$t" "$corpus"
done
if [ -z "$only" ] && [ "$out" = build/release ]; then
    run_one tidy "$here/tidy.sh"
fi
[ $failed -eq 0 ] || echo "failed:$failures"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
