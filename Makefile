# Every target sets up what it needs: a virtual environment in .venv with the hashed lock, by uv where there is one.

.DEFAULT_GOAL := help
.PHONY: help demo test up lint bench chaos lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

help: ## This list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

demo: $(READY) ## One day's work, from the production database to delivered scores
	@$(BIN)/ds-pipelines demo $(ARGS)

up: $(READY) ## The user interfaces: Dagster, MLflow, the gateway
	@$(BIN)/ds-pipelines up $(ARGS)

test: $(READY) ## The whole test suite
	@$(BIN)/pytest $(ARGS)

lint: $(READY) ## Style, types, who may import whom
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: $(READY) ## All benchmarks; writes benchmarks/RESULTS.md
	@$(BIN)/python -m benchmarks $(ARGS)

chaos: $(READY) ## The long runs that kill things
	@$(BIN)/pytest -m chaos --chaos-rounds=300 $(ARGS)

lock: $(READY) ## Resolve the dependencies anew
	@$(BIN)/uv pip compile pyproject.toml --extra dev --extra jupyter --extra ray --universal --upgrade --generate-hashes --quiet \
		--custom-compile-command "make lock" --output-file requirements.lock

clean: ## Remove the environment; what was made at run time (.ds) stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(READY): requirements.lock pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing --python '>=3.11,<3.14' $(VENV) && uv=uv; \
	else \
		command -v $(PYTHON) >/dev/null 2>&1 || { \
			echo "error: there is no $(PYTHON); expected Python 3.11, 3.12 or 3.13. Install one, or run 'make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)'." >&2; exit 1; }; \
		$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
			echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1); expected Python 3.11, 3.12 or 3.13. Install one, or run 'make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)'." >&2; exit 1; }; \
		{ $(PYTHON) -m venv $(VENV) || { \
			echo "error: $(PYTHON) cannot make a virtual environment (see above); expected its venv module and some disk space. On Debian: apt-get install python3-venv." >&2; exit 1; }; } && \
		{ [ -x $(BIN)/uv ] || $(BIN)/python -m pip install --quiet --require-hashes --no-deps -r .ci/uv.lock; } && uv=$(BIN)/uv; \
	fi && \
	echo "Installing the locked packages into $(VENV) …" && \
	$$uv pip sync --quiet --compile-bytecode --require-hashes --python $(BIN)/python requirements.lock && \
	$$uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable . && \
	{ $(BIN)/python -c 'import lightgbm' 2>/dev/null || .ci/lend-openmp $(VENV); } && \
	touch $(READY)
