# Everything a contributor runs. `make` alone lists it.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip
INSTALLED := $(VENV)/.installed
DOCS := .venv-docs
# Else every process of the tests compiles the package and the tests again, a second to ten of each.
unexport PYTHONDONTWRITEBYTECODE

# The one version of each that is built or chosen by hand; pyproject.toml has the ranges.
TORCH := torch==2.13.0
LLAMA_CPP := $(shell sed -n 's/.*"\(llama-cpp-python==[^"]*\)".*/\1/p' pyproject.toml)
# Named after the version, so that no other change of pyproject.toml builds it again.
BUILT := $(VENV)/.built-$(subst ==,-,$(LLAMA_CPP))

.DEFAULT_GOAL := help
.PHONY: help install demo test check wheel docs campaign format options bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

install: $(INSTALLED)  ## create .venv and install everything into it (once; again when pyproject.toml changes)

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'error: Python 3.11 or newer is needed; choose one with make PYTHON=...' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The wheel is kept in the user's cache folder: other checkouts install it in seconds.
$(BUILT): src/bitloss/doctor/cpu.py | $(PY)
	CMAKE_BUILD_PARALLEL_LEVEL=2 $(PY) tools/llama_cpp_wheel.py "$(LLAMA_CPP)"
	@touch $@

# PyTorch first and exact, so that no later requirement picks another build of it.
$(INSTALLED): pyproject.toml $(BUILT)
	$(PIP) install "$(TORCH)"
	$(PIP) install -e ".[all,dev]"
	@tools/system-package bwrap bubblewrap 'what models write will not be run, the code tasks are left out'
	@touch $@

demo: $(INSTALLED)  ## install where needed, then quantize a small model seven ways and say what it cost
	$(VENV)/bin/bitloss demo

# One process more than there are cores, since some tests wait for others; each reads all tests.
WORKERS = $(shell $(PY) -c 'import os; print(min((os.cpu_count() or 1) + 1, 4))')

test: check  ## install where needed, check everything, run the tests
	$(PY) -m pytest -n $(WORKERS) --dist worksteal

check: $(INSTALLED)  ## lint, formatting, types, layers
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

wheel: $(INSTALLED)  ## build the wheel, install it in a fresh environment, run it there
	tools/smoke-wheel $(PY)

# Of its own environment: the site needs neither PyTorch nor what compiles.
$(DOCS)/.installed: pyproject.toml | $(PY)
	$(PY) -m venv $(DOCS)
	$(DOCS)/bin/python -m pip install $$($(PY) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])')
	@touch $@

docs: $(DOCS)/.installed  ## build the documentation into site/; warnings are errors
	$(DOCS)/bin/zensical build --clean --strict

campaign: $(INSTALLED)  ## some minutes each of hostile programs, malformed inputs, full disks, kills, several writers and lost machines, and how many were at fault
	PYTHONPATH=src:tests $(PY) -m campaigns.sandbox
	PYTHONPATH=src:tests $(PY) -m campaigns.malformed
	PYTHONPATH=src:tests $(PY) -m campaigns.full_disk
	PYTHONPATH=src:tests $(PY) -m campaigns.kills
	PYTHONPATH=src:tests $(PY) -m campaigns.two_writers
	PYTHONPATH=src:tests $(PY) -m campaigns.cluster

format: $(INSTALLED)  ## fix what ruff can fix
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

options: $(INSTALLED)  ## write docs/options.md, docs/cli.md and the typed keywords from the declared options
	$(PY) -m tools.write_options
	$(PY) -m ruff format src/bitloss/spec/choices.py

bench: $(INSTALLED)  ## list the benchmarks; make bench NAME=... runs one
ifdef NAME
	$(PY) "benchmarks/$(NAME).py" $(ARGS)
else
	@for file in benchmarks/*.py; do \
	  test -f "$$file" || { echo 'no benchmarks in this checkout'; break; }; \
	  $(PY) -c 'import ast, pathlib, sys; p = pathlib.Path(sys.argv[1]); print(f"make bench NAME={p.stem:<20}", (ast.get_docstring(ast.parse(p.read_text())) or "").partition("\n")[0])' "$$file"; \
	done
endif

clean:  ## remove the environment and what tools left behind; built wheels stay in the user's cache
	rm -rf $(VENV) $(DOCS) site .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
