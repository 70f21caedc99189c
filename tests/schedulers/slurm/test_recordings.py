"""Recorded answers of real Slurm versions are parsed, whole and damaged."""

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.schedulers.slurm.places import SHELLS, TOOLS, Place, make_result
from tests.tools import is_installed

from intercede.contract.errors import LimitError, SchedulerError
from intercede.contract.job import JobState
from intercede.contract.scheduler import Batch
from intercede.contract.transport import CommandResult
from intercede.schedulers import slurm
from intercede.schedulers.slurm import SlurmScheduler

RECORDED = Path(slurm.__file__).parent / "recordings" / "slurm"
ANSWERS = Path(__file__).parents[3] / "fixtures" / "schedulers" / "slurm"
VERSIONS = sorted(path.parent.name for path in ANSWERS.glob("*/answers.json"))


def load_recordings(version: str) -> list[dict[str, Any]]:
    """Return the recordings of a version that intercede ships."""
    return json.loads((RECORDED / f"{version}.json").read_text())  # type: ignore[no-any-return]  # test_it_ships holds it


def load_answers(version: str) -> list[dict[str, Any]]:
    """Return the answers of Slurm's commands from which the recordings were made, in the same order."""
    return json.loads((ANSWERS / version / "answers.json").read_text())  # type: ignore[no-any-return]  # as above


class Replay:
    """Runs recorded fragments with stubs that give the answers of a Slurm version."""

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        shells = [tuple(shell.split()) for shell in SHELLS]
        self.places = {shell[0]: Place(tmp / shell[0], shell) for shell in shells if is_installed(shell[0])}
        self.schedulers: dict[str, SlurmScheduler] = {}

    def again(self, recording: Mapping[str, Any], answer: Mapping[str, Any], shell: str) -> CommandResult:
        """Run the fragment of a recording in a shell."""
        place = self.places[shell]
        place.forget()
        for tool in TOOLS:
            calls = [call for call in answer["calls"] if call["argv"][0] == tool]
            for number, call in enumerate(calls):
                text = f"printf %s {shlex.quote(call['stdout'])}; printf %s {shlex.quote(call['stderr'])} >&2"
                place.answer_one(tool, number, f"{text}; exit {call['returncode']}")
        for name, text in answer.get("owners", {}).items():
            (place.root / recording["submission_id"] / "slurm" / name).write_text(text)
        return place.run(*self._fragment(recording, answer))

    def _fragment(self, recording: Mapping[str, Any], answer: Mapping[str, Any]) -> tuple[str, Sequence[str], str]:
        scheduler = SlurmScheduler(max_array_size=answer.get("max_array_size"))
        match recording["verb"]:
            case "submit":
                submission = Batch.model_validate(recording["batch"])
                for place in self.places.values():
                    (place.root / submission.submission_id).mkdir(exist_ok=True)
                return scheduler.submit_script(submission), (), submission.submission_id
            case "list":
                return f"IC_FENCE=yes\n{scheduler.list_script(recording['submission_id'])}", (), ""
            case verb:
                return getattr(scheduler, f"{verb}_script")(), recording["ids"], ""


@pytest.mark.parametrize("version", VERSIONS)
def test_fragments_turn_real_answers_into_the_recordings(tmp_path: Path, version: str) -> None:
    """Each fragment prints what was recorded, and calls Slurm's commands as often as on the real system."""
    replay = Replay(tmp_path)
    shipped, answered = load_recordings(version), load_answers(version)
    assert [each["what"] for each in shipped] == [each["what"] for each in answered]
    for number, (recording, answer) in enumerate(zip(shipped, answered, strict=True)):
        shells = replay.places if recording["verb"] == "submit" else [[*replay.places][number % len(replay.places)]]
        for shell in shells:
            result = replay.again(recording, answer, shell)
            assert result.stdout.decode() == recording["stdout"], recording["what"]
            assert result.returncode == recording["returncode"], recording["what"]
            called = sum(len(replay.places[shell].calls(tool)) for tool in TOOLS)
            assert called == len(answer["calls"]), recording["what"]


STATUSES = [each for version in VERSIONS for each in load_recordings(version) if each["verb"] == "status"]


@given(st.sampled_from([each for each in STATUSES if each["returncode"] == 0]), st.data())
def test_a_damaged_answer_never_ends_a_job(recording: Mapping[str, Any], data: st.DataObject) -> None:
    """A damaged status answer gives the recorded state, UNKNOWN or an error for each job."""
    lines = recording["stdout"].splitlines()
    kept = data.draw(st.lists(st.integers(0, len(lines) - 1), max_size=2 * len(lines)).map(sorted))
    chatter = data.draw(
        st.lists(st.sampled_from(["", "17", "CLUSTER: east", "Welcome | to | us |", "|||"]), max_size=3)
    )
    damaged = [lines[number] for number in kept]
    for line in chatter:
        damaged.insert(data.draw(st.integers(0, len(damaged))), line)
    text = "\n".join(damaged)[: data.draw(st.integers(0, 10000))] + data.draw(
        st.sampled_from(["", "\nintercede: end\n"])
    )
    try:
        states = SlurmScheduler().parse_status(recording["ids"], make_result(text))
    except SchedulerError:
        return
    for name, status in states.items():
        truth = recording["expected"].get(name, {}).get("state")
        assert status.state == truth or status.state is JobState.UNKNOWN, (name, text)


@given(st.sampled_from(STATUSES), st.binary(max_size=20), st.integers(0, 2000), st.integers(0, 40))
def test_bytes_of_any_kind_are_an_answer_or_an_error(
    recording: Mapping[str, Any], inserted: bytes, start: int, gone: int
) -> None:
    """Any bytes in an answer give statuses of the given jobs or a SchedulerError."""
    text = recording["stdout"].encode()
    result = CommandResult(returncode=0, stdout=text[:start] + inserted + text[start + gone :])
    scheduler = SlurmScheduler()
    for parse in (scheduler.parse_status, scheduler.parse_kill):
        try:
            assert set(parse(recording["ids"], result)) <= set(recording["ids"])
        except SchedulerError:
            continue


SUBMITS = [each for version in VERSIONS for each in load_recordings(version) if each["verb"] == "submit"]


@given(st.sampled_from(SUBMITS), st.data())
def test_a_damaged_answer_to_a_submission_loses_no_job(recording: Mapping[str, Any], data: st.DataObject) -> None:
    """A damaged submit answer gives each copy its id, or an error that does not call queued copies refused."""
    submission = Batch.model_validate(recording["batch"])
    lines = recording["stdout"].splitlines()
    kept = data.draw(st.lists(st.sampled_from(range(len(lines))), unique=True).map(sorted))
    text = "\n".join(lines[number] for number in kept) + "\n"
    text = text[: data.draw(st.integers(0, len(text)))] if data.draw(st.booleans()) else text
    try:
        queued = SlurmScheduler().parse_submit(
            submission, make_result(text, recording["stderr"], recording["returncode"])
        )
    except (SchedulerError, LimitError):
        return
    truth = recording["expected"]["ids"]
    assert {str(index): native for index, native in queued.ids.items()} == truth
