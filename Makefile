# `make demo` and `make test` set up a virtual environment and run. Any Python from 3.10 to 3.13:
# make PYTHON=python3.12 test
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# Two worker processes with one thread each; more threads would wait for each other.
WORKERS ?= 2
PYTEST = TF_NUM_INTRAOP_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test test-slow test-jax test-jax-all test-detection test-serving notebooks lint bench docs clean

demo: $(VENV)/.run
	$(BIN)/python applications/targeted_kernels.py --output runs/demo

test: $(VENV)/.dev
	$(PYTEST) --ignore=tests/test_docs.py

# The long test matrices, of which `make test` runs one or two cases each, and tests that take long: all
# models in all precisions and formats, tables of programs, killed trainings.
test-slow: $(VENV)/.dev
	$(PYTEST) -m slow --timeout=3600 --ignore=tests/test_docs.py

# With the JAX backend: operations, layers and losses, and a training step of one model per mechanism.
# Datasets, export and figures need TensorFlow. JAX compiles each operation separately, which takes most of
# the time of the first run, so its optimizations are disabled there; models are compiled as for users.
JAX = KERAS_BACKEND=jax $(PYTEST)
test-jax: $(VENV)/.dev
	JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(JAX) tests/ops tests/layers/test_all_layers.py tests/losses \
		tests/distillation/test_distiller.py
	$(JAX) tests/applications/test_all_models.py -k "step and (TKN6 or WARN or DCN-3 or LeNet5-san-c)"
	$(JAX) tests/distribution/test_jax.py

# Everything that runs with JAX, about 15 minutes; for changes of keras_attention/backend.
test-jax-all: $(VENV)/.dev
	$(JAX) -m "" tests/graph tests/ops tests/layers tests/losses tests/distillation tests/training \
		tests/surgery/test_targeted.py tests/applications/test_all_models.py

# With KerasHub, which downloads 250 MB; `make test` skips these tests without it.
test-detection: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --editable ".[dev,detection]"
	$(PYTEST) tests/programs/test_scale_space_detection.py

# With other projects' servers and clients; MLflow downloads 250 MB. The last two packages only validate
# configurations and require an older TensorFlow, so they are installed without their dependencies.
test-serving: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --editable ".[dev,serving]"
	$(BIN)/python -m pip install --quiet --no-deps tritonclient tensorflow-serving-api
	$(PYTEST) -m "" tests/serving --ignore=tests/serving/test_formats.py

# Executes the notebooks without changing the files; libraries may issue warnings there.
notebooks: $(VENV)/.dev
	$(PYTEST) --nbmake --nbmake-timeout=240 --override-ini=addopts= \
		--override-ini=filterwarnings= notebooks

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.dev
	$(BIN)/python benchmarks/run_all.py

# Builds the documentation into site/ with warnings as errors, and runs the examples in it.
docs: $(VENV)/.dev
	$(PYTEST) tests/test_docs.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build site *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.run: $(VENV)/bin/python setup.py
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: $(VENV)/bin/python setup.py
	$(BIN)/python -m pip install --quiet --editable ".[dev,docs,jax]"
	touch $@
