# The commands people use. Each does its own set-up; CI calls only `check` and `test`.
#
#   make demo                    build everything, boot a machine, watch it refuse and accept configurations
#   make test                    every test, virtual machines included
#   make check                   formatting, lints, documentation, dependency policy
#   make image BOARD=… OUT=…     a disk image
#   make run BOARD=…             boot it, console on this terminal
#   make bench                   the figures, one JSON line each, kept in target/bench.jsonl

BOARD ?= qemu-x86_64
OUT ?= out/skerry-$(BOARD).img
CACHE ?= $(if $(SKERRY_CACHE),$(SKERRY_CACHE),$(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/skerry)
export SKERRY_CACHE := $(CACHE)

NODE_TARGET := x86_64-unknown-linux-gnu
# Static: the RAM disk holds no C library. Only with an explicit --target, or build scripts would be static too.
NODE_ENV := CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C target-feature=+crt-static"
NODE_BUILD := $(NODE_ENV) cargo build --locked --profile image --target $(NODE_TARGET)
IMAGER := target/release/imager
SKERRYCTL := target/release/skerryctl

CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CACHE)/tools/bin/cargo-deny

.PHONY: help setup node tools image run demo test test-unit test-vm check bench clean

help:
	@sed -n 's/^#   //p' Makefile

setup:
	@tools/setup.sh

# What runs on a device.
node: setup
	$(NODE_BUILD) -p init -p apid

# What runs on an operator's machine.
tools: setup
	cargo build --locked --release -p imager -p ctl
