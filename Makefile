# make demo, make test: set up what they need and run. Any Python from 3.10 to 3.13: make PYTHON=python3.12 test
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# A thread for each of the two workers: more would only wait for each other.
WORKERS ?= 2
PYTEST = TF_NUM_INTRAOP_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test test-slow test-jax test-jax-all test-detection test-serving notebooks lint bench docs clean

demo: $(VENV)/.run
	$(BIN)/python applications/targeted_kernels.py --output runs/demo

test: $(VENV)/.dev
	$(PYTEST) --ignore=tests/test_docs.py

# What is too long for every change: all models in all precisions and formats, fifty kills.
test-slow: $(VENV)/.dev
	$(PYTEST) -m slow --timeout=3600 --ignore=tests/test_docs.py

# On the other backend every equation, every layer, the losses, and a step of a model of each mechanism; data sets,
# exports and pictures stay with TensorFlow. JAX compiles every operation by itself, which is most of the
# time here, so it need not compile well; whole models it compiles once, as for users.
JAX = KERAS_BACKEND=jax $(PYTEST)
test-jax: $(VENV)/.dev
	JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(JAX) tests/ops tests/layers/test_all_layers.py tests/losses \
		tests/distillation/test_distiller.py
	$(JAX) tests/applications/test_all_models.py -k "step and (TDN10 or WARN or DCN-3 or san-c)"
	$(JAX) tests/distribution/test_jax.py

# All that can be had there, for changes of what differs between backends; a quarter of an hour.
test-jax-all: $(VENV)/.dev
	$(JAX) tests/graph tests/ops tests/layers tests/losses tests/distillation tests/training \
		tests/surgery/test_targeted.py tests/applications/test_all_models.py

# With KerasHub, whose packages are a quarter of a gigabyte; without it `make test` skips this.
test-detection: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --editable ".[dev,detection]"
	$(PYTEST) tests/programs/test_scale_space_detection.py

# Servers and clients that are not ours; MLflow and what it needs are a quarter of a gigabyte. The last two
# give the definitions of configurations alone: what they ask for is older than TensorFlow.
test-serving: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --editable ".[dev,serving]"
	$(BIN)/python -m pip install --quiet --no-deps tritonclient tensorflow-serving-api
	$(PYTEST) -m "" tests/serving --ignore=tests/serving/test_formats.py

# Executes the notebooks and leaves the files as they are; libraries may warn in there.
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

# Into site/. Warnings are errors, links inside are checked; nothing is fetched when it is read. Its
# examples are run, and its guide to a mechanism is followed.
docs: $(VENV)/.dev
	$(PYTEST) tests/test_docs.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build site *.egg-info .pytest_cache .ruff_cache .mypy_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.run: $(VENV)/bin/python setup.py
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: $(VENV)/bin/python setup.py
	$(BIN)/python -m pip install --quiet --editable ".[dev,docs,jax]"
	touch $@
