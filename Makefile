# Every target makes what it needs, in .venv, from the exact versions in constraints.txt.
# Needs python >= 3.11 and make; with a C compiler (gcc or clang, OpenMP) the CPU kernels are built too. Another interpreter: make test PYTHON=python3.13

SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test fast lint types imports format bench clean

help:
	@echo "make demo      train a small DNA model on a chloroplast genome; writes runs/demo"
	@echo "make test      every test;  make fast leaves out the slow ones"
	@echo "make lint types imports     ruff, mypy, import contracts;  make format rewrites"
	@echo "make bench     speed and memory beside titans-pytorch, in one table"

DEMO = train-dna examples/data/NC_000932.gb.gz --preset dna-tiny --out runs/demo

demo: $(VENV)/.core
	rm -rf runs/demo
	$(BIN)/titans-seq $(DEMO)

# Several test processes of one thread each use the cores better than one process of many threads.
test fast: export OMP_NUM_THREADS = 1
test fast: export MKL_NUM_THREADS = 1

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(JOBS) $(PYTEST)

fast: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow" $(PYTEST)

lint: $(VENV)/.dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(VENV)/.dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

bench: $(VENV)/.bench
	$(BIN)/python -m tests.benchmarks.memory_speed

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# Stamps: a second run starts at once, a changed dependency installs again.
$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "titans-seq needs Python 3.11 or newer with venv; set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.build: constraints.txt | $(VENV)/bin/python
	$(INSTALL) setuptools wheel
	@touch $@

$(VENV)/.core: pyproject.toml $(wildcard titans_seq/ops/native/*.[ch] titans_seq/genomics/*.c) $(VENV)/.build
	$(INSTALL) --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(INSTALL) --no-build-isolation --editable ".[dev]"
	@touch $@

$(VENV)/.bench: $(VENV)/.core
	$(INSTALL) --no-build-isolation --editable ".[bench]"
	@touch $@
