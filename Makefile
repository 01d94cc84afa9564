# What people run. `make help` lists it.
#
# The target folder is outside the checkout and shared between checkouts, because RocksDB takes a quarter of an hour to
# compile. Cargo is always asked for the whole workspace: with a selection it would resolve other features, and compile
# RocksDB again.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/undoubt/target
SHELL := /bin/bash
BIN := $(CARGO_TARGET_DIR)/debug
CARGO := cargo
PYTHON_ENV := $(CARGO_TARGET_DIR)/python

.PHONY: help demo demo-databases test rules check fix keep-format metrics-page fuzz torture restores service-kills explore sweep compare bench interop sdk-bench build bencher simulator setup python prometheus databases

help: ## Lists the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

demo: build ## One coordinator, three participants, two-phase commit, then sagas, kill -9, recovery, audit. Under a minute once built.
	@$(BIN)/undoubt demo

demo-databases: build databases ## Money between a PostgreSQL, which is installed if absent, and a store, in every mode, with KILLS=8 kill -9 of everybody, database server included; then an audit.
	@$(BIN)/undoubt demo-databases --kills $${KILLS:-8}

# Whether runs are deterministic comes first: all that simulation tells rests on it.
test: setup python prometheus databases ## All tests.
	$(CARGO) test --workspace --test determinism
	$(CARGO) build --workspace --examples
	UNDOUBT_PYTHON=$(PYTHON_ENV)/bin/python $(CARGO) test --workspace --all-targets
	$(CARGO) test --workspace --doc

# Compiles nothing but the cores, the pure crates beside them and the exploration.
rules: setup ## What a change of a rule breaks: tests of the cores, and the exploration of small worlds.
	$(CARGO) test --workspace --test golden --test clocks --test unusable_records --test losses --test bounds \
		--test unreachable_participant --test saga_walks --test open_saga_walks --test barrier --test standing --test exploration --test explore --test observer

check: setup ## What CI checks: formatting and lints. Changes nothing.
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

fix: setup ## Formats, and applies what lints suggest.
	$(CARGO) fmt --all
	$(CARGO) clippy --workspace --all-targets --fix --allow-dirty --allow-staged

fuzz: ## Fuzzes every decoder by coverage, MINUTES=60 in all, on a nightly compiler. TARGETS="words work" for some, KEEP=1 keeps what it found.
	@.ci/fuzz

torture: build ## At least 100 kill -9 under load, at random moments and at every crash point.
	$(BIN)/undoubt torture --kills $${KILLS:-120}

restores: build ## 40 data folders put back, emptied or started twice under load, then an audit. ROUNDS=10 for fewer.
	$(BIN)/undoubt restores --rounds $${ROUNDS:-40}

keep-format: setup ## Leaves small data folders of the present format in the tests, for good. Once, when FORMAT was raised.
	$(CARGO) test --workspace --test processes -- --ignored write_folders_of_this_format

metrics-page: setup ## Writes the page of metrics from the code.
	$(CARGO) test --workspace --test monitoring -- --ignored write_the_page_of_metrics

service-kills: setup python ## KILLS=100 kill -9 over coordinator, participants over HTTP and three services with a database each, then an audit of these databases. SEED=1.
	KILLS=$${KILLS:-100} SEED=$${SEED:-1} UNDOUBT_PYTHON=$(PYTHON_ENV)/bin/python $(CARGO) test --workspace --test processes -- \
		--nocapture whatever_is_killed_each_step_is_done_once

explore: simulator ## Explores the protocol cores exhaustively.
	$(BIN)/undoubt-sim explore

sweep: simulator ## Simulates SEEDS=300 worlds under faults, from seed FIRST=1 on.
	$(BIN)/undoubt-sim sweep --seeds $${SEEDS:-300} --first $${FIRST:-1}

compare: simulator ## Two-phase commit and sagas, orchestration and choreography side by side under the same failures, over SEEDS=15 seeds.
	$(BIN)/undoubt-sim compare --seeds $${SEEDS:-15}

bench: build bencher ## What transactions cost, beside floors and peers. PARTS="headline lone" for some; PEERS=1 installs peers first.
	@[ -z "$(PEERS)" ] || .ci/peers
	@$(BIN)/undoubt-bench $(PARTS) --out $${OUT:-undoubt-bench-report}

interop: build ## The SDKs in other languages: formatting, types, tests, READMEs, packages. Installs what it needs.
	@UNDOUBT_BIN=$(BIN) .ci/interop

sdk-bench: build ## What the SDKs add to bare calls, in CPU time. After make interop, which installs their tools.
	@UNDOUBT_BIN=$(BIN) coordinator/sdk/bench.sh

# What users run, and no more: a newcomer waits for it.
build: setup
	$(CARGO) build --workspace --bin undoubt --bin undoubt-coordinator --bin undoubt-participant

bencher: setup
	$(CARGO) build --workspace --bin undoubt-bench

# Alone, so that whoever changes a rule sees soon what it breaks.
simulator: setup
	$(CARGO) build --workspace --bin undoubt-sim

# RocksDB's bindings are made with libclang, its sources need a C++ compiler.
setup:
	@.ci/setup

# For the tests of alert rules.
prometheus:
	@.ci/prometheus

# For tests and demos that start private database servers.
databases:
	@.ci/databases

# For the participant in Python that a test drives, and for schemathesis, which makes requests of the gateway's description.
PYTHON_NEEDS := participant/examples/python/requirements.txt bin/tests/requirements.txt

python: $(PYTHON_ENV)/ready

# The SDK is installed from here: only what it needs in its turn makes this anew.
$(PYTHON_ENV)/ready: $(PYTHON_NEEDS) coordinator/sdk/python/pyproject.toml
	python3 -m venv $(PYTHON_ENV)
	$(PYTHON_ENV)/bin/pip install --quiet --disable-pip-version-check $(addprefix -r ,$(PYTHON_NEEDS))
	touch $@
