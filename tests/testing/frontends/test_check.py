"""A program checks a subject without pytest, and gets the same verdict."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Unpack, cast

import pytest

from intercede import registry
from intercede.contract import ConfigError, JobBackend, PluginNotFoundError
from intercede.testing import Report, State, Verdict, check_backend, check_scheduler, check_transport
from intercede.testing.clauses import CLAUSES
from intercede.testing.frontends.check import run_checks, write_check_command
from intercede.testing.frontends.options import Options
from intercede.testing.frontends.plan import make_plan
from intercede.testing.gallery.fake import FakeBackend
from intercede.testing.isolation import timeouts
from intercede.testing.model.clause import Clause
from intercede.testing.model.verdict import Result, SubjectInfo
from intercede.testing.run import finding
from intercede.testing.run.calibrate import calibrate
from intercede.testing.run.context import Context
from intercede.testing.run.inspection import Inspection
from intercede.testing.subjects.subject import FactorySubject

SUBMIT = "intercede/submit::IC-SUBMIT-01"


def ignore_result(facts: SubjectInfo, clause: Clause, result: Result) -> None:
    """Do nothing with a result."""


@pytest.fixture(autouse=True)
def _use_own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep jobs in a directory of the test."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.mark.asyncio
async def test_a_program_gets_the_verdict_that_pytest_gives() -> None:
    """A run of selected ids is PARTIAL, and the function `told` gets each result in the order of the run."""
    told: list[tuple[str, str, State]] = []

    def tell(facts: SubjectInfo, clause: Clause, result: Result) -> None:
        told.append((facts.id, clause.id, result.state))

    report = await check_backend("fake", ids=[SUBMIT, "intercede/shape"], on_result=tell)

    assert report.verdict is Verdict.PARTIAL
    assert {each[1] for each in told} == {*(each for each in CLAUSES if "SHAPE" in each), "IC-SUBMIT-01"}
    assert {each[2] for each in told} == {State.PASSED}


@pytest.mark.asyncio
async def test_a_configuration_may_be_a_mapping() -> None:
    """A subject may be given as a mapping, and its id is the type in it."""
    report = await check_backend({"type": "fake", "queue_seconds": 0.01}, ids=[SUBMIT])

    assert report.facts.id == "fake"
    assert report.results["IC-SUBMIT-01"].state is State.PASSED


@pytest.mark.asyncio
async def test_transports_and_schedulers_are_subjects() -> None:
    """A transport is checked by the clauses of backends as well, and a scheduler is not."""
    transport = await check_transport("local", ids=[SUBMIT])
    scheduler = await check_scheduler("direct", ids=["intercede/scheduler::IC-SCHEDULER-08"])

    assert transport.facts.id == "local+direct"
    assert transport.facts.roles == {"transport", "backend"}
    assert transport.results["IC-SUBMIT-01"].state is State.PASSED
    assert (scheduler.facts.id, scheduler.verdict) == ("direct", Verdict.PARTIAL)
    assert scheduler.results["IC-SUBMIT-01"].message == "backend clause, and direct is a scheduler"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale": 0}, "must be above 0"),
        ({"repeat": 0}, "must be at least 1, not 0"),
        ({"jobs": 0}, "is too few: IC-"),
        ({"update_known": True}, "name it"),
        ({"known": "nowhere.toml"}, "nowhere.toml"),
        ({"require": ["flight"]}, "'flight' is no capability"),
    ],
)
async def test_invalid_options_are_refused_before_anything_starts(options: Options, words: str) -> None:
    """An invalid option is a ConfigError that says what is valid."""
    with pytest.raises(ConfigError, match=words):
        await check_backend("fake", **options)


@pytest.mark.asyncio
async def test_an_unknown_subject_is_an_error() -> None:
    """An unknown name of a subject is a PluginNotFoundError, and no verdict."""
    with pytest.raises(PluginNotFoundError):
        await check_backend("nope")


@pytest.mark.asyncio
@pytest.mark.slow
async def test_a_cancelled_run_leaves_no_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is cancelled ends in time and leaves no job."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    began = time.monotonic()
    checking = asyncio.create_task(check_backend({"type": "fake", "queue_seconds": 60}, ids=["intercede/status"]))
    async with FakeBackend() as backend:
        while not (await backend.counts()).queued:  # noqa: ASYNC110 -- another process sets no event
            await asyncio.sleep(0.01)
        checking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await checking
        assert (await backend.counts()).queued == 0
    assert time.monotonic() - began < 50


@pytest.mark.asyncio
async def test_a_known_failure_that_passes_is_red(tmp_path: Path) -> None:
    """A check that passes and is known to fail is red, as under pytest.

    An entry without a result is not red in a run of selected checks.
    """
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date()
    known = tmp_path / "known.toml"
    known.write_text(f'[[known]]\nclause = "IC-SUBMIT-01"\nreason = "r"\nsymptom = "stays"\nuntil = {tomorrow}\n')

    report = await check_backend("fake", known=str(known), ids=[SUBMIT])

    assert report.verdict is Verdict.NOT_CONFORMANT
    assert report.results["IC-SUBMIT-01"].state is State.UNEXPECTED_PASS


class Flaky(FakeBackend):
    """A backend that refuses every third submission."""

    asked = 0

    async def submit(self, *arguments: object, **options: object):  # type: ignore[no-untyped-def]  # noqa: ANN201 -- any arguments
        """Submit, or raise every third time."""
        Flaky.asked += 1
        if Flaky.asked % 3 == 0:
            raise ConnectionError("busy")
        return await super().submit(*arguments, **options)  # type: ignore[arg-type]  # passed on


def test_a_repeated_check_is_red_if_it_failed_once() -> None:
    """A repeated check is red if it failed once, and its message says how often it failed."""
    subject = FactorySubject(Flaky)
    inspection = Inspection(subject, SubjectInfo(id="flaky", config="flaky", name="flaky"), repeat=3)

    result = inspection.run(CLAUSES["IC-SUBMIT-01"])
    inspection.close()

    assert (result.state, result.runs, result.reds) == (State.FAILED, 3, 1)
    assert result.message.startswith("red 1 of 3 times: ")


@pytest.mark.parametrize("first", ["gateway forgot", "data loss"])
def test_a_known_failure_of_a_repeated_check_hides_no_other(first: str) -> None:
    """The message of a repeated check holds the failure that is not known, whichever comes first."""
    words = iter([first, *({"gateway forgot", "data loss"} - {first}), "gateway forgot"])

    async def check(context: Context) -> None:
        """Fail in one of two ways."""
        context.expect(False, expected="nothing", observed=next(words))  # noqa: FBT003 -- it always fails

    def known(_: Clause, result: Result) -> Result:
        return replace(result, state=State.KNOWN) if "gateway forgot" in result.message else result

    clause = replace(CLAUSES["IC-SUBMIT-01"], check=check, depends=())
    facts = SubjectInfo(id="x", config="x", name="x")
    inspection = Inspection(FactorySubject(FakeBackend), facts, repeat=3, judge_known=known)

    result = inspection.run(clause)
    inspection.close()

    assert (result.state, result.runs, result.reds) == (State.FAILED, 3, 3)
    assert "data loss" in result.message


class Slow(FakeBackend):
    """A backend in which each job waits in the queue."""

    def __init__(self) -> None:
        super().__init__(queue_seconds=6)


class Refuses(FakeBackend):
    """A backend that takes no job, and replaces a part of the kit."""

    async def submit(self, *_: object, **__: object):  # type: ignore[no-untyped-def]  # noqa: ANN201 -- never returns
        """Replace the kit's judgement, print, and raise."""
        setattr(finding, "classify", print)  # noqa: B010 -- the attack
        print("closed")  # noqa: T201 -- the subject prints
        raise ConnectionError("closed on Sundays")


class BlocksAtOnce(FakeBackend):
    """A backend that blocks the event loop in its first verb."""

    async def submit(self, *_: object, **__: object):  # type: ignore[no-untyped-def]  # noqa: ANN201 -- never returns
        """Block the event loop."""
        time.sleep(1000)  # noqa: ASYNC251 -- the mistake


@pytest.mark.slow
def test_a_slow_resource_has_a_larger_scale() -> None:
    """The measured scale grows with the time that a few small jobs take at once, and is at least 1."""
    facts = SubjectInfo(id="slow", config="slow", name="slow", capabilities=frozenset({"purge"}))
    scale, note = calibrate(FactorySubject(Slow), facts)
    quick, _ = calibrate(FactorySubject(FakeBackend), facts)

    assert 1.2 <= scale < 10
    assert "8 jobs of 1 s at once took" in note
    assert quick == 1


def _make_one_slot() -> JobBackend:
    """Return a backend that runs one job at a time."""
    root = str(Path(os.environ["XDG_STATE_HOME"], "direct"))
    return registry.backend(
        {"transport": "local", "scheduler": {"type": "direct", "slots": 1}, "batch": {"root": root}}
    )


@pytest.mark.slow
def test_a_queue_with_one_slot_has_a_larger_scale() -> None:
    """The measured scale grows if jobs wait for each other, though each is fast."""
    facts = SubjectInfo(id="one", config="one", name="one", capabilities=frozenset({"purge", "kill", "find"}))
    scale, note = calibrate(FactorySubject(_make_one_slot), facts)

    assert scale > 1.2
    assert "8 jobs of 1 s at once took" in note
    assert "left" not in note


def test_a_measurement_that_fails_leaves_the_scale(capfd: pytest.CaptureFixture[str]) -> None:
    """A measurement that fails leaves the scale at 1 and says why.

    It runs in a child process, so that a subject cannot change this one.
    """
    own = finding.classify

    scale, note = calibrate(FactorySubject(Refuses), SubjectInfo(id="r", config="r", name="r"))

    assert scale == 1
    assert "closed on Sundays" in note
    assert finding.classify is own
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_measurement_that_blocks_is_given_up() -> None:
    """A measurement whose subject blocks the event loop ends in time, and the scale stays 1."""
    began = time.monotonic()

    scale, note = calibrate(FactorySubject(BlocksAtOnce), SubjectInfo(id="b", config="b", name="b"))

    assert scale == 1
    assert "blocked the event loop" in note
    assert time.monotonic() - began < 60 * timeouts.get_load_factor()


@pytest.mark.asyncio
@pytest.mark.slow
async def test_runs_in_one_process_wait_for_each_other() -> None:
    """Runs in one process run one after the other, since they measure the process.

    A run that is cancelled does not wait.
    """
    waiting = [asyncio.ensure_future(check_backend("fake", ids=["intercede/life"])) for _ in range(3)]
    await asyncio.sleep(0.5)
    waiting[2].cancel()
    first, second, third = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(third, asyncio.CancelledError)
    assert isinstance(first, Report)
    assert isinstance(second, Report)

    assert [each.red for each in (first, second)] == [(), ()]


class BlocksTheLoop(FakeBackend):
    """A backend that blocks the event loop in find."""

    async def find(self, tag: str):  # type: ignore[no-untyped-def]  # noqa: ANN201 -- never returns
        """Block the event loop."""
        time.sleep(8)  # noqa: ASYNC251 -- the mistake


@pytest.mark.slow
def test_only_the_check_that_blocks_the_loop_is_red() -> None:
    """Checks that shared the event loop with one that blocked it are run again alone, and are green."""
    report = run_checks(BlocksTheLoop, {"find", "handle"}, scale=0.3)

    assert report.red
    assert {each for each in report.red if "FIND" not in each} == set()
    assert any(each.state is State.PASSED for each in report.results.values())


@pytest.mark.parametrize(
    ("name", "words"),
    [("profil", "did you mean profile"), ("frontend", "the options are file, profile"), ("probe", "is not an option")],
)
@pytest.mark.asyncio
async def test_a_keyword_that_is_no_option_is_refused(name: str, words: str) -> None:
    """A keyword that is no option is a ConfigError that names the nearest option and lists all of them."""
    with pytest.raises(ConfigError, match=words) as caught:
        await check_backend("fake", **cast("Options", {name: "core"}))

    assert caught.value.field == name


def test_run_checks_reads_a_scale_as_text_and_does_not_measure_it() -> None:
    """A number in a text is a scale. ``auto`` is refused, and the error does not offer it."""
    report = run_checks(FakeBackend, "shape", scale=cast("float", "2"))

    assert report.verdict is Verdict.PARTIAL
    with pytest.raises(ConfigError, match=r"^scale must be a number above 0, not 'auto'$"):
        run_checks(FakeBackend, "shape", scale=cast("float", "auto"))


def test_run_checks_refuses_an_empty_list_of_ids() -> None:
    """An empty list of ids is refused, as in ``check_backend``: it could mean all checks or none."""
    with pytest.raises(ConfigError, match="ids must be one id or more"):
        run_checks(FakeBackend, [])


async def _cancel_after_first_result(then: Callable[[], None], **options: Unpack[Options]) -> None:
    """Cancel a run at its first result, then call a function in the thread of the run, and wait for the end."""
    options["ids"] = ["intercede/shape"]
    reached, cancelled = threading.Event(), threading.Event()

    def pause(*_: object) -> None:
        if not reached.is_set():
            reached.set()
            cancelled.wait(60)
            then()

    checking = asyncio.create_task(check_backend("fake", on_result=pause, **options))
    await asyncio.to_thread(reached.wait, 60)
    checking.cancel()
    for _ in range(5):  # the run sees the cancellation in one of the next rounds of the event loop
        await asyncio.sleep(0)
    cancelled.set()
    await checking


@pytest.mark.asyncio
async def test_a_cancelled_run_writes_no_file(tmp_path: Path) -> None:
    """A run that is cancelled keeps the reports of an earlier run, and the file of known failures."""
    known, report = tmp_path / "known.toml", tmp_path / "reports" / "conformance.json"
    known.write_text('[[known]]\nclause = "IC-SHAPE-01"\nreason = "r"\nsymptom = "stays"\nuntil = 2999-01-01\n')
    report.parent.mkdir()
    report.write_text("{}")
    before = known.read_text()

    with pytest.raises(asyncio.CancelledError):
        await _cancel_after_first_result(lambda: None, known=str(known), update_known=True, report=str(report.parent))

    assert known.read_text() == before
    assert [(each.name, each.read_text()) for each in report.parent.iterdir()] == [("conformance.json", "{}")]


@pytest.mark.asyncio
async def test_an_error_of_a_cancelled_run_is_raised() -> None:
    """An error that ends a cancelled run is raised in place of the cancellation."""

    def fail() -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        await _cancel_after_first_result(fail)


def test_the_command_that_repeats_a_check_has_the_scale_and_the_known_failures(tmp_path: Path) -> None:
    """The command that repeats a check names the file of known failures and the scale of the run."""
    known = tmp_path / "known.toml"
    known.touch()
    plan = make_plan([("backend", "fake")], known=str(known), scale=2.5)
    plain = make_plan([("backend", "fake")])
    clause = CLAUSES["IC-SHAPE-01"]

    command = write_check_command(plan, plan.subjects[0], clause)

    assert command == f"intercede check --known {known} --timeout-scale 2.5 fake --only IC-SHAPE-01"
    assert write_check_command(plain, plain.subjects[0], clause) == "intercede check fake --only IC-SHAPE-01"
