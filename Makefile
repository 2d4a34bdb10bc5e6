# `make run` starts a first campaign, `make test` runs the tests, `make lint` checks style and types.
# Everything is installed into .venv from the lock files; PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help run test test-slow lint clean
.DEFAULT_GOAL := help

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.runtime  ## A first campaign: crystals of density 18 g/cm3
	$(BIN)/matinvent run density --preset quick

test: $(VENV)/.test  ## Run the tests (slow ones excluded)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

test-slow: $(VENV)/.test  ## Run the slow tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow --timeout 1800

lint: $(VENV)/.lint  ## Check style (ruff) and types (mypy)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:  ## Remove the environment and caches, never a campaign
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.runtime: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet -r requirements.lock
	$(PIP) install --quiet --no-deps --editable .
	touch $@

$(VENV)/.test: $(VENV)/.runtime requirements-test.lock
	$(PIP) install --quiet -r requirements-test.lock
	touch $@

$(VENV)/.lint: $(VENV)/.test
	$(PIP) install --quiet ruff==0.17.6 mypy==2.4.1
	touch $@
