"""Everything that a copy started ends with it, as far as Linux tells; what is somebody else's does not."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import nested
from tests.schedulers.test_direct import API, SECONDS, SUBMISSION_ID, Place, batch, processes, until

from intercede.batch.remote.api import write_program
from intercede.batch.remote.layout import new_submission_id
from intercede.contract.errors import SchedulerError
from intercede.contract.job import JobState
from intercede.contract.transport import CommandResult
from intercede.schedulers.direct import DirectScheduler

LONG = "297"
IN_ITS_OWN_GROUP = f"timeout 300 sleep {LONG}"  # hermes-agent #94187: coreutils' timeout leads a process group
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
    """A root; afterwards nothing may run in it."""
    yield Place(tmp_path)
    until(lambda: not processes(tmp_path))


def of(word: bytes) -> list[int]:
    """Return the processes that have this in their environment."""
    found: list[int] = []
    for at in Path("/proc").glob("[0-9]*/environ"):
        try:
            if word in at.read_bytes():
                found.append(int(at.parent.name))
        except OSError:
            continue  # it has ended, or is another user's
    return found


def descendants(pid: int) -> set[int]:
    """Return what descends from a process now."""
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


def is_there(pid: int) -> bool:
    """Whether that process lives."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def leader(place: Place, index: int = 0) -> int:
    """Return the first process of a copy that runs."""
    decided = place.here / "direct" / str(index)
    until(lambda: decided.exists() and decided.read_text().endswith("\n"))
    return int(decided.read_text().split()[0])


def started(place: Place, scheduler: DirectScheduler, payload: str, **resources: object) -> tuple[list[str], set[int]]:
    """Start two copies in one slot; return their ids, and what the first has started by the time that it sleeps."""
    wrapper = f'[ "$1" = 0 ] || {{ : >next; exit; }}\n{payload}'
    ids = place.start(scheduler, wrapper, batch(2, **resources))
    pid = leader(place)
    until(lambda: any(_sleeps(each) for each in [*descendants(pid), *of(_mark())]))
    return ids, descendants(pid) | set(of(_mark()))


def _sleeps(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\0%b\0" % LONG.encode()
    except OSError:
        return False


def _mark() -> bytes:
    return b"IC_COPY=%b/0/\0" % SUBMISSION_ID.encode()


@pytest.mark.parametrize("payload", SHAPES.values(), ids=SHAPES)
def test_what_a_killed_copy_started_ends_before_its_slot_is_given_away(place: Place, payload: str) -> None:
    """Its group, its session, and what left them; until then it is told as ending, and the next one waits."""
    scheduler = DirectScheduler(slots=1, grace_s=0)
    ids, family = started(place, scheduler, payload)
    assert scheduler.parse_kill(ids[:1], place.run(scheduler.kill_script(), ids[:1]))[ids[0]].ok
    until((place.here / "next").exists)
    assert [pid for pid in family if is_there(pid)] == []
    assert of(_mark()) == []
    assert place.words(scheduler, ids[:1]) == [None]


def test_what_has_had_its_time_ends_with_all_that_it_started(place: Place) -> None:
    """The same for the wall time: then it is told as timeout, and no sooner."""
    scheduler = DirectScheduler(slots=1, grace_s=0)
    ids, family = started(place, scheduler, OUT_OF_SIGHT, wall_time_s=1)
    until(lambda: place.words(scheduler, ids[:1]) == ["timeout"])
    assert [pid for pid in family if is_there(pid)] == []
    until((place.here / "next").exists)


def test_what_is_left_has_the_grace_and_is_told_as_ending(place: Place) -> None:
    """The first process has ended, another one tidies up: RUNNING, nobody else in its slot, one TERM for each."""
    scheduler = DirectScheduler(slots=1, grace_s=60)
    tidy = "trap 'echo TERM >>told; until [ -e go ]; do sleep 0.02; done; : >tidied; exit' TERM; : >up; while :; do sleep 0.02; done"
    ids = place.start(
        scheduler,
        f'[ "$1" = 0 ] || exec touch next\ntimeout 300 sh -c "{tidy}" & until [ -e up ]; do :; done; sleep 99',
        batch(2),
    )
    until((place.here / "up").exists)
    place.run(scheduler.kill_script(), ids[:1])
    until((place.here / "told").exists)
    until(lambda: place.words(scheduler, ids) == ["ending", "queued"])
    told = scheduler.parse_status(ids, place.run(scheduler.status_script(), ids))
    assert told[ids[0]].state is JobState.RUNNING
    assert not (place.here / "next").exists()
    (place.here / "go").touch()
    until((place.here / "next").exists)
    assert (place.here / "tidied").exists()


def test_others_live_on(place: Place) -> None:
    """A copy beside it, one whose index begins alike, and what runs here without our mark."""
    scheduler = DirectScheduler(slots=12, grace_s=0)
    ids = place.start(scheduler, f"exec sleep {LONG}", batch(12))
    leaders = [leader(place, index) for index in range(12)]
    until(lambda: place.words(scheduler, ids) == ["running"] * 12)
    place.run(scheduler.kill_script(), [ids[1]])
    until(lambda: place.words(scheduler, ids)[1] is None)
    assert [is_there(pid) for pid in leaders] == [index != 1 for index in range(12)]
    for pid in leaders[:1] + leaders[2:]:
        os.kill(pid, signal.SIGKILL)


def test_what_a_copy_submits_is_no_part_of_it(place: Place) -> None:
    """A submission from inside of a copy goes on when that copy is ended, as with any scheduler."""
    inner = DirectScheduler(slots=1)
    other = Place.__new__(Place)
    other.root = other.here = place.here / "inner"
    other.here.mkdir()
    (other.here / "wrapper").write_text(f": >up; exec sleep {LONG}")
    (other.here / "submit").write_text(
        write_program(
            "submit", API, inner.submit_script(batch(1).model_copy(update={"submission_id": new_submission_id()}))
        )
    )
    scheduler = DirectScheduler(slots=1, grace_s=0)
    ids = place.start(scheduler, f"(cd inner && sh ./submit); sleep {LONG}", batch(1))
    until((other.here / "up").exists)
    place.run(scheduler.kill_script(), ids)
    until(lambda: place.words(scheduler, ids) == [None])
    pid = int((other.here / "direct" / "0").read_text().split()[0])
    try:
        assert is_there(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def elsewhere(place: Place, script: str, ids: list[str], *prefix: str) -> CommandResult:
    """Run a fragment behind a command that takes it somewhere else."""
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
def test_from_where_its_processes_cannot_be_seen_a_copy_is_neither_lost_nor_killed(
    place: Place, prefix: tuple[str, ...], word: str
) -> None:
    """hermes-agent #104125, gbrain #2840: containers that share a home, with one host name and boot id.

    What has not begun has no process. The note that keeps it from that is a file, which can be written from anywhere.
    """
    scheduler = DirectScheduler(slots=1, grace_s=0)
    ids = place.start(scheduler, f"exec sleep {LONG}", batch(2))
    until(lambda: place.words(scheduler, ids) == ["running", "queued"])
    pid = leader(place)
    told = scheduler.parse_status(ids, elsewhere(place, scheduler.status_script(), ids, *prefix))
    assert [(told[each].state, word in (told[each].evidence or "")) for each in ids] == [(JobState.UNKNOWN, True)] * 2
    killed = scheduler.parse_kill(ids, elsewhere(place, scheduler.kill_script(), ids, *prefix))
    assert [(killed[each].ok, word in (killed[each].detail or "")) for each in ids] == [(False, True), (True, False)]
    assert is_there(pid)
    assert place.words(scheduler, ids) == ["running", "cancelled"]
    told = scheduler.parse_status(ids, elsewhere(place, scheduler.status_script(), ids, *prefix))
    assert [told[each].state for each in ids] == [JobState.UNKNOWN, JobState.KILLED]
    killed = scheduler.parse_kill(ids, elsewhere(place, scheduler.kill_script(), ids, *prefix))
    assert [killed[each].ok for each in ids] == [False, True]
    assert all(each.ok for each in scheduler.parse_kill(ids, place.run(scheduler.kill_script(), ids)).values())
    until(lambda: place.words(scheduler, ids) == [None, "cancelled"])


@pytest.mark.needs("unshare")
def test_a_copy_of_a_container_is_elsewhere_from_outside(place: Place) -> None:
    """The other way round; in the same container everything can be told and ended."""
    scheduler = DirectScheduler(slots=1, grace_s=0)
    (place.here / "wrapper").write_text(f"exec sleep {LONG}")
    (place.here / "submit").write_text(scheduler.submit_script(batch(1)))
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
    until(lambda: told.exists() and told.read_text() == f"{SUBMISSION_ID}.0 running\n")
    assert place.words(scheduler, [f"{SUBMISSION_ID}.0"]) == [f"apart on {os.uname().nodename}"]
    (place.root / "go").touch()
    said, _ = container.communicate(timeout=SECONDS)
    assert said == f"{SUBMISSION_ID}.0 ok\n".encode()


@pytest.mark.needs("mount", "unshare")
@pytest.mark.parametrize("prefix", [NO_PROC, OTHER_PROC], ids=["no proc", "a proc of another namespace"])
def test_nothing_is_submitted_where_there_is_no_proc(place: Place, prefix: tuple[str, ...]) -> None:
    """Waiting copies would be told lost, or another process ended: it is refused, for certain and in words."""
    scheduler = DirectScheduler(slots=1)
    (place.here / "wrapper").write_text(": >ran")
    script = f"cd {SUBMISSION_ID}\n{scheduler.submit_script(batch())}"
    with pytest.raises(SchedulerError, match="there is no /proc") as caught:
        scheduler.parse_submit(batch(), elsewhere(place, script, [], *prefix))
    assert caught.value.refused
    assert not (place.here / "direct").exists()


def test_no_script_goes_on_because_what_it_waited_for_ended_first(place: Place) -> None:
    """All of it stands still until each was asked to end."""
    scheduler = DirectScheduler(slots=1, grace_s=60)
    ids, _ = started(place, scheduler, "for each in 1 2 3 4 5 6 7 8; do timeout 300 sleep 297; : >went_on; done")
    place.run(scheduler.kill_script(), ids[:1])
    until((place.here / "next").exists)
    assert not (place.here / "went_on").exists()


def test_what_is_asked_to_end_gets_no_signal_but_that(place: Place) -> None:
    """Linux sends HUP to a group that stands still when its last parent in the session ends: children go on first."""
    scheduler = DirectScheduler(slots=1, grace_s=60)
    nested.write(place.here)
    ids = place.start(scheduler, " ".join(nested.COMMAND) + "; exit 1", batch(1))
    until(lambda: nested.are_up(place.here))
    place.run(scheduler.kill_script(), ids)
    until((place.here / "direct" / "ended").exists)
    assert nested.read_signals(place.here) == {"TERM"}
