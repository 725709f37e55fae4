# `make demo` watches record 208 live; `make test` runs lint, types and all tests, `make quick` lint and the tests that
# take about a minute together. Each sets up .venv if it is not there.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
DEMO_SECONDS ?=
WORKERS ?= 4
BIN := .venv/bin
# Bytecode is kept, whatever the shell wants: each worker and process of the tests would compile all of it again.
unexport PYTHONDONTWRITEBYTECODE
# What of the packages is not compiled at once, for hardly anything here imports it: that is more than half of them.
SELDOM := tests?|testing|_inductor|ray/(data|llm|rllib|serve|train|tune|autoscaler)|torch/(ao|distributed/[a-z_]+)|pip
SELDOM := $(SELDOM)|setuptools|_?distutils|mypyc?|pydicom/sr|apprise/plugins|lexers|transformers|dialects
SELDOM := $(SELDOM)|networkx/[a-z]+|sympy/(physics|combinatorics|parsing|stats|plotting)
# The workers share the processors: the threads of NumPy's OpenBLAS would only wait for each other, busily.
test tests quick: export OPENBLAS_NUM_THREADS = 1

.PHONY: demo test types tests quick setup clean

demo: setup
	@$(BIN)/ecg-agent demo $(if $(DEMO_SECONDS),--seconds $(DEMO_SECONDS))

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory --jobs 2 types tests

# Both at once: types take a minute of one CPU, and many tests wait.
types: setup
	$(BIN)/mypy

tests: setup
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

quick: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow"

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt hatch_build.py $(wildcard model/compiled/*.[ch])
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ecg-agent needs Python 3.11 or later")'
	@echo "setting up .venv; the first time this takes a few minutes"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[dev]'
	@$(BIN)/python -m compileall -qq -j 0 -x '/($(SELDOM))/' .venv/lib || true
	@touch $@

clean:
	rm -rf .venv
