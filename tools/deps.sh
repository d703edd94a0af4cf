#!/bin/sh
# Installs the Debian packages the build and the tests need (or those named as arguments), when it may;
# otherwise prints the line.
set -eu
packages="${*:-gcc make git clang llvm libclang-rt-14-dev clang-format bpftool libbpf-dev libelf-dev zlib1g-dev
liburing-dev libxxhash-dev libzstd-dev libmicrohttpd-dev libjansson-dev libedit-dev
libcurl4-openssl-dev libpcre2-dev libssl-dev libcmocka-dev lemon re2c universal-ctags iproute2 nftables python3 tzdata xfsprogs btrfs-progs}"
missing=""
for p in $packages; do
    [ "$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null)" = "install ok installed" ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then
    root=""
elif sudo -n true 2>/dev/null; then
    root="sudo"
else
    echo "kprobe: packages are missing; install them with" >&2
    echo "  sudo apt-get install -y$missing" >&2
    exit 1
fi
echo "installing:$missing" >&2
$root apt-get update -qq
DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends $missing >/dev/null
