# make demo: the main job on real images, from nothing to a report.   make test: the whole test-suite.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
N      ?= auto
KERNELS := setup.py $(wildcard mimar/kernels/csrc/*)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo setup test fast slow check format bench study evidence docs clean
.DELETE_ON_ERROR:

help:
	@echo "make demo      install into $(VENV), search digits with iDARTS, write a report (minutes)"
	@echo "make test      the whole test-suite (fast: without the slow tests; slow: only those)"
	@echo "make check     format, lint, types, import contract, spelling, documents"
	@echo "make format    let the formatter rewrite what it can"
	@echo "make bench     measure speed and memory into benchmarks/results"
	@echo "make evidence  re-measure what the recipes claim into evidence/"
	@echo "make docs      renew the generated parts of the documents"

# Two stamps: what a user needs, and what a developer needs on top. Both follow the files that decide it.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mimar needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.user: pyproject.toml constraints.txt $(KERNELS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt $(KERNELS) | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.user $@

setup: $(VENV)/.dev

demo: $(VENV)/.user
	$(BIN)/mimar search idarts epochs=40 --task digits --out runs/demo-$$(date +%Y%m%d-%H%M%S)

test: setup
	$(BIN)/python -m pytest -n $(N)

fast: setup
	$(BIN)/python -m pytest -n $(N) -m "not slow"

slow: setup
	$(BIN)/python -m pytest -n $(N) -m slow

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python docs/build.py --check

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	@set -e; for file in benchmarks/[a-z]*.py; do case $$file in */conditions.py|*/plain.py|*/steps.py) continue;; esac; echo "== $$file"; $(BIN)/python "$$file"; done

study: setup
	$(BIN)/python -m mimar.study.family --workers 2

evidence: setup
	$(BIN)/mimar evidence --workers 2
	$(BIN)/python -m mimar.study.cover evidence/cover.csv

docs: setup
	$(BIN)/python docs/build.py

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis
