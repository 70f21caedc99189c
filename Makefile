# make demo   an environment, a handful of real jobs, and the conformance suite's verdict on where they ran
# make test   the whole quick suite; make test-slow, what takes longer: the kit against implementations that are wrong on purpose
# make test-daemons   the conformance suite on real daemons, which it installs, starts and ends: Debian 12, as root
# make test-crossings   the kit beside the plugins of pytest that people use most, newest releases: some half an hour
# All need Python >= 3.11 with its venv module, and a package index the first time. Everything lands in $(VENV).

PYTHON ?= python3
VENV ?= .venv
PYTHONS ?= python3.11 python3.12 python3.13 python3.14 python3.15
SUBJECT = {"transport": "local", "scheduler": "direct"}

# What hundreds of processes import is compiled once, whatever the caller's environment says.
unexport PYTHONDONTWRITEBYTECODE

# What a script of ours has from the parts that go before it, and what it sources on the resource.
FROM_OTHER_PARTS = SC1090,SC1091,SC2034,SC2154,SC2317,SC2329

BIN = $(VENV)/bin
READY = $(VENV)/.ready
TEST_READY = $(VENV)/.ready-for-tests
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-slow test-all daemons test-daemons test-crossings daemons-down lint types coverage bench bench-peers docs matrix constraints clean

demo: $(READY)
	@echo "--- six jobs through $(SUBJECT)"
	@rm -rf demo-output
	$(BIN)/intercede run --backend '$(SUBJECT)' --copies 6 --output demo-output -- \
	    sh -c 'echo "hello from process $$$$ on $$(uname -n)"; sleep 1'
	@for file in demo-output/*/stdout; do printf '%s: ' "$$file"; cat "$$file"; done
	@echo "--- is that backend conformant?"
	@mkdir -p $(VENV)/empty && printf '[pytest]\n' >$(VENV)/empty/pytest.ini # a root of its own, not this project's
	cd $(VENV)/empty && ../bin/python -m pytest -q -p no:cacheprovider --intercede-backend='$(SUBJECT)'

test: $(TEST_READY)
	$(BIN)/python -m pytest -q -n 4 --dist worksteal -m 'not slow and not daemons' # more than cores: much of it waits for processes

# Each clause catches what it is meant for, and none fails what is right; whole runs of the kit, pages that show them, and
# wheels in environments of their own; and every property test, with ten times as many examples.
test-slow: $(TEST_READY)
	$(BIN)/python -m pytest -q -n 3 --dist worksteal -m 'slow or hypothesis' --hypothesis-profile=thorough

# Real daemons, on a Debian 12 as root: docs/how-to/run-the-daemons.md. They stay up until daemons-down.
daemons: $(TEST_READY)
	PYTHON=$(PYTHON) $(BIN)/python -m pytest -v -m daemons tests/daemons/test_coming_up.py

# Up, every combination and every fault, down; red too if anything is left behind.
test-daemons: $(TEST_READY)
	PYTHON=$(PYTHON) $(BIN)/python -m pytest -v -m daemons tests/daemons; code=$$?; tests/daemons/down.sh && exit $$code

# Each in an environment of its own, from a package index; never run by anything else.
test-crossings: $(TEST_READY)
	$(BIN)/python -m tests.crossings

daemons-down:
	tests/daemons/down.sh

lint: $(TEST_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/shellcheck .ci/* $$(find findings tests -name '*.sh')
	$(BIN)/shellcheck --shell=sh --exclude=$(FROM_OTHER_PARTS) $$(find src -name '*.sh')

# Each Python has an environment of its own, so that one never hides what another lacks. One that is not on PATH is taken from
# the Debian release that has it, in a chroot: as root, on Debian.
test-all:
	@for python in $(PYTHONS); do \
	    echo "--- $$python"; \
	    if $$python -c '' 2>/dev/null; then $(MAKE) --no-print-directory test PYTHON=$$python VENV=.venv-$$python; \
	    else tests/pythons.sh $$python; fi || exit 1; \
	done

coverage: $(TEST_READY)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

bench: $(TEST_READY)
	@for benchmark in benchmarks/*.py; do echo "--- $$benchmark"; $(BIN)/python $$benchmark || exit 1; done

# Beside the peers, on a Slurm and an sshd of its own: as root, on Debian, some twenty minutes.
bench-peers: $(TEST_READY)
	$(BIN)/python -m benchmarks.peers

# Every wrong implementation against every clause: some minutes.
matrix: $(READY)
	$(BIN)/python -m intercede.testing matrix

# The generated pages: the clauses, the gallery, the keys of a report.
docs: $(READY)
	$(BIN)/python -m intercede.testing pages

# The pins, anew: the newest versions that fit together on every Python that we support.
constraints: $(TEST_READY)
	$(BIN)/python -m pip install --quiet uv
	{ sed -n '/^#/p' constraints.txt; \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate --no-header \
	      --upgrade --group dev --all-extras pyproject.toml; } > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf .venv .venv-* build dist demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage*

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c '' 2>/dev/null || { echo "make: $(PYTHON) does not run; say which Python to use: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "make: intercede needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V 2>&1); try make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "make: $(PYTHON) lacks its venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(READY): $(VENV)/pyvenv.cfg pyproject.toml constraints.txt
	@echo "--- installing intercede into $(VENV) from a package index: a minute or two, in silence"
	@$(PIP_INSTALL) --upgrade 'pip>=25.1' && $(PIP_INSTALL) --editable '.[all]' || \
	    { echo "make: pip could not install what intercede needs: is a package index within reach? (pip's own words stand above)" >&2; exit 1; }
	@touch $@

$(TEST_READY): $(READY) fixtures/fake/pyproject.toml
	@echo "--- installing the development tools into $(VENV): another minute or two"
	@$(PIP_INSTALL) --group dev && $(PIP_INSTALL) --no-deps --no-build-isolation --editable fixtures/fake || \
	    { echo "make: pip could not install the development tools: is a package index within reach? (pip's own words stand above)" >&2; exit 1; }
	@$(BIN)/python -m pytest -q --collect-only >/dev/null 2>&1 || true # compiles each module once: workers would all do it
	@touch $@
