"""A kill of Slurm passes the right jobs to scancel, and reports what squeue lists afterwards."""

import re
import shlex
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.schedulers.slurm.places import (
    OURS,
    SUBMISSION_ID,
    Place,
    format_ids,
    format_sacct,
    format_squeue,
    key_by_job,
    parse_states,
    write_squeue,
)

from intercede.contract.job import JobState
from intercede.schedulers.slurm import SlurmScheduler


def expand_words(words: Sequence[str]) -> list[str]:
    """Return the ids that these arguments of scancel mean."""
    found: list[str] = []
    for word in words:
        match = re.fullmatch(r"([0-9]+)(?:_\[([0-9,-]+)\])?", word)
        assert match, word
        for part in match[2].split(",") if match[2] else ():
            low, _, high = part.partition("-")
            found += [f"{match[1]}_{task}" for task in range(int(low), int(high or low) + 1)]
        found += [] if match[2] else [match[1]]
    return found


IDS = st.tuples(st.integers(1, 4), st.none() | st.integers(0, 30), st.sampled_from(["", ";east", ";west"]))


def write_branch(names: Sequence[str], cluster: str) -> str:
    """Return a branch of a squeue script that lists all jobs of a cluster."""
    there = [job for job, _, behind in (name.partition(";") for name in names) if behind == cluster]
    return f"*{cluster}*)\n{write_squeue(*there)};;\n"


@given(st.lists(IDS, max_size=40))
@settings(max_examples=25)
def test_exactly_the_given_jobs_are_killed(
    tmp_path_factory: pytest.TempPathFactory, ids: list[tuple[int, int | None, str]]
) -> None:
    """Scancel gets exactly the given jobs, each in its cluster."""
    names = [f"{job}{'' if task is None else f'_{task}'}{cluster}" for job, task, cluster in ids]
    place = Place(tmp_path_factory.mktemp("kill"))
    place.answer(
        "squeue", "case $* in\n" + "".join(write_branch(names, each) for each in ("east", "west", "")) + "esac"
    )

    place.run(SlurmScheduler().kill_script(), format_ids(*names))

    ended: list[str] = []
    for words in place.calls("scancel"):
        cluster = words.pop(0).replace("--clusters=", ";") if words[0].startswith("--") else ""
        ended += [f"{each}{cluster}" for each in expand_words(words)]
    assert set(ended) == set(names)


def test_many_copies_are_few_arguments(place: Place) -> None:
    """A thousand tasks of one array are one argument of scancel, which the shell does not expand as a pattern."""
    (place.root / "17_0").touch()
    place.answer("squeue", write_squeue("17_5"))

    place.run(SlurmScheduler().kill_script(), format_ids(*(f"17_{task}" for task in range(1000))))
    place.run(SlurmScheduler().kill_script(), format_ids(*(f"17_{2 * task}" for task in range(1000))))

    once, bounded = place.calls("scancel")
    assert once == ["17_[0-999]"]
    assert max(map(len, bounded)) < 1100


def test_the_outcome_of_a_kill_follows_squeue(place: Place) -> None:
    """A kill is ok if squeue lists a job as ending or ended, and denied if scancel was denied.

    A job that runs on has no outcome.
    """
    place.answer(
        "scancel", "echo 'scancel: error: Kill job error on job id 18_[0-1]: Access/permission denied' >&2; exit 210"
    )
    ending = write_squeue("17_0", word="COMPLETING") + write_squeue("17_1", word="CANCELLED")
    place.answer("squeue", ending + write_squeue("17_2", "18_0"))
    ids = format_ids("17_0", "17_1", "17_2", "17_3", "18_0", "18_1")

    outcomes = key_by_job(SlurmScheduler().parse_kill(ids, place.run(SlurmScheduler().kill_script(), ids)))

    assert {name: (outcome.ok, outcome.reason) for name, outcome in outcomes.items()} == {
        "17_0": (True, None),
        "17_1": (True, None),
        "18_0": (False, "denied"),
        "18_1": (False, "denied"),
    }


@pytest.mark.parametrize(
    "name",
    [
        "train", "", "ic-train", f"ic-{SUBMISSION_ID}", f"my-{OURS}", f"{OURS}x", f"{OURS}0", f"ic-a{SUBMISSION_ID}-0",
        "a|b", f"ic-{SUBMISSION_ID}-1", f"ic-{'b' * 13}-0",
    ],
)  # fmt: skip
def test_a_foreign_job_with_the_same_number_is_left_alone(place: Place, name: str) -> None:
    """A job with the number and another name is neither reported nor killed, since Slurm reuses numbers."""
    place.answer("squeue", write_squeue("17_0", "18", name=name) + write_squeue("19"))
    place.answer("sacct", f"printf '%s\\n' {shlex.join([f'17_0|COMPLETED|0:0|{name}', f'18|FAILED|1:0|{name}'])}")
    scheduler, ids = SlurmScheduler(), format_ids("17_0", "18", "19")

    assert [*key_by_job(scheduler.parse_status(ids, place.run(scheduler.status_script(), ids)))] == ["19"]
    assert scheduler.parse_kill(ids, place.run(scheduler.kill_script(), ids)) == {}
    assert place.calls("scancel") == [["19"]]
    assert (
        parse_states(format_squeue() + format_sacct("17_0|COMPLETED|0:0", "18|FAILED|1:0", name=name), "17_0", "18")
        == {}
    )


def test_a_reused_number_belongs_to_the_later_submission(place: Place) -> None:
    """A number that two submissions had belongs to the later one, as after a loss of the controller's state.

    See blackfish #484.
    """
    old, new = format_ids("17_0", "17_1", submission_id="b" * 13), format_ids("17_0", "17_1")
    place.answer("squeue", write_squeue("17_0", "17_1"))
    place.answer("sacct", f"echo '17_1|CANCELLED by 0|0:0|ic-{'b' * 13}-0'")
    scheduler = SlurmScheduler()

    place.run(scheduler.kill_script(), old)
    assert place.calls("scancel") == []
    place.run(scheduler.kill_script(), [*old, *new])
    assert place.calls("scancel") == [["17_[0-1]"]]
    states = scheduler.parse_status([*old, *new], place.run(scheduler.status_script(), [*old, *new]))
    assert {native: status.state for native, status in states.items()} == {
        old[1]: JobState.KILLED,
        new[0]: JobState.RUNNING,
        new[1]: JobState.RUNNING,
    }
    assert f"--name=ic-{'b' * 13}-0" in place.calls("sacct")[-1]


def test_an_array_is_not_a_job_with_the_same_number(place: Place) -> None:
    """A task of an array is not the single job with its number, and a single job is no task."""
    place.answer("squeue", write_squeue("17_0", "17_1") + write_squeue("18"))
    ids = ["17", "18_0"]

    place.run(SlurmScheduler().kill_script(), format_ids(*ids))

    assert place.calls("scancel") == []
    assert parse_states(format_squeue(("17_0", "RUNNING", "0", "None"), ("18", "RUNNING", "0", "None")), *ids) == {}
