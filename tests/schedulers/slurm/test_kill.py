"""Slurm: which jobs scancel is given, and what a kill answers."""

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
    """Return the ids that scancel would take."""
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
    """Write a branch of a squeue that lists all of a cluster."""
    there = [job for job, _, behind in (name.partition(";") for name in names) if behind == cluster]
    return f"*{cluster}*)\n{write_squeue(*there)};;\n"


@given(st.lists(IDS, max_size=40))
@settings(max_examples=25)
def test_exactly_the_copies_asked_are_ended(
    tmp_path_factory: pytest.TempPathFactory, ids: list[tuple[int, int | None, str]]
) -> None:
    """However they are mixed; each in the cluster that it is in."""
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


def test_many_copies_are_few_words(place: Place) -> None:
    """A thousand of one array are one; the brackets are no patterns for files."""
    (place.root / "17_0").touch()
    place.answer("squeue", write_squeue("17_5"))

    place.run(SlurmScheduler().kill_script(), format_ids(*(f"17_{task}" for task in range(1000))))
    place.run(SlurmScheduler().kill_script(), format_ids(*(f"17_{2 * task}" for task in range(1000))))

    once, bounded = place.calls("scancel")
    assert once == ["17_[0-999]"]
    assert max(map(len, bounded)) < 1100


def test_a_kill_is_what_squeue_says_afterwards(place: Place) -> None:
    """What ends or has ended is ok, what scancel was denied is denied, and of what lives on nothing is said."""
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
        "train", "", "ic-train", f"ic-{SUBMISSION_ID}", f"my-{OURS}", f"{OURS}x", f"{OURS}0", f"ic-a{SUBMISSION_ID}-0", "a|b",
        f"ic-{SUBMISSION_ID}-1", f"ic-{'b' * 13}-0",
    ],
)  # fmt: skip
def test_a_number_that_another_job_has_is_not_ours(place: Place, name: str) -> None:
    """Slurm gives numbers again, also to another of our submissions: nothing is told of that job, and nothing is done to it."""
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


def test_a_number_that_two_submissions_of_ours_had_is_the_later_ones(place: Place) -> None:
    """After the controller lost its state: blackfish #484. The old ones are not there, and the new ones live on."""
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


def test_a_number_that_another_submission_s_array_has_is_not_ours(place: Place) -> None:
    """A task is none of the job that had its number alone."""
    place.answer("squeue", write_squeue("17_0", "17_1") + write_squeue("18"))
    ids = ["17", "18_0"]

    place.run(SlurmScheduler().kill_script(), format_ids(*ids))

    assert place.calls("scancel") == []
    assert parse_states(format_squeue(("17_0", "RUNNING", "0", "None"), ("18", "RUNNING", "0", "None")), *ids) == {}
