#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What Tab offers in bash, zsh and fish. zsh and fish are tried where they are installed.
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
expect "bash: a flag of the server" "$(words kpd --otlp-l)" --otlp-listen
expect "bash: a format" "$(words kpq . --format ver)" vertical
expect "bash: no flag of another command" "$(words kpq verify --sysc)" ""

"$bin/kpq" completions zsh >"$dir/zsh"
"$bin/kpq" completions fish >"$dir/fish"
mkdir "$dir/site"
cp "$dir/zsh" "$dir/site/_kpq"
for shell in bash zsh; do
    if command -v "$shell" >/dev/null; then
        PATH=$bin:$PATH python3 "$KP_ROOT/tests/cli/completions.py" "$shell" "$dir"
    else
        echo "note    no $shell here: its file is made but not tried"
    fi
done

offers() { # WHAT, A LINE, THE WORDS
    expect "fish: $1" "$(fish -c "source $dir/fish; complete -C '$2'" | cut -f1 | sort | xargs)" "$3"
}
if command -v fish >/dev/null; then
    fish -n "$dir/fish"
    export HOME=$dir
    offers "a subcommand" 'kpq rec' record
    offers "a flag" 'kpq record --sysc' --syscall-min
    offers "a format" 'kpq --format ver' vertical
    offers "words of a flag" 'kpq --progress ' 'always auto never'
    offers "no flag of another command" 'kpq verify --sysc' ''
    offers "a flag of the server" 'kpd --otlp-l' --otlp-listen
else
    echo "note    no fish here: its file is made but not tried"
fi
code=0
"$bin/kpq" completions tcsh 2>"$dir/err" || code=$?
expect "another shell is refused" "$code $(tail -1 "$dir/err")" "2 hint: kpq completions bash, zsh or fish"
