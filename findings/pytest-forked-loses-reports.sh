#!/bin/bash
# pytest-forked 1.7.5 with pytest 9.2.0: every test "EXITED with status 3", whatever it does.
# Expected: a test that passes is reported as passed. The child sends its reports to its parent with marshal, which takes basic types
# only; pytest 9.2 keeps the node id of a report as an object of its own beside the text. pytest-forked takes the exception that this
# raises for one of the test, and ends the child with code 3. Its metadata allows any pytest from 3.10 on.
# Why it matters: --forked is what one adds to keep a test that crashes from ending the run; here all tests "crash", with their
# clean-up done and nothing said of the reason, since what the child wrote is dropped. pytest 8.4 and --forked go together.
. "$(dirname "$0")/common.sh"

mkdir "$tmp/project" && cd "$tmp/project"
echo 'def test_it(): pass' >test_it.py
ran() { pytest -q --forked 2>&1 | grep -E -o 'EXITED with status [0-9]|[0-9]+ (passed|failed)' | sort -u; }

expected "1 passed"
with_pip pytest-forked==1.7.5 pytest==8.4.2
version "pytest-forked 1.7.5, $(pytest --version)"
seen "$(ran)" "1 passed"
with_pip pytest==9.2.0
version "pytest-forked 1.7.5, $(pytest --version)"
seen "$(ran)" "1 failed
EXITED with status 3"
