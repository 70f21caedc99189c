"""The kit keeps its verdicts beside other plugins of pytest and a user's conftest."""

import pytest
from tests.testing.frontends.pytest_runs import GREEN, TINY, Pytest, make_red_option


@pytest.mark.parametrize("options", [(), ("-x",)], ids=["together", "one at a time"])
def test_rerunning_a_red_check_leaves_it_red(run: Pytest, options: tuple[str, ...]) -> None:
    """A check that was red once is red, even if a plugin like pytest-rerunfailures runs it again until it passes."""
    rerunning = (
        "from _pytest.runner import runtestprotocol\n"
        "def pytest_runtest_protocol(item, nextitem):\n"
        "    for attempt in range(3):\n"
        "        reports = runtestprotocol(item, nextitem=nextitem, log=False)\n"
        "        again = attempt < 2 and any(each.failed for each in reports)\n"
        "        for each in reports:\n"
        "            each.outcome = 'rerun' if again and each.failed else each.outcome\n"
        "            item.ihook.pytest_runtest_logreport(report=each)\n"
        "        if not again:\n"
        "            return True\n"
    )
    outcome = run('--intercede-backend={"type": "tiny", "flaky": 2}', *options, "-q", conftest=rerunning)

    assert outcome.code == 1, outcome
    assert "NOT CONFORMANT" in outcome.last


@pytest.mark.parametrize(
    ("conftest", "why"),
    [
        (
            "def pytest_collection_modifyitems(items): [i.add_marker(pytest.mark.skip) for i in items]",
            "a skip: unconditional skip",
        ),
        ("@pytest.fixture(autouse=True)\ndef broken(): raise OSError('no')", "a failing fixture: OSError: no"),
    ],
)
def test_a_check_that_is_kept_from_running_is_incomplete(run: Pytest, conftest: str, why: str) -> None:
    """A mark or a fixture of the user's that keeps checks from running makes the run INCOMPLETE."""
    outcome = run(TINY, "-q", conftest=f"import pytest\n{conftest}\n")

    assert outcome.code == 1, outcome
    assert outcome.last.endswith(f"(lost to {why})")


def test_marks_and_fixtures_of_the_user_change_no_outcome(run: Pytest) -> None:
    """An xfail mark hides no red check, and a user's fixture with the kit's parameter name is not used."""
    conftest = (
        "import pytest\n"
        "def pytest_collection_modifyitems(items): [i.add_marker(pytest.mark.xfail) for i in items]\n"
        "@pytest.fixture\ndef _intercede_subject(): raise OSError\n"
        "@pytest.fixture(autouse=True)\ndef around(): yield\n"
    )
    outcome = run(make_red_option("IC-STATUS-01"), "-q", conftest=conftest)

    assert outcome.code == 1, outcome
    assert "1 failed, 4 passed, 1 skipped" in outcome.text
    assert outcome.last.endswith("is NOT CONFORMANT: fix IC-STATUS-01")


_RUN_AGAIN = """
from _pytest.runner import runtestprotocol
def pytest_runtest_protocol(item, nextitem):
    for attempt in range(3):
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        if not any(each.failed for each in reports):
            break
"""
_SWALLOWED = {
    "keeps the first report": (
        "    for each in reports: item.ihook.pytest_runtest_logreport(report=each)\n    return True\n"
    ),
    "shows none": "    return True\n",
}
_RERUNS = {name: _RUN_AGAIN + rest for name, rest in _SWALLOWED.items()} | {
    "overwrites the result": """
import pytest
from _pytest.runner import CallInfo
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call" and report.failed:
        again = CallInfo.from_call(lambda: item.ihook.pytest_runtest_call(item=item), "call")
        report.outcome, report.longrepr = pytest.TestReport.from_item_and_call(item, again).outcome, None
    return report
""",
    "makes a report of its own": """
import pytest
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item, call):
    yield
    report = pytest.TestReport.from_item_and_call(item, call)
    report.outcome, report.longrepr = "passed", None
    return report
""",
}


@pytest.mark.parametrize("options", [(), ("-x",)], ids=["together", "one at a time"])
@pytest.mark.parametrize("conftest", _RERUNS.values(), ids=_RERUNS)
def test_a_red_check_stays_red_under_another_report(run: Pytest, conftest: str, options: tuple[str, ...]) -> None:
    """A red check is red, whichever report flaky, pytest-retry or another plugin shows for it."""
    outcome = run('--intercede-backend={"type": "tiny", "flaky": 2}', *options, "-q", conftest=conftest)

    assert outcome.code == 1, outcome
    assert "NOT CONFORMANT" in outcome.last


def test_a_check_runs_once_in_two_threads(run: Pytest) -> None:
    """A check runs once if a plugin like pytest-run-parallel calls it in two threads, and both get its outcome."""
    conftest = """
import threading
def in_two(function):
    def call(**arguments):
        threads = [threading.Thread(target=function, kwargs=arguments, daemon=True) for _ in range(2)]
        for each in threads: each.start()
        for each in threads: each.join(20)
        assert not any(each.is_alive() for each in threads)
    return call
def pytest_collection_finish(session):
    for item in session.items:
        assert item.get_closest_marker("thread_unsafe")
        item.obj = in_two(item.obj)
"""
    outcome = run("--intercede-backend=rich", "-q", "--strict-markers", conftest=conftest)

    assert outcome.code == 0, outcome
    assert "is CONFORMANT" in outcome.last


_DISTURBANCES = {
    "clock": ("monkeypatch.setattr(time, 'monotonic', lambda: 5e9)", "a false clock: time.monotonic()"),
    "date": ("monkeypatch.setattr(time, 'time', lambda: 0.0)", "a false clock: time.time()"),
    "sockets": (
        "monkeypatch.setattr(socket, 'socket', lambda *_: 1 / 0)",
        "blocked sockets: ZeroDivisionError: ",
    ),
}


@pytest.mark.parametrize(("patch", "why"), _DISTURBANCES.values(), ids=_DISTURBANCES)
def test_a_disturbed_process_is_named_and_no_finding(run: Pytest, patch: str, why: str) -> None:
    """A fixture that stops the clock or blocks sockets makes the run INCOMPLETE, and the last line names it."""
    conftest = f"import pytest, socket, time\n@pytest.fixture(autouse=True)\ndef around(monkeypatch): {patch}\n"
    outcome = run(TINY, "-q", conftest=conftest)

    assert outcome.code == 1, outcome
    assert "INCOMPLETE, 4 MUST did not run" in outcome.last
    assert f"(lost to {why}" in outcome.last


def test_a_failing_fixture_after_a_check_is_no_finding(run: Pytest) -> None:
    """A fixture that fails after the checks makes the run red, is named, and leaves the subject CONFORMANT."""
    watching = (
        "import pytest\n@pytest.fixture(autouse=True)\ndef around():\n"
        "    yield\n    raise OSError('2 threads leaked')\n"
    )
    outcome = run(TINY, "-q", conftest=watching)

    assert outcome.code == 1, outcome
    assert outcome.last == GREEN
    assert "a fixture failed after a check, 6 times: OSError: 2 threads leaked" in outcome.lines[-2]
