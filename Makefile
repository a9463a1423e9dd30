# Two commands for a newcomer: `make demo` and `make test`. Both set everything up in .venv.
PYTHON ?= python3
UV_VERSION := 0.13.9
BIN := .venv/bin
READY := .venv/.ready
PYTEST := $(BIN)/python -m pytest
WORKERS ?= auto

.DEFAULT_GOAL := help
.PHONY: help demo test check format interop peers bench mutants docs dist clean

help:  ## List the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(READY): pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv sync --quiet --frozen --all-extras --inexact --compile-bytecode --python $(BIN)/python
	@touch $(READY)

demo: $(READY)  ## Show the main job on real input, attacks included
	$(BIN)/verifier demo

test: $(READY)  ## Run all tests that need no peer programs, in random order
	$(PYTEST) -n $(WORKERS) -m "not interop"
	$(BIN)/python -O -m pytest -q -W ignore::pytest.PytestConfigWarning -m "not interop" tests/unit/policy tests/unit/test_demo.py

check: $(READY)  ## Lint, types, layers
	$(BIN)/ruff format --check verifier tests bench
	$(BIN)/ruff check verifier tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## Format the code
	$(BIN)/ruff format verifier tests bench
	$(BIN)/ruff check --fix verifier tests bench

peers: $(READY)  ## Get the real programs (helm, cosign, oras, registries) into a cache
	$(BIN)/python -m tests.peers

interop: peers  ## Prove that real helm, cosign, oras and gpg agree with us, both ways
	VERIFIER_REQUIRE_PEERS=1 $(PYTEST) -n $(WORKERS) -m interop

coverage: $(READY)  ## Branch coverage of verifier/
	$(BIN)/coverage erase
	$(PYTEST) -n $(WORKERS) -m "not interop" --cov --cov-report=term
	$(BIN)/coverage report --fail-under=95

mutants: $(READY)  ## Change the policy engine line by line; say which changes no test notices (slow)
	$(BIN)/python -m tests.mutation $(addprefix verifier/policy/,engine.py logic.py select.py index.py scopes.py requirements.py document.py)

docs: $(READY)  ## Write the generated pages and lists
	$(BIN)/python docs/generate.py
	$(BIN)/uv export --frozen --no-dev --no-emit-project --no-annotate --no-header --quiet -o .github/requirements.txt
	$(BIN)/uv export --frozen --no-dev --no-emit-project --no-annotate --no-header --quiet --extra kubernetes --extra cel --extra postgres --extra otel -o verifier/deploy/requirements.txt

dist: $(READY)  ## Build what a release consists of: the package and Helm's plugins
	rm -rf dist
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(BIN)/uv build --quiet --out-dir dist
	$(BIN)/verifier helm package-plugin -d dist
	@rm -f dist/.gitignore
	@ls dist

bench: $(READY)  ## Measure beside the real programs, as ratios
	-$(BIN)/python -m tests.peers --bench
	$(BIN)/python -m bench

clean:  ## Remove what was set up and built
	rm -rf .venv .mypy_cache .ruff_cache .import_linter_cache dist
