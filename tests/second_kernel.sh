#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The same programs on another kernel: boots Debian's 6.1 in an emulator (no KVM, no disk) and runs the
# live capture tests in it, about a minute. Not part of `make test`: it wants qemu-system-x86,
# busybox-static, cpio, and a kernel named by KP_SECOND_KERNEL: a vmlinuz, or a linux-image package as
# `apt-get download` brings it.
set -eu

live=${KP_BIN:-build/release/bin}
live=$(cd "${live%/bin}/tests/live" 2>/dev/null && pwd) || live=
tests=${KP_SECOND_TESTS:-sched task syscall lock io objects waits work kinds}
kernel=${KP_SECOND_KERNEL:-}
limit=300

skip() {
    echo "$*"
    exit 77
}

for tool in qemu-system-x86_64 busybox cpio dpkg-deb; do
    command -v $tool >/dev/null || skip "no $tool (packages: qemu-system-x86 busybox-static cpio)"
done
[ -n "$kernel" ] || skip "KP_SECOND_KERNEL names no kernel (apt-get download linux-image-6.1...-cloud-amd64)"
[ -r "$kernel" ] || skip "cannot read $kernel"
for t in $tests; do
    [ -x "$live/test_capture_$t" ] || skip "test_capture_$t is not built"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{bin,proc,sys,dev,tmp,var/tmp,tests}

case $kernel in
*.deb)
    dpkg-deb -x "$kernel" "$work/package"
    kernel=$(echo "$work"/package/boot/vmlinuz-*)
    ;;
esac

# A program and the libraries it is linked with, at the same places.
add_program() {
    local library
    cp "$1" "$root/tests/"
    ldd "$1" | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root${library%/*}"
        cp -L "$library" "$root$library"
    done
}

for t in $tests; do
    add_program "$live/test_capture_$t"
done
cp "$(command -v busybox)" "$root/bin/busybox"
ln -s busybox "$root/bin/sh"
ln -s busybox "$root/bin/true"

cat >"$root/init" <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
$b mkdir -p /dev/shm
$b mount -t tmpfs shm /dev/shm
$b mount -t tmpfs cgroup /sys/fs/cgroup
for c in cpu memory; do
    $b mkdir /sys/fs/cgroup/$c
    $b mount -t cgroup -o $c cgroup /sys/fs/cgroup/$c
done
$b ip link set lo up
echo "kp-kernel $($b uname -r)"
for t in /tests/*; do
    $t >/tmp/log 2>&1 </dev/null
    status=$?
    [ $status -eq 0 ] || $b sed "s/^/| /" /tmp/log
    echo "kp-result ${t##*/} $status"
done
$b poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/initrd"

timeout $limit qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 512 -nographic -no-reboot \
    -kernel "$kernel" -initrd "$work/initrd" -append "console=ttyS0 quiet panic=-1" \
    </dev/null >"$work/console" 2>&1 || true
tr -d '\r' <"$work/console" | grep -a -E 'kp-kernel|kp-result|^\| ' || true

failed=0
for t in $tests; do
    grep -a -q "kp-result test_capture_$t 0" "$work/console" || failed=1
done
[ $failed -eq 0 ] || tail -n 20 "$work/console"
exit $failed
