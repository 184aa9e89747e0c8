# The commands of this project. Each works on a bare Debian machine as well as
# on a used one, asks nothing, and can be run again.

SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help setup build lint test soak demo cluster bench fuzz

help: ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

setup: ## Install what the tests need (Debian packages, cargo-deny, peers in Python and Node)
	@scripts/setup

build: ## Build everything
	cargo build --workspace --all-targets

lint: ## Formatting, clippy, documentation, licences and sources of dependencies
	@scripts/lint

test: setup lint ## Everything that must hold: setup, lint, build, all tests, a few seconds of each fuzz target
	@scripts/test

soak: setup ## The faults between agent and collector, hundreds of rounds (CONGRUENT_ROUNDS)
	@scripts/soak

demo: ## See a machine being baked, changed, found out and replaced
	@scripts/demo

cluster: build ## Run two collectors on one PostgreSQL behind HAProxy on the loopback, until stopped
	@scripts/cluster

bench: ## Measure sweeps beside the floor probe and other checkers, their memory, and an idle agent
	@scripts/bench

fuzz: ## Fuzz every parser of foreign bytes under AddressSanitizer, a minute each (FUZZ_SECONDS)
	@FUZZ_SANITIZER=address scripts/fuzz
