# What each command does:
#
#   make demo            run six real jobs on this machine, then check the backend that ran them
#   make test            the quick tests
#   make test-slow       the slow tests: wrong and right plugins of the gallery, whole runs of the kit, real installations
#   make test-all        the quick tests on every supported Python
#   make test-daemons    the kit on real sshd and Slurm daemons, started and stopped by the tests (Debian 12, root)
#   make daemons         start those daemons and leave them up
#   make daemons-down    stop them
#   make test-crossings  the kit together with popular plugins of pytest (half an hour)
#   make lint            linters and type checkers
#   make coverage        all tests, and the lines and branches that they miss
#   make docs            the generated pages
#   make matrix          every wrong plugin of the gallery against every clause (half an hour)
#   make bench           the benchmarks
#   make bench-peers     intercede compared with other libraries, on a real Slurm (Debian, root, twenty minutes)
#   make constraints     new pins of all dependencies
#   make clean           remove everything that these commands made
#
# Each needs Python 3.11 or newer with venv. The first one makes an environment in $(VENV), from a package index.
# CONTRIBUTING.md says more.

PYTHON ?= python3
PYTHONS ?= python3.11 python3.12 python3.13 python3.14 python3.15
VENV ?= .venv

BIN = $(VENV)/bin
READY = $(VENV)/.ready
TEST_READY = $(VENV)/.ready-for-tests
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PYTEST = $(BIN)/python -m pytest -q --dist worksteal
SUBJECT = {"transport": "local", "scheduler": "direct"}

# Hundreds of processes import the same modules: they must be compiled once, whatever the caller's environment says.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-slow test-all test-daemons daemons daemons-down test-crossings lint coverage docs matrix \
    bench bench-peers constraints clean

demo: $(READY)
	@echo "--- six jobs through $(SUBJECT)"
	@rm -rf demo-output
	$(BIN)/intercede run --backend '$(SUBJECT)' --copies 6 --output demo-output -- \
	    sh -c 'echo "hello from process $$$$ on $$(uname -n)"; sleep 1'
	@for file in demo-output/*/stdout; do printf '%s: ' "$$file"; cat "$$file"; done
	@echo "--- is that backend conformant?"
	@mkdir -p $(VENV)/empty && printf '[pytest]\n' >$(VENV)/empty/pytest.ini # without the settings of this project
	cd $(VENV)/empty && ../bin/python -m pytest -q -p no:cacheprovider --intercede-backend='$(SUBJECT)'

# --- Tests

test: $(TEST_READY)
	$(PYTEST) -n 4 -m 'not slow and not daemons' # more workers than cores: the tests mostly wait for processes

# Property tests are in both suites; here they try ten times as many examples.
test-slow: $(TEST_READY)
	$(PYTEST) -n 3 -m 'slow or hypothesis' --hypothesis-profile=thorough

# Each Python has its own environment. A Python that is not on PATH runs in a chroot of a Debian release that has it.
test-all:
	@for python in $(PYTHONS); do \
	    echo "--- $$python"; \
	    if $$python -c '' 2>/dev/null; then $(MAKE) --no-print-directory test PYTHON=$$python VENV=.venv-$$python; \
	    else tests/pythons.sh $$python; fi || exit 1; \
	done

# docs/how-to/run-the-daemons.md. It fails, too, if a daemon leaves anything behind.
test-daemons: $(TEST_READY)
	PYTHON=$(PYTHON) $(BIN)/python -m pytest -v -m daemons tests/daemons; code=$$?; tests/daemons/down.sh && exit $$code

# Starts the daemons and leaves them up.
daemons: $(TEST_READY)
	PYTHON=$(PYTHON) $(BIN)/python -m pytest -v -m daemons tests/daemons/test_coming_up.py

daemons-down:
	tests/daemons/down.sh

test-crossings: $(TEST_READY)
	$(BIN)/python -m tests.crossings

# The scripts in src are parts of larger scripts, and of programs for another shell.
OTHER_PARTS = SC1090,SC1091,SC2034,SC2154,SC2317,SC2329

lint: $(TEST_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/shellcheck .ci/* $$(find findings tests -name '*.sh')
	$(BIN)/shellcheck --shell=sh --exclude=$(OTHER_PARTS) $$(find src -name '*.sh')

coverage: $(TEST_READY)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# --- Pages and measurements

docs: $(READY)
	$(BIN)/python -m intercede.testing pages

matrix: $(READY)
	$(BIN)/python -m intercede.testing matrix

bench: $(TEST_READY)
	@for benchmark in benchmarks/*.py; do echo "--- $$benchmark"; $(BIN)/python $$benchmark || exit 1; done

bench-peers: $(TEST_READY)
	$(BIN)/python -m benchmarks.peers

# --- Environments

# The newest versions that work together on every supported Python.
constraints: $(TEST_READY)
	$(BIN)/python -m pip install --quiet uv
	{ sed -n '/^#/p' constraints.txt; \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header \
	      --upgrade --group dev --all-extras pyproject.toml; } > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf .venv .venv-* build dist demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*

fail = { echo "make: $(1)" >&2; exit 1; }

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c '' 2>/dev/null || $(call fail,$(PYTHON) does not run. Name another Python: make PYTHON=/path/to/python3)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    $(call fail,intercede needs Python 3.11 or newer. $(PYTHON) is $$($(PYTHON) -V 2>&1). Try make PYTHON=python3.12)
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    $(call fail,$(PYTHON) has no venv module. On Debian and Ubuntu: apt install python3-venv)
	$(PYTHON) -m venv $(VENV)

NO_INDEX = Is a package index reachable? The error of pip is above

# What users need: intercede with all extras.
$(READY): $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	@echo "--- installing intercede into $(VENV) from a package index: this takes a minute or two"
	@$(PIP_INSTALL) --upgrade 'pip>=25.1' && $(PIP_INSTALL) --editable '.[all]' || \
	    $(call fail,pip could not install intercede. $(NO_INDEX))
	@touch $@

# What tests need. Collecting compiles each module once, or else every worker of pytest would do it.
$(TEST_READY): $(READY) fixtures/fake/pyproject.toml
	@echo "--- installing the development tools into $(VENV): another minute or two"
	@$(PIP_INSTALL) --group dev && $(PIP_INSTALL) --no-deps --no-build-isolation --editable fixtures/fake || \
	    $(call fail,pip could not install the development tools. $(NO_INDEX))
	@$(BIN)/python -m pytest -q --collect-only >/dev/null 2>&1 || true
	@touch $@
