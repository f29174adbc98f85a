# `make run` starts a development server for the domain localhost; `make test` runs every test (ARGS=tests/wire: some).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# How many processes run tests: one more than the cores of a small machine, because tests wait a lot.
# 0 runs them in pytest's own process, as `--pdb` needs it.
WORKERS ?= 3
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: run test check docs bench bench-peers fuzz chaos clean

run: $(VENV)/.ok
	@exec $(BIN)/twistd --nodaemon --pidfile= xmpp $(ARGS)

# The tests start hundreds of processes; where Python is told to write no bytecode, each would compile everything.
test: $(VENV)/.test
	@$(BIN)/python -m compileall -q xmppservice
	@$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

check: $(VENV)/.test
	@$(BIN)/ruff check .
	@$(BIN)/mypy

docs: $(VENV)/.docs
	@$(BIN)/sphinx-build -W -q -b html docs docs/_build/html

bench: $(VENV)/.ok
	@$(BIN)/python -m benchmarks $(ARGS)

bench-peers: $(VENV)/.ok
	@$(BIN)/python -m benchmarks.peers $(ARGS)

# Long runs; `make fuzz ARGS=--help` shows which.
fuzz: $(VENV)/.fuzz
	@$(BIN)/python -m tests.fuzz $(ARGS)

# The long versions of tests/chaos: power losses, kill -9, cuts, storms; about half an hour.
chaos: $(VENV)/.test
	@XMPPSERVICE_CHAOS_LONG=1 $(BIN)/python -m pytest tests/chaos -q $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis

# One environment; a stamp file for each set of packages in it. A start that finds the stamps new does no work.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv is missing: apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: apt install python3" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.ok: setup.cfg pyproject.toml constraints.txt | $(VENV)/bin/python
	@$(PIP) -e .
	@touch $@

$(VENV)/.test: $(VENV)/.ok
	@$(PIP) -e '.[test]'
	@touch $@

$(VENV)/.fuzz: $(VENV)/.test
	@$(PIP) -e '.[fuzz]'
	@touch $@

$(VENV)/.docs: $(VENV)/.ok
	@$(PIP) -e '.[docs]'
	@touch $@
