# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

# One process more than processors, for tests that wait for a network; each computes with one thread.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
TESTS = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

# Each of a hundred processes would compile the package for itself.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow coverage papers docs dist setup setup-demo setup-docs clean help
.PHONY: lint style types contracts lengths

help:
	@echo "make demo       set up what the demo needs, then eight peers learn digits together"
	@echo "make test       set up everything, then lint, types, import contracts and all quick tests"
	@echo "make test-slow  the checks that take minutes"
	@echo "make coverage   which lines the quick tests reach"
	@echo "make docs       the documentation as a site, in site/"
	@echo "make dist       wheel and sdist, each tried in an environment of its own"
	@echo "make papers     published results measured again, theirs beside ours: half an hour"
	@echo "make clean      remove the virtual environment and caches"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# pip, not uv: the range in pyproject.toml resolves to a CPU build of torch where the index has one.
$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(VENV)/.demo $(VENV)/.docs $@

setup-demo: $(VENV)/.demo
setup: $(VENV)/.dev

demo: setup-demo
	$(BIN)/gossipfl demo $(ARGS)

lint: types style contracts lengths

types: setup
	$(BIN)/mypy

style: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

contracts: setup
	$(BIN)/lint-imports

lengths: setup
	$(BIN)/python tools/module_length.py

# Compiled before the tests are distributed, or each process would compile them.
$(VENV)/.kernels: $(wildcard sims/compiler/*.py sims/compiler/timeline/*.py sims/engine/*.py) $(VENV)/.dev
	$(BIN)/gossipfl sim run digits --json --set population.nodes=64 --set stop.rounds=1 >/dev/null
	@touch $@

test: setup
	@$(MAKE) --no-print-directory --output-sync --jobs=2 lint $(VENV)/.kernels
	$(TESTS) $(ARGS) || { [ $$? = 1 ] && $(BIN)/python tools/again.py; }

test-slow: setup
	$(BIN)/python -m pytest -m slow $(ARGS)

coverage: setup $(VENV)/.kernels
	$(TESTS) --cov --cov-report=term:skip-covered --cov-report=html $(ARGS)

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@

setup-docs: $(VENV)/.docs

docs: setup-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

dist: setup
	tools/dist.sh

papers: setup
	$(BIN)/gossipfl sim papers --report docs/papers.md $(ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* htmlcov site dist
