# make demo     everything set up, the whole loop on made-up pictures, then the pages at http://127.0.0.1:8000
# make install  the environment alone, into .venv
# make test     everything that CI runs
# make oracles  our numbers beside those of other libraries, in an environment of its own
# make up       web and workers on what is already there
# make bots     1,002 scripted people play two studies through the real pages, on PostgreSQL; some minutes
# make messages   sentences for annotators collected into locale/, and compiled; needs GNU gettext
PYTHON ?= python3
BIN := .venv/bin
ORACLES := .venv-oracles
SHELL := /bin/bash
.ONESHELL:
.SHELLFLAGS := -eu -o pipefail -c

# Two processes of spinning OpenMP threads slow each other tenfold.
export OMP_WAIT_POLICY ?= passive

# Where the second pass of the tests finds its services; passes are skipped, loudly, where they do not answer.
TEST_DATABASE_URL ?= postgres://postgres@127.0.0.1:5432/harmony
TEST_BROKER_URL ?= redis://127.0.0.1:6379/9

# Rooms without rows: libraries by themselves.
ROOMS := $(addprefix tests/mlcore/,attribution metrics objectives correspondence catalogue training)
# What does not depend on the services below: what a process computes of rows, what is drawn of pictures, what figures come
# to, what a browser is told. Once is enough, on the embedded default; some of it in other lanes than the rest.
APART := $(addprefix tests/mlcore/runs/test_,processes.py attention_runs.py)
BESIDE := tests/annotation/statistics tests/annotation/test_pair_commands.py tests/mlcore/runs/test_correspond_perform.py
ONCE := $(APART) $(BESIDE) $(addprefix tests/mlcore/runs/test_,perform_kinds.py tuning_runs.py report_perform.py score_perform.py \
	correspondence_networks.py galleries.py match_inquiries.py inquiries.py shard_runs.py several_labels.py) \
	$(addprefix tests/mlcore/test_,commands.py match_commands.py correspond_command.py question_commands.py \
	shard_commands.py) \
	$(addprefix tests/mlcore/exchange/test_,match_picture.py real_images.py weights.py) tests/mlcore/admin/test_match_ask.py \
	$(addprefix tests/annotation/test_,blinding.py analysis.py team_analysis_page.py) \
	tests/annotation/admin/test_alignment_pages.py tests/harmony/test_supervisor.py \
	$(addprefix tests/annotation/exchange/test_,decisions_published.py bundle_refused.py)

# Workers killed in the middle of other kinds of runs: here a training run's (test_worker.py) is enough.
KILLED := $(addprefix tests/mlcore/runs/test_,attention_worker.py report_worker.py)

# Python without the services, its database, queue and files in a folder of its own: lanes run side by side.
EMBEDDED = own=$$(mktemp -d); trap 'rm -rf "$$own"' EXIT; env -u DATABASE_URL -u BROKER_URL HARMONY_VAR="$$own" $(BIN)/python

.PHONY: install demo up test lint types test-both test-sqlite test-apart test-browser test-rooms test-postgres \
	test-oracles oracles bots lock clean messages

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

# Sees what stands in .venv and adds the libraries that we compare with, so that they decide no version of ours.
$(ORACLES)/.installed: .venv/.installed-dev requirements-oracles.txt requirements-oracles.lock
	@echo "Installing the libraries that our numbers are compared with …"
	@$(BIN)/python -m venv --clear --without-pip $(ORACLES)
	@site='import sysconfig; print(sysconfig.get_path("purelib"))'
	@$(BIN)/python -c "$$site" > "$$($(ORACLES)/bin/python -c "$$site")/_harmony.pth"
	@$(BIN)/python -m pip --python $(ORACLES)/bin/python install --quiet --disable-pip-version-check \
		--require-hashes --no-deps -r requirements-oracles.lock
	@touch $@

# A key of this installation's own; never overwritten.
.env: | .venv/.installed
	@umask 077
	@$(BIN)/python -c 'import secrets; print("SECRET_KEY=" + secrets.token_urlsafe(50))' > .env

demo: install .env
	@exec $(BIN)/python manage.py demo

up: install .env
	@exec $(BIN)/python manage.py up

test: .venv/.installed-dev lint types test-both

# Three lanes side by side: much of a test's time is waiting for a browser or a disk. Each line says whose it is.
test-both: .venv/.installed-dev
	@lane() {
		worst=0
		for pass in "$$@"; do $(MAKE) --no-print-directory test-$$pass 2>&1 | sed -u "s/^/[$$pass] /" || worst=1; done
		return $$worst
	}
	lane postgres oracles apart & first=$$!
	lane browser rooms & second=$$!
	result=0
	lane sqlite || result=1
	wait $$first || result=1
	wait $$second || result=1
	exit $$result

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
	@$(EMBEDDED) -m pytest $(addprefix --ignore ,$(ROOMS) $(KILLED) $(APART) $(BESIDE) tests/browser)

test-apart: .venv/.installed-dev
	@$(EMBEDDED) -m pytest $(APART)

test-browser: .venv/.installed-dev
	@$(EMBEDDED) -m pytest tests/browser

# As a run's process does (mlcore/runs/child.py): memory of a network's layers is kept.
test-rooms: export MALLOC_MMAP_MAX_ ?= 0
test-rooms: export MALLOC_TRIM_THRESHOLD_ ?= 1099511627776
test-rooms: .venv/.installed-dev
	@$(EMBEDDED) -m pytest $(ROOMS) $(BESIDE)

# What touches rows, queues and pages runs again on the other services; what only a browser decides (pixels, contrast,
# weight, wording) does not. A whole study and a run are played in Chromium here too. Nothing is to outlive a power cut.
test-postgres: .venv/.installed-dev
	@if $(BIN)/python tests/services.py "$(TEST_DATABASE_URL)" "$(TEST_BROKER_URL)"; then
		DATABASE_URL="$(TEST_DATABASE_URL)" BROKER_URL="$(TEST_BROKER_URL)" PGOPTIONS="-c synchronous_commit=off" \
			$(BIN)/python -m pytest $(addprefix --ignore ,$(ROOMS) $(ONCE)) --ignore-glob 'tests/harmony/test_german*' \
			$$(ls tests/browser/test_*.py | grep -vE '/test_(phases|admin_run)\.py' | sed 's/^/--ignore /')
	elif [ -n "$${HARMONY_CI:-}" ]; then
		exit 1
	fi

oracles: $(ORACLES)/.installed
	env -u DATABASE_URL -u BROKER_URL $(ORACLES)/bin/python -m pytest tests/oracles

# Without a network the rest of the tests still count; CI never goes without.
test-oracles: .venv/.installed-dev
	@if $(MAKE) --no-print-directory $(ORACLES)/.installed; then
		$(MAKE) --no-print-directory oracles
	else
		printf '\n*** SKIPPED: our numbers beside those of other libraries; these could not be installed (see above).\n' >&2
		printf '  Enable it: make oracles, with a network.\n\n' >&2
		[ -z "$${HARMONY_CI:-}" ]
	fi

bots: .venv/.installed-dev
	@DATABASE_URL="$(TEST_DATABASE_URL)" $(BIN)/python -m tests.bots

lock: .venv/.installed-dev
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --no-header --no-emit-index-url --no-emit-trusted-host \
		--no-emit-find-links --unsafe-package pip --unsafe-package setuptools --unsafe-package torch --unsafe-package torchvision \
		--output-file requirements.lock requirements.txt
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --no-header --no-emit-index-url --no-emit-trusted-host \
		--no-emit-find-links --unsafe-package pip --unsafe-package setuptools --unsafe-package torch --unsafe-package torchvision \
		--constraint requirements.lock --output-file requirements-dev.lock requirements-dev.txt
	# Only what stands in neither of the other two: .venv-oracles takes those from .venv.
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --no-header --no-emit-index-url --no-emit-trusted-host \
		--no-emit-find-links --unsafe-package pip --unsafe-package setuptools --unsafe-package torch --unsafe-package torchvision \
		--unsafe-package opencv-python \
		$$(sed -nE 's/^([a-z0-9._-]+)==.*/--unsafe-package \1/p' requirements.lock requirements-dev.lock | sort -u) \
		--constraint requirements.txt --constraint requirements.lock --constraint requirements-dev.lock \
		--output-file requirements-oracles.lock requirements-oracles.txt

clean:
	rm -rf var

# The researchers' pages are in English, so their folders are left out.
messages: .venv/.installed
	@command -v xgettext msgfmt > /dev/null || { echo "GNU gettext is missing. On Debian or Ubuntu: apt-get install gettext"; exit 1; }
	export SECRET_KEY=messages DEBUG=1
	$(BIN)/python manage.py makemessages --all --no-obsolete --no-wrap --add-location file \
		--ignore 'templates/admin/*' --ignore 'annotation/admin/*' --ignore 'tests/*' --ignore 'bench/*' --ignore 'var/*'
	$(BIN)/python manage.py compilemessages --verbosity 0 --ignore .venv
	echo "Sentences without a translation are empty in locale/*/LC_MESSAGES/django.po; tests name them too."
