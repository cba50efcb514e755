# What one does with Lakeline's checkout. `make help` lists it all; every target sets up what it needs.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?=
PYTEST_ARGS ?= -n auto --maxprocesses 4 --dist loadfile

# The certificates of the system, and the package index that pip is configured for, are uv's as well.
export UV_SYSTEM_CERTS ?= 1
export UV_HTTP_TIMEOUT ?= 300
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Where it is set, each step of a run would compile all of Lakeline that it imports.
unexport PYTHONDONTWRITEBYTECODE
UV_INSTALL = index=$$($(BIN)/python -m pip config get global.index-url 2>/dev/null || true); \
	UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$index}}"; \
	if [ -n "$$UV_DEFAULT_INDEX" ]; then export UV_DEFAULT_INDEX; else unset UV_DEFAULT_INDEX; fi; \
	$(BIN)/uv pip install --quiet --python $(BIN)/python

# A Python that is new enough and can make virtual environments.
define FIND_PYTHON
for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
		found=$$python; break; fi; \
done; \
if [ -z "$${found:-}" ]; then \
	echo "make: no Python 3.11 or newer with the venv module found. Install one, or name it: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; \
	exit 1; fi
endef

.PHONY: help
help:  ## list what there is to make
	@grep -hE '^[a-z][a-z-]*:.*  ## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*  ## /\1|/' | \
		while IFS='|' read -r name text; do printf '  make %-14s %s\n' "$$name" "$$text"; done

.PHONY: setup
setup: $(VENV)/.ready  ## install what `lakeline` needs into .venv

.PHONY: setup-dev
setup-dev: $(VENV)/.ready-dev  ## install what tests, lint and types need besides

.PHONY: run
run: $(VENV)/.ready  ## the whole loop on real data: arrivals, training, promotion, a refused month, a report
	@$(BIN)/lakeline demo

.PHONY: test
test: $(VENV)/.ready-dev  ## run all tests, with coverage
	@$(BIN)/python -m pytest $(PYTEST_ARGS) --cov --cov-report=term $(TESTS)

.PHONY: test-unit
test-unit: $(VENV)/.ready-dev  ## run the fast tests only
	@$(BIN)/python -m pytest $(PYTEST_ARGS) -m 'not embedded' tests/unit $(TESTS)

.PHONY: test-nightly
test-nightly: $(VENV)/.ready-dev  ## run the tests that take minutes: a kill at every write to the registry, a registry that dies and comes back
	@LAKELINE_TEST_NIGHTLY=1 $(BIN)/python -m pytest -m nightly -o faulthandler_timeout=1800 tests/unit $(TESTS)

.PHONY: test-cluster
test-cluster: $(VENV)/.ready-dev  ## run the tests against the live cluster that kubectl speaks to: the chain from arrival to traffic first, then the rest (half an hour)
	@KUBECONFIG="$${KUBECONFIG:-$$HOME/.kube/config}" LAKELINE_TEST_CLUSTER=1 $(BIN)/python -m pytest -v -o faulthandler_timeout=1800 tests/cluster tests/manifests/test_secrets.py $(TESTS)

.PHONY: campaign
campaign: $(VENV)/.ready-dev  ## have faults, as many as fit into ten minutes, and check what holds (CAMPAIGN_ARGS="--faults 1000 --minutes 90")
	@$(BIN)/python -m tests.campaign $(or $(CAMPAIGN_ARGS),--faults 1000 --minutes 10)

.PHONY: lint
lint: $(VENV)/.ready-dev  ## check style and formatting (ruff)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --diff .

.PHONY: format
format: $(VENV)/.ready-dev  ## bring the sources into form (ruff)
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

.PHONY: types
types: $(VENV)/.ready-dev  ## check types (pyright)
	@$(BIN)/pyright --pythonpath $(BIN)/python

.PHONY: compile
compile: $(VENV)/.ready  ## write the YAML of every component and pipeline
	@$(BIN)/lakeline compile

.PHONY: compiled
compiled: $(VENV)/.ready  ## check that the YAML is what the sources compile to
	@$(BIN)/lakeline compile --check

.PHONY: check
check: lint types compiled  ## lint, types and compiled YAML: all that is checked without running a pipeline

.PHONY: bench
bench: $(VENV)/.ready  ## time and memory against the plain script of the field (wants LAKELINE_DATA; takes a while)
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

.PHONY: requirements
requirements: $(VENV)/.ready-dev  ## pin and hash the dependencies of pyproject.toml anew (UPGRADE=1: to the newest)
	@compile="$(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-header $(if $(UPGRADE),--upgrade)"; \
	$$compile pyproject.toml -o requirements.txt && \
	$$compile pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt && \
	printf 'uv\nhatchling\n' | $$compile - -o requirements-setup.txt && \
	$$compile images/serving/requirements.in -c requirements.txt -o images/serving/requirements.txt && \
	sed -n 's/^mlflow==\([^ ]*\).*/mlflow[auth]==\1/p' requirements.txt | \
		$$compile images/mlflow/requirements.in - -o images/mlflow/requirements.txt

.PHONY: images
images:  ## build the images with docker, podman or buildah (IMAGES=steps: only that one; images/build --help)
	@images/build

.PHONY: cluster
cluster: $(VENV)/.ready  ## a Kubernetes on this machine (kind) with everything in it; again: no change
	@$(BIN)/lakeline cluster up

.PHONY: cluster-down
cluster-down: $(VENV)/.ready  ## delete that cluster with all that is in it
	@$(BIN)/lakeline cluster down

.PHONY: deploy
deploy: $(VENV)/.ready  ## everything into the cluster that kubectl speaks to (OVERLAY=production: with data kept elsewhere)
	@$(BIN)/lakeline cluster deploy --overlay $(or $(OVERLAY),kind)

.PHONY: clean
clean:  ## remove what was built and measured here; .venv and .lakeline (lake, models, reports) stay
	@rm -rf build dist htmlcov .coverage .coverage.* .pytest_cache .ruff_cache .hypothesis
	@find lakeline components pipelines tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: clean-all
clean-all: clean  ## remove .venv and .lakeline as well: lake, models and reports are gone then
	@rm -rf $(VENV) .lakeline

# Stamps: a second time costs nothing; a set-up that was interrupted starts over.
$(VENV)/.setup: requirements-setup.txt
	@$(FIND_PYTHON); \
	echo "Setting up .venv with $$($$found --version) (once; a few minutes of downloads)" >&2; \
	$$found -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements-setup.txt
	@touch $@

# Compiled when installed: where PYTHONDONTWRITEBYTECODE is set, each process would compile all that it imports.
$(VENV)/.ready: $(VENV)/.setup requirements.txt pyproject.toml
	@$(UV_INSTALL) --compile-bytecode --require-hashes -r requirements.txt
	@$(UV_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.ready-dev: $(VENV)/.ready requirements-dev.txt
	@$(UV_INSTALL) --compile-bytecode --require-hashes -r requirements-dev.txt
	@touch $@
