# `make` alone lists the tasks. PYTHON chooses the interpreter of the virtual environment: make test PYTHON=python3.12
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH ?= all
RUN := $(VENV)/.run-installed
DEV := $(VENV)/.dev-installed
COMPILE := $(VENV)-pin/bin/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --quiet

.DEFAULT_GOAL := help
.PHONY: help run demo test check lint format bench pin clean

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

run: $(RUN) ## start the node on this machine alone, with the example configuration and its data in ./var
	@exec $(BIN)/dicom-node serve --create

demo: $(RUN) ## play months of exams against a throw-away node in under a minute
	@exec $(BIN)/dicom-node demo

test: $(DEV) ## run the tests
	@$(BIN)/pytest -n 2 --dist worksteal

check: $(DEV) lint test ## everything that must be green: format, lint, types, import contracts, tests

lint: $(DEV) ## format, lint, types and import contracts, without the tests
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(DEV) ## format the code and mend what the linter can mend by itself
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: ## measure the node beside other receivers, half an hour, installs nothing; a part: make bench BENCH="store --workload prone"
	@test -x $(BIN)/python || { echo "there is no $(VENV) yet: make test makes it" >&2; exit 1; }
	@$(BIN)/python -m benchmarks $(BENCH)

pin: ## pin the dependencies and their hashes anew, from the ranges in pyproject.toml
	$(PYTHON) -m venv $(VENV)-pin
	$(VENV)-pin/bin/pip install --quiet uv
	UV_PYTHON_DOWNLOADS=never $(COMPILE) --upgrade --extra postgres --output-file .ci/requirements.txt
	UV_PYTHON_DOWNLOADS=never $(COMPILE) --upgrade --extra dev --constraints .ci/requirements.txt --output-file .ci/requirements-dev.txt
	rm -rf $(VENV)-pin

clean: ## remove the virtual environment and the caches; ./var stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# What is installed is written down, so that the second `make run` or `make test` starts at once.
$(RUN): pyproject.toml .ci/requirements.txt
	@$(call install,.ci/requirements.txt,$@)

$(DEV): pyproject.toml .ci/requirements-dev.txt
	@$(call install,.ci/requirements-dev.txt,$@)

define install
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	{ echo "dicom-node needs Python 3.11 or newer as $(PYTHON): install it, or name another: make PYTHON=python3.12" >&2; exit 1; }; \
$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	{ echo "$(PYTHON) cannot make virtual environments: apt install python3-venv" >&2; exit 1; }; \
echo "installing into $(VENV) from $(1) ..." && \
$(PYTHON) -m venv $(VENV) && \
$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r $(1) && \
$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e . && \
touch $(2)
endef
