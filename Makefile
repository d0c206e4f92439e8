# Needs Python 3.11 or newer and make; everything else goes into .venv.
# Another Python: make test PYTHON=/path/to/python3

PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo $$python; break; }; done)
BIN := .venv/bin
READY := .venv/.ready
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-chaos test-slow check campaign chaos-long bench clean
.SUFFIXES:

help: ## print this list
	@echo 'anabranch: a masterless event store'
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS='|' read -r name text; do printf '%-18s %s\n' "$$name" "$$text"; done
	@echo 'More arguments: make test ARGS="-k fold"'

demo: $(READY) ## the guided run on this machine
	@$(BIN)/anabranch demo $(ARGS)

test: $(READY) ## all tests but the slow ones
	@$(BIN)/python -m pytest -q -n logical --dist loadfile -m 'not slow and not chaos' $(ARGS)
	@$(if $(ARGS),,$(MAKE) --no-print-directory test-chaos)

test-chaos: $(READY) ## of those, the ones with real processes under real faults
	@$(BIN)/python -m pytest -q -m 'chaos and not slow' tests/chaos tests/cli/test_chaos.py

test-slow: $(READY) ## the slow tests: long simulations, planted bugs, real processes
	@$(BIN)/python -m pytest -q -m slow --timeout 1800 $(ARGS)

check: $(READY) ## lint, format, types, house rules
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/python -m pytest -q tests/house
	@echo 'check: all is well'

campaign: $(READY) ## 400 fresh seeds of random faults in simulated datacenters
	@$(BIN)/anabranch simulate --seeds fresh $(ARGS)

chaos-long: $(READY) ## an hour of real processes under all faults; ARGS="--for 10m"
	@$(BIN)/anabranch chaos --for 1h --round 20s --report chaos.html $(ARGS)

bench: $(READY) ## measure
	@$(BIN)/python tests/benchmarks/run.py $(ARGS)

clean: ## remove what was built or cached, .venv too
	@rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt constraints-dev.txt
	@test -n '$(PYTHON)' || { echo 'anabranch needs Python 3.11 or newer: make PYTHON=...' >&2; exit 1; }
	@echo 'Installing into .venv (about a minute, this once)...'
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints-dev.txt --editable '.[test,dev]'
	@touch $@
