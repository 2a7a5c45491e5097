# Needs nothing but Python 3.10 or newer; everything else goes into .venv, once.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed

# LiteLLM: use the price list in the package instead of downloading one. botocore: do not look for EC2 credentials.
export LITELLM_LOCAL_MODEL_COST_MAP := True
export AWS_EC2_METADATA_DISABLED := true

.PHONY: test check compat frameworks agents monitoring live demo docs pictures soak bench bench-streams dist lint format clean

# The first target, so `make` alone does the same.
test: lint
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile

# Folders whose tests all take longer: to read them alone takes ten seconds.
NONE_FAST := benchmarks clients examples operating

# What to run after each change: in a minute, all but the tests that say why they take longer.
check: lint
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 -m "not slow and not medium" $(addprefix --ignore tests/,$(NONE_FAST))

# All but the slow tests on other versions of LiteLLM, each in an environment of its own in .compat (docs/litellm-versions.md).
# Needs a package index. `make compat VERSIONS="lowest newest"` for some of them.
compat:
	$(PYTHON) -m tools.compat $(VERSIONS)

# Agent frameworks, each in an environment of its own in .frameworks (docs/frameworks.md). Needs a package index.
# `make frameworks NAMES="dspy crewai"` for some of them; all of them write the page's table.
frameworks:
	$(PYTHON) -m tools.frameworks $(or $(NAMES),--page)

# Coding agents through `launch`, installed in .agents (docs/agents.md). Needs Node.js with npm, and its registry.
# `make agents NAMES="claude codex"` for some of them; all of them write the page's table.
agents: $(INSTALLED)
	$(BIN)/python -m tools.agents $(or $(NAMES),--page)

# The dashboard and the alerts, against a real Prometheus that scrapes the real proxy. Where there is none on the PATH,
# Debian's package is downloaded into .cache, and not installed.
monitoring: $(INSTALLED)
	$(BIN)/python -m tools.monitoring

# What an endpoint of yours answers, beside what the local runtime does (docs/live.md). Asks before it sends anything.
# `make live ENDPOINT=my-endpoint REGION=us-west-2`; COMPONENT, EMBEDDINGS_ENDPOINT, PROFILE; DEPLOY=1 makes the endpoint
# and deletes it; YES=1 does not ask. The credentials may be those of an instance's role, which the tests must not have.
# exec: what stops make is for the program to know, which then deletes.
live: export AWS_EC2_METADATA_DISABLED := false
live: $(INSTALLED)
	exec $(BIN)/python -m tools.live $(if $(ENDPOINT),'$(ENDPOINT)') $(if $(COMPONENT),--component '$(COMPONENT)') \
		$(if $(EMBEDDINGS_ENDPOINT),--embeddings-endpoint '$(EMBEDDINGS_ENDPOINT)') \
		$(if $(REGION),--region '$(REGION)') $(if $(PROFILE),--profile '$(PROFILE)') \
		$(if $(DEPLOY),--deploy) $(if $(YES),--yes)

demo: $(INSTALLED)
	$(BIN)/python -m examples.demo

# The site, in site/. A broken link or anchor fails it.
docs: $(INSTALLED)
	$(BIN)/zensical build --clean --strict

# What the commands show, for the docs, in docs/pictures/. A test fails where they show something else by now.
pictures: $(INSTALLED)
	$(BIN)/python -m tests.docs.pictures
	$(BIN)/python -m tests.docs.session

# Some minutes; no part of the tests.
soak: $(INSTALLED)
	$(BIN)/python -m benchmarks.soak

# Twenty minutes; no part of the tests, and for a machine that does nothing else.
bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.bench --markdown benchmarks/results.md --svg docs/pictures/chart.svg \
		--page docs/performance.md

# A quarter of an hour: 5,000 streams open at once in one process. As above.
bench-streams: $(INSTALLED)
	$(BIN)/python -m benchmarks.many_streams --markdown benchmarks/many_streams.md --json benchmarks/many_streams.json \
		--svg docs/pictures/streams --page docs/performance.md

# The files that a release consists of, in dist.
dist: $(INSTALLED)
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/zizmor --offline --quiet .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
	$(BIN)/check-jsonschema --schemafile deploy/helm/chart.schema.json deploy/helm/values.yaml
	$(BIN)/cfn-lint deploy/cloudformation/proxy.yaml

format: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf .venv .agents .compat .frameworks dist site .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(INSTALLED): pyproject.toml constraints.txt tests/requirements-no-deps.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("needs Python 3.10 or newer: make PYTHON=...")'
	@echo "Setting up .venv; the first time this takes about a minute."
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[proxy,test,docs]'
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps --requirement tests/requirements-no-deps.txt
	@touch $@
