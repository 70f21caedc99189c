"""The recordings of schedulers: their places, their form, and how new ones are made."""

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
from intercede.testing.clauses.scheduler import record
from intercede.testing.clauses.scheduler.probes import looks, names, replay, sandbox, words
from intercede.testing.clauses.scheduler.recordings import EXAMPLE, list_places, load_recordings, read_recordings
from intercede.testing.gallery.schedulers.right import PlainQueue
from intercede.testing.model.verdict import State
from intercede.testing.run.context import CheckFailed

GOOD: dict[str, object] = {
    "verb": "status", "ids": ["17.0"], "returncode": 0, "stdout": "17.0 R\n", "stderr": "",
    "expected": {"17.0": {"state": "RUNNING", "native": "R"}},
}  # fmt: skip

API = write_api(PlainQueue())
Make = Callable[..., object]


def written(path: Path, data: object) -> Path:
    """Write a file of recordings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Return a function that makes an object of a class that lies in a module there; with a base, of a class of it."""

    def make(module: str, base: type = object) -> object:
        path = tmp_path / f"{module}.py"
        path.write_text("class Mine(Base):\n    pass\n")
        spec = spec_from_file_location(module, path)
        assert spec is not None
        assert spec.loader is not None
        loaded = module_from_spec(spec)
        vars(loaded)["Base"] = base
        monkeypatch.setitem(sys.modules, module, loaded)  # by which a class knows its file
        spec.loader.exec_module(loaded)
        return vars(loaded)["Mine"]()

    return make


def test_the_example_is_of_the_form_that_it_shows(tmp_path: Path) -> None:
    """The message for a scheduler without recordings holds it."""
    assert [each.verb for each in read_recordings(written(tmp_path / "a.json", json.loads(EXAMPLE)))] == [
        "submit", "status", "status", "kill", "list"
    ]  # fmt: skip


def test_a_file_holds_one_or_a_list(tmp_path: Path) -> None:
    """Both are read the same."""
    one = list(read_recordings(written(tmp_path / "one.json", GOOD)))
    assert one * 2 == list(read_recordings(written(tmp_path / "two.json", [GOOD, GOOD])))
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
def test_a_recording_of_another_form_is_refused_by_its_place(
    tmp_path: Path, change: dict[str, object], seen: str
) -> None:
    """The message names the file, the number and the field."""
    path = written(tmp_path / "a.json", [GOOD, {**GOOD, **change}])
    with pytest.raises(CheckFailed, match="recording 1 of") as caught:
        list(read_recordings(path))
    assert "a.json" in caught.value.expected
    assert seen in caught.value.observed


def test_what_is_no_json_is_told(tmp_path: Path) -> None:
    """By its file."""
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(CheckFailed, match="not valid JSON"):
        list(read_recordings(tmp_path / "a.json"))


def test_they_lie_beside_the_class_s_module_and_its_own_directory_comes_first(tmp_path: Path, made: Make) -> None:
    """Places are not mixed: only the first one that has recordings counts."""
    subject = made("lonely")
    assert list_places(subject)[:2] == [tmp_path / "recordings/lonely", tmp_path / "recordings"]
    assert load_recordings(subject) == ()
    written(tmp_path / "recordings/all.json", [GOOD, GOOD])
    assert len(load_recordings(subject)) == 2
    written(tmp_path / "recordings/lonely/own.json", GOOD)
    assert len(load_recordings(subject)) == 1


def test_a_class_that_inherits_has_those_of_its_base_unless_it_brings_its_own(tmp_path: Path, made: Make) -> None:
    """A plugin that wraps a built-in answers as that does."""
    subject = made("wrapping", DirectScheduler)
    assert load_recordings(subject) == load_recordings(DirectScheduler())
    written(tmp_path / "recordings/own.json", GOOD)
    assert len(load_recordings(subject)) == 1


def test_of_a_status_the_given_fields_count(tmp_path: Path, made: Make) -> None:
    """A field that is not given may have any value; a given one must be equal."""
    subject = made("wrapping", DirectScheduler)
    line = {**GOOD, "stdout": "17.0 running\n"}
    written(tmp_path / "recordings/own.json", {**line, "expected": {"17.0": {"state": "RUNNING"}}})
    replay.probe_replay(lambda: subject, tmp_path)
    written(tmp_path / "recordings/own.json", {**line, "expected": {"17.0": {"state": "RUNNING", "native": "R"}}})
    with pytest.raises(CheckFailed, match="native='R'"):
        replay.probe_replay(lambda: subject, tmp_path)


def test_words_are_replaced_where_they_stand_alone() -> None:
    """Each word of a job that has not ended is tried once, and none that is part of another."""
    tried = [(job, word) for _, job, word in words.list_live_words(DirectScheduler())]
    assert sorted(word for _, word in tried) == ["queued", "running", "suspended"]


def test_a_recording_names_what_it_differs_in() -> None:
    """The clause's message holds what was recorded and what came."""
    report = run_checks(gallery.wrong()["ForgetsHeld"], ["IC-SCHEDULER-07"], role="scheduler")
    result = report.results["IC-SCHEDULER-07"]
    assert result.state is State.FAILED
    assert "HELD" in result.expected
    assert "QUEUED" in result.observed


def test_what_is_recorded_anew_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder runs real jobs, and what it writes can be read, and is kept."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(record, "_PAYLOAD_SECONDS", 1)
    direct: Scheduler = DirectScheduler(slots=2)
    path = written(tmp_path / "recorded.json", list(record.record(direct)))
    found = list(read_recordings(path))
    assert {each.verb for each in found} == {"submit", "status", "kill", "list"}


class TestSandbox:
    """A fragment in the sandbox does nothing, and its calls are recorded."""

    def test_commands_are_stubs_that_note_their_arguments(self, tmp_path: Path) -> None:
        """Byte for byte, also by their absolute path."""
        text = "sbatch -p 'two words' ''\n/usr/bin/touch made\nshutdown -h \"$(cat \"$IC_IDS\")\""
        run = sandbox.Sandbox(tmp_path, [text], API).run("status", text, ["17;x"])
        assert run == [["sbatch", "-p", "two words", ""], ["shutdown", "-h", "17;x"]]
        assert (tmp_path / "root/made").exists()

    def test_a_syntax_error_is_told(self, tmp_path: Path) -> None:
        """In the shell's words."""
        place = sandbox.Sandbox(tmp_path, [], API)
        assert place.read("plainq list") == ""
        assert place.read("for") != ""

    def test_what_runs_or_writes_the_canary_is_seen(self, tmp_path: Path) -> None:
        """A pattern that is expanded is seen as well."""
        place = sandbox.Sandbox(tmp_path, ["plainq"], API)
        for text in (f"eval '{sandbox.CANARY}'", f"true >{sandbox.CANARY}", "plainq [x]globbed"):
            assert place.find_injection(place.run("submit", text))
        assert not place.find_injection(place.run("submit", "plainq '[x]globbed'"))

    def test_a_fragment_that_waits_for_ever_is_ended(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stubs answer nothing, so that it may."""
        monkeypatch.setattr(sandbox, "_SECONDS", 1.0)
        place = sandbox.Sandbox(tmp_path, ["plainq"], API)
        assert place.run("status", "plainq once\nwhile :; do :; done") == [["plainq", "once"]]


class Counted(DirectScheduler):
    """Calls a job by a word that is in no other one's id, as the recordings say."""

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Tell what was said."""
        return Queued(ids=dict(enumerate(result.stdout.decode().split())))

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        """Call running what is listed."""
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
def test_an_id_that_the_queue_never_gives_again_needs_no_name(
    tmp_path: Path, made: Make, ids: tuple[str, str], right: bool
) -> None:
    """A UUID or a time beside the number is as good as a submission id; a server's name is the same for all, and a number counts."""
    subject = made("counting", Counted)
    submitted: list[dict[str, object]] = [
        {
            "verb": "submit", "batch": {"submission_id": f"{letter}0123456789ab", "copies": 1, "resources": {}}, "returncode": 0,
            "stdout": f"{job}\n", "stderr": "", "expected": {"ids": {"0": job}},
        }
        for letter, job in zip("ab", ids, strict=True)
    ]  # fmt: skip
    listed = {**GOOD, "ids": ids, "stdout": "\n".join(ids), "expected": {job: {"state": "RUNNING"} for job in ids}}
    written(tmp_path / "recordings/own.json", [*submitted, listed])
    if right:
        names.probe_names(lambda: subject, tmp_path)
    else:
        with pytest.raises(CheckFailed, match="when the queue counts from the start again"):
            names.probe_names(lambda: subject, tmp_path)


def test_what_is_listed_by_its_number_alone_is_told_by_the_job(tmp_path: Path, made: Make) -> None:
    """A listing without names cannot be compared with any."""

    class Bare(Counted):
        def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
            listed = result.stdout.decode().split()
            return {job: JobStatus(state=JobState.RUNNING) for job in ids if job.partition("@")[0] in listed}

    job = "17@a0123456789ab"
    subject = made("bare", Bare)
    written(
        tmp_path / "recordings/own.json",
        {**GOOD, "ids": [job], "stdout": "17", "expected": {job: {"state": "RUNNING"}}},
    )
    with pytest.raises(CheckFailed, match=f"a listing that shows more of job {job} than its number"):
        names.probe_names(lambda: subject, tmp_path)


class NamesWhatItKills(PlainQueue):
    """Leaves it to the queue to compare the name."""

    def kill_script(self) -> str:
        """End by both."""
        return 'while IFS=@ read -r number name; do plainq kill --name="$name" "$number" </dev/null; done <"$IC_IDS"'


class LooksElsewhere(PlainQueue):
    """Looks by a command whose answer no recording shows."""

    def kill_script(self) -> str:
        """Ask what the number's name is, in the queue's own words."""
        look = '[ "$(plainq show "$number")" = "Job-Name = $name" ] && plainq kill "$number"'
        return f'while IFS=@ read -r number name; do {look}; done <"$IC_IDS"'


class TakesWhatIsListed(PlainQueue):
    """Lists all jobs, and picks those of a name itself."""

    def list_script(self, submission_id: str) -> str:
        """Compare here."""
        return f"plainq list --numbered | grep ' {submission_id}$' || :"


@pytest.mark.parametrize("right", [NamesWhatItKills, TakesWhatIsListed])
def test_who_hands_the_name_on_or_compares_it_later_is_right(right: type, tmp_path: Path) -> None:
    """The queue may look, and the fragment may look behind it."""
    looks.probe_looks(right, tmp_path)


def test_a_look_that_no_recording_shows_is_named(tmp_path: Path) -> None:
    """It looks like a kill, so the message names the command, and the hint says what to record."""
    with pytest.raises(
        CheckFailed, match=r"it runs 'plainq show 17\.0', though its queue lists this number under another name"
    ):
        looks.probe_looks(LooksElsewhere, tmp_path)
