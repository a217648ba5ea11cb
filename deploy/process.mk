# Further commands, by the names that users of claude-code-api (Python) know: a server in the background, and shorthands.

PROCESS := DATA_DIR="$(DATA_DIR)" deploy/process.sh

.PHONY: install start start-prod start-prod-bg stop restart status logs kill test-fast format type-check models info \
	check-claude dev-setup deploy-check quick-test test-hello test-health test-models test-chat

install: .venv/.runtime $(if $(CLAUDE_CODE),.venv/.claude-code) ## Install what the server needs; CLAUDE_CODE=1 adds Claude Code

start: run ## The same as run

start-prod: install ## Start the server in the foreground; without any credential it does not start
	@exec $(BIN)/python app.py serve

start-prod-bg: install ## Start the server in the background, where it outlives the terminal
	@$(PROCESS) start $(BIN)/python

stop: ## Stop that server, once its streams have ended
	@$(PROCESS) stop

restart: install ## Stop it and start it
	@$(PROCESS) stop
	@$(PROCESS) start $(BIN)/python

status: ## Tell whether it runs, and what it logged last
	@$(PROCESS) status

logs: ## Follow what it logs
	@$(PROCESS) logs

kill: ## End the server of this folder that listens on a port, at once: make kill PORT=8080
	@$(PROCESS) kill "$(PORT)"

test-fast: .venv/.dev ## Run the tests of single modules alone
	$(BIN)/python -m pytest -n auto --dist loadfile tests/unit tests/architecture

format: .venv/.dev ## Format the code
	$(BIN)/ruff format $(SOURCES)

type-check: types ## The same as types

dev-setup: .venv/.dev ## Install what the tests and checks need

deploy-check: install ## Ask each credential whether it works
	@$(BIN)/python app.py check

quick-test: .venv/.dev ## Run the examples of claude-code-api (Python), as do test-hello and its like
	$(BIN)/python -m pytest tests/migration/claude_code_python

test-hello test-health test-models test-chat: quick-test

models: install ## Show the models there are
	@$(BIN)/python -c "from proxy.model.catalog import Catalog; print(*(each.id for each in Catalog.load()), sep='\n')"

info: install ## Show which version this is
	@$(BIN)/python app.py --version
	@$(BIN)/python --version

check-claude: install ## Tell whether the Claude Code of this machine can be used
	@CLAUDE_CODE=1 $(BIN)/python app.py check
