# make demo     run the demonstration (about a minute on two cores, once installed)
# make test     check formatting, lint, types, layers, and run the tests
# make lint     the same without the tests
# make docs     write the tables of defaults in the documentation from the code
# make venv     install into .venv with what the tests need
# make clean    remove .venv and caches; results are never touched
#
# PYTHON=python3.12 make demo takes another interpreter.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test lint docs venv clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CACHES := .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .benchmarks

help:
	@sed -n 's/^# make /make /p' Makefile

demo: $(VENV)/.installed
	@$(BIN)/pdd-ray demo

test: lint
	@$(BIN)/pytest -q -n auto --dist loadgroup

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

docs: $(VENV)/.installed-dev
	@$(BIN)/python -m docs.defaults

venv: $(VENV)/.installed-dev

clean:
	@rm -rf $(VENV) $(CACHES)
	@find pdd_ray analysis sweeps tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} +

# A stamp per installation: a second `make demo` installs nothing.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(call install,.)
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	$(call install,.[dev])
	@touch $(VENV)/.installed $@

# Pip tells only of large downloads; the rest is shown if it fails.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: pdd-ray needs Python 3.11 or later; '$(PYTHON)' is" \
	    "$$($(PYTHON) --version 2>&1 | tail -n 1); choose one: make PYTHON=python3.12" >&2; \
	  exit 2; }
	@echo "installing into $(VENV): torch, Ray and what they need (the first time takes minutes)"
	@$(PYTHON) -m venv $(VENV)
	@set -o pipefail; log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	  $(BIN)/python -m pip install --no-input --disable-pip-version-check --progress-bar off \
	    -c constraints.txt -e "$(1)" 2>&1 < /dev/null | tee "$$log" | awk ' \
	      /^ *Downloading .*([0-9][0-9][0-9.]* MB|GB)/ { print "  " $$2, $$3, $$4; fflush() } \
	      /^Installing collected/ { print "  installing"; fflush() }' \
	  || { cat "$$log" >&2; exit 1; }
endef
