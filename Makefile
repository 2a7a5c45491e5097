# Needs nothing but Python 3.10 or newer; everything else goes into .venv, once.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

# LiteLLM: use the price list in the package instead of downloading one. botocore: do not look for EC2 credentials.
export LITELLM_LOCAL_MODEL_COST_MAP := True
export AWS_EC2_METADATA_DISABLED := true

.PHONY: test demo docs pictures soak bench lint format clean

# The first target, so `make` alone does the same.
test: lint
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

demo: $(INSTALLED)
	$(BIN)/python -m examples.demo

# The site, in site/. A broken link or anchor fails it.
docs: $(INSTALLED)
	$(BIN)/zensical build --clean --strict

# What the commands show, for the docs, in docs/pictures/. A test fails where they show something else by now.
pictures: $(INSTALLED)
	$(BIN)/python -m tests.docs.pictures

# Some minutes; no part of the tests.
soak: $(INSTALLED)
	$(BIN)/python -m benchmarks.soak

# A quarter of an hour; no part of the tests, and for a machine that does nothing else.
bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.bench --markdown benchmarks/results.md --svg docs/pictures/chart.svg

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv site .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis

# sagemaker-core has AWS's own token generator, to test against. One file of it is loaded, so none of what it
# requires is needed.
$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("needs Python 3.10 or newer: make PYTHON=...")'
	@echo "Setting up .venv; the first time this takes about a minute."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[proxy,test,docs]'
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps sagemaker-core strands-agents \
		opentelemetry-instrumentation-threading
	@touch $@
