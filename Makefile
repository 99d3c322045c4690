# make demo     everything set up, the whole loop on made-up pictures, then the pages at http://127.0.0.1:8000
# make install  the environment alone, into .venv
# make test     everything that CI runs
# make up       web and workers on what is already there
PYTHON ?= python3
BIN := .venv/bin
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -eu -o pipefail -c

# Two processes of spinning OpenMP threads slow each other tenfold.
export OMP_WAIT_POLICY ?= passive

# Where the second pass of the tests finds its services; passes are skipped, loudly, where they do not answer.
TEST_DATABASE_URL ?= postgres://postgres@127.0.0.1:5432/harmony
TEST_BROKER_URL ?= redis://127.0.0.1:6379/9

.PHONY: install demo up test lint types test-sqlite test-postgres lock clean

install: .venv/.installed

.venv/.installed: requirements.txt requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Harmony needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.11 $(MAKECMDGOALS)") if sys.version_info < (3, 11) else None'
	@$(PYTHON) -m venv .venv || { echo "Python's venv module is missing. On Debian or Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Installing PyTorch (about 1 GB on a CPU, 3 GB with CUDA) …"
	@env $(if $(TORCH_INDEX),PIP_INDEX_URL=$(TORCH_INDEX)) \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep -E '^torch(vision)?==' requirements.txt)
	@echo "Installing the rest …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	@touch $@

.venv/.installed-dev: .venv/.installed requirements-dev.txt requirements-dev.lock
	@echo "Installing what tests need …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.lock
	@touch $@

# A key of this installation's own; never overwritten.
.env: | .venv/.installed
	@umask 077
	@$(BIN)/python -c 'import secrets; print("SECRET_KEY=" + secrets.token_urlsafe(50))' > .env

demo: install .env
	@exec $(BIN)/python manage.py demo

up: install .env
	@exec $(BIN)/python manage.py up

test: .venv/.installed-dev lint types test-sqlite test-postgres

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djlint templates --lint --quiet
	$(BIN)/lint-imports
	SECRET_KEY=checks DEBUG=1 $(BIN)/python manage.py makemigrations --check --dry-run
	SECRET_KEY=$$($(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))') HTTPS=1 \
		$(BIN)/python manage.py check --deploy --fail-level WARNING

types: .venv/.installed-dev
	SECRET_KEY=types DEBUG=1 $(BIN)/mypy

test-sqlite: .venv/.installed-dev
	env -u DATABASE_URL -u BROKER_URL $(BIN)/python -m pytest

# The rooms without rows ran above; what touches rows, queues and pages runs again on the other services.
test-postgres: .venv/.installed-dev
	@if $(BIN)/python tests/services.py "$(TEST_DATABASE_URL)" "$(TEST_BROKER_URL)"; then
		DATABASE_URL="$(TEST_DATABASE_URL)" BROKER_URL="$(TEST_BROKER_URL)" $(BIN)/python -m pytest \
			--ignore tests/mlcore/attribution --ignore tests/mlcore/metrics --ignore tests/mlcore/objectives \
			--ignore tests/mlcore/training --ignore tests/mlcore/catalogue
	elif [ -n "$${HARMONY_CI:-}" ]; then
		exit 1
	fi

lock: .venv/.installed-dev
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --no-header --no-emit-index-url --no-emit-trusted-host \
		--no-emit-find-links --unsafe-package torch --unsafe-package torchvision \
		--output-file requirements.lock requirements.txt
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --no-header --no-emit-index-url --no-emit-trusted-host \
		--no-emit-find-links --unsafe-package torch --unsafe-package torchvision \
		--constraint requirements.lock --output-file requirements-dev.lock requirements-dev.txt

clean:
	rm -rf var
