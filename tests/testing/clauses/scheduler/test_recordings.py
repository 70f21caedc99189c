"""Recordings of schedulers are found, read, replayed and recorded."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from intercede.batch.remote.api import write_api
from intercede.contract.job import JobState, JobStatus
from intercede.contract.scheduler import Batch, Queued, Scheduler
from intercede.contract.transport import CommandResult
from intercede.schedulers.direct import DirectScheduler
from intercede.testing import gallery, run_checks
from intercede.testing.clauses.scheduler import kill_by_name, recorded_answers, reused_numbers, unknown_states
from intercede.testing.clauses.support import record, sandbox
from intercede.testing.clauses.support.recordings import EXAMPLE, list_places, load_recordings, read_recordings
from intercede.testing.gallery.schedulers.right import PlainQueue
from intercede.testing.model.verdict import State
from intercede.testing.run.context import CheckFailed

GOOD: dict[str, object] = {
    "verb": "status", "ids": ["17.0"], "returncode": 0, "stdout": "17.0 R\n", "stderr": "",
    "expected": {"17.0": {"state": "RUNNING", "native": "R"}},
}  # fmt: skip

API = write_api(PlainQueue())
Make = Callable[..., object]


def write_recordings(path: Path, data: object) -> Path:
    """Write a file of recordings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


@pytest.fixture
def make_scheduler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a function that makes an object of a class in a new module, with a base class if given."""

    def make(module: str, base: type = object) -> object:
        path = tmp_path / f"{module}.py"
        path.write_text("class Mine(Base):\n    pass\n")
        spec = spec_from_file_location(module, path)
        assert spec is not None
        assert spec.loader is not None
        loaded = module_from_spec(spec)
        vars(loaded)["Base"] = base
        monkeypatch.setitem(sys.modules, module, loaded)  # the class knows its file by this
        spec.loader.exec_module(loaded)
        return vars(loaded)["Mine"]()

    return make


def test_the_example_is_a_valid_recording(tmp_path: Path) -> None:
    """The example that the kit shows to authors is a valid recording."""
    assert [each.verb for each in read_recordings(write_recordings(tmp_path / "a.json", json.loads(EXAMPLE)))] == [
        "submit", "status", "status", "kill", "list"
    ]  # fmt: skip


def test_a_file_holds_a_recording_or_a_list(tmp_path: Path) -> None:
    """A file with one recording and a file with a list are read alike."""
    one = list(read_recordings(write_recordings(tmp_path / "one.json", GOOD)))
    assert one * 2 == list(read_recordings(write_recordings(tmp_path / "two.json", [GOOD, GOOD])))
    assert one[0].result.stdout == b"17.0 R\n"


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ({"verb": "start"}, "verb"),
        ({"returncode": "0"}, "returncode"),
        ({"returncode": 256}, "returncode"),
        ({"stdout": None}, "stdout"),
        ({"ids": ["17 0"]}, "ids.0"),
        ({"expect": {}}, "expect"),
        ({"expected": {"17.0": {"state": "RUNS"}}}, "state"),
        ({"expected": {"raises": "ValueError"}}, "raises"),
        ({"verb": "list", "expected": {"0": "17"}}, "submission_id"),
    ],
    ids=str,
)
def test_an_invalid_recording_is_located(tmp_path: Path, change: dict[str, object], seen: str) -> None:
    """The error about an invalid recording names the file, its number and the field."""
    path = write_recordings(tmp_path / "a.json", [GOOD, {**GOOD, **change}])
    with pytest.raises(CheckFailed, match="recording 1 of") as caught:
        list(read_recordings(path))
    assert "a.json" in caught.value.expected
    assert seen in caught.value.observed


def test_a_file_that_is_not_json_is_an_error(tmp_path: Path) -> None:
    """A file of recordings that is not JSON is an error that says so."""
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(CheckFailed, match="not valid JSON"):
        list(read_recordings(tmp_path / "a.json"))


def test_recordings_are_read_from_the_first_place_that_has_some(tmp_path: Path, make_scheduler: Make) -> None:
    """Recordings lie beside the module of the class, and its own directory comes first. Places are not mixed."""
    subject = make_scheduler("lonely")
    assert list_places(subject)[:2] == [tmp_path / "recordings/lonely", tmp_path / "recordings"]
    assert load_recordings(subject) == ()
    write_recordings(tmp_path / "recordings/all.json", [GOOD, GOOD])
    assert len(load_recordings(subject)) == 2
    write_recordings(tmp_path / "recordings/lonely/own.json", GOOD)
    assert len(load_recordings(subject)) == 1


def test_a_class_inherits_the_recordings_of_its_base(tmp_path: Path, make_scheduler: Make) -> None:
    """A class without recordings of its own uses those of its base class."""
    subject = make_scheduler("wrapping", DirectScheduler)
    assert load_recordings(subject) == load_recordings(DirectScheduler())
    write_recordings(tmp_path / "recordings/own.json", GOOD)
    assert len(load_recordings(subject)) == 1


def test_only_recorded_fields_of_a_status_are_compared(tmp_path: Path, make_scheduler: Make) -> None:
    """A field of a status that the recording leaves out may have any value."""
    subject = make_scheduler("wrapping", DirectScheduler)
    line = {**GOOD, "stdout": "17.0 running\n"}
    write_recordings(tmp_path / "recordings/own.json", {**line, "expected": {"17.0": {"state": "RUNNING"}}})
    recorded_answers.probe_recorded_answers(lambda: subject, tmp_path)
    write_recordings(
        tmp_path / "recordings/own.json", {**line, "expected": {"17.0": {"state": "RUNNING", "native": "R"}}}
    )
    with pytest.raises(CheckFailed, match="native='R'"):
        recorded_answers.probe_recorded_answers(lambda: subject, tmp_path)


def test_only_whole_words_are_replaced() -> None:
    """Each word of a job that has not ended is tried once, and no part of a longer word."""
    tried = [(job, word) for _, job, word in unknown_states.list_live_words(DirectScheduler())]
    assert sorted(word for _, word in tried) == ["queued", "running", "suspended"]


def test_a_difference_from_a_recording_is_shown() -> None:
    """The finding of a replay holds the recorded and the observed state."""
    report = run_checks(gallery.load_wrong()["ForgetsHeld"], ["IC-SCHEDULER-07"], role="scheduler")
    result = report.results["IC-SCHEDULER-07"]
    assert result.state is State.FAILED
    assert "HELD" in result.expected
    assert "QUEUED" in result.observed


def test_the_recorder_writes_valid_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder runs real jobs, and the recordings that it writes can be read and replayed."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(record, "_PAYLOAD_SECONDS", 1)
    direct: Scheduler = DirectScheduler(slots=2)
    path = write_recordings(tmp_path / "recorded.json", list(record.record(direct)))
    found = list(read_recordings(path))
    assert {each.verb for each in found} == {"submit", "status", "kill", "list"}


class TestSandbox:
    """The sandbox runs fragments with stubs for the commands, and records their calls."""

    def test_commands_are_stubs_that_record_their_arguments(self, tmp_path: Path) -> None:
        """A command of a fragment, also by its absolute path, is a stub that records its arguments byte for byte."""
        text = "sbatch -p 'two words' ''\n/usr/bin/touch made\nshutdown -h \"$(cat \"$IC_IDS\")\""
        run = sandbox.Sandbox(tmp_path, [text], API).run("status", text, ["17;x"])
        assert run == [["sbatch", "-p", "two words", ""], ["shutdown", "-h", "17;x"]]
        assert (tmp_path / "root/made").exists()

    def test_a_syntax_error_is_reported(self, tmp_path: Path) -> None:
        """A fragment with a syntax error is reported in the shell's words."""
        place = sandbox.Sandbox(tmp_path, [], API)
        assert place.read("plainq list") == ""
        assert place.read("for") != ""

    def test_an_injection_is_found(self, tmp_path: Path) -> None:
        """A fragment that evaluates, writes or expands a hostile text is found."""
        place = sandbox.Sandbox(tmp_path, ["plainq"], API)
        for text in (f"eval '{sandbox.CANARY}'", f"true >{sandbox.CANARY}", "plainq [x]globbed"):
            assert place.find_injection(place.run("submit", text))
        assert not place.find_injection(place.run("submit", "plainq '[x]globbed'"))

    def test_a_fragment_that_does_not_end_is_killed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A fragment that does not end is killed, and its calls so far are recorded."""
        monkeypatch.setattr(sandbox, "_SECONDS", 1.0)
        place = sandbox.Sandbox(tmp_path, ["plainq"], API)
        assert place.run("status", "plainq once\nwhile :; do :; done") == [["plainq", "once"]]


class Counted(DirectScheduler):
    """A scheduler that knows a job by the word that its recordings give."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Return the words of the answer as native ids."""
        return Queued(ids=dict(enumerate(result.stdout.decode().split())))

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        """Return RUNNING for each listed job."""
        return {job: JobStatus(state=JobState.RUNNING) for job in ids if job in result.stdout.decode().split()}


@pytest.mark.parametrize(
    ("ids", "right"),
    [
        (("6d2f03ab-31c4-4d1c-8f9a-0a8f7be10c55", "0b6a7c11-90d2-4a0e-9c39-5f1de4f5a2b7"), True),
        (("17@1764446400", "17@1764450000"), True),
        (("17@a0123456789ab", "17@b0123456789ab"), True),
        (("17.headnode1", "18.headnode1"), False),
        (("17", "18"), False),
        (("12345678", "12345679"), False),
    ],
    ids=str,
)
def test_a_unique_native_id_needs_no_submission_id(
    tmp_path: Path, make_scheduler: Make, ids: tuple[str, str], right: bool
) -> None:
    """A native id with a UUID, a time or a submission id is unique.

    A number is not, and neither is a number with a server's name.
    """
    subject = make_scheduler("counting", Counted)
    submitted: list[dict[str, object]] = [
        {
            "verb": "submit", "batch": {"submission_id": f"{letter}0123456789ab", "copies": 1, "resources": {}},
            "returncode": 0, "stdout": f"{job}\n", "stderr": "", "expected": {"ids": {"0": job}},
        }
        for letter, job in zip("ab", ids, strict=True)
    ]  # fmt: skip
    listed = {**GOOD, "ids": ids, "stdout": "\n".join(ids), "expected": {job: {"state": "RUNNING"} for job in ids}}
    write_recordings(tmp_path / "recordings/own.json", [*submitted, listed])
    if right:
        reused_numbers.probe_reused_numbers(lambda: subject, tmp_path)
    else:
        with pytest.raises(CheckFailed, match="when the queue counts from the start again"):
            reused_numbers.probe_reused_numbers(lambda: subject, tmp_path)


def test_a_listing_of_numbers_alone_is_reported(tmp_path: Path, make_scheduler: Make) -> None:
    """A listing that shows only the number of a job is a finding that names the job."""

    class Bare(Counted):
        def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
            listed = result.stdout.decode().split()
            return {job: JobStatus(state=JobState.RUNNING) for job in ids if job.partition("@")[0] in listed}

    job = "17@a0123456789ab"
    subject = make_scheduler("bare", Bare)
    write_recordings(
        tmp_path / "recordings/own.json",
        {**GOOD, "ids": [job], "stdout": "17", "expected": {job: {"state": "RUNNING"}}},
    )
    with pytest.raises(CheckFailed, match=f"a listing that shows more of job {job} than its number"):
        reused_numbers.probe_reused_numbers(lambda: subject, tmp_path)


class KillsByName(PlainQueue):
    """A scheduler that passes the name to the kill command of the queue."""

    def kill_script(self) -> str:
        """Kill by number and name."""
        return 'while IFS=@ read -r number name; do plainq kill --name="$name" "$number" </dev/null; done <"$IC_IDS"'


class ComparesByAnotherCommand(PlainQueue):
    """A scheduler that compares the name by a command that no recording holds."""

    def kill_script(self) -> str:
        """Kill if that command shows the name."""
        look = '[ "$(plainq show "$number")" = "Job-Name = $name" ] && plainq kill "$number"'
        return f'while IFS=@ read -r number name; do {look}; done <"$IC_IDS"'


class FiltersTheList(PlainQueue):
    """A scheduler that lists all jobs, and filters them by name."""

    def list_script(self, submission_id: str) -> str:
        """List all jobs and filter them."""
        return f"plainq list --numbered | grep ' {submission_id}$' || :"


@pytest.mark.parametrize("right", [KillsByName, FiltersTheList])
def test_comparing_the_name_in_the_queue_or_later_is_right(right: type, tmp_path: Path) -> None:
    """A scheduler is right if the queue or its own fragment compares the name of a job."""
    kill_by_name.probe_kill_by_name(right, tmp_path)


def test_a_query_that_no_recording_holds_is_named(tmp_path: Path) -> None:
    """A query that no recording holds looks like a kill, so that the finding names its command."""
    with pytest.raises(
        CheckFailed, match=r"it runs 'plainq show 17\.0', though its queue lists this number under another name"
    ):
        kill_by_name.probe_kill_by_name(ComparesByAnotherCommand, tmp_path)
