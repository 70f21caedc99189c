#!/bin/bash
# pytest 9.2.0 with pytest-asyncio 1.5.0 (strict mode): an async fixture without pytest-asyncio's own decorator is named in the
# first test that asks for it; each later test is a bare AssertionError inside pytest or the plugin.
# Expected: the same error for each, as pytest 9.0 had; the message is the very purpose of that check, which is new in 9.
# The check raises before the fixture's outcome is noted but after a finalizer was, which the next request asserts cannot be.
# Why it matters: with -n 8, --lf, a random order or a long log nobody sees the first; a hundred tests seem to break pytest.
# With anyio's mark and its plugin such fixtures are right, so a suite that moves from one to the other meets this at once.
# Source: pytest-dev/pytest issue 14800.
. "$(dirname "$0")/common.sh"
with_pip pytest==9.2.0 pytest-asyncio==1.5.0

mkdir "$tmp/project" && cd "$tmp/project"
cat >test_numbers.py <<'END'
import pytest

pytestmark = pytest.mark.asyncio

@pytest.fixture
async def number():
    return 42

async def test_first(number): ...
async def test_second(number): ...
async def test_third(number): ...
END
errors() { # errors VERSION: the name of each test, and whether its error names the fixture
    pip --quiet install "pytest==$1" 2>/dev/null
    COLUMNS=200 pytest -q 2>/dev/null | sed -n "s/^ERROR .*:://; s/ - .*requested an async fixture 'number'.*/: names it/p; s/ - /: /p"
}

expected "each error names the fixture"
version "pytest 9.0.0"
seen "$(errors 9.0.0)" "test_first: names it
test_second: names it
test_third: names it"
version "pytest 9.2.0"
seen "$(errors 9.2.0)" "test_first: names it
test_second: AssertionError
test_third: AssertionError"
