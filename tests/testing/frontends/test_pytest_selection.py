"""Checks that the user leaves out make a run PARTIAL, and checks that pytest loses make it INCOMPLETE."""

from pathlib import Path

import pytest
from tests.testing.frontends.pytest_runs import TINY, Pytest, make_red_option


def test_a_node_id_runs_one_check(run: Pytest) -> None:
    """A node id that the kit printed runs that check, and the verdict is PARTIAL."""
    outcome = run(TINY, "-q", "intercede/submit::IC-SUBMIT-02[tiny]")

    assert outcome.code == 0, outcome
    assert outcome.last == "intercede: tiny: PARTIAL, 1 of 4 MUST ran, all passed"


def test_a_node_id_works_in_a_directory_below(run: Pytest, tmp_path: Path) -> None:
    """A node id works relative to the directory in which pytest was started."""
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "below").mkdir()

    outcome = run(TINY, "-q", "../intercede/submit", where="below")

    assert outcome.code == 0, outcome
    assert outcome.last == "intercede: tiny: PARTIAL, 2 of 4 MUST ran, all passed"


def test_last_failed_runs_the_red_checks(run: Pytest) -> None:
    """The option --lf runs the red checks of the last run again."""
    subject = make_red_option("IC-STATUS-01", "IC-SHAPE-01")

    assert run(subject, "-q").code == 1
    again = run(subject, "-q", "--lf")

    assert again.code == 1, again
    assert "2 failed, 4 deselected" in again.text
    assert (
        again.last == "intercede: tiny 1.5 (frame) is NOT CONFORMANT: fix IC-SHAPE-01 first; red as well: IC-STATUS-01"
    )


@pytest.mark.parametrize(
    "workers", [(), pytest.param(("-p", "xdist", "-n", "2"), marks=pytest.mark.slow)], ids=["here", "-n 2"]
)
def test_checks_that_a_conftest_drops_make_a_run_incomplete(run: Pytest, workers: tuple[str, ...]) -> None:
    """A conftest that removes checks makes the run INCOMPLETE."""
    filtering = "def pytest_collection_modifyitems(items): items[:] = [i for i in items if 'SUBMIT' not in i.name]\n"
    outcome = run(TINY, "-q", *workers, conftest=filtering)

    assert outcome.code == 1, outcome
    missing = "IC-SUBMIT-01, IC-SUBMIT-02 (lost to conftest.py)"
    assert outcome.last == f"intercede: tiny: INCOMPLETE, 2 MUST did not run: {missing}"


@pytest.mark.parametrize(
    "workers", [(), pytest.param(("-p", "xdist", "-n", "2"), marks=pytest.mark.slow)], ids=["here", "-n 2"]
)
def test_a_selection_excuses_no_conftest(run: Pytest, workers: tuple[str, ...]) -> None:
    """A run is INCOMPLETE if a conftest removes a check that -k selects, and PARTIAL if only -k leaves checks out."""
    filtering = "def pytest_collection_modifyitems(items): items[:] = [i for i in items if 'SUBMIT-02' not in i.name]\n"
    chosen = run(TINY, "-q", "-k", "SUBMIT", *workers)
    dropped = run(make_red_option("IC-SUBMIT-02"), "-q", "-k", "SUBMIT", *workers, conftest=filtering)

    assert (chosen.code, chosen.last) == (0, "intercede: tiny: PARTIAL, 2 of 4 MUST ran, all passed"), chosen
    assert dropped.code == 1, dropped
    assert "INCOMPLETE" in dropped.last
    assert "IC-SUBMIT-02" in dropped.last


def test_a_selection_in_addopts_is_incomplete(run: Pytest) -> None:
    """A selection in addopts makes the run INCOMPLETE, since only the command line may select checks."""
    outcome = run(TINY, "-q", "-o", "addopts=-k SHAPE")

    assert outcome.code == 1, outcome
    assert outcome.last.endswith("IC-SUBMIT-01, IC-SUBMIT-02, IC-STATUS-01 (lost to addopts)")


def test_stopping_at_another_failed_test_is_incomplete(run: Pytest, tmp_path: Path) -> None:
    """A run is INCOMPLETE if -x stops it at a failed test of the user's own."""
    (tmp_path / "test_own.py").write_text("def test_own(): raise OSError\n")

    outcome = run(TINY, "-q", "-x", "test_own.py")

    assert outcome.code == 1, outcome
    assert outcome.last.endswith("(lost to -x)")


def test_a_crash_of_the_worker_is_incomplete(run: Pytest) -> None:
    """A run whose worker process crashes is INCOMPLETE."""
    outcome = run(make_red_option(enter="crash"), "-q", "-p", "xdist", "-n", "1", "--max-worker-restart=0")

    assert outcome.code == 1, outcome
    assert outcome.last.endswith("(lost to a crashed worker)")


def test_a_selection_without_checks_is_partial(run: Pytest, tmp_path: Path) -> None:
    """A run in which -k selects only the user's own tests is green and PARTIAL, and says that no check was selected."""
    (tmp_path / "test_own.py").write_text("def test_own(): pass\n")

    outcome = run(TINY, "-q", "test_own.py", "-k", "test_own")

    assert outcome.code == 0, outcome
    assert outcome.last == "intercede: tiny: PARTIAL, none of its 4 MUST was selected"


_KEPT_FROM_RUNNING = {
    "skips before": ("def pytest_runtest_setup(item): pytest.skip('benchmarks only')", "a skip: benchmarks only"),
    "skips when called": ("def pytest_runtest_call(item): pytest.skip('out of time')", "a skip: out of time"),
    "fails when called": ("def pytest_runtest_call(item): pytest.fail('Timeout')", "Failed: Timeout"),
    "says that it ran": ("def pytest_pyfunc_call(pyfuncitem): return True", "or not at all"),
    "runs nothing": ("def pytest_runtest_protocol(item): return True", "which ran other tests only"),
    "deselects beside the user": (
        """def pytest_collection_modifyitems(config, items):
            config.hook.pytest_deselected(items=list(items))
            items.clear()""",
        "another_plugin, which deselected tests",
    ),
    "deselects late": ("def pytest_collection_finish(session): session.items.clear()", "which ran other tests only"),
    "repeats": (
        """def pytest_generate_tests(metafunc):
            metafunc.fixturenames.append('again')
            metafunc.parametrize('again', range(2))""",
        "--intercede-repeat=N repeats checks",
    ),
}


@pytest.mark.parametrize(("plugin", "why"), _KEPT_FROM_RUNNING.values(), ids=_KEPT_FROM_RUNNING)
def test_a_selected_check_that_does_not_run_is_incomplete(run: Pytest, plugin: str, why: str) -> None:
    """A run is INCOMPLETE if a plugin keeps a selected check from running, and the last line says why."""
    outcome = run(make_red_option("IC-STATUS-01"), "-q", "IC-STATUS-01", plugin=f"import pytest\n{plugin}\n")

    assert outcome.code == 1, outcome
    assert outcome.last.startswith("intercede: tiny: INCOMPLETE, 1 MUST did not run: IC-STATUS-01 (lost to "), outcome
    assert outcome.last.endswith(f"{why})"), outcome


def test_an_interruption_beside_a_selection_is_incomplete(run: Pytest) -> None:
    """An interrupted run of selected checks is INCOMPLETE, and names only selected checks."""
    plugin = "def pytest_runtest_setup(item):\n    if 'SUBMIT-02' in item.name: raise KeyboardInterrupt\n"
    outcome = run(TINY, "-q", "-k", "SUBMIT", plugin=plugin)

    assert outcome.code == 2, outcome
    assert outcome.last.endswith("INCOMPLETE, 1 MUST did not run: IC-SUBMIT-02 (lost to an interruption)")
