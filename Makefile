# Usher. `make run` and `make test` need only git, make and Python 3.11 or newer.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Tests start hundreds of processes: none of them is to compile what another has compiled.
export PYTHONDONTWRITEBYTECODE :=

VENV ?= .venv
BIN := $(VENV)/bin
PORT ?= 8000
# The newest Python that is new enough and can make environments; `make run PYTHON=…` overrides it.
CANDIDATES := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)
FIND_PYTHON = for p in $(CANDIDATES); do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done
TEST_JOBS ?= 5 # tests of real processes mostly wait
PYTEST := $(BIN)/python -m pytest -n $(TEST_JOBS) --dist worksteal -q
PRODUCTION := USHER_ENV=production SECRET_KEY=$$(head -c 64 /dev/urandom | base64 -w0) \
	ALLOWED_HOSTS=usher.example PUBLIC_URL=https://usher.example \
	DATABASE_URL=postgres://usher@127.0.0.1:1/usher USHER_VAR=var/check

.PHONY: help run test test-fast faults soak check format messages bench bench-full bench-test lock-peers recovery e2e lock fuzz schema audit catalogue

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-11s %s\n", $$1, $$2}'

run: $(VENV)/.requirements ## serve Usher with demo data, web and workers, on http://127.0.0.1:8000/ (PORT=)
	@PORT=$(PORT) exec $(BIN)/python manage.py dev

# Pages, the admin, texts and what talks to brokers: what these do in the database, services do, and those run on both.
# Every invariant is asked on PostgreSQL too, of a world under kills (tests/faults/test_chaos.py).
ON_SQLITE_ALONE := tests/benchmarks tests/servers tests/contracts \
	$(addprefix tests/project/test_,$(addsuffix .py, api_docs api_errors api_json api_pages \
	api_reference api_revalidation api_security api_tutorial bodies copy_database dependencies deploying dev event_catalogue headers live metrics monitor nul operations_api pages promise roles error_reports observing \
	settings smtp support translations seed_demo staff_lists theme tracing pains)) \
	$(addprefix tests/accounts/test_,$(addsuffix .py, pages signup_page bad_input invite names emails leaving second_factor_pages sessions mail_parts mishaps second_factor import_users)) \
	$(addprefix tests/relay/test_,$(addsuffix .py, addresses amqp_source broker_tls consume_brokers integrations kafka loops nats \
		rabbitmq redis_streams ssrf through_trouble tls zeromq)) \
	$(addsuffix /test_admin.py,$(addprefix tests/,accounts coupons events points relay)) \
	$(addsuffix /test_invariants.py,$(addprefix tests/,accounts coupons points)) \
	tests/coupons/test_campaign_pages.py tests/coupons/test_display.py tests/test_charts.py \
	tests/faults/test_reconcile_under_kills.py tests/faults/test_rolling_deploy.py

test: $(VENV)/.requirements-dev ## run the suite: SQLite, PostgreSQL, faults, browser
	$(PYTEST) --database=sqlite -m "not browser and not long"
	$(PYTEST) --database=postgres -m "not browser and not long" $(addprefix --ignore=,$(ON_SQLITE_ALONE))
	$(PYTEST) -n 3 --database=sqlite -m browser tests/browser

DATABASES ?= sqlite postgres
TESTS ?= tests
test-fast: $(VENV)/.requirements-dev ## run the suite without faults and browser (DATABASES=, TESTS=)
	@set -e; for database in $(DATABASES); do \
		$(PYTEST) --database=$$database -m "not faults and not browser" --ignore=tests/servers $(TESTS); \
	done

e2e: $(VENV)/.requirements-dev ## run the browser tests
	$(PYTEST) --database=sqlite -m browser tests/browser

faults: $(VENV)/.requirements-dev ## run all that kills processes or takes servers away, the long ones too
	$(PYTEST) --database=sqlite -m faults
	$(PYTEST) --database=postgres -m faults

# One JSON document per set-up. SETUPS= chooses, SEED= repeats a plan.
SETUPS ?= sqlite:orm postgres:orm postgres:redis
KILLS ?= 1000
REGISTRATIONS ?= 20000
soak: $(VENV)/.requirements-dev ## 1,000 kills during 20,000 registrations on each set-up; takes an hour or two, prints JSON
	@for setup in $(SETUPS); do \
		$(BIN)/python -m tests.faults.soak --kills $(KILLS) --registrations $(REGISTRATIONS) \
			--database $${setup%:*} --broker $${setup#*:} $(if $(SEED),--seed $(SEED)) || exit 1; \
	done

# One JSON document. SEEDS= repeats or adds random data, DATABASES= chooses.
SEEDS ?= 1 2 3
fuzz: $(VENV)/.requirements-dev ## fuzz every operation of the API on both databases; takes many minutes, prints JSON
	@$(BIN)/python -m tests.fuzz --databases $(DATABASES) --seeds $(SEEDS)

# From the views; the same on every database. A test fails where it is not up to date.
schema: $(VENV)/.requirements ## write docs/openapi.yaml anew
	@USHER_VAR=var/check $(BIN)/python manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml

# From the declarations; a test fails where these are not up to date.
catalogue: $(VENV)/.requirements ## write docs/event-catalogue.md and docs/asyncapi.json anew
	@USHER_VAR=var/check $(BIN)/python manage.py event_catalog --format markdown > docs/event-catalogue.md
	@USHER_VAR=var/check $(BIN)/python manage.py event_catalog --format asyncapi > docs/asyncapi.json

check: $(VENV)/.requirements-dev ## format, lint, types, import contracts, migrations, deployment checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	USHER_VAR=var/check $(BIN)/python manage.py makemigrations --check --dry-run
	$(PRODUCTION) $(BIN)/python manage.py check --deploy --fail-level WARNING

# The rules skipped are judged line by line by ruff (S308, S310, S608), with a reason beside each.
audit: $(VENV)/.requirements-dev ## look for known holes in our code (bandit) and in what is locked (pip-audit)
	$(BIN)/bandit --quiet -ll --recursive accounts api coupons events points project relay --skip B308,B310,B608,B703
	$(BIN)/pip-audit --requirement requirements.txt --no-deps --disable-pip

format: $(VENV)/.requirements-dev ## format and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Needs GNU gettext. The compiled catalogue is kept in git, so that serving Usher does not.
messages: $(VENV)/.requirements ## bring the Chinese catalogue in line with the sources, and compile it
	$(BIN)/python manage.py makemessages --locale zh_Hans --add-location file --no-wrap --no-obsolete \
		--ignore '.venv*' --ignore var --ignore tests --ignore benchmarks
	$(BIN)/python manage.py compilemessages --locale zh_Hans --ignore '.venv*' --ignore var

# What Usher is compared with has an environment of its own: neither tests nor CI need it.
PEERS := .venv-peers
bench: $(VENV)/.requirements-dev $(PEERS)/.requirements ## measure a reduced set, in some 15 minutes; prints JSON
	$(BIN)/python -m benchmarks.all --peers-python $(PEERS)/bin/python

bench-full: $(VENV)/.requirements-dev $(PEERS)/.requirements ## measure everything, for hours, and write docs/benchmarks.md (SKIP="growth …", ONLY=)
	$(BIN)/python -m benchmarks.all --full --peers-python $(PEERS)/bin/python $(if $(SKIP),--skip $(SKIP)) $(if $(ONLY),--only $(ONLY))

RECOVERY := $(BIN)/python -m benchmarks.recovery
recovery: $(VENV)/.requirements-dev ## measure how fast things recover; takes three quarters of an hour, prints JSON
	@failed=0; \
	$(RECOVERY) --database=sqlite || failed=1; \
	$(RECOVERY) --database=sqlite --broker=redis broker_down broker_hung || failed=1; \
	$(RECOVERY) --database=postgres --broker=redis || failed=1; \
	exit $$failed

lock: $(VENV)/.requirements-dev ## compile the locks from pyproject.toml, for every supported Python
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		--group observability -c requirements.txt -o requirements-observability.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		--group dev -c requirements.txt pyproject.toml -o requirements-dev.txt

bench-test: $(VENV)/.requirements-dev ## run benchmarks at their smallest, to see that it works
	$(PYTEST) -n 1 --database=sqlite -m long tests/benchmarks

lock-peers: $(VENV)/.requirements-dev ## compile the lock of what benchmarks compare Usher with
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock-peers" \
		benchmarks/peers/requirements.in -o benchmarks/peers/requirements.txt

$(PEERS)/.requirements: benchmarks/peers/requirements.txt
	@python=$$($(FIND_PYTHON)); $$python -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r benchmarks/peers/requirements.txt
	@touch $@

$(VENV)/bin/pip: # comes last, so it stands for a whole environment
	@python=$$($(FIND_PYTHON)); \
	if [ -z "$$python" ]; then \
		echo "Usher needs Python 3.11 or newer with its venv module. On Debian: apt-get install python3 python3-venv" >&2; \
		exit 1; \
	fi; \
	echo "Making $(VENV) with $$($$python --version)"; $$python -m venv $(VENV)

$(VENV)/.requirements: requirements.txt | $(VENV)/bin/pip
	@echo "Installing what Usher needs"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.requirements-dev: requirements-dev.txt | $(VENV)/bin/pip
	@echo "Installing what developing Usher needs"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements-dev.txt
	@touch $@ $(VENV)/.requirements
