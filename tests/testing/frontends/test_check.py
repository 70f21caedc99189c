"""The suite without pytest: the same checks and the same verdict, awaited by a program."""

import asyncio
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from intercede import registry
from intercede.contract import ConfigError, JobBackend, PluginNotFoundError
from intercede.testing import Report, State, Verdict, check_backend, check_scheduler, check_transport
from intercede.testing.clauses import CLAUSES
from intercede.testing.frontends.check import run_checks
from intercede.testing.frontends.options import Options
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


def nobody(facts: SubjectInfo, clause: Clause, result: Result) -> None:
    """Tell nobody."""


@pytest.fixture(autouse=True)
def _a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give jobs a place of their own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.mark.asyncio
async def test_a_program_gets_the_verdict_that_pytest_gives() -> None:
    """Selected ids make it PARTIAL; each result was told of, in the run's order."""
    told: list[tuple[str, str, State]] = []

    def tell(facts: SubjectInfo, clause: Clause, result: Result) -> None:
        told.append((facts.id, clause.id, result.state))

    report = await check_backend("fake", ids=[SUBMIT, "intercede/shape"], told=tell)

    assert report.verdict is Verdict.PARTIAL
    assert {each[1] for each in told} == {*(each for each in CLAUSES if "SHAPE" in each), "IC-SUBMIT-01"}
    assert {each[2] for each in told} == {State.PASSED}


@pytest.mark.asyncio
async def test_a_configuration_may_be_data() -> None:
    """A mapping is one; its id is the type."""
    report = await check_backend({"type": "fake", "queue_seconds": 0.01}, ids=[SUBMIT])

    assert report.facts.id == "fake"
    assert report.results["IC-SUBMIT-01"].state is State.PASSED


@pytest.mark.asyncio
async def test_transports_and_schedulers_are_subjects() -> None:
    """Over a transport the backend's clauses apply as well; to a scheduler none of them does."""
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
async def test_what_makes_no_sense_is_refused_before_anything_starts(options: Options, words: str) -> None:
    """With what would do."""
    with pytest.raises(ConfigError, match=words):
        await check_backend("fake", **options)


@pytest.mark.asyncio
async def test_a_name_that_is_not_there_is_an_error() -> None:
    """No verdict is given on nothing."""
    with pytest.raises(PluginNotFoundError):
        await check_backend("nope")


@pytest.mark.asyncio
@pytest.mark.slow
async def test_cancelling_ends_what_was_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It returns in bounded time, and no job is left."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    began = time.monotonic()
    checking = asyncio.create_task(check_backend({"type": "fake", "queue_seconds": 60}, ids=["intercede/status"]))
    async with FakeBackend() as backend:
        while not (await backend.counts()).queued:  # noqa: ASYNC110 -- another process tells no event
            await asyncio.sleep(0.01)
        checking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await checking
        assert (await backend.counts()).queued == 0
    assert time.monotonic() - began < 50


@pytest.mark.asyncio
async def test_a_known_failure_is_known_and_one_that_passes_is_red(tmp_path: Path) -> None:
    """The file decides as it does under pytest; what matches nothing is red in a whole run only."""
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).date()
    known = tmp_path / "known.toml"
    known.write_text(f'[[known]]\nclause = "IC-SUBMIT-01"\nreason = "r"\nsymptom = "stays"\nuntil = {tomorrow}\n')

    report = await check_backend("fake", known=str(known), ids=[SUBMIT])

    assert report.verdict is Verdict.NOT_CONFORMANT
    assert report.results["IC-SUBMIT-01"].state is State.UNEXPECTED_PASS


class Flaky(FakeBackend):
    """Refuses every third submission."""

    asked = 0

    async def submit(self, *arguments: object, **options: object):  # type: ignore[no-untyped-def]  # noqa: ANN201 -- as wide as it gets
        """Fail now and then."""
        Flaky.asked += 1
        if Flaky.asked % 3 == 0:
            raise ConnectionError("busy")
        return await super().submit(*arguments, **options)  # type: ignore[arg-type]  # handed on


def test_a_check_is_red_if_it_ever_was() -> None:
    """Repeating measures how often, and never makes it green."""
    subject = FactorySubject(Flaky)
    inspection = Inspection(subject, SubjectInfo(id="flaky", config="flaky", name="flaky"), repeat=3)

    result = inspection.run(CLAUSES["IC-SUBMIT-01"])
    inspection.close()

    assert (result.state, result.runs, result.reds) == (State.FAILED, 3, 1)
    assert result.message.startswith("red 1 of 3 times: ")


@pytest.mark.parametrize("first", ["gateway forgot", "data loss"])
def test_repeating_lets_a_known_failure_hide_no_other(first: str) -> None:
    """Whichever comes first, what is told is the one that nobody knows."""
    words = iter([first, *({"gateway forgot", "data loss"} - {first}), "gateway forgot"])

    async def check(context: Context) -> None:
        """Fail in one of two ways."""
        context.expect(False, expected="nothing", observed=next(words))  # noqa: FBT003 -- it always fails

    def known(_: Clause, result: Result) -> Result:
        return replace(result, state=State.KNOWN) if "gateway forgot" in result.message else result

    clause = replace(CLAUSES["IC-SUBMIT-01"], check=check, depends=())
    facts = SubjectInfo(id="x", config="x", name="x")
    inspection = Inspection(FactorySubject(FakeBackend), facts, repeat=3, known=known)

    result = inspection.run(clause)
    inspection.close()

    assert (result.state, result.runs, result.reds) == (State.FAILED, 3, 3)
    assert "data loss" in result.message


class Slow(FakeBackend):
    """Lets each job wait."""

    def __init__(self) -> None:
        super().__init__(queue_seconds=6)


class Refuses(FakeBackend):
    """Takes no job, nor leaves this process as it was."""

    async def submit(self, *_: object, **__: object):  # type: ignore[no-untyped-def]  # noqa: ANN201 -- never returns
        """Replace the kit's judgement, print, and raise."""
        setattr(finding, "classify", print)  # noqa: B010 -- the attack
        print("closed")  # noqa: T201 -- the point
        raise ConnectionError("closed on Sundays")


class BlocksAtOnce(FakeBackend):
    """Blocks the event loop in the first verb."""

    async def submit(self, *_: object, **__: object):  # type: ignore[no-untyped-def]  # noqa: ANN201 -- never returns
        """Block."""
        time.sleep(1000)  # noqa: ASYNC251 -- the mistake


@pytest.mark.slow
def test_a_slow_resource_scales_the_bounds() -> None:
    """By what a few small jobs at once take, and never below 1."""
    facts = SubjectInfo(id="slow", config="slow", name="slow", capabilities=frozenset({"purge"}))
    scale, note = calibrate(FactorySubject(Slow), facts)
    quick, _ = calibrate(FactorySubject(FakeBackend), facts)

    assert 1.2 <= scale < 10
    assert "8 jobs of 1 s at once took" in note
    assert quick == 1


def _one_slot() -> JobBackend:
    """Run one job at a time."""
    root = str(Path(os.environ["XDG_STATE_HOME"], "direct"))
    return registry.backend(
        {"transport": "local", "scheduler": {"type": "direct", "slots": 1}, "batch": {"root": root}}
    )


@pytest.mark.slow
def test_a_queue_with_one_slot_scales_the_bounds() -> None:
    """Each job is as quick as elsewhere, and has to wait for those before it."""
    facts = SubjectInfo(id="one", config="one", name="one", capabilities=frozenset({"purge", "kill", "find"}))
    scale, note = calibrate(FactorySubject(_one_slot), facts)

    assert scale > 1.2
    assert "8 jobs of 1 s at once took" in note
    assert "left" not in note


def test_a_probe_that_fails_changes_no_bound(capfd: pytest.CaptureFixture[str]) -> None:
    """The checks will tell what is wrong. It is done in another process: this one is judged in, later."""
    own = finding.classify

    scale, note = calibrate(FactorySubject(Refuses), SubjectInfo(id="r", config="r", name="r"))

    assert scale == 1
    assert "closed on Sundays" in note
    assert finding.classify is own
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_probe_that_blocks_is_given_up() -> None:
    """As a check would be, and long before a slow queue would be given up."""
    began = time.monotonic()

    scale, note = calibrate(FactorySubject(BlocksAtOnce), SubjectInfo(id="b", config="b", name="b"))

    assert scale == 1
    assert "blocked the event loop" in note
    assert time.monotonic() - began < 60 * timeouts.get_load_factor()


@pytest.mark.asyncio
@pytest.mark.slow
async def test_two_inspections_do_not_disturb_each_other() -> None:
    """Both measure the process that they run in, so the second waits for the first; cancelled, it does not wait."""
    waiting = [asyncio.ensure_future(check_backend("fake", ids=["intercede/life"])) for _ in range(3)]
    await asyncio.sleep(0.5)
    waiting[2].cancel()
    first, second, third = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(third, asyncio.CancelledError)
    assert isinstance(first, Report)
    assert isinstance(second, Report)

    assert [each.red for each in (first, second)] == [(), ()]


class BlocksTheLoop(FakeBackend):
    """Blocks the event loop in one verb for longer than anybody waits."""

    async def find(self, tag: str):  # type: ignore[no-untyped-def]  # noqa: ANN201 -- never returns
        """Block."""
        time.sleep(8)  # noqa: ASYNC251 -- the mistake


@pytest.mark.slow
def test_one_that_blocks_the_loop_is_red_and_not_those_beside_it() -> None:
    """What shared its loop is checked once more, alone."""
    report = run_checks(BlocksTheLoop, {"find", "handle"}, scale=0.3)

    assert report.red
    assert {each for each in report.red if "FIND" not in each} == set()
    assert any(each.state is State.PASSED for each in report.results.values())
