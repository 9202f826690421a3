# `make demo` and `make test` need Python 3.11 or later, a C compiler and make; they do the rest.
# Other interpreters: make PYTHON=/path/to/python. Arguments: make demo ARGS="--size 512",
# make test PYTEST_ARGS="-n 2 -k parity".

SHELL := /bin/sh
PYTHON ?=
ARGS ?=
PYTEST_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
BENCH_READY := $(VENV)/bench-ready
CANDIDATES := $(PYTHON) python3.13 python3.12 python3.11 python3
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))

.DEFAULT_GOAL := help
.PHONY: help demo test stress bench clean distclean
.DELETE_ON_ERROR:

help:
	@echo "make demo       a Mandelbrot picture on a local Dask cluster"
	@echo "make test       lint, format check, type check, tests"
	@echo "make stress     the long tests"
	@echo "make bench      the benchmarks"
	@echo "make clean      remove what the others made; distclean removes $(VENV) too"

demo: $(READY)
	$(BIN)/python examples/mandelbrot.py $(ARGS)

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(PYTEST_ARGS)

stress: $(READY)
	$(BIN)/python -m pytest -m stress --timeout 3600 $(PYTEST_ARGS)

bench: $(BENCH_READY)
	$(BIN)/python benchmarks/kernels.py --json kernels.json --plot kernels.png
	$(BIN)/python benchmarks/mandelbrot.py $(ARGS)
	$(BIN)/python benchmarks/latency.py
	$(BIN)/python benchmarks/frontend.py
	$(BIN)/python benchmarks/interpreter.py

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

$(BENCH_READY): $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	@touch $@

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	    dask-worker-space dask-scratch-space mandelbrot.png
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
