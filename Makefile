# The commands people use. Each does its own set-up; CI calls only `check` and `test`.
#
#   make demo                    build everything, boot a machine, watch it refuse and accept configurations
#   make demo-fleet              two devices call a hub, are let in, configured, reached through it, one removed; with the address of its pages; KEEP=1
#                                leaves it running
#   make test                    every test, virtual machines included; as root: README.md says why
#   make check                   formatting, lints, documentation, dependency policy
#   make node ARCH=…             what runs on devices: x86_64 (the default), aarch64 or all
#   make image BOARD=… OUT=…     a disk image; FLEET=DIR puts that fleet's key into it, CONFIG=FILE a signed configuration
#                                FORMAT=raw.zst,iso and others write other forms: docs/formats.md
#   make run BOARD=…             boot it, console on this terminal (Ctrl-A X ends it)
#   make hub                     skerry-hub, what devices phone home to: target/release/skerry-hub
#   make bench                   the figures, one JSON line each, kept in target/bench.jsonl
#   make bench-hub               the hub's figures, half an hour, kept in target/bench-hub.jsonl; DEVICES=N for fewer than 20,000 devices
#
# IMAGER_FLAGS is passed on, e.g. IMAGER_FLAGS='--without k3s' or IMAGER_FLAGS='--component k3s=PATH'.

BOARD ?= qemu-x86_64
# With one form, OUT has its ending; with several, imager gives each its own.
ENDINGS := raw:img raw.zst:img.zst raw.gz:img.gz qcow2:qcow2 iso:iso uki:efi pxe:pxe.tar
OUT ?= out/skerry-$(BOARD).$(or $(patsubst $(FORMAT):%,%,$(filter $(FORMAT):%,$(ENDINGS))),img)
CACHE_HOME := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)
SKERRY_CACHE ?= $(CACHE_HOME)/skerry
export SKERRY_CACHE

# Static: the RAM disk holds no C library. Only with an explicit --target, or build scripts would be static too.
# No path of the building machine enters the binaries: the same source gives the same bytes in any folder.
NODE_RUSTFLAGS := -C target-feature=+crt-static \
	--remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)=/cargo --remap-path-prefix=$(CURDIR)=/skerry
NODE_PACKAGES := -p init -p apid -p standin-k3s
NODE_BUILD := cargo build --locked --profile image $(NODE_PACKAGES) --target

# arm64: rustup's target where it is installed, else Debian's compiler, which rustup's cargo drives. A target folder of its own, or
# the other compiler would make the build scripts of the x86-64 programs anew at each turn.
ARM64_TARGET := aarch64-unknown-linux-gnu
ARM64_FOLDER := target/arm64/$(ARM64_TARGET)/image
ARM64_PROGRAMS := skerry-init apid skerry-images standin-k3s
ARM64_RUSTC = $(if $(filter $(ARM64_TARGET),$(shell rustup target list --installed 2>/dev/null)),,RUSTC=/usr/bin/rustc)

# The architecture of BOARD, as its file says; none: there is no such board, which concerns those alone that make its image.
BOARD_ARCH := $(shell sed -n 's/^architecture = "\(.*\)"/\1/p' kernel/boards/$(BOARD).toml 2>/dev/null)
ARCH ?= x86_64
NODES := $(if $(filter all,$(ARCH)),node-x86_64 node-aarch64,node-$(ARCH))

# The version `make check` builds once into the cache when the host has no cargo-deny.
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(or $(shell command -v cargo-deny 2>/dev/null),$(SKERRY_CACHE)/tools/bin/cargo-deny)

# One cargo at a time: they would wait for each other.
.NOTPARALLEL:

.PHONY: help setup setup-build setup-arm64 setup-tests setup-rights no-board node node-x86_64 node-aarch64 tools hub fetch image run demo demo-fleet test check bench bench-hub

help:
	@sed -n 's/^#   //p' Makefile

# Everything that any of the commands needs from Debian; each command by itself asks only for its own part.
setup:
	@tools/setup.sh

setup-build:
	@tools/setup.sh build

setup-arm64:
	@tools/setup.sh build arm64

setup-tests:
	@tools/setup.sh build tests

# Installs nothing: says what the tests need of the kernel and may not use.
setup-rights:
	@tools/setup.sh rights

no-board:
	@echo "there is no board $(BOARD); there are: $(basename $(notdir $(wildcard kernel/boards/*.toml)))" >&2; exit 1

# What runs on a device, and the k3s stand-in that tests and the demo run there.
node: $(NODES)

node-x86_64: setup-build
	CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="$(NODE_RUSTFLAGS)" $(NODE_BUILD) x86_64-unknown-linux-gnu
	@tools/crates.sh x86_64-unknown-linux-gnu target/x86_64-unknown-linux-gnu/image $(NODE_PACKAGES)

# The programs end up where cargo would put them without a folder of its own, which is where imager looks for them.
node-aarch64: setup-arm64
	CARGO_TARGET_DIR=target/arm64 $(ARM64_RUSTC) \
	CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="$(NODE_RUSTFLAGS)" $(NODE_BUILD) $(ARM64_TARGET)
	@install -D -t target/$(ARM64_TARGET)/image $(addprefix $(ARM64_FOLDER)/,$(ARM64_PROGRAMS))
	@$(ARM64_RUSTC) tools/crates.sh $(ARM64_TARGET) target/$(ARM64_TARGET)/image $(NODE_PACKAGES)

# What runs on an operator's machine.
tools: setup-build
	cargo build --locked --release -p imager -p ctl

# What devices phone home to; one file, to be copied to the machine that it runs on.
hub: setup-build
	cargo build --locked --release -p hub --bin skerry-hub

# The components of kernel/components.lock, into the cache.
fetch: tools
	target/release/imager fetch

image: $(if $(BOARD_ARCH),node-$(BOARD_ARCH),no-board) tools
	@mkdir -p $(dir $(OUT))
	target/release/imager build --board $(BOARD) $(if $(FLEET),--fleet $(FLEET)) $(if $(CONFIG),--config $(CONFIG)) \
		$(if $(FORMAT),--format $(FORMAT)) $(IMAGER_FLAGS) --out $(OUT)

run: setup-tests image
	cargo run --locked --release -q -p skerry-tests --bin run -- $(OUT)

demo: setup-tests node-x86_64 tools
	cargo run --locked --release -q -p skerry-tests --bin demo

demo-fleet: setup-tests node-x86_64 tools
	cargo build --locked --release -q -p hub --bin skerry-hub
	cargo run --locked --release -q -p skerry-tests --bin demo-fleet

# One build of everything in the development profile: the test programs, and the imager that makes what the VM tests boot.
test: setup-rights setup-tests node-x86_64 node-aarch64
	cargo build --locked --workspace --all-targets
	SKERRY_IMAGER=$(CURDIR)/target/debug/imager SKERRY_TEST_IMAGES=$(CURDIR)/target/vm-images target/debug/build-images
	SKERRY_TEST_IMAGES=$(CURDIR)/target/vm-images cargo test --locked --workspace --no-fail-fast

check: setup-build $(CARGO_DENY)
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items
	$(CARGO_DENY) --locked check bans licenses sources
	@if $(CARGO_DENY) --locked fetch 2>/dev/null; then $(CARGO_DENY) --locked check advisories; \
	else echo "check: advisories were NOT checked: the advisory database cannot be fetched from here"; fi

$(SKERRY_CACHE)/tools/bin/cargo-deny:
	cargo install cargo-deny --version $(CARGO_DENY_VERSION) --locked --root $(SKERRY_CACHE)/tools

bench: setup-tests node-x86_64 node-aarch64 tools
	cargo run --locked --release -q -p skerry-tests --bin bench

# The hub is a program of its own: what it takes is measured without what its devices take.
bench-hub: setup-tests
	cargo build --locked --release -q -p hub --bin skerry-hub
	cargo run --locked --release -q -p skerry-tests --bin bench-hub -- $(DEVICES)
