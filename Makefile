# Each target does its whole set-up: Python, make and git are all that must be there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

.PHONY: help demo tune install test test-heavy test-matrix test-all test-slow studies studies-quick docs table lint format lock ide clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/.made: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	@touch $@

$(VENV)/.made-dev: $(VENV)/.made
	$(PIP) -e '.[dev]'
	@touch $@

demo: $(VENV)/.made ## fine-tune the shipped backbone on the embedded data
	$(BIN)/hornbook finetune

tune: $(VENV)/.made ## search for hyperparameters on the embedded data
	$(BIN)/hornbook tune

install: $(VENV)/.made-dev ## a virtual environment with all that development needs

# Two at a time, with one thread each for linear algebra: more would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal $(PYTEST_OPTIONS)
RECIPES := tests/recipes tests/test_recipes_alone.py

# On JAX and torch only what differs there, by the tests' names; the rest is arithmetic.
# (The copies' examples run on TensorFlow, and those of the originals on each.)
DIFFERS := (examples_run or contract or config or saving or save or dtype or precision \
	or graph or xla or jit or compiled or export or torch) and not copies

test: lint ## lint, and the tests that take minutes in all
	$(PYTEST) -m 'not slow and not heavy'
	KERAS_BACKEND=jax $(PYTEST) -m 'not slow and not heavy' -k '$(DIFFERS)' $(RECIPES)
	KERAS_BACKEND=torch $(PYTEST) -m 'not slow and not heavy' -k '$(DIFFERS)' $(RECIPES)

test-heavy: $(VENV)/.made-dev ## workers, exports, the site, the clock
	$(PYTEST) -m 'heavy and not slow'

test-matrix: $(VENV)/.made-dev ## every test of the recipes on JAX and on torch
	KERAS_BACKEND=jax $(PYTEST) -m 'not slow' $(RECIPES)
	KERAS_BACKEND=torch $(PYTEST) -m 'not slow' $(RECIPES)

test-all: test test-heavy test-matrix ## also workers, exports, the site, the clock, all on each backend

test-slow: $(VENV)/.made-dev ## the long checks: kills, claims over seeds, lowest versions, wheel
	$(BIN)/pytest -m slow
	KERAS_BACKEND=jax $(BIN)/pytest tests/recipes -m slow
	KERAS_BACKEND=torch $(BIN)/pytest tests/recipes -m slow

studies: $(VENV)/.made-dev ## every claim, all seeds; goes on where it was stopped
	$(BIN)/python studies/run.py

studies-quick: $(VENV)/.made-dev ## a look at each claim, two seeds; writes nothing
	$(BIN)/python studies/run.py --quick

$(VENV)/.made-docs: $(VENV)/.made
	$(PIP) -e '.[docs]'
	@touch $@

docs: $(VENV)/.made-docs ## the site, into build/site
	$(BIN)/python docs/site/evidence.py
	$(BIN)/python docs/site/build.py

table: $(VENV)/.made-dev ## renew the zoo's table of backbones (builds each once, minutes)
	$(BIN)/python -m hornbook.zoo.backbones.make_table

lint: $(VENV)/.made-dev ide ## ruff and mypy
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.made-dev ## let ruff mend what it can
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

lock: $(VENV)/.made-dev ## renew constraints.txt from pyproject.toml
	(printf '# Versions of everything, for `make`; written by `make lock`.\n'; \
	 $(BIN)/uv pip compile --universal --python-version 3.11 --all-extras --upgrade \
	 --no-emit-index-url --no-annotate --no-header --quiet pyproject.toml) > .constraints
	$(BIN)/python -m pip install --quiet --dry-run --ignore-installed \
	  -c .constraints -e '.[dev]'
	mv .constraints constraints.txt

ide: ## links so that an editor finds hornbook.recipes and its kin
	rm -rf .ide && mkdir -p .ide/hornbook
	for part in recipes zoo tuning; do ln -sfn ../../$$part .ide/hornbook/$$part; done
	for file in src/hornbook/*; do ln -sfn ../../$$file .ide/hornbook/; done

clean: ## remove what make made
	rm -rf $(VENV) .ide build dist src/*.egg-info
