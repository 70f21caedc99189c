"""The kit beside other plugins of pytest, and beside what a user's conftest does."""

import pytest
from tests.testing.frontends.pytest_runs import GREEN, TINY, Pytest, red


@pytest.mark.parametrize("options", [(), ("-x",)], ids=["together", "one at a time"])
def test_nobody_reruns_until_it_is_green(run: Pytest, options: tuple[str, ...]) -> None:
    """A plugin that runs red checks again, as pytest-rerunfailures does, excuses nothing: red stays red."""
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
def test_what_surrounds_a_check_cannot_pass_it(run: Pytest, conftest: str, why: str) -> None:
    """A mark or a fixture of the user's that keeps checks from running makes the run INCOMPLETE."""
    outcome = run(TINY, "-q", conftest=f"import pytest\n{conftest}\n")

    assert outcome.code == 1, outcome
    assert outcome.last.endswith(f"(lost to {why})")


def test_marks_and_fixtures_of_the_user_change_no_outcome(run: Pytest) -> None:
    """An xfail mark hides no red check, and a fixture of our parameter's name is not asked."""
    conftest = (
        "import pytest\n"
        "def pytest_collection_modifyitems(items): [i.add_marker(pytest.mark.xfail) for i in items]\n"
        "@pytest.fixture\ndef _intercede_subject(): raise OSError\n"
        "@pytest.fixture(autouse=True)\ndef around(): yield\n"
    )
    outcome = run(red("IC-STATUS-01"), "-q", conftest=conftest)

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
    "keeps the first report": "    for each in reports: item.ihook.pytest_runtest_logreport(report=each)\n    return True\n",
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
def test_what_was_seen_red_is_red_whatever_report_is_shown(
    run: Pytest, conftest: str, options: tuple[str, ...]
) -> None:
    """The verdict is about what the kit saw: flaky keeps the first report, pytest-retry shows the last one's outcome."""
    outcome = run('--intercede-backend={"type": "tiny", "flaky": 2}', *options, "-q", conftest=conftest)

    assert outcome.code == 1, outcome
    assert "NOT CONFORMANT" in outcome.last


def test_a_check_is_run_once_though_two_threads_enter_it(run: Pytest) -> None:
    """As pytest-run-parallel does with what is not marked thread_unsafe: both are told what came of it."""
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
def test_what_disturbs_the_process_is_named_and_speaks_against_nobody(run: Pytest, patch: str, why: str) -> None:
    """A fixture around each test that stops the clock, or takes the sockets away, as freezegun and pytest-socket do."""
    conftest = f"import pytest, socket, time\n@pytest.fixture(autouse=True)\ndef around(monkeypatch): {patch}\n"
    outcome = run(TINY, "-q", conftest=conftest)

    assert outcome.code == 1, outcome
    assert "INCOMPLETE, 4 MUST did not run" in outcome.last
    assert f"(lost to {why}" in outcome.last


def test_a_fixture_that_watches_for_leaks_is_named_and_speaks_against_nobody(run: Pytest) -> None:
    """It fails behind the checks: the run is red, the subject is CONFORMANT, and a line says what it is about."""
    watching = "import pytest\n@pytest.fixture(autouse=True)\ndef around():\n    yield\n    raise OSError('2 threads leaked')\n"
    outcome = run(TINY, "-q", conftest=watching)

    assert outcome.code == 1, outcome
    assert outcome.last == GREEN
    assert "behind a check a fixture failed, 6 times: OSError: 2 threads leaked" in outcome.lines[-2]
