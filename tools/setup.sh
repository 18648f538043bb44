#!/bin/sh
# Installs what the Makefile's targets need from Debian or Ubuntu, and nothing when nothing is missing.
# Elsewhere it prints the list and fails, so that nobody has to guess.
#
#   tools/setup.sh [build] [arm64] [tests]      without words: everything
#   tools/setup.sh rights                       installs nothing: checks what `make test` needs of the kernel
set -eu

# Package and why. Compiler and C library for static binaries; signature checks when locking components.
build='gcc libc6-dev make ca-certificates
gpgv debian-archive-keyring'
# The same for devices with another processor than this machine's.
arm64='gcc-aarch64-linux-gnu libc6-dev-arm64-cross'
# Debian's Rust for them, where rustup has no such target: its own compiler, since rustup's does not read its library.
arm64_rust='rustc-web libstd-rust-web-dev:arm64'
# The emulators and their firmware; the tools that check what we wrote ourselves (never to write it).
tests='qemu-system-x86 ovmf qemu-system-arm qemu-efi-aarch64 qemu-utils
cpio dosfstools gdisk e2fsprogs squashfs-tools cryptsetup-bin device-tree-compiler
bmap-tools xorriso zstd btrfs-progs xfsprogs mount
poppler-utils librsvg2-bin
iproute2 dnsmasq-base
postgresql
chromium chromium-driver fonts-dejavu-core'
# Runs the identity provider that the hub's sign-in is tested against.
node='nodejs npm'

channel=$(sed -n 's/^channel = "\(.*\)"/\1/p' "$(dirname "$0")/../rust-toolchain.toml")
target=aarch64-unknown-linux-gnu

if ! command -v cargo >/dev/null 2>&1; then
    echo "setup: cargo is missing: install Rust $channel with rustup" >&2
    exit 1
fi

# `make test` sets up drives, file systems that fail and networks of its own. Told at once, not by a test half an hour later.
check_rights() {
    lacks=
    [ "$(id -u)" -eq 0 ] || lacks="$lacks; root"
    [ -e /dev/fuse ] || lacks="$lacks; /dev/fuse (modprobe fuse)"
    [ -e /dev/loop-control ] || lacks="$lacks; loop devices (modprobe loop)"
    [ -e /dev/net/tun ] || lacks="$lacks; /dev/net/tun (modprobe tun)"
    [ "$(id -u)" -ne 0 ] || unshare --net true 2>/dev/null || lacks="$lacks; network namespaces (a container needs --privileged)"
    [ -z "$lacks" ] || {
        echo "setup: the tests need, and this machine does not give them: ${lacks#; }" >&2
        echo "setup: as root, with your Rust: sudo env PATH=\"\$PATH\" HOME=\"\$HOME\" make test" >&2
        exit 1
    }
}

packages=
debian_rust=
for part in ${*:-build arm64 tests}; do
    case $part in
    build) packages="$packages $build" ;;
    arm64)
        packages="$packages $arm64"
        if ! rustup target list --installed 2>/dev/null | grep -qx "$target"; then
            packages="$packages $arm64_rust"
            debian_rust=yes
        fi
        ;;
    tests)
        packages="$packages $tests"
        # Node from elsewhere does as well; Debian's npm would take it away.
        if ! command -v npm >/dev/null 2>&1; then
            packages="$packages $node"
        fi
        ;;
    rights) check_rights ;;
    *)
        echo "setup: there is no part $part: give build, arm64, tests or rights" >&2
        exit 1
        ;;
    esac
done

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "setup: this is not Debian or Ubuntu; install these yourself (Debian's names):" >&2
    echo "$packages" >&2
    [ -z "$debian_rust" ] || echo "setup: in place of $arm64_rust: rustup target add $target" >&2
    exit 1
fi

# What Debian calls Rust may be older than what the sources are written for.
check_rust() {
    [ -n "$debian_rust" ] || return 0
    has=$(/usr/bin/rustc --version | cut -d' ' -f2)
    if [ "$(printf '%s\n%s\n' "${channel%.*}" "$has" | sort -V | head -n1)" != "${channel%.*}" ]; then
        echo "setup: /usr/bin/rustc is $has, and $channel is needed for arm64: run rustup target add $target" >&2
        exit 1
    fi
}

missing=
for package in $packages; do
    state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing="$missing $package"
done
if [ -z "$missing" ]; then
    check_rust
    exit 0
fi

echo "setup: installing$missing"
as_root=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "setup: not root and no sudo; run as root: apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    as_root=sudo
fi
# A foreign architecture stays only where its packages could be installed: elsewhere every later `apt-get update` would fail.
added=
undo() {
    status=$?
    [ "$status" -eq 0 ] || [ -z "$added" ] || {
        $as_root dpkg --remove-architecture arm64 || true
        echo "setup: arm64 was taken out of apt's architectures again; without Debian's Rust: rustup target add $target" >&2
    }
}
trap undo EXIT
case $missing in
*rustc-web* | *:arm64*)
    if ! grep -qx 'ID=debian' /etc/os-release; then
        echo "setup: only Debian has its Rust for arm64 ($arm64_rust): run rustup target add $target" >&2
        exit 1
    fi
    if ! dpkg --print-foreign-architectures | grep -qx arm64; then
        $as_root dpkg --add-architecture arm64
        added=yes
    fi
    ;;
esac
# shellcheck disable=SC2086 # word splitting is wanted: a list of packages
{
    $as_root apt-get update -qq
    if [ "${missing#*rustc-web}" != "$missing" ] && ! apt-cache show rustc-web >/dev/null 2>&1; then
        echo "setup: this Debian has no rustc-web: run rustup target add $target" >&2
        exit 1
    fi
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
added=
check_rust
