# Set-up and the project's own commands. Each target installs what is missing first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Options of pytest-cov; tests take half as long again with them.
COVERAGE ?=
# Empty: one process.
CORES ?= -n auto

# DVC's stages call `sgcp`, so the environment's programs come first.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: repro test test-all test-slow mutants images lint format clean

repro: $(INSTALLED)  ## The main job: the embedded sample through the whole chain.
	dvc repro

test: lint  ## Style, types and the fast tests.
	pytest $(CORES) $(COVERAGE) -m "not integration and not slow"

test-all: test  ## And the rest: DVC, kills, several processes, browsers, every example of the docs.
	pytest $(CORES) -m "integration and not slow"

test-slow: $(INSTALLED)  ## Many more kills, fuzzing of the readers.
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --editable '.[fuzz]' || echo "no atheris for this Python: fuzz tests are skipped"
	pytest -m slow

mutants: $(INSTALLED)  ## Changes label tables, scores and packager bit by bit: the tests must see it.
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --editable '.[mutation]'
	rm -rf mutants
	SGCP_TRAINED=$$(mktemp -d)/project mutmut run
	mutmut results

images: $(INSTALLED)  ## The README's images, of the sample as `make repro` leaves it.
	python docs/images.py

lint: $(INSTALLED)
	ruff check .
	ruff format --check .
	mypy

format: $(INSTALLED)
	ruff check --fix .
	ruff format .

clean:  ## Removes the environment; data and results stay.
	rm -rf $(VENV) *.egg-info mutants .mypy_cache .ruff_cache .pytest_cache

$(INSTALLED): pyproject.toml constraints.txt sgcp/inference/_labels.c
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "installing PyTorch and the rest, about 6 GB; minutes on the first run"
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt \
	  --editable '.[dev]'
	touch $@
