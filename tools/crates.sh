#!/usr/bin/env bash
# Writes crates.toml beside programs that were just built: which crates are in them, for imager's list of contents. `make node` calls it.
#
#   crates.sh TARGET FOLDER -p PACKAGE…      the packages as they were built: together, for cargo resolves their features together
#
# In it: cargo's tree of what the packages link (no build scripts, no macros, no tests), Cargo.lock, and the digest of each program.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$1 folder=$2
shift 2

# Program and the package it is built from.
programs="skerry-init=init skerry-images=init apid=apid standin-k3s=standin-k3s"

# Without the folders of our own packages: the same source gives the same list in any folder.
tree=$(cargo tree --locked --target "$target" "$@" --edges normal,no-proc-macro --prefix depth --format '{p}')
tree=$(sed -E 's, \(/[^)]*\),,' <<<"$tree")

{
	printf "tree = '''\n%s\n'''\n\n" "$tree"
	cat Cargo.lock
	for program in $programs; do
		sum=$(sha256sum <"$folder/${program%=*}")
		printf '\n[programs.%s]\npackage = "%s"\nsha256 = "%s"\n' "${program%=*}" "${program#*=}" "${sum%% *}"
	done
} >"$folder/crates.toml.part"
mv "$folder/crates.toml.part" "$folder/crates.toml"
