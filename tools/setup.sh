#!/bin/sh
# Installs what the Makefile's targets need from Debian or Ubuntu, and nothing when nothing is missing.
# Elsewhere it prints the list and fails, so that nobody has to guess.
set -eu

# Package and why: compiler and C library for static binaries; the emulator and its firmware; the tools that
# tests use to check what we wrote ourselves (never to write it); signature checks when locking components.
packages='gcc libc6-dev make ca-certificates
qemu-system-x86 ovmf
mtools dosfstools gdisk e2fsprogs squashfs-tools cryptsetup-bin
iproute2 dnsmasq-base
gpgv debian-archive-keyring'

if ! command -v cargo >/dev/null 2>&1; then
    echo "setup: cargo is missing: install Rust $(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml) with rustup" >&2
    exit 1
fi

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "setup: this is not Debian or Ubuntu; install these yourself (Debian's names):" >&2
    echo "$packages" >&2
    exit 1
fi

missing=
for package in $packages; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "setup: installing$missing"
as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "setup: not root and no sudo; run as root: apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    as_root=sudo
fi
# shellcheck disable=SC2086 # word splitting is wanted: a list of packages
{
    $as_root apt-get update -qq
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
