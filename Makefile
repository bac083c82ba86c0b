# make demo: export the small model to both engines and let it speak. make test: every check.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: demo test check clean

demo: $(VENV)/installed
	$(BIN)/tinyaya-export demo

test: check
	$(BIN)/python -m pytest

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# torch first and by exact version: a range would draw in CUDA builds of several gigabytes.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo build *.egg-info
