"""All processes that a copy started end with it, and no others."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import nested
from tests.schedulers.test_direct import API, SECONDS, SUBMISSION_ID, Place, list_processes, make_batch, wait_until

from intercede.batch.remote.api import write_program
from intercede.batch.remote.layout import make_submission_id
from intercede.contract.errors import SchedulerError
from intercede.contract.job import JobState
from intercede.contract.transport import CommandResult
from intercede.schedulers.direct import DirectScheduler

LONG = "297"
IN_ITS_OWN_GROUP = f"timeout 300 sleep {LONG}"  # coreutils' timeout leads a process group: hermes-agent #94187
IN_ITS_OWN_SESSION = f"setsid sleep {LONG} & wait"
AN_ORPHAN = f"(setsid sh -c 'echo $$ >pid; exec sleep {LONG}' &); until [ -s pid ]; do sleep 0.01; done; sleep {LONG}"
FORGETFUL = f"env -i PATH=/bin:/usr/bin setsid sh -c 'sleep {LONG}; :' & wait"
OUT_OF_SIGHT = f"cd /; trap '' TERM; timeout 300 sleep {LONG}"
STARTS_ANEW = """
echo 'sleep 0.5; setsid sh ./anew & sleep 0.5' >anew
setsid sh ./anew & sleep 297
"""
SHAPES = {
    "a group of its own": IN_ITS_OWN_GROUP,
    "a session of its own": IN_ITS_OWN_SESSION,
    "an orphan in a session of its own": AN_ORPHAN,
    "a descendant without our mark": FORGETFUL,
    "elsewhere, and deaf to TERM": OUT_OF_SIGHT,
    "one that starts itself anew in another session": STARTS_ANEW,
}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Return a root in which no process may be left after the test."""
    yield Place(tmp_path)
    wait_until(lambda: not list_processes(tmp_path))


def find_processes(word: bytes) -> list[int]:
    """Return the processes that have this text in their environment."""
    found: list[int] = []
    for at in Path("/proc").glob("[0-9]*/environ"):
        try:
            if word in at.read_bytes():
                found.append(int(at.parent.name))
        except OSError:
            continue  # the process has ended, or belongs to another user
    return found


def list_descendants(pid: int) -> set[int]:
    """Return a process and its descendants."""
    parents: dict[int, int] = {}
    for at in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(at.parent.name)] = int(at.read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            continue
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def is_running(pid: int) -> bool:
    """Say whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def get_leader(place: Place, index: int = 0) -> int:
    """Return the first process of a running copy."""
    decided = place.here / "direct" / str(index)
    wait_until(lambda: decided.exists() and decided.read_text().endswith("\n"))
    return int(decided.read_text().split()[0])


def start_two(
    place: Place, scheduler: DirectScheduler, payload: str, **resources: object
) -> tuple[list[str], set[int]]:
    """Start two copies in one slot. Return their ids, and the processes of the first copy once one of them sleeps."""
    wrapper = f'[ "$1" = 0 ] || {{ : >next; exit; }}\n{payload}'
    ids = place.start(scheduler, wrapper, make_batch(2, **resources))
    pid = get_leader(place)
    wait_until(lambda: any(_is_sleeping(each) for each in [*list_descendants(pid), *find_processes(_mark())]))
    return ids, list_descendants(pid) | set(find_processes(_mark()))


def _is_sleeping(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\0%b\0" % LONG.encode()
    except OSError:
        return False


def _mark() -> bytes:
    return b"IC_COPY=%b/0/\0" % SUBMISSION_ID.encode()


@pytest.mark.parametrize("payload", SHAPES.values(), ids=SHAPES)
def test_a_killed_copy_ends_with_its_processes(place: Place, payload: str) -> None:
    """All processes of a killed copy end before the next copy starts in its slot, in any group or session."""
    scheduler = DirectScheduler(slots=1, grace_s=0)
    ids, family = start_two(place, scheduler, payload)
    assert scheduler.parse_kill(ids[:1], place.run(scheduler.kill_script(), ids[:1]))[ids[0]].ok
    wait_until((place.here / "next").exists)
    assert [pid for pid in family if is_running(pid)] == []
    assert find_processes(_mark()) == []
    assert place.words(scheduler, ids[:1]) == [None]


def test_a_copy_beyond_its_wall_time_ends_with_its_processes(place: Place) -> None:
    """A copy beyond its wall time is reported as timeout only after all of its processes have ended."""
    scheduler = DirectScheduler(slots=1, grace_s=0)
    ids, family = start_two(place, scheduler, OUT_OF_SIGHT, wall_time_s=1)
    wait_until(lambda: place.words(scheduler, ids[:1]) == ["timeout"])
    assert [pid for pid in family if is_running(pid)] == []
    wait_until((place.here / "next").exists)


def test_a_process_that_tidies_up_has_the_grace(place: Place) -> None:
    """A killed copy is RUNNING while one of its processes tidies up within the grace, and its slot is not reused."""
    scheduler = DirectScheduler(slots=1, grace_s=60)
    tidy = (
        "trap 'echo TERM >>told; until [ -e go ]; do sleep 0.02; done; : >tidied; exit' TERM; "
        ": >up; while :; do sleep 0.02; done"
    )
    ids = place.start(
        scheduler,
        f'[ "$1" = 0 ] || exec touch next\ntimeout 300 sh -c "{tidy}" & until [ -e up ]; do :; done; sleep 99',
        make_batch(2),
    )
    wait_until((place.here / "up").exists)
    place.run(scheduler.kill_script(), ids[:1])
    wait_until((place.here / "told").exists)
    wait_until(lambda: place.words(scheduler, ids) == ["ending", "queued"])
    told = scheduler.parse_status(ids, place.run(scheduler.status_script(), ids))
    assert told[ids[0]].state is JobState.RUNNING
    assert not (place.here / "next").exists()
    (place.here / "go").touch()
    wait_until((place.here / "next").exists)
    assert (place.here / "tidied").exists()


def test_other_processes_are_not_killed(place: Place) -> None:
    """A kill of one copy leaves other copies running, also those whose index begins with the same digit."""
    scheduler = DirectScheduler(slots=12, grace_s=0)
    ids = place.start(scheduler, f"exec sleep {LONG}", make_batch(12))
    leaders = [get_leader(place, index) for index in range(12)]
    wait_until(lambda: place.words(scheduler, ids) == ["running"] * 12)
    place.run(scheduler.kill_script(), [ids[1]])
    wait_until(lambda: place.words(scheduler, ids)[1] is None)
    assert [is_running(pid) for pid in leaders] == [index != 1 for index in range(12)]
    for pid in leaders[:1] + leaders[2:]:
        os.kill(pid, signal.SIGKILL)


def test_a_submission_of_a_copy_is_not_killed_with_it(place: Place) -> None:
    """A job that a copy submitted runs on after that copy is killed."""
    inner = DirectScheduler(slots=1)
    other = Place.__new__(Place)
    other.root = other.here = place.here / "inner"
    other.here.mkdir()
    (other.here / "wrapper").write_text(f": >up; exec sleep {LONG}")
    (other.here / "submit").write_text(
        write_program(
            "submit", API, inner.submit_script(make_batch(1).model_copy(update={"submission_id": make_submission_id()}))
        )
    )
    scheduler = DirectScheduler(slots=1, grace_s=0)
    ids = place.start(scheduler, f"(cd inner && sh ./submit); sleep {LONG}", make_batch(1))
    wait_until((other.here / "up").exists)
    place.run(scheduler.kill_script(), ids)
    wait_until(lambda: place.words(scheduler, ids) == [None])
    pid = int((other.here / "direct" / "0").read_text().split()[0])
    try:
        assert is_running(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def run_behind(place: Place, script: str, ids: list[str], *prefix: str) -> CommandResult:
    """Run a fragment behind a command that changes its namespaces."""
    (place.root / "ids").write_text("".join(f"{each}\n" for each in ids))
    environment = {**os.environ, "IC_IDS": str(place.root / "ids")}
    result = subprocess.run(
        [*prefix, "sh", "-c", write_program("status", API, script)],
        cwd=place.root,
        env=environment,
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    return CommandResult(returncode=result.returncode, stdout=result.stdout, stderr=result.stderr)


CONTAINER = ("unshare", "--pid", "--fork", "--mount-proc")
NO_PROC = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")
OTHER_PROC = ("unshare", "--pid", "--fork")


@pytest.mark.needs("mount", "unshare")
@pytest.mark.parametrize(
    ("prefix", "word"),
    [(CONTAINER, "another pid namespace of host"), (NO_PROC, "no /proc here"), (OTHER_PROC, "no /proc here")],
    ids=["container", "no proc", "a proc of another namespace"],
)
def test_a_copy_in_an_unseen_namespace_is_neither_lost_nor_killed(
    place: Place, prefix: tuple[str, ...], word: str
) -> None:
    """A copy whose processes cannot be seen is UNKNOWN and is not killed, as in containers that share a home.

    See hermes-agent #104125 and gbrain #2840. A copy that has not begun can be killed, since that needs only a file.
    """
    scheduler = DirectScheduler(slots=1, grace_s=0)
    ids = place.start(scheduler, f"exec sleep {LONG}", make_batch(2))
    wait_until(lambda: place.words(scheduler, ids) == ["running", "queued"])
    pid = get_leader(place)
    told = scheduler.parse_status(ids, run_behind(place, scheduler.status_script(), ids, *prefix))
    assert [(told[each].state, word in (told[each].evidence or "")) for each in ids] == [(JobState.UNKNOWN, True)] * 2
    killed = scheduler.parse_kill(ids, run_behind(place, scheduler.kill_script(), ids, *prefix))
    assert [(killed[each].ok, word in (killed[each].detail or "")) for each in ids] == [(False, True), (True, False)]
    assert is_running(pid)
    assert place.words(scheduler, ids) == ["running", "cancelled"]
    told = scheduler.parse_status(ids, run_behind(place, scheduler.status_script(), ids, *prefix))
    assert [told[each].state for each in ids] == [JobState.UNKNOWN, JobState.KILLED]
    killed = scheduler.parse_kill(ids, run_behind(place, scheduler.kill_script(), ids, *prefix))
    assert [killed[each].ok for each in ids] == [False, True]
    assert all(each.ok for each in scheduler.parse_kill(ids, place.run(scheduler.kill_script(), ids)).values())
    wait_until(lambda: place.words(scheduler, ids) == [None, "cancelled"])


@pytest.mark.needs("unshare")
def test_a_copy_in_a_container_is_reported_and_killed_inside(place: Place) -> None:
    """A copy in a container is reported and killed by fragments inside it, and reported as apart from outside."""
    scheduler = DirectScheduler(slots=1, grace_s=0)
    (place.here / "wrapper").write_text(f"exec sleep {LONG}")
    (place.here / "submit").write_text(scheduler.submit_script(make_batch(1)))
    (place.root / "ids").write_text(f"{SUBMISSION_ID}.0\n")
    (place.root / "look").write_text(scheduler.status_script())
    (place.root / "kill").write_text(scheduler.kill_script())
    inside = (
        f"(cd {SUBMISSION_ID} && sh ./submit >/dev/null); export IC_IDS=$PWD/ids; "
        "until [ -e go ]; do sh ./look >told.new; mv told.new told; sleep 0.05; done; "
        "sh ./kill; until sh ./look >told.new; [ ! -s told.new ]; do sleep 0.02; done"
    )
    container = subprocess.Popen([*CONTAINER, "sh", "-c", inside], cwd=place.root, stdout=subprocess.PIPE)
    told = place.root / "told"
    wait_until(lambda: told.exists() and told.read_text() == f"{SUBMISSION_ID}.0 running\n")
    assert place.words(scheduler, [f"{SUBMISSION_ID}.0"]) == [f"apart on {os.uname().nodename}"]
    (place.root / "go").touch()
    said, _ = container.communicate(timeout=SECONDS)
    assert said == f"{SUBMISSION_ID}.0 ok\n".encode()


@pytest.mark.needs("mount", "unshare")
@pytest.mark.parametrize("prefix", [NO_PROC, OTHER_PROC], ids=["no proc", "a proc of another namespace"])
def test_a_submission_without_proc_is_refused(place: Place, prefix: tuple[str, ...]) -> None:
    """A submission is refused if /proc is missing, since waiting copies would be lost."""
    scheduler = DirectScheduler(slots=1)
    (place.here / "wrapper").write_text(": >ran")
    script = f"cd {SUBMISSION_ID}\n{scheduler.submit_script(make_batch())}"
    with pytest.raises(SchedulerError, match="there is no /proc") as caught:
        scheduler.parse_submit(make_batch(), run_behind(place, script, [], *prefix))
    assert caught.value.refused
    assert not (place.here / "direct").exists()


def test_a_killed_script_runs_no_further_command(place: Place) -> None:
    """A killed script runs no further command when its child ends first, since all processes are stopped before."""
    scheduler = DirectScheduler(slots=1, grace_s=60)
    ids, _ = start_two(place, scheduler, "for each in 1 2 3 4 5 6 7 8; do timeout 300 sleep 297; : >went_on; done")
    place.run(scheduler.kill_script(), ids[:1])
    wait_until((place.here / "next").exists)
    assert not (place.here / "went_on").exists()


def test_a_killed_process_gets_only_sigterm(place: Place) -> None:
    """The processes of a killed copy get SIGTERM alone.

    Linux sends SIGHUP to a stopped group whose last parent ends, so children are continued first.
    """
    scheduler = DirectScheduler(slots=1, grace_s=60)
    nested.write(place.here)
    ids = place.start(scheduler, " ".join(nested.COMMAND) + "; exit 1", make_batch(1))
    wait_until(lambda: nested.are_up(place.here))
    place.run(scheduler.kill_script(), ids)
    wait_until((place.here / "direct" / "ended").exists)
    assert nested.read_signals(place.here) == {"TERM"}
