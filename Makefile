# Each target does its whole set-up: Python, make and git are all that must be there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt

.PHONY: help demo tune install test test-slow studies studies-quick docs table lint format lock ide clean

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
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -m 'not slow' -n 2 --dist worksteal

# The recipes' tests run once on each backend; everything else on TensorFlow.
test: $(VENV)/.made-dev ## lint, and every test that is not slow
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(PYTEST)
	KERAS_BACKEND=jax $(PYTEST) tests/recipes
	KERAS_BACKEND=torch $(PYTEST) tests/recipes

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
