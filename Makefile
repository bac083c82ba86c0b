# make demo: export the small model to both engines and let it speak. make test: all of Python's proofs. make android: the app.
# make arm: bundles on emulated boards. make thorough: what takes too long for every change. .ci/run: what every change has to pass.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

.PHONY: demo test parallel serial check dist android native arm thorough clean

demo: $(VENV)/installed
	$(BIN)/tinyaya-export demo

test: check parallel serial

# A worker a core and one more, for tests that wait, each of one thread; then alone what measures time, serves or kills
# processes.
parallel: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not serial and not thorough" --numprocesses $$(($$(nproc) + 1)) --dist loadfile --durations 30

serial: $(VENV)/installed
	$(BIN)/python -m pytest -m "serial and not thorough"

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# A source distribution, and the wheel that it makes.
dist: $(VENV)/installed
	$(BIN)/python -m build --outdir dist

# Ends with an error where packages of other registries cannot be had, too; .ci/run tells the two apart.
android: $(VENV)/installed
	PYTHON=$(abspath $(BIN))/python android_demo/ci/build.sh

# Under qemu, on a machine with Debian's packages; `tests/arm/ci.sh --quick` is the part that CI runs.
arm: $(VENV)/installed
	PYTHON=$(abspath $(BIN))/python tests/arm/ci.sh

# Kills at random moments, everything twice, 40 prompts by 100 tokens on each board, the app's tests on what comes back from dex.
thorough: $(VENV)/installed
	$(BIN)/python -m pytest -m thorough
	PYTHON=$(abspath $(BIN))/python tests/arm/ci.sh --thorough
	PYTHON=$(abspath $(BIN))/python android_demo/ci/build.sh fetch compile run dex

# ExecuTorch's programs without torch; needs g++. Other machines: python -m tinyaya.runtime.native.build -h
native: $(VENV)/installed
	$(PIP) --force-reinstall --no-deps $$($(BIN)/python -m tinyaya.runtime.native.build --wheel --out dist)

# torch first and by exact version: a range would draw in CUDA builds of several gigabytes.
$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) torch==2.13.0
	$(PIP) --constraint constraints.txt --editable ".[dev]"
	touch $@

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) demo build dist android_demo/build *.egg-info
