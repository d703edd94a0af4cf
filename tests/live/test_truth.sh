#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Real faults on this kernel, a few of each class: the right kind and culprit, nothing wrong but
# strong, rows that add up. `make truth` makes more of them, of more classes.
set -u
if [ "$(id -u)" != 0 ] || [ ! -r /sys/kernel/btf/vmlinux ]; then
    echo "needs root and a kernel with BTF"
    exit 77
fi
out=${KP_BIN%/bin}
classes="preempt convoy inversion inherit stop pipe downstream own-cpu own-sleep own-timeout loss
    control position connections page-fault softirq retransmit pg-row"
if [ -d /sys/fs/cgroup/cpu ] && [ -w /sys/fs/cgroup/cpu/cgroup.procs ]; then
    classes="$classes quota held-quota"
else
    echo "no cpu controller (v1) here: without the quota"
fi
# shellcheck disable=SC2086
exec "$KP_ROOT/tests/incidents/truth.py" "$out" --runs 2 --check $classes
