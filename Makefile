# Everything from a clean clone: each target makes what it needs.
# The commands a person types: run, test, check, bench, soak, lock.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
SOURCES := proxy tests app.py
# What is not compiled here is compiled by the first start, which then takes three times as long.
COMPILE := $(BIN)/python -m compileall -q -j 0 app.py proxy
T ?= tests
# The longest tests wait more than they compute: one more at a time than there are cores keeps those busy.
JOBS ?= $(shell expr $$(nproc) + 1)

.PHONY: run test canaries check formatted lint types contracts security fuzz bench soak lock clean help

help: ## Show what can be done
	@grep -hE '^[a-z -]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

run: .venv/.runtime $(if $(CLAUDE_CODE),.venv/.claude-code) ## Start the server; without any credential, a simulated Claude answers; CLAUDE_CODE=1 adds Claude Code
	@exec $(BIN)/python app.py serve --demo-if-unconfigured

test: .venv/.dev ## Run the tests, or a part of them: make test T=tests/unit
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(T)

canaries: .venv/.dev ## Run the tests, or a part of them, at level debug, and look for their secrets in all that is told
	CANARIES=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(T)

check: formatted lint types contracts security test ## Format, lint, types, layers, holes, tests: what CI runs

formatted: .venv/.dev ## Check the formatting
	$(BIN)/ruff format --check $(SOURCES)

lint: .venv/.dev ## Check the style
	$(BIN)/ruff check $(SOURCES)

types: .venv/.dev ## Check the types
	$(BIN)/mypy

contracts: .venv/.dev ## Check that each layer imports only from those below
	$(BIN)/lint-imports --no-cache

security: .venv/.dev .semgrep/.installed ## Look for holes in the source; nothing leaves the machine
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive proxy app.py
	.semgrep/bin/semgrep scan --config .semgrep.yml --error --quiet --metrics off --disable-version-check proxy app.py

fuzz: .venv/.dev .venv/.fuzz ## Feed the parsers nonsense: make fuzz TARGET=sse SECONDS=60; all of them without TARGET
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),120) $(TARGET)

bench: .venv/.dev ## Measure: one JSON line a figure; PEERS=1 adds the peers (needs wrk)
	@$(BIN)/python -m tests.bench $(if $(PEERS),--peers)

soak: .venv/.dev ## Run the long tests, or a part of them: make soak PART=streams; one JSON line a figure
	@$(BIN)/python -m tests.soak $(PART)

lock: .venv/.dev ## Compile the requirement files from pyproject.toml
	deploy/lock.sh $(BIN)/uv

clean: ## Remove what the tools left
	rm -rf .venv .semgrep .node .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info

include deploy/process.mk

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.runtime: requirements.txt | .venv/bin/python
	$(PIP) -r requirements.txt
	$(COMPILE)
	@touch $@

.venv/.claude-code: requirements.txt requirements-claude-code.txt | .venv/bin/python
	$(PIP) -r requirements.txt -r requirements-claude-code.txt
	$(COMPILE)
	@touch $@ .venv/.runtime

.venv/.dev: requirements.txt requirements-dev.txt requirements-claude-code.txt requirements-opentelemetry.txt | .venv/bin/python
	$(PIP) -r requirements.txt -r requirements-dev.txt -r requirements-claude-code.txt -r requirements-opentelemetry.txt
	$(COMPILE)
	@touch $@ .venv/.runtime

.venv/.fuzz: requirements-fuzz.txt | .venv/.dev
	$(PIP) -r requirements-fuzz.txt
	@touch $@

.semgrep/.installed: requirements-semgrep.txt
	$(PYTHON) -m venv .semgrep
	.semgrep/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-semgrep.txt
	@touch $@
