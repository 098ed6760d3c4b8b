# make demo     run the demonstration (about a minute on two cores, once installed)
# make test     check formatting, lint, types, layers, and run the quick tests
# make test-all the same with all tests: compilation, faults, whole sweeps, browser, notebook
# make test-lowest  run the quick tests on the lowest versions that pyproject.toml allows
# make lint     the checks without the tests
# make docs     write the tables of defaults and of costs in the documentation from the code
# make venv     install into .venv with what the tests need
# make clean    remove environments and caches; results are never touched
#
# PYTHON=python3.12 make demo takes another interpreter.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-lowest lint docs venv clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VENV_LOWEST := .venv-lowest
# A file of tests is run by one process, which makes once what its tests share.
PARALLEL := -q -n auto --dist loadfile --no-loadscope-reorder
CACHES := .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks

help:
	@sed -n 's/^# make /make /p' Makefile

demo: $(VENV)/.installed
	@$(BIN)/pdd-ray demo

test: lint
	@$(BIN)/pytest $(PARALLEL)

test-all: lint
	@$(BIN)/pytest $(PARALLEL) -m ""

# What old packages warn of beside new ones is no failure here.
# TORCH=installed leaves torch and torchvision to pip, where their lowest versions can't be had.
test-lowest:
	@$(PYTHON) .ci/lowest_versions.py $(if $(filter installed,$(TORCH)),torch torchvision) \
	  > $(VENV_LOWEST).txt
	$(call install,.[dev],$(VENV_LOWEST),$(VENV_LOWEST).txt)
	@$(VENV_LOWEST)/bin/pytest $(PARALLEL) -W default

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: $(VENV)/.installed-dev
	@$(BIN)/python -m docs.defaults
	@$(BIN)/python -m docs.paper_costs

venv: $(VENV)/.installed-dev

clean:
	@rm -rf $(VENV) $(VENV_LOWEST) $(VENV_LOWEST).txt $(CACHES)
	@find pdd_ray analysis sweeps tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +

# A stamp per installation: a second `make demo` installs nothing.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(call install,.,$(VENV),constraints.txt)
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	$(call install,.[dev],$(VENV),constraints.txt)
	@touch $(VENV)/.installed $@

# $(call install,WHAT,VENV,CONSTRAINTS). Pip tells only of large downloads; the rest is shown if it
# fails.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: pdd-ray needs Python 3.11 or later; '$(PYTHON)' is" \
	    "$$($(PYTHON) --version 2>&1 | tail -n 1); choose one: make PYTHON=python3.12" >&2; \
	  exit 2; }
	@echo "installing into $(2): torch, Ray and what they need (the first time takes minutes)"
	@$(PYTHON) -m venv $(2)
	@set -o pipefail; log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	  $(2)/bin/python -m pip install --no-input --disable-pip-version-check --progress-bar off \
	    -c $(3) -e "$(1)" 2>&1 < /dev/null | tee "$$log" | awk ' \
	      /^ *Downloading .*([0-9][0-9][0-9.]* MB|GB)/ { print "  " $$2, $$3, $$4; fflush() } \
	      /^Installing collected/ { print "  installing"; fflush() }' \
	  || { cat "$$log" >&2; exit 1; }
endef
