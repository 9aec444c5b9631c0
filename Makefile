# Gantry. Everything sets itself up: a virtual environment in .venv, the package in it, nothing outside this folder.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed-test
WORKERS ?= 2
FUZZ_SECONDS ?= 1800
FUZZ_TARGETS ?= frames headers records properties subscription_expressions sql_expressions store_files

.PHONY: run dev test bench bench-full lint interop crash crash-night fuzz-night clean help

help:            ## show this list
	@grep -E '^[a-z-]+: .*##|^[a-z-]+:  *##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

run: $(INSTALLED)   ## start a server, send messages, receive them, show them
	$(BIN)/gantry demo

dev: $(INSTALLED)   ## name server and broker in one process, until Ctrl-C
	$(BIN)/gantry dev

test: $(INSTALLED)  ## unit, property, crash and end-to-end tests
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup tests/unit tests/property tests/crash tests/simulation tests/e2e

crash: $(INSTALLED) ## kills, power cuts, failed syncs, seeded defects: about four minutes
	$(BIN)/python -m pytest -q -n $(WORKERS) tests/crash tests/simulation

crash-night: $(INSTALLED) ## the same for an hour or so; what was done adds up in docs/crash-runs.jsonl
	GANTRY_CRASH_RECORD=docs/crash-runs.jsonl GANTRY_STOP_STRIDE=1 GANTRY_KILL_CYCLES=700 GANTRY_POWER_CUTS=700 \
		GANTRY_SIMULATED_SEEDS=200 GANTRY_SIMULATED_MINUTES=10 GANTRY_SIMULATED_FIRST=$$(date +%s) \
		GANTRY_STOP_SEEDS=20 GANTRY_STOP_FIRST=$$(date +%s) \
		$(BIN)/python -m pytest -q -n $(WORKERS) tests/crash tests/simulation
	$(BIN)/python -m tests.crash.record --write-docs

fuzz-night: $(VENV)/.installed-fuzz ## each fuzz target for half an hour (FUZZ_SECONDS), guided by coverage
	for target in $(FUZZ_TARGETS); do $(BIN)/python -m tests.fuzz $$target --seconds $(FUZZ_SECONDS) || exit 1; done

lint: $(VENV)/.installed-lint   ## ruff and mypy
	$(BIN)/ruff check src tests benchmarks setup.py
	$(BIN)/ruff format --check src tests benchmarks setup.py
	$(BIN)/mypy

interop: $(INSTALLED)   ## official clients, tools and servers against ours (needs Java, Maven and Go)
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup tests/interop

bench: $(VENV)/.installed-bench   ## about three minutes, side by side with the official broker where Java is there
	$(BIN)/python -m benchmarks.run --short

bench-full: $(VENV)/.installed-bench   ## every scenario, medians of five
	$(BIN)/python -m benchmarks.run
	$(BIN)/python -m benchmarks.stalls

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Gantry needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; say make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): $(VENV)/bin/python pyproject.toml setup.py $(wildcard src/gantry/*/*.h src/gantry/*/*.pyx src/gantry/*/*.pxd src/gantry/*/*/*.pyx src/gantry/*/*/*.pxd) $(wildcard $(patsubst %.pxd,%.py,$(wildcard src/gantry/*/*.pxd src/gantry/*/*/*.pxd)))
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test]'
	@$(BIN)/python -m compileall -q src/gantry
	@touch $@

$(VENV)/.installed-lint: $(INSTALLED)
	GANTRY_BUILD_CORE=0 $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test,lint]'
	@touch $@

$(VENV)/.installed-bench: $(INSTALLED)
	GANTRY_BUILD_CORE=0 $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test,bench]'
	@touch $@

$(VENV)/.installed-fuzz: $(INSTALLED)
	GANTRY_BUILD_CORE=0 $(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test,fuzz]'
	@touch $@

clean:           ## remove everything made here
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis gantry-data
	find src -name '*.egg-info' -prune -exec rm -rf {} + ; find src -name '*.so' -delete ; find . -name __pycache__ -prune -exec rm -rf {} +
