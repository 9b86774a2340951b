# make help says what there is. PYTHON=python3.12 make install picks another Python for the virtual environment.

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
PIP_OPTIONS := -qq --disable-pip-version-check  # errors are still printed
PYTEST_OPTIONS := -n 2 --dist loadfile --no-loadscope-reorder  # tests/conftest.py knows which files are long

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all lint types docs docs-figures docs-screenshots links bench bench-check oracles clean

help: ## Show this list.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s  %s\n", $$1, $$2}' Makefile

install: $(INSTALLED) ## Create .venv and install Kerf there, with all that its tests need.

demo: $(INSTALLED) ## Run the main study at its quick size.
	@$(BIN)/kerf run turner --preset quick

test: lint ## Lint, check types, run the quick tests, in two processes (PYTEST_ARGS="-n 0": in one).
	@$(BIN)/pytest $(PYTEST_OPTIONS) -m "not slow" $(PYTEST_ARGS)

test-all: lint ## The same with the slow tests, which are long real runs: all in one go, which shares what is expensive.
	@$(BIN)/pytest $(PYTEST_OPTIONS) $(PYTEST_ARGS)

lint: $(INSTALLED) links ## Lint, check format, check types.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(MAKE) --no-print-directory types

types: $(INSTALLED) links ## Check types alone.
	@$(BIN)/mypy

docs: $(INSTALLED) links ## Build the documentation into build/site; a link that leads nowhere is an error.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-figures: $(INSTALLED) ## Make the figures that the documentation quotes anew; takes hours.
	@$(BIN)/python docs/figures/make.py

docs-screenshots: $(INSTALLED) ## Take the documentation's screenshots of MLflow and of a page anew (STUDY=out/turner-quick).
	@$(BIN)/python -m tests.mlflow_pages $(or $(STUDY),out/turner-quick)

# The folders under the names that they are installed by, for tools that read sources without importing them.
links:
	@mkdir -p .mypy_cache/packages/kerf
	@for folder in lab generators agents runs; do ln -sfn "$(CURDIR)/$$folder" .mypy_cache/packages/kerf/$$folder; done

bench: $(INSTALLED) ## Measure how fast training is here, against its peers.
	@$(BIN)/kerf bench train

bench-check: $(INSTALLED) ## See whether speed, growth and generators are within their bounds: ratios within one run.
	@$(BIN)/kerf bench train --check
	@$(BIN)/kerf bench scale --check
	@$(BIN)/kerf bench generators --check

oracles: $(INSTALLED) ## Ask the oracles, then break copies of the lab and see whether they notice.
	@$(BIN)/kerf oracles
	@$(BIN)/python -m tests.mutate_oracles

clean: ## Remove .venv, caches and build leftovers. Records in out/ stay.
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info

# Once more whenever the requirements change. A pip that is there is kept: the environment may be the user's own.
$(INSTALLED): pyproject.toml setup.py constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "Kerf needs Python 3.11 or newer, and there is no $(PYTHON) here."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Kerf needs Python 3.11 or newer, but $(PYTHON) is $$($(PYTHON) --version); try PYTHON=python3.12 make install."; \
		exit 1; }
	@test -x $(BIN)/pip || { echo "Creating .venv with $$($(PYTHON) --version) ..."; $(PYTHON) -m venv .venv; }
	@echo "Installing into .venv (up to some minutes the first time) ..."
	@$(BIN)/python uv_install.py -c constraints.txt -e ".[dev]" || \
	$(BIN)/pip install $(PIP_OPTIONS) -c constraints.txt -e ".[dev]"
	@$(BIN)/python -m compileall -q lab generators agents runs  # as pip does with packages that are not editable
	@$(BIN)/python -m kerf.runs.execution.compile_ahead
	@touch $@
