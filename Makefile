# Every target sets the checkout up first; `make` alone lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTEST := $(BIN)/pytest
# The CDK works on Node 20, which it no longer supports; `forebay doctor` says so once.
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION := 20
export UV_PYTHON_DOWNLOADS := never
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  \033[1m%-14s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Make the environments (Python, CDK); every other target does this first
	@tools/setup

.PHONY: demo
demo: setup ## Start the local cloud, send real data through it, show what became of it
	@$(BIN)/forebay demo

.PHONY: up
up: setup ## Start the local cloud and deploy to it
	@$(BIN)/forebay up

.PHONY: down
down: setup ## Stop the local cloud and forget what is in it
	@$(BIN)/forebay down

.PHONY: deploy
deploy: setup ## Deploy to the AWS account of your credentials (bootstrap it first: npx cdk bootstrap)
	npx cdk deploy --all

.PHONY: test
test: test-unit test-adapters test-functions test-faults test-corpus test-infra test-e2e ## Run every test suite

.PHONY: test-unit
test-unit: setup ## Domain, formats, services and command line, with fakes
	$(PYTEST) tests/unit

.PHONY: test-adapters
test-adapters: setup ## Adapters against moto
	$(PYTEST) tests/adapters

.PHONY: test-functions
test-functions: setup ## Every sample event through its handler
	$(PYTEST) tests/functions

.PHONY: test-faults
test-faults: setup ## Two thousand schedules of faults, and what must hold after each
	$(PYTEST) tests/faults

.PHONY: test-corpus
test-corpus: setup ## Parsers against third-party files, where ../shared/corpus is present
	$(PYTEST) tests/corpus

.PHONY: test-infra
test-infra: setup ## Invariants over all deployed resources
	$(PYTEST) tests/infra

.PHONY: test-e2e
test-e2e: setup ## The whole, deployed to a local cloud with TLS and IAM enforcement
	$(PYTEST) tests/e2e

.PHONY: test-slow
test-slow: setup ## What takes too long for every change: 5,000 objects, a restart, months in the local cloud
	$(PYTEST) tests/e2e -m slow

.PHONY: check
check: setup ## Static checks: ruff, mypy, import rules, policies, cdk-nag, cfn-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/forebay policy check policies
	$(BIN)/python -m infra.lint

.PHONY: format
format: setup ## Format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: bench
bench: setup ## Measure imports, API calls, bytes and throughput; prints and writes JSON
	$(BIN)/python -m bench

.PHONY: bench-inspect
bench-inspect: setup ## Measure the parsers against gzip, seqkit, igzip, grz-check and pydicom
	$(BIN)/python -m bench inspect-fastq inspect-dicom

.PHONY: bench-load
bench-load: setup ## Measure objects/s, end-to-end times and API calls at 100, 1,000 and 10,000 objects
	$(BIN)/python -m bench load --objects 100 1000 10000

.PHONY: bench-policy
bench-policy: setup ## Measure plans over 1,000, 10,000 and 100,000 objects, and calls per object evaluated
	$(BIN)/python -m bench policy

.PHONY: fuzz
fuzz: setup ## Fuzz every parser, a minute each; `make test` holds a short run
	$(BIN)/python -m fuzz --all --seconds 60

.PHONY: faults
faults: setup ## The same with 20,000 new schedules; FOREBAY_SCHEDULES=100000 for more
	$(PYTEST) tests/faults -m "slow or not slow" -s

.PHONY: lock
lock: setup ## Resolve the locks anew (Python, layers, local cloud, npm)
	tools/lock

.PHONY: clean
clean: down ## Remove everything that was built; the next target sets up again
	rm -rf .venv .forebay node_modules cdk.out .mypy_cache .ruff_cache .pytest_cache .hypothesis
