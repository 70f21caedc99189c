"""The options of the scheduler slurm are checked."""

import pytest

from intercede.contract.errors import ConfigError
from intercede.contract.scheduler import Scheduler
from intercede.schedulers.slurm import SlurmScheduler


def test_slurm_is_a_scheduler_with_the_default_poll_interval() -> None:
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
def test_invalid_options_are_refused(field: str, value: object) -> None:
    """An invalid option is a ConfigError that names the option."""
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
def test_arguments_that_break_a_submission_are_refused(why: str, words: str) -> None:
    """An sbatch argument that intercede relies on is refused, also if it is abbreviated or combined with others."""
    with pytest.raises(ConfigError, match=why) as caught:
        SlurmScheduler(words.split())

    assert caught.value.field == "submit_arguments"


@pytest.mark.parametrize("words", GOOD)
def test_arguments_of_a_site_are_accepted(words: str) -> None:
    """An sbatch argument that a site needs is accepted, also if it looks like a refused one."""
    SlurmScheduler(words.split())
