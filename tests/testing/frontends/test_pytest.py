"""The kit in pytest as a user meets it: in an empty directory, by one option."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.testing.frontends.pytest_runs import GREEN, TINY, Pytest, Run, red

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
    """One option in an empty directory, whatever else is given: exit code 0, and the verdict is the very last line."""
    outcome = run(TINY, *options)

    assert outcome.code == 0, outcome
    assert outcome.last == GREEN


def test_a_red_must_says_everything(run: Pytest) -> None:
    """The sentence, expected and observed, the calls, the payload's output, where to look, and how to do it again."""
    outcome = run(red("IC-SUBMIT-01", kind="rich"), "-q")

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
    """Even -x goes on over it, and its text is printed although pytest hides what is xfailed."""
    outcome = run(red("IC-LIFE-11"), "-x")

    assert outcome.code == 0, outcome
    assert "4/4 MUST, 0/1 SHOULD" in outcome.last
    assert "IC-LIFE-11 (SHOULD): The sentence of IC-LIFE-11." in outcome.text


@pytest.mark.slow
def test_whatever_a_plugin_does_is_a_finding(run: Pytest) -> None:
    """Hanging, swallowing its cancellation, blocking, raising and skipping are red, in bounded time."""
    findings = {
        "hang": "swallowed its cancellation",
        "block": "blocked the event loop",
        "raise": "raised LookupError: the site is gone",
        "skip": "raised Skipped: not today",
    }
    outcome = run(*(red(enter=each) for each in findings), "-q", "--intercede-timeout-scale=0.05", "intercede/shape")

    assert outcome.code == 1, outcome
    for observed in findings.values():
        assert f"observed: {observed}" in outcome.text, outcome
    for line in outcome.lines[-len(findings) :]:
        assert line.endswith("is NOT CONFORMANT: fix IC-SHAPE-01")


def test_a_limit_of_recursion_is_not_lowered(run: Pytest) -> None:
    """It counts for pytest's own thread, which stands deeper than the subject's, and could not even finish the run."""
    outcome = run(red("IC-SUBMIT-01", enter="recursion"), "-q")

    assert outcome.code == 1, outcome
    assert outcome.last.endswith("is NOT CONFORMANT: fix IC-SUBMIT-01 first, it blocks 2 more")


@pytest.mark.parametrize(
    ("name", "words"), [("broken", "no licence for this module"), ("empty", "frame_subjects:HERE of frame 1.5")]
)
def test_what_does_not_load_gets_a_verdict(run: Pytest, name: str, words: str) -> None:
    """The first clause is red with the words of the registry; the rest is blocked."""
    outcome = run(f"--intercede-backend={name}", "-q")

    assert outcome.code == 1, outcome
    assert words in outcome.text
    assert "hint: The sentence above: it says what kept the subject out; `intercede plugins --check`" in outcome.text
    assert "1 failed, 5 skipped" in outcome.text
    assert outcome.last == f"intercede: {name} 1.5 (frame) is NOT CONFORMANT: fix IC-SHAPE-01 first, it blocks 5 more"


def test_choosing_other_checks_hides_no_refusal(run: Pytest) -> None:
    """What did not load is NOT CONFORMANT, whichever checks were asked for."""
    outcome = run("--intercede-backend=broken", "-q", "-k", "SUBMIT")

    assert outcome.code == 1, outcome
    assert outcome.last.endswith("is NOT CONFORMANT: fix IC-SHAPE-01 first, it blocks 5 more")


def test_named_subjects_their_ids_and_reports(run: Pytest, tmp_path: Path) -> None:
    """Tables come before registered names, equal subjects fold, and each has its report, without its secrets."""
    (tmp_path / "sites.toml").write_text('[backends.cern]\ntype = "tiny"\nred = "IC-OUTPUT-01"\n')
    options = [TINY, "--intercede-backend=cern", '--intercede-backend={"type": "tiny"}', red("IC-NONE-01")]
    outcome = run(*options, "--intercede-config=sites.toml", "--intercede-report=r", "-q")

    assert outcome.code == 0, outcome
    assert [line.split()[1] for line in outcome.lines[-3:]] == ["tiny", "cern", "tiny#2"]
    reports = sorted(path.name for path in (tmp_path / "r").glob("*.json") if path.name.startswith("conformance"))
    assert reports == ["conformance-cern.json", "conformance-tiny#2.json", "conformance-tiny.json"]
    report = json.loads((tmp_path / "r" / "conformance-cern.json").read_text())
    assert report["verdict"] == "CONFORMANT"
    assert report["subject"]["config"] == {"type": "tiny", "red": "IC-OUTPUT-01"}


def test_a_shadow_is_told_in_the_header(run: Pytest, tmp_path: Path) -> None:
    """What shadows a built-in is named with its pin, and -W error makes no error of it."""
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
def test_what_a_red_one_depends_on_is_known_before_it_is_told(run: Pytest, workers: tuple[str, ...]) -> None:
    """Whatever the order and wherever the others run: one clause is red, the rest is blocked and printed as skipped."""
    backwards = "def pytest_collection_modifyitems(items): items.reverse()\n"
    outcome = run(red("IC-SUBMIT-01", "IC-SUBMIT-02", "IC-STATUS-01"), "-q", *workers, conftest=backwards)

    assert outcome.code == 1, outcome
    assert "1 failed, 2 passed, 3 skipped" in outcome.text, outcome
    assert outcome.last.endswith("is NOT CONFORMANT: fix IC-SUBMIT-01 first, it blocks 2 more")


def test_a_red_one_is_told_where_what_it_depends_on_was_not_chosen(run: Pytest) -> None:
    """A check that is not run blocks nothing, or a chosen red one would vanish without a word."""
    outcome = run(red("IC-SUBMIT-01", "IC-SUBMIT-02"), "-q", "-k", "IC-SUBMIT-02")

    assert outcome.code == 1, outcome
    assert outcome.last.endswith("is NOT CONFORMANT: fix IC-SUBMIT-02")


def test_the_fixtures_serve_the_user_s_own_tests(run: Pytest, tmp_path: Path) -> None:
    """A fresh registry, and a factory of the subject on the user's own loop, which the suite leaves alone."""
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
def test_checks_share_the_waiting_unless_each_must_be_alone(run: Pytest) -> None:
    """A subject whose jobs take a second each ends in about that, and takes them one by one with -x."""
    slow = '--intercede-backend={"type": "tiny", "seconds": 1}'

    together, alone = run(slow, "-q", "--durations=0", "-vv"), run(slow, "-q", "-x")

    assert together.code == alone.code == 0, together
    assert _seconds(together) + 1 < _seconds(alone)


def _seconds(outcome: Run) -> float:
    return float(re.findall(r"passed.* in ([0-9.]+)s", outcome.text)[-1])


def test_a_test_of_the_users_own_runs_beside_no_check(run: Pytest, tmp_path: Path) -> None:
    """What it does to the process is no part of an inspection, whatever the order."""
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


def test_repeating_tells_how_often_a_check_is_red(run: Pytest) -> None:
    """Once is enough, and the message says how often it was."""
    outcome = run('--intercede-backend={"type": "tiny", "flaky": 3}', "--intercede-repeat=4", "-q")

    assert outcome.code == 1, outcome
    assert "NOT CONFORMANT" in outcome.last
    assert re.search(r"red \d of 4 times: ", outcome.text)


@pytest.mark.slow
def test_the_scale_is_measured(run: Pytest) -> None:
    """With a few jobs, once; told in the header."""
    outcome = run('--intercede-backend={"type": "tiny", "seconds": 7}', "--intercede-timeout-scale=auto", "-k", "SHAPE")

    assert outcome.code == 0, outcome
    assert re.search(
        r"tiny: 8 jobs of 1 s at once took 7\.\d s, so time limits are multiplied by 1\.[2-5]", outcome.text
    ), outcome


def test_a_red_check_failed_and_is_not_broken(run: Pytest) -> None:
    """By the class of the exception, as Allure and others tell one from the other."""
    plugin = """
def pytest_runtest_makereport(call):
    if call.excinfo:
        print("\\nfailed" if call.excinfo.errisinstance(AssertionError) else "\\nbroken")
"""
    outcome = run(red("IC-STATUS-01"), "-q", "-s", "IC-STATUS-01", plugin=plugin)

    assert outcome.code == 1, outcome
    assert "failed" in outcome.lines


@pytest.mark.slow
@pytest.mark.needs("mount", "unshare")
def test_the_first_process_of_a_container_fails_no_right_backend(tmp_path: Path) -> None:
    """It is the parent of every job that detaches itself, and leaves none of them behind itself; it says what it cannot see."""
    command = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-m", "pytest", "-q")
    subject = json.dumps({"transport": "local", "scheduler": "direct"})
    ended = subprocess.run(
        [*command, "-p", "no:cacheprovider", f"--intercede-backend={subject}", "intercede/life"],
        cwd=tmp_path, env=os.environ | {"HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ended.returncode == 0, ended.stdout
    assert "docker run --init" in ended.stdout
