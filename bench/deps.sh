#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The Debian packages that only the comparison with other systems needs: loads to record, npm.
set -eu
packages="postgresql postgresql-contrib rt-tests fio linux-perf python3"
command -v npm >/dev/null || packages="$packages npm"
# shellcheck disable=SC2086
exec "$(dirname "$0")/../tools/deps.sh" $packages
