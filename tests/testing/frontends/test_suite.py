"""The suite as a user of pytest meets it: in an empty directory, by one option."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import intercede

if TYPE_CHECKING:
    from tests.conftest import RunModule

HERE = Path(__file__).parent / "site"
SOURCES = Path(intercede.__file__).parents[1]
CONFTEST = """
import frame_clauses, intercede.testing.clauses
intercede.testing.clauses.CLAUSES = frame_clauses.CLAUSES  # a handful, so that a run takes no time
"""
ENTRIES = """\
[intercede.backends]
tiny = frame_subjects:Tiny
rich = frame_subjects:TinyOutput
talkative = frame_subjects:Talkative
empty = frame_subjects:HERE
broken = frame_broken:Nothing
[intercede.transports]
chatty = frame_subjects:Chatty
"""

Pytest = Callable[..., "Run"]


class Run:
    """How a run of pytest ended."""

    def __init__(self, process: subprocess.CompletedProcess[str]) -> None:
        self.code = process.returncode
        self.text = process.stdout + process.stderr
        self.lines = process.stdout.rstrip().splitlines()
        self.last = self.lines[-1] if self.lines else ""

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.text}"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of installed subjects."""
    metadata = tmp_path_factory.mktemp("site") / "frame-1.5.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: frame\nVersion: 1.5\n")
    (metadata / "entry_points.txt").write_text(ENTRIES)
    (metadata.parent / "frame_broken.py").write_text("raise ImportError('no licence for this module')\n")
    return metadata.parent


@pytest.fixture
def run(tmp_path: Path, site: Path, run_module: "RunModule") -> Pytest:
    """Run pytest in a directory that holds the conftest and nothing else, with no plugins but ours."""

    def pytest_run(
        *arguments: str, conftest: str = "", plugin: str = "", where: str = ".", path: Path = tmp_path
    ) -> Run:
        (tmp_path / "conftest.py").write_text(CONFTEST + conftest)
        (tmp_path / "another_plugin.py").write_text(plugin)
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "INTERCEDE"))}
        variables = {
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": os.pathsep.join(map(str, (SOURCES, HERE, site, path))),
        }
        options = ("-p", "intercede_pytest", *(("-p", "another_plugin") if plugin else ()))
        return Run(run_module("pytest", *options, *arguments, directory=tmp_path / where, variables=ours | variables))

    return pytest_run


TINY = "--intercede-backend=tiny"
GREEN = (
    "intercede: tiny 1.5 (frame) is CONFORMANT to contract 1.0, full: 4/4 MUST, 1/1 SHOULD, "
    "not applicable: output, kill, purge, load, find, diagnostics"
)


def red(*clauses: str, kind: str = "tiny", **options: str) -> str:
    """Return the option for a subject that is red in these clauses."""
    return "--intercede-backend=" + json.dumps({"type": kind, "red": ",".join(clauses), **options})


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


def test_a_copied_node_id_runs_that_check(run: Pytest) -> None:
    """Also relative to a directory below, as pytest shows it there; the verdict is PARTIAL."""
    outcome = run(TINY, "-q", "intercede/submit::IC-SUBMIT-02[tiny]")

    assert outcome.code == 0, outcome
    assert outcome.last == "intercede: tiny: PARTIAL, 1 of 4 MUST ran, all passed"


def test_a_node_id_of_a_directory_below(run: Pytest, tmp_path: Path) -> None:
    """Pytest shows node ids relative to where it was started."""
    (tmp_path / "pytest.ini").touch()
    (tmp_path / "below").mkdir()

    outcome = run(TINY, "-q", "../intercede/submit", where="below")

    assert outcome.code == 0, outcome
    assert outcome.last == "intercede: tiny: PARTIAL, 2 of 4 MUST ran, all passed"


def test_last_failed_runs_the_red_ones(run: Pytest) -> None:
    """--lf drops what lies in no file; our areas are collected again, or red checks would vanish without a word."""
    subject = red("IC-STATUS-01", "IC-SHAPE-01")

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
def test_what_a_conftest_drops_is_missed(run: Pytest, workers: tuple[str, ...]) -> None:
    """A filter in a conftest makes the run INCOMPLETE, never green."""
    filtering = "def pytest_collection_modifyitems(items): items[:] = [i for i in items if 'SUBMIT' not in i.name]\n"
    outcome = run(TINY, "-q", *workers, conftest=filtering)

    assert outcome.code == 1, outcome
    missing = "IC-SUBMIT-01, IC-SUBMIT-02 (lost to conftest.py)"
    assert outcome.last == f"intercede: tiny: INCOMPLETE, 2 MUST did not run: {missing}"


@pytest.mark.parametrize(
    "workers", [(), pytest.param(("-p", "xdist", "-n", "2"), marks=pytest.mark.slow)], ids=["here", "-n 2"]
)
def test_a_selection_excuses_no_conftest(run: Pytest, workers: tuple[str, ...]) -> None:
    """What -k deselects was chosen; what a conftest drops beside it was not, and the run is INCOMPLETE."""
    filtering = "def pytest_collection_modifyitems(items): items[:] = [i for i in items if 'SUBMIT-02' not in i.name]\n"
    chosen = run(TINY, "-q", "-k", "SUBMIT", *workers)
    dropped = run(red("IC-SUBMIT-02"), "-q", "-k", "SUBMIT", *workers, conftest=filtering)

    assert (chosen.code, chosen.last) == (0, "intercede: tiny: PARTIAL, 2 of 4 MUST ran, all passed"), chosen
    assert dropped.code == 1, dropped
    assert "INCOMPLETE" in dropped.last
    assert "IC-SUBMIT-02" in dropped.last


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


def test_what_addopts_selects_is_incomplete(run: Pytest) -> None:
    """Only the command line itself may choose: a selection in a file would pass a gate in silence."""
    outcome = run(TINY, "-q", "-o", "addopts=-k SHAPE")

    assert outcome.code == 1, outcome
    assert outcome.last.endswith("IC-SUBMIT-01, IC-SUBMIT-02, IC-STATUS-01 (lost to addopts)")


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


def test_stopping_at_the_first_failure_of_another_test_is_incomplete(run: Pytest, tmp_path: Path) -> None:
    """With paths both run; -x in the user's own tests leaves the suite unfinished."""
    (tmp_path / "test_own.py").write_text("def test_own(): raise OSError\n")

    outcome = run(TINY, "-q", "-x", "test_own.py")

    assert outcome.code == 1, outcome
    assert outcome.last.endswith("(lost to -x)")


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


def test_a_crash_of_the_worker_is_incomplete(run: Pytest) -> None:
    """What took its process along did not pass."""
    outcome = run(red(enter="crash"), "-q", "-p", "xdist", "-n", "1", "--max-worker-restart=0")

    assert outcome.code == 1, outcome
    assert outcome.last.endswith("(lost to a crashed worker)")


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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--intercede-backend=tyny"], "'tiny'"),
        (['--intercede-backend={"type": "tiny", "blue": 1}'], "blue"),
        ([TINY, "intercede/submit::IC-SUBMIT-20[tiny]"], "did you mean intercede/submit::IC-SUBMIT-02[tiny]"),
        (["--intercede-require=kill"], "--intercede-backend=NAME"),
        (["--intercede-explain=IC-SUBMIT-2"], "did you mean IC-SUBMIT-02?"),
    ],
    ids=["name", "option", "node id", "no backend", "clause"],
)
def test_usage_errors_are_clean(run: Pytest, arguments: list[str], words: str) -> None:
    """Exit code 4, one line that says what there is, and no traceback."""
    outcome = run(*arguments)

    assert outcome.code == 4, outcome
    assert words in outcome.text
    assert "Traceback" not in outcome.text


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


def test_a_mistake_in_a_table_is_told_with_its_place(run: Pytest, tmp_path: Path) -> None:
    """The file and the table; and where there is none of that name, those there are, once."""
    (tmp_path / "sites.toml").write_text('[backends.cern]\ntype = "tiny"\nblue = 1\n')

    mistaken = run("--intercede-backend=cern", "--intercede-config=sites.toml")
    missing = run("--intercede-backend=cernn", "--intercede-config=sites.toml")

    assert (mistaken.code, missing.code) == (4, 4)
    assert f"blue is not an option in {tmp_path}/sites.toml [backends.cern]" in mistaken.text
    assert missing.text.count(f"tables of {tmp_path}/sites.toml") == 1


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


def test_a_selection_of_other_tests_says_so(run: Pytest, tmp_path: Path) -> None:
    """A green test of one's own, chosen with -k, is no failure of the suite."""
    (tmp_path / "test_own.py").write_text("def test_own(): pass\n")

    outcome = run(TINY, "-q", "test_own.py", "-k", "test_own")

    assert outcome.code == 0, outcome
    assert outcome.last == "intercede: tiny: PARTIAL, none of its 4 MUST was selected"


def test_a_capability_that_is_required_must_be_claimed(run: Pytest) -> None:
    """A gate is not passed by not claiming."""
    outcome = run(TINY, "-q", "--intercede-require=output")

    assert outcome.code == 1, outcome
    assert outcome.last == "intercede: tiny 1.5 (frame) is NOT CONFORMANT: it must claim output, and does not"


def test_the_core_profile_is_about_the_essential_verbs(run: Pytest) -> None:
    """Clauses of a capability are not run for it."""
    outcome = run("--intercede-backend=rich", "-q", "--intercede-profile=core")

    assert outcome.code == 0, outcome
    assert outcome.last == "intercede: rich 1.5 (frame) is CONFORMANT to contract 1.0, core: 4/4 MUST, 1/1 SHOULD"


def test_listing_explaining_and_collecting_need_no_run(run: Pytest) -> None:
    """The clauses are printed without a backend; --collect-only prints ids, and says that nothing ran."""
    listed, explained = run("--intercede-list"), run("--intercede-explain=IC-SUBMIT-02")
    collected = run(TINY, "--co", "-q")

    assert (listed.code, explained.code, collected.code) == (0, 0, 0)
    assert [line.split()[0] for line in listed.lines][:2] == ["IC-SHAPE-01", "IC-LIFE-11"]
    assert "depends on: IC-SUBMIT-01" in explained.lines
    assert "intercede/submit::IC-SUBMIT-02[tiny]" in collected.lines
    assert collected.last == "intercede: tiny: PARTIAL, 0 of 4 MUST ran"


def test_a_look_at_what_there_is_writes_no_report(run: Pytest, tmp_path: Path) -> None:
    """--collect-only leaves what an earlier run wrote; a clause is explained where addopts names a subject."""
    run(TINY, "--intercede-report=report")
    before = (tmp_path / "report" / "conformance.json").read_text()
    made = json.loads(before)["run"]
    assert (made["pytest"], made["repeat"], made["jobs"]) == (pytest.__version__, 1, 128)

    run(TINY, "--co", "--intercede-report=report")
    explained = run("--intercede-explain=IC-SUBMIT-02", "-o", f"addopts={TINY}")

    assert (tmp_path / "report" / "conformance.json").read_text() == before
    assert explained.code == 0, explained


def test_a_gate_that_only_collects_is_none(run: Pytest) -> None:
    """--collect-only in addopts makes the run INCOMPLETE; to list the clauses of a subject is a usage error."""
    collected = run(TINY, "-q", "-o", "addopts=--collect-only")
    listed = run(TINY, "-o", "addopts=--intercede-list")

    assert collected.code == 1, collected
    assert collected.last.endswith("(lost to --collect-only in addopts)")
    assert listed.code == 4, listed
    assert "check nothing" in listed.text


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


def test_a_gate_without_the_suite_is_a_usage_error(run: Pytest, tmp_path: Path) -> None:
    """What keeps the checks out must not leave a green run behind, whatever else ran."""
    (tmp_path / "test_own.py").write_text("def test_own(): pass\n")

    outcome = run(TINY, "-p", "no:intercede-suite", "test_own.py")

    assert outcome.code == 4, outcome
    assert "keeps the suite out" in outcome.text


def test_repeating_tells_how_often_a_check_is_red(run: Pytest) -> None:
    """Once is enough, and the message says how often it was."""
    outcome = run('--intercede-backend={"type": "tiny", "flaky": 3}', "--intercede-repeat=4", "-q")

    assert outcome.code == 1, outcome
    assert "NOT CONFORMANT" in outcome.last
    assert re.search(r"red \d of 4 times: ", outcome.text)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--intercede-jobs=0",), "is too few"),
        (("--intercede-repeat=0",), "must be at least 1"),
        (("--intercede-timeout-scale=soon",), "--intercede-timeout-scale"),
        (("--intercede-known=nowhere.toml",), "nowhere.toml"),
        (("--intercede-update-known",), "--intercede-known"),
        (("--intercede-require=",), "--intercede-require= names no capability; there are output, kill"),
        (("--intercede-require=kill,", "--intercede-require= ,"), "--intercede-require= , names no capability"),
        (
            ("--intercede-require=output", "--intercede-profile=core"),
            "--intercede-require=output would prove what is claimed",
        ),
    ],
    ids=str,
)
def test_numbers_and_files_that_make_no_sense_are_usage_errors(
    run: Pytest, options: tuple[str, ...], words: str
) -> None:
    """Exit code 4, before anything starts, with the option's name."""
    outcome = run(TINY, *options)

    assert outcome.code == 4, outcome
    assert words in outcome.text


@pytest.mark.slow
def test_the_scale_is_measured(run: Pytest) -> None:
    """With a few jobs, once; told in the header."""
    outcome = run('--intercede-backend={"type": "tiny", "seconds": 7}', "--intercede-timeout-scale=auto", "-k", "SHAPE")

    assert outcome.code == 0, outcome
    assert re.search(r"tiny: 8 jobs of 1 s at once took 7\.\d s, so bounds are multiplied by 1\.[2-5]", outcome.text), (
        outcome
    )


KNOWN = """\
# what people wrote stays
[[known]]
clause = "{clause}"
reason = "the site is old"
symptom = "{symptom}"
until = {until}
"""


def _known(
    tmp_path: Path, clause: str = "IC-SUBMIT-01", symptom: str = "red as asked", until: str = "2999-01-01"
) -> str:
    file = tmp_path / "known.toml"
    file.write_text(KNOWN.format(clause=clause, symptom=symptom, until=until))
    return f"--intercede-known={file}"


@pytest.mark.parametrize("options", [(), ("-p", "xdist", "-n", "2")], ids=str)
def test_what_fails_as_it_is_known_to_is_no_obstacle(run: Pytest, tmp_path: Path, options: tuple[str, ...]) -> None:
    """xfailed, CONFORMANT, and the last line says that it is known."""
    outcome = run(red("IC-SUBMIT-01"), _known(tmp_path), "-ra", *options)

    assert outcome.code == 0, outcome
    assert "known to fail: IC-SUBMIT-01" in outcome.last
    assert re.search(r"XFAIL .*the site is old", outcome.text)


@pytest.mark.parametrize(
    ("subject", "entry", "words"),
    [
        (TINY, {}, "IC-SUBMIT-01 is known to fail (the site is old), and passes: remove the entry"),
        (red("IC-SUBMIT-01"), {"symptom": "green as asked"}, "and failed otherwise"),
        (red("IC-SUBMIT-01"), {"until": "2020-01-01"}, "known until 2020-01-01, expired"),
        (TINY, {"clause": "IC-SUBMIT-99"}, "matches nothing: there is no clause 'IC-SUBMIT-99'"),
        (TINY, {"clause": "IC-OUTPUT-01"}, "matches nothing: tiny does not claim output"),
    ],
    ids=["passing", "another symptom", "expired", "unmatched_known", "not claimed"],
)
def test_known_failures_are_strict(
    run: Pytest, tmp_path: Path, subject: str, entry: dict[str, str], words: str
) -> None:
    """Each of these is red: exit code 1, with the reason."""
    outcome = run(subject, _known(tmp_path, **entry))

    assert outcome.code == 1, outcome
    assert "NOT CONFORMANT" in outcome.last
    assert words in outcome.text


def test_the_known_failures_are_rewritten(run: Pytest, tmp_path: Path) -> None:
    """What passes goes, what is new comes; then it is known."""
    option = _known(tmp_path, clause="IC-SHAPE-01")

    first = run(red("IC-SUBMIT-02"), option, "--intercede-update-known")
    second = run(red("IC-SUBMIT-02"), option)

    assert first.code == 1, first
    assert "known.toml was rewritten" in first.text
    assert second.code == 0, second
    assert "known to fail: IC-SUBMIT-02" in second.last


SECRETS = {
    "short": "hunter2-\u00e9'x",
    "long": "".join(f"{n:x}Zq" for n in range(300, 600)),
    "of several lines": "-----BEGIN KEY-----\n" + "\n".join(f"MIIEvQ{n}IBADANBgkqhkiG{n}" for n in range(40)) + "\n",
}


@pytest.mark.parametrize("options", [(), pytest.param(("-p", "xdist", "-n", "2"), marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_no_secret_of_a_subject_is_told(run: Pytest, tmp_path: Path, secret: str, options: tuple[str, ...]) -> None:
    """Not on the terminal, not to junit, in no report: not by its errors, what it prints and logs, nor by the command."""
    subject = "--intercede-backend=" + json.dumps({"type": "talkative", "password": secret})

    junit = "--junitxml=report/junit.xml", "-o", "junit_logging=all"
    outcome = run(subject, "-rA", "--intercede-report=report", *junit, *options)

    assert outcome.code == 1, outcome
    assert '--intercede-backend={"type": "talkative", "password": "***"}' in outcome.text
    assert "put in what *** stands for" in outcome.text
    assert "printed and" in outcome.text
    assert "Captured log call" in outcome.text
    assert "UserWarning: warned of" in outcome.text
    told = {path.name: path.read_text() for path in (tmp_path / "report").iterdir()}
    assert sorted(told) == ["badge.json", "conformance.html", "conformance.json", "conformance.md", "junit.xml"]
    parts = {secret[at : at + 8] for at in range(len(secret) - 7)}
    for name, text in {**told, "the terminal": outcome.text}.items():
        assert [each for each in parts if each in text and len(set(each)) > 3] == [], name
        assert "open-sesame" not in text, name


def test_a_secret_in_a_table_that_is_referred_to_is_not_told(run: Pytest, tmp_path: Path) -> None:
    """A backend names its transport's table: what stands there is as secret as if it stood in its own."""
    file = tmp_path / "sites.toml"
    file.write_text(
        '[transports.login]\ntype = "chatty"\npassword = "hunter2-Sesame"\n'
        '[backends.site]\ntransport = "login"\nscheduler = "direct"\n'
    )

    outcome = run(
        f"--intercede-config={file}", "--intercede-backend=site", "--intercede-report=report", "-k", "LIFE-11"
    )

    assert outcome.code == 0, outcome  # it is a SHOULD
    told = (tmp_path / "report" / "conformance.json").read_text()
    assert "login failed with ***" in told
    assert "hunter2" not in told + outcome.text
    assert json.loads(told)["subject"]["config"]["transport"] == {"type": "chatty", "password": "***"}


def test_what_a_subject_says_gives_no_orders(run: Pytest) -> None:
    """Not to a terminal, nor to a forge, which obeys lines that begin with colons."""
    outcome = run('--intercede-backend={"type": "tiny", "enter": "orders"}', "-q")

    assert outcome.code == 1, outcome
    assert "::error::pwned" in outcome.text
    assert not [line for line in outcome.text.splitlines() if line.lstrip().startswith("::")]
    assert "\x1b" not in outcome.text


def test_the_version_of_a_distribution_gives_no_orders(run: Pytest, tmp_path: Path) -> None:
    """Metadata is a stranger's text, too."""
    loud = tmp_path / "installed" / "loud-1.dist-info"
    loud.mkdir(parents=True)
    (loud / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1\x1b[31m\n")
    (loud / "entry_points.txt").write_text("[intercede.backends]\nloud = frame_subjects:Tiny\n")

    outcome = run("--intercede-backend=loud", path=loud.parent)

    assert "(loud)" in outcome.last
    assert "\x1b" not in outcome.text


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
def test_what_was_chosen_and_kept_from_running_is_incomplete(run: Pytest, plugin: str, why: str) -> None:
    """PARTIAL is what the user left out. What somebody else kept from running passes no gate, and the line says why."""
    outcome = run(red("IC-STATUS-01"), "-q", "IC-STATUS-01", plugin=f"import pytest\n{plugin}\n")

    assert outcome.code == 1, outcome
    assert outcome.last.startswith("intercede: tiny: INCOMPLETE, 1 MUST did not run: IC-STATUS-01 (lost to "), outcome
    assert outcome.last.endswith(f"{why})"), outcome


def test_an_interruption_beside_a_selection_is_incomplete(run: Pytest) -> None:
    """What was chosen is named, and nothing else."""
    plugin = "def pytest_runtest_setup(item):\n    if 'SUBMIT-02' in item.name: raise KeyboardInterrupt\n"
    outcome = run(TINY, "-q", "-k", "SUBMIT", plugin=plugin)

    assert outcome.code == 2, outcome
    assert outcome.last.endswith("INCOMPLETE, 1 MUST did not run: IC-SUBMIT-02 (lost to an interruption)")


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


@pytest.mark.parametrize(
    "look", ["--co", "--setup-only", "--setup-plan", "--fixtures", "--fixtures-per-test", "--cache-show"]
)
def test_no_look_at_what_there_is_replaces_a_report(run: Pytest, tmp_path: Path, look: str) -> None:
    """Nothing runs, so there is nothing to write, and nothing passes: in addopts it is no gate."""
    report = tmp_path / "report" / "conformance.json"
    report.parent.mkdir()
    report.write_text("of an earlier run")

    outcome = run(TINY, look, "--intercede-report=report")
    gate = run(TINY, "-o", f"addopts={look}", "--intercede-report=report")

    assert outcome.code == 0, outcome
    assert outcome.last == "intercede: tiny: PARTIAL, 0 of 4 MUST ran"
    assert gate.code == (4 if look in {"--fixtures", "--fixtures-per-test"} else 1), gate
    assert "in addopts" in gate.text
    assert report.read_text() == "of an earlier run"


def test_a_report_that_cannot_be_written_is_a_usage_error(run: Pytest, tmp_path: Path) -> None:
    """Before anything starts: a directory lies where a report is to be, or the directory itself is none."""
    (tmp_path / "report" / "conformance.json").mkdir(parents=True)
    (tmp_path / "file").touch()

    for directory in ("report", "file"):
        outcome = run(TINY, f"--intercede-report={directory}")

        assert outcome.code == 4, outcome
        assert "--intercede-report: " in outcome.text


def test_a_report_that_cannot_be_written_any_more_swallows_no_verdict(run: Pytest) -> None:
    """The run says so, is red, and gives its verdict."""
    removing = "import shutil\ndef pytest_sessionfinish(): shutil.rmtree('report')\n"
    outcome = run(TINY, "-q", "--intercede-report=report", conftest=removing)

    assert outcome.code == 1, outcome
    assert "not all that was asked for could be written" in outcome.lines[-2]
    assert outcome.last == GREEN


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
