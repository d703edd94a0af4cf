#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The words that bash, zsh and fish offer. zsh and fish are tried where they are installed.
set -euo pipefail
bin=$(realpath "$KP_BIN")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

expect() { # WHAT IS WANTED
    [[ $2 == "$3" ]] || { echo "FAILED  $1: '$2', not '$3'"; exit 1; }
    echo "ok      $1"
}

"$bin/kpq" completions bash >"$dir/bash"
# shellcheck disable=SC1091
source "$dir/bash"
words() { # the last of the words is completed
    COMP_WORDS=("$@")
    COMP_CWORD=$(($# - 1))
    _kpq
    echo "${COMPREPLY[*]}"
}
cd "$dir"
expect "bash: a subcommand" "$(words kpq rec)" record
expect "bash: its flag" "$(words kpq record --sysc)" --syscall-min
expect "bash: a flag of the server" "$(words kpd --otlp)" --otlp-listen
expect "bash: a format" "$(words kpq . --format ver)" vertical
expect "bash: no flag of another command" "$(words kpq verify --sysc)" ""

for shell in zsh fish; do
    "$bin/kpq" completions "$shell" >"$dir/$shell"
    if command -v "$shell" >/dev/null; then
        "$shell" -n "$dir/$shell"
        echo "ok      $shell reads its file"
    else
        echo "note    no $shell here: its file is made but not read"
    fi
done
if command -v fish >/dev/null; then
    expect "fish: a flag" "$(fish -c "source $dir/fish; complete -C 'kpq record --sysc'" | cut -f1)" \
        --syscall-min
fi
code=0
"$bin/kpq" completions tcsh 2>"$dir/err" || code=$?
expect "another shell is refused" "$code $(tail -1 "$dir/err")" "2 hint: kpq completions bash, zsh or fish"
