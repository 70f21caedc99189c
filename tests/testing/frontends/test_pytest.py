"""Users of pytest check a backend in an empty directory with one option."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.testing.frontends.pytest_runs import GREEN, TINY, Pytest, Run, make_red_option

import intercede


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-q", "--no-summary"),
        ("-W", "error", "--strict-markers", "-o", "python_files=check_*.py", "-o", "python_functions=check_*"),
        ("--import-mode=importlib", "--doctest-modules", "--nf"),
        pytest.param(("-p", "xdist", "-n", "2"), marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
def test_a_right_backend_is_conformant(run: Pytest, options: tuple[str, ...]) -> None:
    """A right backend is CONFORMANT with exit code 0, and the verdict is the last line, with any other options."""
    outcome = run(TINY, *options)

    assert outcome.code == 0, outcome
    assert outcome.last == GREEN


def test_a_red_must_is_explained(run: Pytest) -> None:
    """A red MUST shows its sentence, its finding, the calls, the output, the hint, and the command to run it again."""
    outcome = run(make_red_option("IC-SUBMIT-01", kind="rich"), "-q")

    assert outcome.code == 1, outcome
    assert outcome.last == "intercede: rich 1.5 (frame) is NOT CONFORMANT: fix IC-SUBMIT-01 first, it blocks 2 more"
    for part in (
        "IC-SUBMIT-01 (MUST): The sentence of IC-SUBMIT-01.",
        "expected: IC-SUBMIT-01 to be green",
        "observed: red as asked",
        "what the payload wrote",
        "hint: the right place for IC-SUBMIT-01",
    ):
        assert part in outcome.text, outcome
    assert re.search(r"\d\.\d{3} s  submit\(.*after \d\.\d{3} s", outcome.text)
    assert "'intercede/submit::IC-SUBMIT-01[rich]'" in outcome.text
    assert "IC-SUBMIT-02 " not in outcome.text.partition("FAILURES")[2], "what is blocked is no failure of its own"


def test_a_red_should_is_shown_and_decides_nothing(run: Pytest) -> None:
    """A red SHOULD is printed and leaves the run green, and -x does not stop at it."""
    outcome = run(make_red_option("IC-LIFE-11"), "-x")

    assert outcome.code == 0, outcome
    assert "4/4 MUST, 0/1 SHOULD" in outcome.last
    assert "IC-LIFE-11 (SHOULD): The sentence of IC-LIFE-11." in outcome.text


@pytest.mark.slow
def test_a_misbehaving_subject_is_red_in_time(run: Pytest) -> None:
    """A subject that hangs, ignores its cancellation, blocks the event loop, raises or skips is red in time."""
    findings = {
        "hang": "swallowed its cancellation",
        "block": "blocked the event loop",
        "raise": "raised LookupError: the site is gone",
        "skip": "raised Skipped: not today",
    }
    outcome = run(
        *(make_red_option(enter=each) for each in findings), "-q", "--intercede-timeout-scale=0.05", "intercede/shape"
    )

    assert outcome.code == 1, outcome
    for observed in findings.values():
        assert f"observed: {observed}" in outcome.text, outcome
    for line in outcome.lines[-len(findings) :]:
        assert line.endswith("is NOT CONFORMANT: fix IC-SHAPE-01")


def test_a_subject_cannot_lower_the_recursion_limit(run: Pytest) -> None:
    """A subject cannot lower the recursion limit, which pytest needs to finish the run."""
    outcome = run(make_red_option("IC-SUBMIT-01", enter="recursion"), "-q")

    assert outcome.code == 1, outcome
    assert outcome.last.endswith("is NOT CONFORMANT: fix IC-SUBMIT-01 first, it blocks 2 more")


@pytest.mark.parametrize(
    ("name", "words"), [("broken", "no licence for this module"), ("empty", "frame_subjects:HERE of frame 1.5")]
)
def test_a_subject_that_does_not_load_is_not_conformant(run: Pytest, name: str, words: str) -> None:
    """A subject that does not load is NOT CONFORMANT.

    The first clause is red with the registry's message, and the others are blocked.
    """
    outcome = run(f"--intercede-backend={name}", "-q")

    assert outcome.code == 1, outcome
    assert words in outcome.text
    assert "hint: The observation says why the subject was refused; `intercede plugins --check`" in outcome.text
    assert "1 failed, 5 skipped" in outcome.text
    assert outcome.last == f"intercede: {name} 1.5 (frame) is NOT CONFORMANT: fix IC-SHAPE-01 first, it blocks 5 more"


def test_a_selection_hides_no_refusal(run: Pytest) -> None:
    """A subject that does not load is NOT CONFORMANT, whichever checks are selected."""
    outcome = run("--intercede-backend=broken", "-q", "-k", "SUBMIT")

    assert outcome.code == 1, outcome
    assert outcome.last.endswith("is NOT CONFORMANT: fix IC-SHAPE-01 first, it blocks 5 more")


def test_several_subjects_have_ids_and_reports(run: Pytest, tmp_path: Path) -> None:
    """Tables come before registered names, equal subjects fold, and each has its report, without its secrets."""
    (tmp_path / "sites.toml").write_text('[backends.cern]\ntype = "tiny"\nred = "IC-OUTPUT-01"\n')
    options = [TINY, "--intercede-backend=cern", '--intercede-backend={"type": "tiny"}', make_red_option("IC-NONE-01")]
    outcome = run(*options, "--intercede-config=sites.toml", "--intercede-report=r", "-q")

    assert outcome.code == 0, outcome
    assert [line.split()[1] for line in outcome.lines[-3:]] == ["tiny", "cern", "tiny#2"]
    reports = sorted(path.name for path in (tmp_path / "r").glob("*.json") if path.name.startswith("conformance"))
    assert reports == ["conformance-cern.json", "conformance-tiny#2.json", "conformance-tiny.json"]
    report = json.loads((tmp_path / "r" / "conformance-cern.json").read_text())
    assert report["verdict"] == "CONFORMANT"
    assert report["subject"]["config"] == {"type": "tiny", "red": "IC-OUTPUT-01"}


def test_a_shadow_is_named_in_the_header(run: Pytest, tmp_path: Path) -> None:
    """A plugin that shadows a built-in is named with its pin in the header, and is no error under -W error."""
    shadow = tmp_path / "installed" / "shadow-2.dist-info"
    shadow.mkdir(parents=True)
    (shadow / "METADATA").write_text("Metadata-Version: 2.1\nName: shadow\nVersion: 2\n")
    (shadow / "entry_points.txt").write_text("[intercede.schedulers]\ndirect = frame_subjects:Tiny\n")
    backend = '--intercede-backend={"transport": "local", "scheduler": "direct"}'

    outcome = run(backend, "-W", "error", "intercede/shape", path=shadow.parent)
    quiet = run(backend, "-q", "intercede/shape", path=shadow.parent)

    assert outcome.code == 1, outcome
    pin = "INTERCEDE_PREFER=schedulers:direct=intercede"
    assert pin in outcome.text.partition("rootdir")[0], outcome
    assert [pin in line for line in outcome.lines[-3:]] == [False, True, False], "once, just above the verdict"
    assert sum(line.startswith("intercede: ") and pin in line for line in quiet.lines) == 1
    assert pin in quiet.lines[-2]
    made_of = f"(intercede {intercede.__version__}, shadow 2)"
    assert outcome.last == (
        f"intercede: local+direct {made_of} is NOT CONFORMANT: fix IC-SHAPE-01 first, it blocks 5 more"
    )


@pytest.mark.parametrize("workers", [(), ("-p", "xdist", "-n", "2")], ids=["here", "-n 2"])
def test_a_blocked_check_is_skipped_in_any_order(run: Pytest, workers: tuple[str, ...]) -> None:
    """A check that depends on a red one is skipped, whatever the order of the checks and the worker that runs them."""
    backwards = "def pytest_collection_modifyitems(items): items.reverse()\n"
    outcome = run(make_red_option("IC-SUBMIT-01", "IC-SUBMIT-02", "IC-STATUS-01"), "-q", *workers, conftest=backwards)

    assert outcome.code == 1, outcome
    assert "1 failed, 2 passed, 3 skipped" in outcome.text, outcome
    assert outcome.last.endswith("is NOT CONFORMANT: fix IC-SUBMIT-01 first, it blocks 2 more")


def test_a_check_that_was_not_selected_blocks_nothing(run: Pytest) -> None:
    """A red check is reported if the check that it depends on was not selected, even if that is red as well."""
    outcome = run(make_red_option("IC-SUBMIT-01", "IC-SUBMIT-02"), "-q", "-k", "IC-SUBMIT-02")

    assert outcome.code == 1, outcome
    assert outcome.last.endswith("is NOT CONFORMANT: fix IC-SUBMIT-02")


def test_the_fixtures_serve_the_users_own_tests(run: Pytest, tmp_path: Path) -> None:
    """A user's own tests get a fresh registry, and a factory of the subject that works on their own event loop."""
    (tmp_path / "test_own.py").write_text(
        "import asyncio\n"
        "def test_registry(intercede_registry):\n"
        "    assert [p.name for p in intercede_registry.plugins('backends') if p.name == 'tiny']\n"
        "def test_backend(intercede_backend):\n"
        "    async def use():\n"
        "        async with intercede_backend() as backend: return await backend.status([])\n"
        "    loop = asyncio.new_event_loop()\n"
        "    asyncio.set_event_loop(loop)\n"
        "    assert loop.run_until_complete(use()) == {}\n"
        "def test_later():\n"
        "    assert not asyncio.get_event_loop_policy().get_event_loop().is_closed()\n"
    )

    with_subject = run(TINY, "-q", "test_own.py")
    without = run("-q", "-rs", "test_own.py", "-k", "backend")

    assert with_subject.code == 0, with_subject
    assert with_subject.last == GREEN
    assert "needs a backend: pytest --intercede-backend=NAME" in without.text


@pytest.mark.slow
def test_checks_wait_together_unless_each_must_be_alone(run: Pytest) -> None:
    """Checks of jobs that take a second wait at the same time, and one after the other with -x."""
    slow = '--intercede-backend={"type": "tiny", "seconds": 1}'

    together, alone = run(slow, "-q", "--durations=0", "-vv"), run(slow, "-q", "-x")

    assert together.code == alone.code == 0, together
    assert _get_seconds(together) + 1 < _get_seconds(alone)


def _get_seconds(outcome: Run) -> float:
    return float(re.findall(r"passed.* in ([0-9.]+)s", outcome.text)[-1])


def test_a_users_own_test_runs_beside_no_check(run: Pytest, tmp_path: Path) -> None:
    """No check makes progress while a user's own test runs, whatever the order."""
    (tmp_path / "test_own.py").write_text(
        "import frame_subjects, time\n"
        "def test_own():\n"
        "    before = frame_subjects.ASKED.copy()\n"
        "    assert before\n"
        "    time.sleep(0.3)  # nothing is waited for: it is shown that nothing comes\n"
        "    assert frame_subjects.ASKED == before\n"
    )
    mixed = "def pytest_collection_modifyitems(items): items.insert(3, items.pop(0))\n"

    outcome = run('--intercede-backend={"type": "tiny", "seconds": 0.5}', "test_own.py", conftest=mixed)

    assert outcome.code == 0, outcome
    assert outcome.last == GREEN


def test_a_repeated_check_reports_how_often_it_was_red(run: Pytest) -> None:
    """A repeated check is red if it was red once, and its message says how often it was red."""
    outcome = run('--intercede-backend={"type": "tiny", "flaky": 3}', "--intercede-repeat=4", "-q")

    assert outcome.code == 1, outcome
    assert "NOT CONFORMANT" in outcome.last
    assert re.search(r"red \d of 4 times: ", outcome.text)


@pytest.mark.slow
def test_the_scale_is_measured(run: Pytest) -> None:
    """The timeout scale `auto` is measured once with a few jobs, and the header shows it."""
    outcome = run('--intercede-backend={"type": "tiny", "seconds": 7}', "--intercede-timeout-scale=auto", "-k", "SHAPE")

    assert outcome.code == 0, outcome
    assert re.search(
        r"tiny: 8 jobs of 1 s at once took 7\.\d s, so time limits are multiplied by 1\.[2-5]", outcome.text
    ), outcome


def test_a_red_check_is_a_failure_and_no_error(run: Pytest) -> None:
    """A red check raises an AssertionError, so that Allure and others count it as failed and not as broken."""
    plugin = """
def pytest_runtest_makereport(call):
    if call.excinfo:
        print("\\nfailed" if call.excinfo.errisinstance(AssertionError) else "\\nbroken")
"""
    outcome = run(make_red_option("IC-STATUS-01"), "-q", "-s", "IC-STATUS-01", plugin=plugin)

    assert outcome.code == 1, outcome
    assert "failed" in outcome.lines


@pytest.mark.slow
@pytest.mark.needs("mount", "unshare")
def test_the_first_process_of_a_container_is_no_finding(tmp_path: Path) -> None:
    """A right backend passes if the run is the first process of a container, which inherits each detached job.

    The output suggests docker run --init.
    """
    command = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-m", "pytest", "-q")
    subject = json.dumps({"transport": "local", "scheduler": "direct"})
    ended = subprocess.run(
        [*command, "-p", "no:cacheprovider", f"--intercede-backend={subject}", "intercede/life"],
        cwd=tmp_path, env=os.environ | {"HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ended.returncode == 0, ended.stdout
    assert "docker run --init" in ended.stdout
