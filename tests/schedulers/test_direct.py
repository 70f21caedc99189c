"""The scheduler direct: pure text here, and what the fragments do there, with a wrapper of the tests' own."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.batch.remote.api import write_api, write_program
from intercede.batch.remote.layout import new_submission_id
from intercede.contract.errors import ConfigError, SchedulerError, UnsupportedSpecError
from intercede.contract.job import JobState, Resources
from intercede.contract.scheduler import Batch, Scheduler
from intercede.contract.transport import CommandResult
from intercede.schedulers.direct import DirectScheduler

API = write_api(DirectScheduler())
SUBMISSION_ID = (
    new_submission_id()
)  # another one in each process: what a copy starts is known by it, on the whole machine
SECONDS = 60  # a bound, on a loaded machine


def batch(copies: int = 4, **resources: object) -> Batch:
    """Return a submission."""
    return Batch(submission_id=SUBMISSION_ID, copies=copies, resources=Resources.model_validate(resources))


def ok(stdout: str, returncode: int = 0) -> CommandResult:
    """Return an answer."""
    return CommandResult(returncode=returncode, stdout=stdout.encode(), stderr=b"some reason")


class Place:
    """A root with one submission, whose wrapper is given."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.here = root / SUBMISSION_ID
        self.here.mkdir()

    def run(self, script: str, ids: list[str] | None = None, *, here: bool = False, copies: int = 1) -> CommandResult:
        """Run a fragment as a batch backend would."""
        program = write_program("submit" if here else "status", API, script, copies)
        (self.root / "ids").write_text("".join(f"{each}\n" for each in ids or []))
        environment = {**os.environ, "IC_IDS": str(self.root / "ids")}
        cwd = self.here if here else self.root
        result = subprocess.run(
            ["sh", "-c", program], cwd=cwd, env=environment, capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
        return CommandResult(returncode=result.returncode, stdout=result.stdout, stderr=result.stderr)

    def start(self, scheduler: DirectScheduler, wrapper: str, submission: Batch) -> list[str]:
        """Start a submission; return its ids."""
        (self.here / "wrapper").write_text(wrapper)
        result = self.run(scheduler.submit_script(submission), here=True, copies=submission.copies)
        return list(scheduler.parse_submit(submission, result).ids.values())

    def words(self, scheduler: DirectScheduler, ids: list[str]) -> list[str | None]:
        """Return the native word for each, None where it is not listed."""
        told = scheduler.parse_status(ids, self.run(scheduler.status_script(), ids))
        return [told[each].native if each in told else None for each in ids]


def until(look: Callable[[], bool]) -> None:
    """Wait for it, for a bounded time."""
    deadline = time.monotonic() + SECONDS
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def processes(place: Path) -> list[str]:
    """Return the processes that work there."""
    found: list[str] = []
    for at in Path("/proc").iterdir():
        try:
            if at.name.isdigit() and str((at / "cwd").readlink()).startswith(str(place)):
                found.append(at.name)
        except OSError:
            continue  # it has ended
    return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A root; afterwards nothing may run in it."""
    yield Place(tmp_path)
    until(lambda: not processes(tmp_path))


def test_it_is_a_scheduler() -> None:
    """The scheduler satisfies the gate's protocol, needs no poll interval, and stages no files."""
    scheduler = DirectScheduler()
    assert isinstance(scheduler, Scheduler)
    assert (scheduler.min_poll_interval(), scheduler.stages_own_files()) == (0.0, False)


def test_options_without_sense_are_refused() -> None:
    """With the option's name."""
    with pytest.raises(ConfigError) as caught:
        DirectScheduler(slots=0)
    assert caught.value.field == "slots"
    with pytest.raises(ConfigError):
        DirectScheduler(grace_s=-1)


def test_a_queue_is_refused_and_requests_are_not() -> None:
    """There is none; memory and gpus are ignored."""
    with pytest.raises(UnsupportedSpecError) as caught:
        DirectScheduler().submit_script(batch(queue="long"))
    assert caught.value.field == "resources.queue"
    assert DirectScheduler().submit_script(batch(memory_mb=1, gpus=8))


@pytest.mark.parametrize("returncode", [1, 127])
def test_a_failed_fragment_is_an_error_not_an_empty_answer(returncode: int) -> None:
    """For every parser, with what was said."""
    scheduler, failed = DirectScheduler(), ok("", returncode)
    for parse in (
        lambda: scheduler.parse_submit(batch(), failed),
        lambda: scheduler.parse_status(["x"], failed),
        lambda: scheduler.parse_kill(["x"], failed),
        lambda: scheduler.parse_list(failed),
    ):
        with pytest.raises(SchedulerError, match="some reason"):
            parse()


@given(st.text(max_size=80))
def test_parsers_take_whatever_comes(text: str) -> None:
    """Only ids that were asked are answered, and words that are not known are UNKNOWN."""
    scheduler = DirectScheduler()
    told = scheduler.parse_status(["a.0"], ok(text + "\na.0 dreaming of sheep\n"))
    assert set(told) == {"a.0"}
    assert (told["a.0"].state, told["a.0"].native) == (JobState.UNKNOWN, "dreaming")
    assert set(scheduler.parse_kill(["a.0"], ok(text))) <= {"a.0"}


def test_every_copy_runs_once_and_at_most_slots_at_a_time(place: Place) -> None:
    """A dozen copies in three slots."""
    wrapper = 'echo + >>log; echo "$1" >>ran; sleep 0.05; echo - >>log'
    scheduler = DirectScheduler(slots=3)
    ids = place.start(scheduler, wrapper, batch(12))
    until(lambda: place.words(scheduler, ids) == [None] * 12)
    assert sorted(map(int, (place.here / "ran").read_text().split())) == list(range(12))
    running = most = 0
    for mark in (place.here / "log").read_text().split():
        running += 1 if mark == "+" else -1
        most = max(most, running)
    assert most <= 3


def test_cores_are_shared_by_what_copies_ask_for(place: Place) -> None:
    """Copies of two cores in three slots run one at a time; one copy always runs."""
    scheduler = DirectScheduler(slots=3)
    ids = place.start(scheduler, "[ ! -e busy ] || echo clash >>log; : >busy; sleep 0.05; rm busy", batch(3, cpus=2))
    until(lambda: place.words(scheduler, ids) == [None] * 3)
    assert not (place.here / "log").exists()


def test_words_follow_the_processes(place: Place) -> None:
    """queued, running, suspended, and nothing once it is over."""
    scheduler = DirectScheduler(slots=1)
    gates = [place.here / f"go{index}" for index in range(2)]
    for gate in gates:
        os.mkfifo(gate)  # waited for without a child: a shell that is stopped while it forks is in state D, not T
    ids = place.start(scheduler, 'read -r _ <"go$1"', batch(2))
    until(lambda: place.words(scheduler, ids) == ["running", "queued"])
    leader = int((place.here / "direct" / "0").read_text().split()[0])
    until(lambda: os.getpgid(leader) == leader)
    os.killpg(leader, signal.SIGSTOP)
    until(lambda: place.words(scheduler, ids) == ["suspended", "queued"])
    os.killpg(leader, signal.SIGCONT)
    gates[0].write_text("\n")
    until(lambda: place.words(scheduler, ids) == [None, "running"])
    gates[1].write_text("\n")
    until(lambda: place.words(scheduler, ids) == [None, None])


def test_wall_time_is_kept(place: Place) -> None:
    """What has had its time is ended, with its children; what ends in time is not touched."""
    scheduler = DirectScheduler(slots=2, grace_s=0)
    ids = place.start(scheduler, '[ "$1" = 0 ] || { sleep 60 & sleep 60; }', batch(2, wall_time_s=1))
    until(lambda: place.words(scheduler, ids) == [None, "timeout"])
    told = scheduler.parse_status(ids, place.run(scheduler.status_script(), ids))
    assert (told[ids[1]].state, told[ids[1]].reason) == (JobState.FAILED, "timeout")


def test_another_process_of_that_number_is_not_taken_for_the_job(place: Place) -> None:
    """A pid that was given anew has another start time: not listed, and not killed."""
    scheduler = DirectScheduler(slots=1)
    ids = place.start(scheduler, "true", batch(1))
    until(lambda: place.words(scheduler, ids) == [None])
    bystander = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        (place.here / "direct" / "0").write_text(f"{bystander.pid} 12345 0\n")
        assert place.words(scheduler, ids) == [None]
        assert scheduler.parse_kill(ids, place.run(scheduler.kill_script(), ids))[ids[0]].ok
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_job_of_another_host_is_unknown_not_lost(place: Place) -> None:
    """It says which host, and a kill says that it could do nothing; of another boot it is not there any more."""
    scheduler = DirectScheduler(slots=1)
    ids = place.start(scheduler, "true", batch(1))
    until(lambda: place.words(scheduler, ids) == [None])
    host = place.here / "direct" / "host"
    name, boot, *rest = host.read_text().split()
    host.write_text(" ".join(["elsewhere.example.org", boot, *rest]) + "\n")
    told = scheduler.parse_status(ids, place.run(scheduler.status_script(), ids))
    assert (told[ids[0]].state, told[ids[0]].native) == (JobState.UNKNOWN, "on elsewhere.example.org")
    killed = scheduler.parse_kill(ids, place.run(scheduler.kill_script(), ids))
    assert "elsewhere.example.org" in (killed[ids[0]].detail or "")
    host.write_text(" ".join([name, "another-boot", *rest]) + "\n")
    (place.here / "direct" / "0").unlink()
    assert place.words(scheduler, ids) == [None]


def test_what_waits_when_killed_never_starts(place: Place) -> None:
    """And what runs is ended, with what ignores TERM after the grace."""
    scheduler = DirectScheduler(slots=1, grace_s=0)
    ids = place.start(scheduler, 'trap "" TERM; echo "$1" >>ran; sleep 60; sleep 60', batch(3))
    until((place.here / "ran").exists)
    assert all(each.ok for each in scheduler.parse_kill(ids, place.run(scheduler.kill_script(), ids)).values())
    until(lambda: place.words(scheduler, ids) == [None, "cancelled", "cancelled"])
    assert (place.here / "ran").read_text() == "0\n"


def test_a_lost_answer_is_settled_by_the_list(place: Place) -> None:
    """All copies where a runner was started, none where not."""
    scheduler = DirectScheduler(slots=1)
    assert scheduler.parse_list(place.run(scheduler.list_script(SUBMISSION_ID))) == {}
    ids = place.start(scheduler, "true", batch(3))
    assert list(scheduler.parse_list(place.run(scheduler.list_script(SUBMISSION_ID))).values()) == ids
    until(lambda: place.words(scheduler, ids) == [None] * 3)


def test_nothing_runs_where_nothing_can_be_detached(place: Place) -> None:
    """Without setsid the submission fails, and says why."""
    scheduler = DirectScheduler(slots=1)
    (place.here / "wrapper").write_text("touch ran")
    script = "setsid() { echo 'setsid: not here' >&2; return 127; }\n" + scheduler.submit_script(batch())
    with pytest.raises(SchedulerError, match="not here"):
        scheduler.parse_submit(batch(), place.run(script, here=True))
    assert not (place.here / "ran").exists()


def test_a_copy_that_a_signal_came_to_exited_by_itself_if_its_runner_was_there(place: Place) -> None:
    """The runner lives, or came to its end: then nothing else ended the copy. Its code is what stands in its record."""
    scheduler = DirectScheduler(slots=1)
    (place.here / "copies" / "0").mkdir(parents=True)
    ids = place.start(scheduler, 'echo "caught 3 0 host - 1" >copies/0/exit', batch(1))
    until(lambda: place.words(scheduler, ids) == ["exited"] and not processes(place.root))
    told = scheduler.parse_status(ids, place.run(scheduler.status_script(), ids))[ids[0]]
    assert (told.state, told.reason, told.exit_code) == (JobState.FAILED, "exit_code", 3)
    (place.here / "direct" / "ended").unlink()
    assert place.words(scheduler, ids) == [None]


@pytest.mark.parametrize("rest", ["", "x", "-1", "9" * 5000, "0 0"])
def test_a_code_that_cannot_be_one_is_unknown(rest: str) -> None:
    """A payload can write over its record."""
    ids = [f"{SUBMISSION_ID}.0"]
    told = DirectScheduler().parse_status(ids, ok(f"{SUBMISSION_ID}.0 exited {rest}\n"))
    assert told[ids[0]].state is JobState.UNKNOWN
