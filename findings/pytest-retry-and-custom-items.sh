#!/bin/bash
# pytest-retry 1.7.0 with pytest 9.2.0: one failing item that is not a Python function ends the whole run.
# Expected: an item of another kind (a line of YAML, a notebook's cell, a clause) is tried again or is red; pytest documents such
# items, and the option says "tests". flaky 3.8.1 and pytest-rerunfailures 16.7 try it again.
# pytest-retry begins the second try with a private method that only functions have: INTERNALERROR, exit code 3, and what came
# after that item is never run.
# Why it matters: --retries in CI turns one red test of a collector plugin into no result at all.
. "$(dirname "$0")/common.sh"
with_pip pytest==9.2.0 pytest-retry==1.7.0 flaky==3.8.1 pytest-rerunfailures==16.7

mkdir "$tmp/project" && cd "$tmp/project"
cat >conftest.py <<'END'
import pytest

tries = []

class Line(pytest.Item):
    def runtest(self):
        tries.append(self.name)
        assert len(tries) == 2, "only the second try is good"

class Lines(pytest.File):
    def collect(self):
        yield Line.from_parent(self, name="first")

def pytest_collect_file(file_path, parent):
    return Lines.from_parent(parent, path=file_path) if file_path.suffix == ".lines" else None
END
touch a.lines
echo 'def test_after(): pass' >test_after.py

tried() { # tried MODULE OPTION...: the outcome with this plugin alone
    local code=0
    PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 pytest -q -p "$@" >"$tmp/out" 2>&1 || code=$?
    grep -o 'INTERNALERROR> AttributeError.*' "$tmp/out" || true
    tail -n 1 "$tmp/out" | sed "s/ in .*s\$/, exit code $code/"
}

expected "the item is tried again and passes, and so does the test after it"
version "pytest 9.2.0, pytest-rerunfailures 16.7"
seen "$(tried pytest_rerunfailures --reruns 1)" "2 passed, 1 rerun, exit code 0"
version "pytest 9.2.0, flaky 3.8.1"
seen "$(tried flaky.flaky_pytest_plugin --force-flaky)" "2 passed, exit code 0"
version "pytest 9.2.0, pytest-retry 1.7.0"
seen "$(tried pytest_retry.retry_plugin --retries 1)" "INTERNALERROR> AttributeError: 'Line' object has no attribute '_initrequest'
1 warning, 1 retried, exit code 3"
