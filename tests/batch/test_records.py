"""A record and the scheduler's answer decide the status of a copy."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.batch.records import Exit, Record, decide_status, read_record
from intercede.batch.remote.api import load_script
from intercede.batch.remote.layout import Job
from intercede.contract.errors import TransportError
from intercede.contract.job import JobState, JobStatus

JOB = Job("a" * 13, 7)
ENDED = {
    kind: Record(JOB, exit=ended)
    for kind, ended in {
        "none": None,
        "code 0": Exit("code", 0),
        "code 3": Exit("code", 3),
        "signal 9": Exit("signal", 9),
        "caught 0": Exit("caught", 0),
        "caught 3": Exit("caught", 3),
    }.items()
}
SAID = {
    "nothing": None,
    "queued": JobStatus(state=JobState.QUEUED),
    "held": JobStatus(state=JobState.HELD),
    "running": JobStatus(state=JobState.RUNNING, native="R"),
    "timeout": JobStatus(state=JobState.FAILED, reason="timeout"),
    "memory": JobStatus(state=JobState.FAILED, reason="out_of_memory"),
    "preempted": JobStatus(state=JobState.FAILED, reason="preempted"),
    "node": JobStatus(state=JobState.FAILED, reason="node_failure"),
    "cancelled": JobStatus(state=JobState.KILLED, reason="killed_by_site"),
    "cancelled by whomever": JobStatus(state=JobState.KILLED, native="CANCELLED"),
    "failed": JobStatus(state=JobState.FAILED, reason="exit_code"),
    "unknown": JobStatus(state=JobState.UNKNOWN, native="?!"),
    "done": JobStatus(state=JobState.DONE),
}
OTHERWISE = ("nothing", "failed", "done")
EITHER = (True, False)

ROWS: list[tuple[str, tuple[str, ...], tuple[bool, ...], tuple[str, str | None]]] = [
    ("code 0", tuple(SAID), EITHER, ("DONE", None)),
    ("code 3", tuple(SAID), EITHER, ("FAILED", "exit_code")),
    ("signal 9", ("queued",), EITHER, ("QUEUED", None)),
    ("signal 9", ("held",), EITHER, ("HELD", None)),
    ("signal 9", ("running",), EITHER, ("RUNNING", None)),
    ("signal 9", ("unknown",), EITHER, ("UNKNOWN", None)),
    ("signal 9", ("timeout",), EITHER, ("FAILED", "timeout")),
    ("signal 9", ("memory",), EITHER, ("FAILED", "out_of_memory")),
    ("signal 9", ("preempted",), EITHER, ("FAILED", "preempted")),
    ("signal 9", ("node",), EITHER, ("FAILED", "node_failure")),
    ("signal 9", ("cancelled", *OTHERWISE), (True,), ("KILLED", "killed_by_user")),
    ("signal 9", ("cancelled",), (False,), ("KILLED", "killed_by_site")),
    ("signal 9", OTHERWISE, (False,), ("FAILED", "signal")),
    *(
        row
        for caught in ("caught 0", "caught 3")
        for row in (
            (caught, ("queued",), EITHER, ("QUEUED", None)),
            (caught, ("held",), EITHER, ("HELD", None)),
            (caught, ("running",), EITHER, ("RUNNING", None)),
            (caught, ("unknown",), EITHER, ("UNKNOWN", None)),
            (caught, ("timeout",), EITHER, ("FAILED", "timeout")),
            (caught, ("memory",), EITHER, ("FAILED", "out_of_memory")),
            (caught, ("preempted",), EITHER, ("FAILED", "preempted")),
            (caught, ("node",), EITHER, ("FAILED", "node_failure")),
            (caught, ("cancelled", *OTHERWISE), (True,), ("KILLED", "killed_by_user")),
            (caught, ("cancelled",), (False,), ("KILLED", "killed_by_site")),
        )
    ),
    ("caught 0", ("done",), (False,), ("DONE", None)),
    ("caught 0", ("failed",), (False,), ("FAILED", "exit_code")),
    ("caught 3", ("failed", "done"), (False,), ("FAILED", "exit_code")),
    ("caught 0", ("nothing",), (False,), ("UNKNOWN", "lost")),
    ("caught 3", ("nothing",), (False,), ("FAILED", "exit_code")),
    ("none", ("queued",), EITHER, ("QUEUED", None)),
    ("none", ("running",), EITHER, ("RUNNING", None)),
    ("none", ("timeout",), EITHER, ("FAILED", "timeout")),
    ("none", ("unknown",), EITHER, ("UNKNOWN", None)),
    ("none", ("cancelled",), EITHER, ("KILLED", "killed_by_site")),
    ("none", ("cancelled by whomever",), (True,), ("KILLED", "killed_by_user")),
    ("none", ("cancelled by whomever",), (False,), ("KILLED", "killed_by_site")),
    ("none", ("nothing",), (True,), ("KILLED", "killed_by_user")),
    ("none", ("nothing",), (False,), ("UNKNOWN", "lost")),
]


@pytest.mark.parametrize(("ended", "words", "killed", "expected"), ROWS)
def test_each_row_of_the_table(
    ended: str, words: tuple[str, ...], killed: tuple[bool, ...], expected: tuple[str, str | None]
) -> None:
    """The record, the scheduler's answer and a kill by the user decide state and reason, as the table says."""
    for word in words:
        for by_us in killed:
            record = Record(JOB, killed_by_us=by_us, native="1", exit=ENDED[ended].exit)
            status = decide_status(record, SAID[word])
            assert (status.state, status.reason) == expected, (word, by_us)
            assert status.evidence


def test_a_requeued_job_that_the_user_killed_is_killed_by_user() -> None:
    """A requeued job that is cancelled after the user's kill is killed by the user, despite an earlier signal."""
    record = Record(JOB, kill_requested=True, native="1", exit=Exit("signal", 9))

    assert decide_status(record, SAID["cancelled by whomever"]).reason == "killed_by_user"
    assert decide_status(record, None).reason == "signal"


def test_a_status_has_an_exit_code_or_a_signal() -> None:
    """A status has an exit code or a signal, and never both."""
    assert decide_status(ENDED["code 3"], None).exit_code == 3
    assert decide_status(ENDED["signal 9"], None).signal == 9
    assert decide_status(ENDED["signal 9"], SAID["timeout"]).signal == 9
    for word in ("timeout", "preempted", "cancelled", "nothing", "done"):
        for code in (0, 3):
            status = decide_status(ENDED[f"caught {code}"], SAID[word])
            assert (status.exit_code, status.signal) == (code, None)


@given(st.sampled_from(sorted(SAID)), st.sampled_from(sorted(ENDED)), st.booleans())
def test_absence_is_never_success(word: str, ended: str, killed: bool) -> None:
    """DONE needs the exit code 0, or the scheduler's answer DONE. After a caught signal it needs both."""
    status = decide_status(Record(JOB, killed_by_us=killed, exit=ENDED[ended].exit), SAID[word])
    by_itself = ended == "caught 0" and word == "done" and not killed
    assert (status.state is JobState.DONE) == (ended == "code 0" or (ended == "none" and word == "done") or by_itself)


def test_a_written_final_state_stays() -> None:
    """A final state that was written down is the status from then on, and a copy that is gone is purged."""
    final = JobStatus(state=JobState.FAILED, reason="node_failure")
    assert decide_status(Record(JOB, killed_by_us=True, final=final, exit=Exit("code", 0)), SAID["running"]) == final
    assert decide_status(Record(JOB, gone=True), None).reason == "purged"


LINES = {
    "code 0 1700000000 host 12 1": Record(JOB, native="x.1", exit=Exit("code", 0)),
    "signal 9 1700000000 host 12 1": Record(JOB, native="x.1", exit=Exit("signal", 9)),
    "caught 0 1700000000 host 12 1": Record(JOB, native="x.1", exit=Exit("caught", 0)),
    "none": Record(JOB, native="x.1"),
    "gone": Record(JOB, native="x.1", gone=True),
    'final {"state":"KILLED"}': Record(JOB, native="x.1", final=JobStatus(state=JobState.KILLED)),
    "final {broken": Record(JOB, native="x.1"),
    "signal 4711 1 h 1 1": Record(JOB, native="x.1"),
}


@pytest.mark.parametrize("line", LINES)
def test_records_are_parsed(line: str) -> None:
    """Each kind of record is parsed, and one that cannot be valid is none."""
    assert read_record(f"{'a' * 13} 7 - x.1 {line}") == LINES[line]


@given(st.text(max_size=60))
def test_other_text_is_no_record(text: str) -> None:
    """Other text in the place of a record is a TransportError."""
    with pytest.raises(TransportError, match="invalid record"):
        read_record(text)


@pytest.mark.parametrize(
    "line",
    [
        "code garbage",
        "code -5",
        "code 256",
        "code",
        "caught 256",
        "caught",
        "signal 0",
        "signal 65",
        'final {"state":"RUNNING"}',
        "final x",
    ],
)
def test_an_invalid_record_is_none(line: str) -> None:
    """A record that the wrapper cannot have written says nothing, since a payload can overwrite it."""
    record = read_record(f"abcdefghijklm 0 - ? {line}")

    assert (record.exit, record.final, record.gone) == (None, None, False)


@pytest.mark.parametrize("lacks", ["copies/0", "copies/0/work"])
def test_a_copy_without_its_directory_does_not_run(tmp_path: Path, lacks: str) -> None:
    """The wrapper ends with 126 and without a record if the directory of its copy is missing."""
    (tmp_path / "copies").mkdir()
    (tmp_path / "payload").write_text("echo run")
    if "work" in lacks:
        (tmp_path / "copies" / "0").mkdir()
    (tmp_path / lacks).touch()
    (tmp_path / "wrapper").write_text(load_script("wrapper"))

    ended = subprocess.run(["sh", "./wrapper", "0"], cwd=tmp_path, capture_output=True, check=False)

    assert (ended.returncode, ended.stdout) == (126, b"")
    assert not list(tmp_path.rglob("exit"))


@pytest.mark.parametrize(
    "said",
    [
        JobStatus(state=JobState.FAILED, reason="exit_code", exit_code=1),
        JobStatus(state=JobState.FAILED, reason="launch_failure"),
        JobStatus(state=JobState.FAILED, reason="signal", signal=9),
    ],
    ids=str,
)
@pytest.mark.parametrize("code", [0, 3])
def test_a_record_of_an_earlier_attempt_is_not_the_end(said: JobStatus, code: int) -> None:
    """The scheduler's answer about a failed second attempt counts, and not the record of the first."""
    status = decide_status(ENDED[f"caught {code}"], said)
    assert (status.state, status.reason, status.exit_code) == (said.state, said.reason, said.exit_code)


@pytest.mark.parametrize("said", [0, None])
def test_success_after_a_signal_needs_record_and_scheduler(said: int | None) -> None:
    """A copy that caught a signal is DONE only if its record has code 0 and the scheduler reports DONE."""
    completed = JobStatus(state=JobState.DONE, exit_code=said)
    failed, done = (decide_status(ENDED[f"caught {code}"], completed) for code in (3, 0))
    assert (failed.state, failed.reason, failed.exit_code) == (JobState.FAILED, "exit_code", 3)
    assert (done.state, done.exit_code) == (JobState.DONE, 0)
