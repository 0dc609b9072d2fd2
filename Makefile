# Ashlar: everything one runs by hand or in CI. `make help` lists it.
#
# Tools come with the module (go.mod's tool line) or into .venv; Debian packages are installed by the targets that need
# them (.ci/prepare and the setup.sh scripts of e2e/), never by hand. .build/ keeps what the last run printed.

SHELL         := /bin/bash
.SHELLFLAGS   := -euo pipefail -c
.DEFAULT_GOAL := help

# Time per fuzz target and per benchmark, which benchmarks, and arguments for `ashlar dev` (--fresh, say).
FUZZTIME  ?= 10s
BENCHTIME ?= 1s
BENCH     ?= .
DEV_ARGS  ?=

# A checkout of DevStack, for devstack-check; without one, its functions have stand-ins.
DEVSTACK_DIR ?=

# The simulator: the seed to play again, how many seeds `make test` plays, how long `make sim-long` does.
SEED      ?=
SEEDS     ?= 10000
HOURS     ?= 8

# Packages whose tests replay many random histories. Under the race detector -short lets them do fewer; here they run
# once more, in full and without it.
HEAVY := ./dataplane/engine/... ./dataplane/pagestore/... ./cmd/internal/dev/...

GO_TEST := go test -json
TALLIED := .ci/tally
PYTHON  := os-brick-connector cinder-driver devstack

.PHONY: help build man deb test lint test-go test-sim test-python devstack-check sim sim-long mutants fuzz bench e2e e2e-full dev clean

help: ## list the targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

build: ## build ashlard and ashlar into bin/
	@.ci/prepare go
	go build -o bin/ ./cmd/...

man: build ## manual pages of ashlar and ashlard, into .build/man
	bin/ashlar man .build/man
	bin/ashlard man .build/man

test: lint test-go test-sim test-python ## lint, then every test but the end-to-end ones

deb: ## Debian packages of the Cinder driver and the os-brick connector into bin/
	@.ci/prepare deb
	.ci/deb

lint: ## gofmt, vet, staticcheck, the house rules, ruff
	@.ci/prepare go
	@.ci/prepare python
	@test -z "$$(gofmt -l . | tee /dev/stderr)" || { echo "lint: gofmt -w the files above" >&2; exit 1; }
	go vet -tags e2e,full ./...
	go tool staticcheck -tags e2e,full ./...
	go test ./dataplane
	.venv/bin/ruff check $(PYTHON)

test-go: ## the Go tests, with the race detector
	@.ci/prepare go
	$(GO_TEST) -race -short -timeout 15m ./... | $(TALLIED)
	$(GO_TEST) -timeout 15m $(HEAVY) | $(TALLIED)
	$(GO_TEST) -timeout 15m -run 'WasAway|WhoDrives' ./cmd/internal/daemon | $(TALLIED)

SCHEDULES := go test ./dataplane/sim -run TestSchedules -count=1 -v

test-sim: ## SEEDS schedules of the simulator
	@.ci/prepare go
	$(SCHEDULES) -timeout 15m -sim.seeds=$(SEEDS)
	$(SCHEDULES) -timeout 15m -sim.seeds=$$(($(SEEDS) / 10)) -sim.returns

sim: ## play the schedule of SEED again, with its trace if it fails
	@.ci/prepare go
	$(SCHEDULES) -sim.seed=$(SEED) -sim.trace=100000

sim-long: ## play new schedules for HOURS
	@.ci/prepare go
	$(SCHEDULES) -timeout 0 -sim.long=$(HOURS)h -sim.first=$$(date +%s)000

mutants: ## plant bugs, one after the other, and see crash tests, stories and the simulator find them
	@.ci/prepare go
	go test -tags mutants ./dataplane/pagestore -run TestMutants -count=1 -v -timeout 0
	go test -tags mutants ./dataplane/engine -run TestMutants -count=1
	go test -tags mutants ./dataplane/sim -run TestMutants -count=1 -v -timeout 0

test-python: ## the tests of the Cinder driver, the os-brick connector and the DevStack plugin
	@.ci/prepare python
	PYTHONPATH=os-brick-connector:cinder-driver .venv/bin/python -m pytest --disable-warnings $(PYTHON) | $(TALLIED) --pytest

devstack-check: ## the DevStack plugin, phase by phase, with the checkout in DEVSTACK_DIR
	@.ci/prepare python
	@test -f "$(DEVSTACK_DIR)/stackrc" || { echo "devstack-check: set DEVSTACK_DIR to a checkout of DevStack" >&2; exit 1; }
	DEVSTACK_DIR=$(abspath $(DEVSTACK_DIR)) .venv/bin/python -m pytest -q devstack

fuzz: ## every fuzz target for FUZZTIME
	@.ci/prepare go
	@FUZZTIME=$(FUZZTIME) .ci/fuzz

bench: ## the benchmarks that match BENCH, as a table
	@.ci/prepare go
	@BENCH='$(BENCH)' BENCHTIME=$(BENCHTIME) .ci/bench

e2e: build ## real Cinder and a real kernel against a real cluster
	e2e/openstack/setup.sh
	e2e/guest/setup.sh
	@.ci/prepare network
	$(GO_TEST) -tags e2e -p 1 -count=1 -timeout 25m ./e2e/... | $(TALLIED) --verbose

e2e-full: build ## e2e and its longer variants
	e2e/openstack/setup.sh nova barbican
	e2e/guest/setup.sh
	@.ci/prepare network
	$(GO_TEST) -tags e2e,full -p 1 -count=1 -timeout 2h ./e2e/... | $(TALLIED) --verbose

dev: ## build, then a cluster of three nodes on this machine until Ctrl-C
	@start=$$SECONDS; $(MAKE) --no-print-directory build; echo "built in $$((SECONDS - start)) s"
	@exec bin/ashlar dev $(DEV_ARGS)

clean: ## remove what building and testing left behind (Go's caches stay)
	rm -rf bin .build .venv
