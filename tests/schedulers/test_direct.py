"""The scheduler direct writes fragments and parses their answers. The fragments run with a wrapper of the tests."""

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
from intercede.batch.remote.layout import make_submission_id
from intercede.contract.errors import ConfigError, SchedulerError, UnsupportedSpecError
from intercede.contract.job import JobState, Resources
from intercede.contract.scheduler import Batch, Scheduler
from intercede.contract.transport import CommandResult
from intercede.schedulers.direct import DirectScheduler

API = write_api(DirectScheduler())
SUBMISSION_ID = (
    make_submission_id()
)  # another one in each process: what a copy starts is known by it, on the whole machine
SECONDS = 60  # enough for a loaded machine


def make_batch(copies: int = 4, **resources: object) -> Batch:
    """Return a submission."""
    return Batch(submission_id=SUBMISSION_ID, copies=copies, resources=Resources.model_validate(resources))


def make_result(stdout: str, returncode: int = 0) -> CommandResult:
    """Return the result of a fragment."""
    return CommandResult(returncode=returncode, stdout=stdout.encode(), stderr=b"some reason")


class Place:
    """A root with one submission, and the wrapper that a test gives."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.here = root / SUBMISSION_ID
        self.here.mkdir()

    def run(self, script: str, ids: list[str] | None = None, *, here: bool = False, copies: int = 1) -> CommandResult:
        """Run a fragment as a batch backend does."""
        program = write_program("submit" if here else "status", API, script, copies)
        (self.root / "ids").write_text("".join(f"{each}\n" for each in ids or []))
        environment = {**os.environ, "IC_IDS": str(self.root / "ids")}
        cwd = self.here if here else self.root
        result = subprocess.run(
            ["sh", "-c", program], cwd=cwd, env=environment, capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
        return CommandResult(returncode=result.returncode, stdout=result.stdout, stderr=result.stderr)

    def start(self, scheduler: DirectScheduler, wrapper: str, submission: Batch) -> list[str]:
        """Start a submission, and return its native ids."""
        (self.here / "wrapper").write_text(wrapper)
        result = self.run(scheduler.submit_script(submission), here=True, copies=submission.copies)
        return list(scheduler.parse_submit(submission, result).ids.values())

    def words(self, scheduler: DirectScheduler, ids: list[str]) -> list[str | None]:
        """Return the native state of each job, or None for a job that is not listed."""
        told = scheduler.parse_status(ids, self.run(scheduler.status_script(), ids))
        return [told[each].native if each in told else None for each in ids]


def wait_until(look: Callable[[], bool]) -> None:
    """Wait until a condition holds, for a limited time."""
    deadline = time.monotonic() + SECONDS
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def list_processes(place: Path) -> list[str]:
    """Return the processes whose working directory lies below a path."""
    found: list[str] = []
    for at in Path("/proc").iterdir():
        try:
            if at.name.isdigit() and str((at / "cwd").readlink()).startswith(str(place)):
                found.append(at.name)
        except OSError:
            continue  # the process has ended
    return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Return a root in which no process may be left after the test."""
    yield Place(tmp_path)
    wait_until(lambda: not list_processes(tmp_path))


def test_direct_is_a_scheduler() -> None:
    """The scheduler satisfies the gate's protocol, needs no poll interval, and stages no files."""
    scheduler = DirectScheduler()
    assert isinstance(scheduler, Scheduler)
    assert (scheduler.min_poll_interval(), scheduler.stages_own_files()) == (0.0, False)


def test_invalid_options_are_refused() -> None:
    """An invalid option is a ConfigError that names the option."""
    with pytest.raises(ConfigError) as caught:
        DirectScheduler(slots=0)
    assert caught.value.field == "slots"
    with pytest.raises(ConfigError):
        DirectScheduler(grace_s=-1)


def test_a_queue_is_refused() -> None:
    """A submission with a queue is an UnsupportedSpecError, and memory and GPUs are ignored."""
    with pytest.raises(UnsupportedSpecError) as caught:
        DirectScheduler().submit_script(make_batch(queue="long"))
    assert caught.value.field == "resources.queue"
    assert DirectScheduler().submit_script(make_batch(memory_mb=1, gpus=8))


@pytest.mark.parametrize("returncode", [1, 127])
def test_a_failed_fragment_is_an_error(returncode: int) -> None:
    """Each parser raises a SchedulerError with the stderr of a failed fragment."""
    scheduler, failed = DirectScheduler(), make_result("", returncode)
    for parse in (
        lambda: scheduler.parse_submit(make_batch(), failed),
        lambda: scheduler.parse_status(["x"], failed),
        lambda: scheduler.parse_kill(["x"], failed),
        lambda: scheduler.parse_list(failed),
    ):
        with pytest.raises(SchedulerError, match="some reason"):
            parse()


@given(st.text(max_size=80))
def test_parsers_accept_any_text(text: str) -> None:
    """A parser answers about the given ids only, whatever text comes, and an unknown word is UNKNOWN."""
    scheduler = DirectScheduler()
    told = scheduler.parse_status(["a.0"], make_result(text + "\na.0 dreaming of sheep\n"))
    assert set(told) == {"a.0"}
    assert (told["a.0"].state, told["a.0"].native) == (JobState.UNKNOWN, "dreaming")
    assert set(scheduler.parse_kill(["a.0"], make_result(text))) <= {"a.0"}


def test_each_copy_runs_once_within_the_slots(place: Place) -> None:
    """Each of twelve copies runs once, and at most three at a time in three slots."""
    wrapper = 'echo + >>log; echo "$1" >>ran; sleep 0.05; echo - >>log'
    scheduler = DirectScheduler(slots=3)
    ids = place.start(scheduler, wrapper, make_batch(12))
    wait_until(lambda: place.words(scheduler, ids) == [None] * 12)
    assert sorted(map(int, (place.here / "ran").read_text().split())) == list(range(12))
    running = most = 0
    for mark in (place.here / "log").read_text().split():
        running += 1 if mark == "+" else -1
        most = max(most, running)
    assert most <= 3


def test_copies_share_the_slots_by_their_cpus(place: Place) -> None:
    """Copies of two CPUs in three slots run one at a time."""
    scheduler = DirectScheduler(slots=3)
    ids = place.start(
        scheduler, "[ ! -e busy ] || echo clash >>log; : >busy; sleep 0.05; rm busy", make_batch(3, cpus=2)
    )
    wait_until(lambda: place.words(scheduler, ids) == [None] * 3)
    assert not (place.here / "log").exists()


def test_native_states_follow_the_processes(place: Place) -> None:
    """A job is queued, running and suspended as its processes are, and is not listed after its end."""
    scheduler = DirectScheduler(slots=1)
    gates = [place.here / f"go{index}" for index in range(2)]
    for gate in gates:
        os.mkfifo(gate)  # read without a child, since a shell that is stopped while it forks is in state D and not T
    ids = place.start(scheduler, 'read -r _ <"go$1"', make_batch(2))
    wait_until(lambda: place.words(scheduler, ids) == ["running", "queued"])
    leader = int((place.here / "direct" / "0").read_text().split()[0])
    wait_until(lambda: os.getpgid(leader) == leader)
    os.killpg(leader, signal.SIGSTOP)
    wait_until(lambda: place.words(scheduler, ids) == ["suspended", "queued"])
    os.killpg(leader, signal.SIGCONT)
    gates[0].write_text("\n")
    wait_until(lambda: place.words(scheduler, ids) == [None, "running"])
    gates[1].write_text("\n")
    wait_until(lambda: place.words(scheduler, ids) == [None, None])


def test_the_wall_time_is_enforced(place: Place) -> None:
    """A copy beyond its wall time is killed with its children and FAILED(timeout), and a shorter one is not touched."""
    scheduler = DirectScheduler(slots=2, grace_s=0)
    ids = place.start(scheduler, '[ "$1" = 0 ] || { sleep 60 & sleep 60; }', make_batch(2, wall_time_s=1))
    wait_until(lambda: place.words(scheduler, ids) == [None, "timeout"])
    told = scheduler.parse_status(ids, place.run(scheduler.status_script(), ids))
    assert (told[ids[1]].state, told[ids[1]].reason) == (JobState.FAILED, "timeout")


def test_a_reused_pid_is_not_the_job(place: Place) -> None:
    """A process with the job's pid and another start time is neither reported nor killed."""
    scheduler = DirectScheduler(slots=1)
    ids = place.start(scheduler, "true", make_batch(1))
    wait_until(lambda: place.words(scheduler, ids) == [None])
    bystander = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        (place.here / "direct" / "0").write_text(f"{bystander.pid} 12345 0\n")
        assert place.words(scheduler, ids) == [None]
        assert scheduler.parse_kill(ids, place.run(scheduler.kill_script(), ids))[ids[0]].ok
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_job_of_another_host_is_unknown(place: Place) -> None:
    """A job of another host is UNKNOWN and cannot be killed, and both name the host.

    A job of an earlier boot is not listed.
    """
    scheduler = DirectScheduler(slots=1)
    ids = place.start(scheduler, "true", make_batch(1))
    wait_until(lambda: place.words(scheduler, ids) == [None])
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


def test_a_killed_job_in_the_queue_never_starts(place: Place) -> None:
    """A queued job that is killed never starts, and a running one that ignores SIGTERM is killed after the grace."""
    scheduler = DirectScheduler(slots=1, grace_s=0)
    ids = place.start(scheduler, 'trap "" TERM; echo "$1" >>ran; sleep 60; sleep 60', make_batch(3))
    wait_until((place.here / "ran").exists)
    assert all(each.ok for each in scheduler.parse_kill(ids, place.run(scheduler.kill_script(), ids)).values())
    wait_until(lambda: place.words(scheduler, ids) == [None, "cancelled", "cancelled"])
    assert (place.here / "ran").read_text() == "0\n"


def test_the_list_fragment_finds_all_copies_or_none(place: Place) -> None:
    """The list fragment finds all copies if their runner was started, and none otherwise."""
    scheduler = DirectScheduler(slots=1)
    assert scheduler.parse_list(place.run(scheduler.list_script(SUBMISSION_ID))) == {}
    ids = place.start(scheduler, "true", make_batch(3))
    assert list(scheduler.parse_list(place.run(scheduler.list_script(SUBMISSION_ID))).values()) == ids
    wait_until(lambda: place.words(scheduler, ids) == [None] * 3)


def test_a_submission_without_setsid_fails(place: Place) -> None:
    """A submission fails with the reason, and runs nothing, if setsid is missing."""
    scheduler = DirectScheduler(slots=1)
    (place.here / "wrapper").write_text("touch ran")
    script = "setsid() { echo 'setsid: not here' >&2; return 127; }\n" + scheduler.submit_script(make_batch())
    with pytest.raises(SchedulerError, match="not here"):
        scheduler.parse_submit(make_batch(), place.run(script, here=True))
    assert not (place.here / "ran").exists()


def test_a_copy_that_caught_a_signal_exited_if_its_runner_saw_it(place: Place) -> None:
    """A copy that caught a signal and exited has its recorded exit code if its runner saw the end."""
    scheduler = DirectScheduler(slots=1)
    (place.here / "copies" / "0").mkdir(parents=True)
    ids = place.start(scheduler, 'echo "caught 3 0 host - 1" >copies/0/exit', make_batch(1))
    wait_until(lambda: place.words(scheduler, ids) == ["exited"] and not list_processes(place.root))
    told = scheduler.parse_status(ids, place.run(scheduler.status_script(), ids))[ids[0]]
    assert (told.state, told.reason, told.exit_code) == (JobState.FAILED, "exit_code", 3)
    (place.here / "direct" / "ended").unlink()
    assert place.words(scheduler, ids) == [None]


@pytest.mark.parametrize("rest", ["", "x", "-1", "9" * 5000, "0 0"])
def test_an_invalid_exit_code_is_unknown(rest: str) -> None:
    """A record with an invalid exit code makes the job UNKNOWN, since a payload can overwrite it."""
    ids = [f"{SUBMISSION_ID}.0"]
    told = DirectScheduler().parse_status(ids, make_result(f"{SUBMISSION_ID}.0 exited {rest}\n"))
    assert told[ids[0]].state is JobState.UNKNOWN
