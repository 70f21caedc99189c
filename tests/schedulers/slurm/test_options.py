"""The options of the scheduler slurm."""

import pytest

from intercede.contract.errors import ConfigError
from intercede.contract.scheduler import Scheduler
from intercede.schedulers.slurm import SlurmScheduler


def test_it_is_a_scheduler_that_must_not_be_asked_too_often() -> None:
    """The scheduler satisfies the gate's protocol, uses one file system, and has the default poll interval."""
    scheduler = SlurmScheduler()

    assert isinstance(scheduler, Scheduler)
    assert not scheduler.stages_own_files()
    assert not hasattr(scheduler, "min_poll_interval")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_array_size", 0),
        ("submit_arguments", "--account=physics"),
        ("submit_arguments", [""]),
        ("submit_arguments", ["--"]),
        ("submit_arguments", ["--comment=\0"]),
        ("submit_arguments", ["--comment", "two", "words"]),
        ("clusters", "east"),
        ("clusters", ["east,west"]),
        ("clusters", ["--all"]),
    ],
)
def test_options_without_sense_are_refused(field: str, value: object) -> None:
    """With the option's name."""
    with pytest.raises(ConfigError) as caught:
        SlurmScheduler(**{field: value})  # type: ignore[arg-type]  # that is the point

    assert caught.value.field == field


BAD = {
    "array": ["--array=0-3", "--arr=0-3", "-a0-3", "-a 0-3", "-Ha0-3"],
    "job-name": ["--job-name=x", "--job x", "-Jx", "-A physics -J x"],
    "clusters": ["--clusters=east", "-Meast", "--cl east"],
    "wrap": ["--wrap=true", "--wra true"],
    "test-only": ["--test-only", "--test"],
    "wait": ["--wait", "-W", "-HW", "-sHW"],
    "quiet": ["--quiet", "-Q", "-vQ"],
    "parsable": ["--parsable", "--parsa"],
    "uid": ["--uid=0"],
    "help": ["-h", "--help"],
    "no option": [
        "x.sh",
        "--hold x.sh",
        "-H x.sh",
        "--account=physics x.sh",
        "-Aphysics x.sh",
        "-A physics x.sh",
        "- :",
        ":",
    ],
}
GOOD = [
    "--account physics -A physics -Aphysics --account=-a -H --hold -HA physics",
    "--output=o --error e -D /tmp --wait-all-nodes=1 --begin=now+1hour -d afterok:1 -k --exclusive=user --nice -5",
    "-C gpu&fast -pJ --comment=--array=3 -t10 --qos=a --mem-per-cpu 5 --partition wait",
]


@pytest.mark.parametrize(("why", "words"), [(why, words) for why, each in BAD.items() for words in each])
def test_words_that_would_not_run_each_copy_once_are_refused(why: str, words: str) -> None:
    """However they are cut short or glued together, with what is wrong."""
    with pytest.raises(ConfigError, match=why) as caught:
        SlurmScheduler(words.split())

    assert caught.value.field == "submit_arguments"


@pytest.mark.parametrize("words", GOOD)
def test_words_that_a_site_needs_are_not(words: str) -> None:
    """Nor what only looks like one of those."""
    SlurmScheduler(words.split())
