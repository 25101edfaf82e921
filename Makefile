# `make demo` and `make test` need Python 3.11 or newer, make, and a package index. Everything lands in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# pip comes with the project: a bare Debian has no ensurepip, and one pip everywhere installs one way everywhere.
PIP    := $(BIN)/python $(firstword $(wildcard tools/pip-*.whl))/pip -qq --disable-pip-version-check
READY  := $(VENV)/.ready
LOCK   := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
  --no-header --no-annotate --no-emit-index-url --no-emit-find-links -q
# Tests start the command line hundreds of times: compile it once, as it is where people use it.
unexport PYTHONDONTWRITEBYTECODE
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)

.DEFAULT_GOAL := help
.PHONY: help demo test differential attacks fuzz soak handshakes lint format bench lock setup clean

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(READY) ## make the virtual environment (the other targets do it by themselves)

$(VENV)/.packages: requirements.lock $(wildcard tools/pip-*.whl)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "meshward needs Python 3.11 or newer, and $(PYTHON) is older: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up $(VENV) (once)"
	@rm -rf $(VENV)
	@$(PYTHON) -m venv --without-pip $(VENV)
	@$(PIP) install --require-hashes --only-binary :all: -r requirements.lock
	@touch $@

$(READY): $(VENV)/.packages pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation --no-index -e .
	@touch $@

# What only the benchmarks need, peers among them.
$(VENV)/.bench: $(READY) benchmarks/requirements.lock
	@$(PIP) install --require-hashes --only-binary :all: -r benchmarks/requirements.lock
	@touch $@

demo: $(READY) ## real Envoys, real mTLS, a dozen requests, decided by ordinary Istio YAML
	@$(BIN)/meshward demo

test: $(READY) ## every test, with real Envoys
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

differential: $(READY) ## policies as a real Envoy's own filters, N pairs: make differential N=200000
	MESHWARD_DIFFERENTIAL_PAIRS=$(or $(N),200000) $(BIN)/pytest -q -s tests/differential/test_differential.py

attacks: $(READY) ## generated requests against what is called proved, N of them: make attacks N=10000000
	MESHWARD_ATTACKS=$(or $(N),2000000) $(BIN)/pytest -q tests/laws/test_proving.py

fuzz: $(READY) ## what strangers send to the authority, mutated, for N seconds each: make fuzz N=60
	MESHWARD_FUZZ_SECONDS=$(or $(N),60) $(BIN)/pytest -q -s tests/fuzz

lint: $(READY) ## ruff, mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(READY) ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench ## the figures in docs/performance.md, measured here
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.apart.plots

soak: $(READY) ## ten minutes of load, reloads, resets and bad requests: make soak N=3600
	MESHWARD_SOAK_SECONDS=$(or $(N),600) $(BIN)/pytest -q -s tests/soak

handshakes: $(READY) ## full handshakes between Envoys while roots roll, N of them: make handshakes N=10000
	MESHWARD_HANDSHAKES=$(or $(N),10000) $(BIN)/pytest -q -s tests/integration/test_handshakes.py

lock: ## resolve requirements.lock anew (needs uv)
	$(LOCK) --extra demo --extra dev --extra pkcs11 --extra postgresql --upgrade -o requirements.lock
	$(LOCK) --all-extras --constraint requirements.lock -o benchmarks/requirements.lock

clean: ## remove what the targets made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
