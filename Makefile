# `make demo` and `make test` need Python 3.11 or later, a C compiler and make; they do the rest.
# Other interpreters: make PYTHON=/path/to/python. Arguments: make demo ARGS="--size 512",
# make test PYTEST_ARGS="-k parity"; a file of tests stays in one of the two processes.

SHELL := /bin/sh
PYTHON ?=
ARGS ?=
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
BENCH_READY := $(VENV)/bench-ready
DOCS_READY := $(VENV)/docs-ready
LEGS ?=
CANDIDATES := $(PYTHON) python3.13 python3.12 python3.11 python3
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL := help
.PHONY: help demo test test-all stress docs bench clean distclean
.DELETE_ON_ERROR:

help:
	@echo "make demo       a Mandelbrot picture on a local Dask cluster"
	@echo "make test       lint, format check, type check, tests"
	@echo "make test-all   the same, then every leg of ci/: no compiler, oldest versions, ..."
	@echo "make stress     the long tests"
	@echo "make docs       the documentation, in docs/_build/html"
	@echo "make bench      the benchmarks"
	@echo "make clean      remove what the others made; distclean removes $(VENV) too"

demo: $(READY)
	$(BIN)/python examples/mandelbrot.py $(ARGS)

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

test-all: test docs
	ci/legs $(LEGS)

docs: $(DOCS_READY)
	$(BIN)/python docs/generate.py
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

stress: $(READY)
	$(BIN)/python -m pytest -m stress --timeout 3600 $(PYTEST_ARGS)

bench: $(BENCH_READY)
	$(BIN)/python benchmarks/kernels.py --json kernels.json --plot kernels.png
	$(BIN)/python benchmarks/mandelbrot.py $(ARGS)
	$(BIN)/python benchmarks/latency.py
	$(BIN)/python benchmarks/frontend.py
	$(BIN)/python benchmarks/interpreter.py
	$(BIN)/python benchmarks/ulp.py --stride 64 --time
	$(BIN)/python benchmarks/xarray_eval.py
	$(BIN)/python benchmarks/mandelbrot_tiles.py
	$(BIN)/python benchmarks/stampede.py
	$(BIN)/python benchmarks/dask_overhead.py

# An environment that works is kept; one that is missing, half made or whose Python has gone is
# made anew by the first candidate that really runs (a version manager's shim may exist and fail).
$(READY): pyproject.toml
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	    for python in $(CANDIDATES); do \
	        if "$$python" -c '$(USABLE)' >/dev/null 2>&1; then \
	            echo "making $(VENV) with $$python"; \
	            "$$python" -m venv --clear $(VENV) && exit 0 || exit 1; \
	        fi; \
	    done; \
	    echo "no Python 3.11 or later with venv was found; name one: make PYTHON=..." >&2; \
	    exit 1; \
	}
	$(BIN)/python -m pip install --quiet --editable '.[complete,examples,test,lint]'
	@touch $@

$(DOCS_READY): $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@

$(BENCH_READY): $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@

clean:
	rm -rf build dist docs/_build docs/generated *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	    dask-worker-space dask-scratch-space mandelbrot.png mandelbrot-tiles*.png
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
