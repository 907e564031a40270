# What a stranger needs: `make demo` and `make test`. Each does all its own set-up on a machine that has
# Rust, gcc and make.

CARGO ?= cargo
TOOLS := build/tools
DENY := $(TOOLS)/bin/cargo-deny
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
# What libFuzzer wants to be told by a program: which edges it passes and what it compares.
FUZZ_FLAGS := --cfg fuzzing -Cdebug-assertions -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares

.PHONY: demo test hunt torture torture-agent crash-states crash-states-agent faults replay fuzz check lint deny tidy build reference bench bench-agent clean

## demo: build everything and follow a purchase through a running shop
demo: build
	target/debug/silmari demo $(DEMO_ARGS)

## build: the three binaries: silmari, silmari-agent, silmari-shop
build:
	$(CARGO) build --locked --workspace --bins

## test: every test, against the real binaries, which cargo builds for them; property tests draw the same cases
## everywhere, so that what passes here passes there (hunt draws others)
test: export PROPTEST_RNG_SEED ?= 20261126
test:
	$(CARGO) test --locked --workspace --no-fail-fast

## hunt: property and model tests with CASES new cases each; what one finds becomes a test of its own
hunt: CASES ?= 2000
hunt:
	PROPTEST_CASES=$(CASES) SILMARI_FILE_CASES=$(CASES) SILMARI_MODEL_CASES=$(CASES) \
		$(CARGO) test --locked --workspace --lib --no-fail-fast

## torture: kill the server under load, ROUNDS times; nothing acknowledged may be lost or doubled
torture: ROUNDS ?= 1000
torture:
	SILMARI_TORTURE_ROUNDS=$(ROUNDS) $(CARGO) test --locked --package silmari --test main killed_under_load -- --nocapture

## crash-states: cut the power at every operation of SCENARIOS runs of the log (about 37 states each)
crash-states: SCENARIOS ?= 28000
crash-states:
	SILMARI_CRASH_SCENARIOS=$(SCENARIOS) $(CARGO) test --locked --package storage --lib everything_acknowledged_survives

## crash-states-agent: the same for the agent's spool (about 190 states a scenario)
crash-states-agent: SCENARIOS ?= 10000
crash-states-agent:
	SILMARI_CRASH_SCENARIOS=$(SCENARIOS) $(CARGO) test --locked --package agent --lib whatever_the_moment

## faults: fail every call of the file system once, with every fault (make test fails every seventeenth)
faults:
	SILMARI_FAULTS=all $(CARGO) test --locked --package storage --lib every_call_of_the_file_system

## replay: a server replays a log of BYTES within its memory (make test: 24 MiB)
replay: BYTES ?= 1073741824
replay:
	SILMARI_REPLAY_BYTES=$(BYTES) $(CARGO) test --locked --package silmari --test main replays_a_long_log -- --nocapture

## fuzz: TARGET for SECONDS in FUZZ: fuzz (log catalog segment ids traces logs metrics positions json) or agent/fuzz (cri docker syslog
##       logfmt nginx auto statsd spool); libFuzzer with the compiler of this repository, no other tool
fuzz: FUZZ ?= fuzz
fuzz: TARGET ?= log
fuzz: SECONDS ?= 60
fuzz:
	mkdir -p $(FUZZ)/corpus/$(TARGET) $(FUZZ)/artifacts $(FUZZ)/target/corpus/$(TARGET)
	cd $(FUZZ) && RUSTC_BOOTSTRAP=1 RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --locked --release --target $(HOST) --bin $(TARGET)
	cd $(FUZZ) && target/$(HOST)/release/$(TARGET) target/corpus/$(TARGET) corpus/$(TARGET) -artifact_prefix=artifacts/$(TARGET)- \
		-max_total_time=$(SECONDS) -timeout=5 -max_len=65536

## torture-agent: kill -9 of agent and server under load and rotation, ROUNDS times
torture-agent: ROUNDS ?= 1000
torture-agent: build
	SILMARI_TORTURE_ROUNDS=$(ROUNDS) $(CARGO) test --locked --package silmari --test main agent_kill -- --nocapture

## check: what a change has to pass besides the tests
check: lint deny tidy

## lint: formatting, and clippy with warnings as errors
lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

## deny: licences, bans and sources of all dependencies
deny: $(DENY)
	$(DENY) --locked check licenses bans sources

$(DENY):
	$(CARGO) install --locked --root $(TOOLS) cargo-deny@0.20.2

## tidy: crate arrows, file headers, generated pages
tidy:
	$(CARGO) test --locked --package fixtures --test tidy

## reference: write the generated pages in docs/reference
reference: build
	target/debug/silmari reference > docs/reference/configuration.md
	SILMARI_WRITE_REFERENCE=1 $(CARGO) test --locked --package agent --lib the_page_in_docs

## bench: throughput with durable acknowledgement, and journey latency
bench:
	$(CARGO) bench --locked --package benches

## bench-agent: the agent's speed, memory and size, one core against a sink that counts (CASES="json steady")
bench-agent: CASES ?=
bench-agent:
	$(CARGO) build --locked --profile agent --package agent
	$(CARGO) build --locked --profile agent --package agent-bench
	target/agent/agent-bench $(CASES) $(BENCH_ARGS)

clean:
	$(CARGO) clean
	rm -rf build
