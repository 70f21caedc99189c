"""The scheduler slurm: pure text here, and what the fragments do where Slurm's commands are stubs with real answers."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tools import each_tool, is_installed

from intercede.batch.remote.api import api_of, write_program
from intercede.contract.errors import ConfigError, LimitError, SchedulerError
from intercede.contract.job import JobState, JobStatus, Resources
from intercede.contract.scheduler import Batch, Queued, Scheduler
from intercede.contract.transport import CommandResult
from intercede.schedulers import slurm
from intercede.schedulers.slurm import SlurmScheduler

T = TypeVar("T")
SUBMISSION_ID = "a" * 13
OURS = f"ic-{SUBMISSION_ID}-0"
API = api_of(SlurmScheduler())
RECORDED = Path(slurm.__file__).parent / "recordings" / "slurm"
ANSWERS = Path(__file__).parents[2] / "fixtures" / "schedulers" / "slurm"
VERSIONS = sorted(path.parent.name for path in ANSWERS.glob("*/answers.json"))
TOOLS = ("sbatch", "squeue", "sacct", "scancel", "scontrol")
SHELLS = ("dash", "bash --posix", "busybox sh")
RARE_SHELLS = ("mksh", "posh", "yash -o posixlycorrect", "zsh --emulate sh")
#: Notes how it was called, and answers with the next script that was given for it, or the one for all calls.
STUB = """\
#!/bin/sh
tool=${0##*/} number=0
while [ -e "$STUBS/log/$tool.$number" ]; do number=$((number + 1)); done
printf '%s\\0' "$@" >"$STUBS/log/$tool.$number"
for answer in "$STUBS/answers/$tool.$number" "$STUBS/answers/$tool"; do
    [ ! -e "$answer" ] || { . "$answer"; exit; }
done
"""


def known(*jobs: str, first: int = 0, submission_id: str = SUBMISSION_ID) -> list[str]:
    """Return native ids of jobs of a chunk: what Slurm calls them, and their name behind it."""
    return [f"{job}@{submission_id}-{first}" for job in jobs]


def by_copy(*jobs: str, first: int = 0) -> dict[int, str]:
    """Return native ids of the copies of a chunk."""
    return {first + number: native for number, native in enumerate(known(*jobs, first=first))}


def batch(copies: int = 4, **resources: object) -> Batch:
    """Return a submission."""
    return Batch(submission_id=SUBMISSION_ID, copies=copies, resources=Resources.model_validate(resources))


def said(stdout: str, stderr: str = "", returncode: int = 0) -> CommandResult:
    """Return an answer."""
    return CommandResult(returncode=returncode, stdout=stdout.encode(), stderr=stderr.encode())


class Place:
    """A root with one submission, and stubs for Slurm's commands."""

    def __init__(self, tmp: Path, shell: Sequence[str] = ("sh",)) -> None:
        self.shell = shell
        self.root, self.stubs = tmp / "root", tmp / "stubs"
        for path in (self.root / SUBMISSION_ID, self.stubs / "bin", self.stubs / "log", self.stubs / "answers"):
            path.mkdir(parents=True)
        for tool in TOOLS:
            self.put(tool, STUB)

    def put(self, tool: str, script: str) -> None:
        """Put a program in front of one that is here."""
        (self.stubs / "bin" / tool).write_text(script)
        (self.stubs / "bin" / tool).chmod(0o700)

    def answer(self, tool: str, *scripts: str) -> None:
        """Let a stub say this: one script for all of its calls, or one for each."""
        for number, script in enumerate(scripts):
            self.answer_one(tool, None if len(scripts) == 1 else number, script)

    def answer_one(self, tool: str, number: int | None, script: str) -> None:
        """Let a stub say this when it is called for the so manyth time; None: always."""
        (self.stubs / "answers" / (tool if number is None else f"{tool}.{number}")).write_text(script)

    def run(self, fragment: str, ids: Sequence[str] | None = None, submission_id: str = SUBMISSION_ID) -> CommandResult:
        """Run a fragment as a batch backend does: without ids one that submits or lists, else in the root."""
        (self.root / "ids").write_text("".join(f"{each}\n" for each in ids or ()))
        environment = {
            **os.environ,
            "IC_IDS": str(self.root / "ids"),
            "STUBS": str(self.stubs),
            "PATH": f"{self.stubs / 'bin'}:{os.environ['PATH']}",
        }
        inside = "slurm_sbatch()" in fragment
        program = write_program("submit" if inside else "status", API, fragment)
        ended = subprocess.run(
            [*self.shell, "-c", program],
            cwd=self.root / submission_id if inside else self.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        return CommandResult(returncode=ended.returncode, stdout=ended.stdout, stderr=ended.stderr)

    def calls(self, tool: str) -> list[list[str]]:
        """Return the arguments of each call."""
        logs = sorted((self.stubs / "log").glob(f"{tool}.*"), key=lambda path: int(path.suffix[1:]))
        return [log.read_text().split("\0")[:-1] for log in logs]

    def forget(self) -> None:
        """Begin anew with the stubs."""
        for path in [*(self.stubs / "log").iterdir(), *(self.stubs / "answers").iterdir()]:
            path.unlink()


@pytest.fixture(
    params=[
        *each_tool(*SHELLS),
        *(
            pytest.param(*each.values, id=each.id, marks=[*each.marks, pytest.mark.slow])
            for each in each_tool(*RARE_SHELLS)
        ),
    ]
)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A root with one submission, in each shell that is here."""
    return Place(tmp_path, request.param)


def submitted(place: Place, scheduler: SlurmScheduler, submission: Batch) -> Queued:
    """Submit, and read the answer."""
    return scheduler.parse_submit(submission, place.run(scheduler.submit_script(submission)))


def rows(*rows: tuple[str, str, str, str], cluster: str = "-", name: str = OURS) -> str:
    """Write what squeue says."""
    return f"intercede: squeue {cluster}\n" + "".join(
        f"{job:40}|{word:24}|{code:12}|{name:40}|{reason:48}|\n" for job, word, code, reason in rows
    )


def listing(*jobs: str, word: str = "RUNNING", name: str = OURS, reason: str = "None") -> str:
    """Write a script of a squeue that lists these."""
    lines = "\n".join(f"{job} |{word} |0 |{name} |{reason} |" for job in jobs)
    return f"cat <<'E'\n{lines}\nE\n"


def told(answer: str, *ids: str) -> dict[str, JobStatus]:
    """Return what an answer of the status fragment means, by what Slurm calls the jobs."""
    return called(SlurmScheduler().parse_status(known(*ids), said(f"{answer}intercede: end\n")))


def called(told: Mapping[str, T]) -> dict[str, T]:
    """Return answers about jobs of ours by what Slurm calls them."""
    assert all(native.endswith(f"@{SUBMISSION_ID}-0") for native in told)
    return {native.partition("@")[0]: each for native, each in told.items()}


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


def test_what_a_copy_asks_for_stands_in_the_arguments(place: Place) -> None:
    """Each request as an argument of its own, a site's words behind them, and what we rely on last."""
    scheduler = SlurmScheduler(["--requeue", "--comment=it's $HOME"])
    place.answer("sbatch", "echo 17")
    resources = {"cpus": 3, "memory_mb": 500, "wall_time_s": 61, "gpus": 2, "queue": "-x; long"}

    submitted(place, scheduler, batch(1, **resources))

    (words,) = place.calls("sbatch")
    assert {"--cpus-per-task=3", "--mem=500M", "--time=2", "--gres=gpu:2", "--partition=-x; long"} < set(words)
    assert words.index("--no-requeue") < words.index("--requeue") < words.index("--comment=it's $HOME")
    assert words[-5:] == ["--parsable", f"--job-name=ic-{SUBMISSION_ID}-0", "./slurm/job", "0", "1"]


def test_what_is_not_asked_for_is_left_to_the_site(place: Place) -> None:
    """No memory, no time, no partition, no account of ours."""
    place.answer("sbatch", "echo 17")

    submitted(place, SlurmScheduler(), batch(1))

    (words,) = place.calls("sbatch")
    assert not [word for word in words if re.match("--(mem|time|partition|gres|account|export|array)", word)]


SIZES = {
    "MaxArraySize = 4\n": [4, 4, 2],
    "MaxArraySize            = 1001\nSchedulerParameters     = defer,max_array_tasks=3,x=1\n": [3, 3, 3, 1],
    "MaxArraySize            = 4\nSchedulerParameters     = max_array_tasks=9\n": [4, 4, 2],
    "MaxArraySize            = 0\n": [1] * 10,
    "slurm_load_ctl_conf error: access denied\n": [10],
}


@pytest.mark.parametrize("config", SIZES, ids=range(len(SIZES)))
def test_a_submission_is_cut_into_arrays_that_are_allowed(tmp_path: Path, config: str) -> None:
    """As few sbatch calls as there can be, each counted from 0, one copy as no array at all."""
    place = Place(tmp_path)
    place.answer("scontrol", f"cat <<'E'\n{config}E\n")
    place.answer("sbatch", *(f"echo {number}" for number in range(100, 110)))

    queued = submitted(place, SlurmScheduler(), batch(10))

    calls, first = place.calls("sbatch"), 0
    for words, count in zip(calls, SIZES[config], strict=True):
        assert words[-3:] == ["./slurm/job", str(first), str(count)]
        assert [word for word in words if word.startswith("--array")] == [f"--array=0-{count - 1}"] * (count > 1)
        first += count
    assert sorted(queued.ids) == list(range(10))
    assert len(set(queued.ids.values())) == 10


def test_nobody_is_asked_what_is_known(place: Place) -> None:
    """One copy needs no array, and an option says how large one may be."""
    place.answer("sbatch", "echo 17")
    assert submitted(place, SlurmScheduler(), batch(1)).ids == by_copy("17")
    shutil.rmtree(place.root / SUBMISSION_ID / "slurm")
    assert submitted(place, SlurmScheduler(max_array_size=4), batch(3)).ids == by_copy("17_0", "17_1", "17_2")
    assert place.calls("scontrol") == []


CHATTER = """\
printf 'Welcome to the cluster, user 4711\\n42 jobs are yours\\n'
echo 'sbatch: your project has 99 hours left' >&2
echo 'Submitted batch job 5 on cluster west'
echo '17;east'
printf 'Good luck'
"""


def test_what_a_site_prints_around_an_id_is_none(place: Place) -> None:
    """Text before and behind, on both channels, and without a line's end."""
    place.answer("sbatch", CHATTER)

    queued = submitted(place, SlurmScheduler(max_array_size=4), batch(2))

    assert queued.ids == by_copy("17_0;east", "17_1;east")


def test_variables_of_a_site_do_not_reach_slurm_s_commands(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """SBATCH_* would change what is submitted; the payload's own language goes on to the job."""
    monkeypatch.setenv("SBATCH_ARRAY_INX", "0-9999")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    place.answer("sbatch", 'env >"$STUBS/env"; echo 17')

    submitted(place, SlurmScheduler(), batch(1))

    environment = (place.stubs / "env").read_text().splitlines()
    assert not [each for each in environment if each.startswith(("SBATCH_", "ic_"))]
    assert {"LC_ALL=C", "IC_LOCALE=de_DE.UTF-8"} <= set(environment)


WHO_PAYS = ("SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_RESERVATION", "SBATCH_WCKEY")
OTHER_SHAPES = ("SBATCH_MEM_PER_CPU", "SBATCH_EXPORT", "SBATCH_CLUSTERS", "SLURM_CLUSTERS", "SLURM_HINT", "SQUEUE_SORT")
#: What srun and a step set, by Slurm's env.c, gres_common.c and mpi_pmi2.c; snakemake #2230: SLURM_MEM_PER_CPU.
OUTER_JOB = (
    "SLURM_JOB_ID", "SLURM_MEM_PER_CPU", "SLURM_CPU_BIND", "SLURM_NTASKS", "SLURM_ARRAY_TASK_ID", "SLURM_EXPORT_ENV",
    "SLURMD_NODENAME", "SRUN_DEBUG", "PMI_RANK", "PMIX_NAMESPACE", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES",
)  # fmt: skip
WAY = ("SLURM_CONF", "SLURM_JWT")


def variables(place: Place, tool: str) -> set[str]:
    """Return the names of the variables that a stub wrote down, of those that Slurm may know."""
    lines = (place.stubs / f"{tool}.env").read_text().splitlines()
    return {line.partition("=")[0] for line in lines} & {*WHO_PAYS, *OTHER_SHAPES, *OUTER_JOB, *WAY}


@pytest.mark.parametrize("inside", [True, False], ids=["inside a job", "outside"])
def test_a_copy_inherits_who_pays_and_nothing_of_an_outer_job(
    place: Place, monkeypatch: pytest.MonkeyPatch, inside: bool
) -> None:
    """A site's account stays, what changes a job's shape does not, and what an outer job is called is no copy's: snakemake #2912."""
    outer = OUTER_JOB if inside else [name for name in OUTER_JOB if name != "SLURM_JOB_ID"]
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    for name in (*WHO_PAYS, *OTHER_SHAPES, *outer, *WAY):
        monkeypatch.setenv(name, "1\nSLURM_JWT=2")
    for tool in TOOLS:
        place.answer(tool, f'env >"$STUBS/{tool}.env"; [ {tool} != sbatch ] || echo 17')
    scheduler = SlurmScheduler()

    submitted(place, scheduler, batch(2))
    place.run(scheduler.status_script(), known("17_0"))

    rest = {*WHO_PAYS, *WAY} if inside else {*WHO_PAYS, *WAY, *outer}
    assert {tool: variables(place, tool) for tool in ("sbatch", "scontrol", "squeue", "sacct")} == dict.fromkeys(
        ("sbatch", "scontrol", "squeue", "sacct"), rest
    )


def refused(place: Place, *answers: str, copies: int = 4) -> Queued:
    """Submit arrays of two where sbatch answers like this."""
    place.answer("sbatch", *answers, "exit 0")
    return submitted(place, SlurmScheduler(max_array_size=2), batch(copies))


def failing(text: str, code: int = 1) -> str:
    """Write a script of an sbatch that fails."""
    return f"echo {shlex.quote(f'sbatch: error: {text}')} >&2; exit {code}"


LIMITS = [
    "QOSMaxSubmitJobPerUserLimit\nBatch job submission failed: Job violates accounting/QOS policy (job submit limit)",
    "AssocMaxSubmitJobLimit\nBatch job submission failed: Job violates accounting/QOS policy (job submit limit)",
    "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
    "Batch job submission failed: Resource temporarily unavailable",
    "Batch job submission failed: MaxJobCount limit reached",
]
REFUSALS = {
    "unrecognized option '--nonsense'\nTry \"sbatch --help\" for more information": False,
    "Batch job submission failed: Invalid partition name specified": False,
    "Invalid --time specification": False,
    "Batch job submission failed: Invalid account or account/partition combination specified": False,
    "Batch job submission failed: Invalid job array specification": False,
    "QOSMaxCpuPerJobLimit\nBatch job submission failed: Job violates accounting/QOS policy (job submit limit)": False,
    "Batch job submission failed: Unable to contact slurm controller (connect failure)": True,
    "Batch job submission failed: Slurm backup controller in standby mode": True,
    # job_submit/lua with slurm.log_user and slurm.ERROR, as sbatch 22.05.8 prints it; without a message it is among DOUBTS
    "give --account, please: see https://hpc.example.org\nsbatch: error: Batch job submission failed: Unspecified error": False,
    "job_submit: not authorized\nsbatch: error: Batch job submission failed: Unspecified error": False,
    "cli_filter plugin terminated with error": False,
}
DOUBTS = [
    failing("Batch job submission failed: Socket timed out on send/recv operation"),
    failing("Batch job submission failed: Zero Bytes were transmitted or received"),
    failing("Batch job submission failed: Unable to contact slurm controller (receive failure)"),
    failing("Batch job submission failed: Unspecified error"),
    *(
        failing(f"{said}\nsbatch: error: Batch job submission failed: Unspecified error")
        for said in ("slurm_unpack_received_msg: x", "If munged is up, restart", "Malformed RPC of type 4", " ")
    ),
    failing("", 137),
    "kill -s KILL $$",
    "echo 18; exit 1",
    "echo taken",
]


@pytest.mark.parametrize("text", LIMITS)
def test_a_limit_is_one_and_orphans_nothing(tmp_path: Path, text: str) -> None:
    """LimitError where nothing was taken; else what was taken stands, and the rest may be tried later."""
    with pytest.raises(LimitError, match="sbatch took none of 4 copies"):
        refused(Place(tmp_path / "first"), failing(text), "exit 9")
    place = Place(tmp_path / "second")

    queued = refused(place, "echo 17", failing(text), copies=8)

    assert queued.ids == by_copy("17_0", "17_1")
    assert {failure.retryable for failure in queued.refused.values()} == {True}
    assert len(place.calls("sbatch")) == 2


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_says_whether_later_is_better(tmp_path: Path, text: str) -> None:
    """An outage passes, a partition that is not there does not appear."""
    with pytest.raises(SchedulerError) as caught:
        refused(Place(tmp_path / "first"), failing(text), "exit 9")
    queued = refused(Place(tmp_path / "second"), "echo 17", failing(text))

    assert caught.value.retryable == REFUSALS[text]
    assert caught.value.refused
    assert {failure.retryable for failure in queued.refused.values()} == {REFUSALS[text]}
    assert text.split("\n", maxsplit=1)[0] in queued.refused[2].reason


def test_an_id_that_may_be_cut_is_none() -> None:
    """17 may be the beginning of 175: without the end of its answer nothing is known."""
    with pytest.raises(SchedulerError, match="find them by their tag"):
        SlurmScheduler().parse_submit(batch(2), said(f"\n{SUBMISSION_ID} chunk 0 2\n17"))


@pytest.mark.parametrize("doubt", DOUBTS)
@pytest.mark.parametrize("before", [(), ("echo 17",)], ids=["first", "second"])
def test_what_may_have_been_taken_is_never_called_refused(tmp_path: Path, before: tuple[str, ...], doubt: str) -> None:
    """Whoever tried again would run it twice: the error says so, and that the tag finds it."""
    with pytest.raises(SchedulerError, match="find them by their tag") as caught:
        refused(Place(tmp_path), *before, doubt, "echo 19")

    assert not caught.value.retryable
    assert not caught.value.refused
    assert not isinstance(caught.value, LimitError)


@pytest.mark.parametrize("text", ["", "Traceback (most recent call last):", "No space left on device"])
def test_a_failure_that_nobody_knows_is_no_refusal_for_certain(tmp_path: Path, text: str) -> None:
    """A site's own sbatch may fail behind Slurm's."""
    with pytest.raises(SchedulerError) as caught:
        refused(Place(tmp_path), f"echo {shlex.quote(text)} >&2; exit 1")

    assert not caught.value.refused


WORDS = {
    JobState.QUEUED: "PENDING PD CONFIGURING CF REQUEUED RQ REQUEUE_FED RF",
    JobState.HELD: "REQUEUE_HOLD RH RESV_DEL_HOLD RD SPECIAL_EXIT SE",
    JobState.RUNNING: "RUNNING R COMPLETING CG RESIZING RS SIGNALING SI STAGE_OUT SO SUSPENDED S STOPPED ST EXPEDITING",
    JobState.DONE: "COMPLETED CD",
    JobState.KILLED: "CANCELLED CA CANCELLED+",
    JobState.FAILED: "FAILED F TIMEOUT TO DEADLINE DL OUT_OF_MEMORY OOM NODE_FAIL NF BOOT_FAIL BF PREEMPTED PR",
    JobState.UNKNOWN: "REVOKED RV XYZZY ? COMPLETEDISH",
}


@pytest.mark.parametrize(("state", "word"), [(state, word) for state, text in WORDS.items() for word in text.split()])
def test_every_state_means_something(state: JobState, word: str) -> None:
    """Short or long, with the native word; one that nobody knows is UNKNOWN."""
    status = told(rows(("17_3", word, "0", "None")), "17_3")["17_3"]

    assert (status.state, status.native) == (state, word)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("TIMEOUT", "timeout"),
        ("DEADLINE", "timeout"),
        ("OUT_OF_MEMORY", "out_of_memory"),
        ("NODE_FAIL", "node_failure"),
        ("PREEMPTED", "preempted"),
        ("BOOT_FAIL", "launch_failure"),
        ("CANCELLED", None),
    ],
)
def test_an_end_has_its_reason(word: str, reason: str | None) -> None:
    """In the contract's words; who cancelled it Slurm does not say."""
    assert told(rows(("17", word, "0", "None")), "17")["17"].reason == reason


@pytest.mark.parametrize(
    "reason",
    [
        "JobHeldUser",
        "JobHeldAdmin",
        "job requeued in held state",
        "launch failed requeued held",
        "user env retrieval failed requeued held",
        "DependencyNeverSatisfied",
    ],
)
def test_what_waits_for_somebody_is_held(reason: str) -> None:
    """And what waits for something is queued."""
    answer = rows(("17_0", "PENDING", "0", reason), ("17_1", "PENDING", "0", "Priority"))

    states = told(answer, "17_0", "17_1")

    assert (states["17_0"].state, states["17_1"].state) == (JobState.HELD, JobState.QUEUED)
    assert reason in (states["17_0"].evidence or "")


@pytest.mark.parametrize(
    ("word", "ended", "state", "code", "number"),
    [
        ("COMPLETED", "0", "DONE", 0, None),
        ("COMPLETED", "0:0", "DONE", 0, None),
        ("COMPLETED", "256", "FAILED", 1, None),
        ("FAILED", "768", "FAILED", 3, None),
        ("FAILED", "3:0", "FAILED", 3, None),
        ("FAILED", "65280", "FAILED", 255, None),
        ("FAILED", "137:0", "FAILED", None, 9),
        ("FAILED", "32768", "FAILED", 128, None),
        ("FAILED", "193:0", "FAILED", 193, None),
        ("FAILED", "9", "FAILED", None, 9),
        ("FAILED", "137", "FAILED", None, 9),
        ("FAILED", "0:15", "FAILED", None, 15),
        ("FAILED", "0", "FAILED", None, None),
    ],
)
def test_an_end_has_its_code_or_signal(word: str, ended: str, state: str, code: int | None, number: int | None) -> None:
    """A wait status in 22.05, a code and a signal in 24.11; a code that a shell tells of a signal is that signal."""
    status = told(rows(("17_0", word, ended, "None")), "17_0")["17_0"]

    assert (status.state, status.exit_code, status.signal) == (state, code, number)


@pytest.mark.parametrize("ended", ["4021", "0:53"])
def test_what_slurm_could_not_launch_says_so(ended: str) -> None:
    """An error number of its own stands where the payload's end would."""
    status = told(rows(("17", "FAILED", ended, "JobLaunchFailure")), "17")["17"]

    assert (status.state, status.reason) == (JobState.FAILED, "launch_failure")


ACCOUNTED = "intercede: sacct -\n{}\nintercede: code {}\n"


def accounted(*rows: str, name: str = OURS, code: int = 0) -> str:
    """Write what sacct says."""
    return ACCOUNTED.format("\n".join(f"{row}|{name}" for row in rows), code)


def test_accounting_tells_ends_and_no_more() -> None:
    """What it calls running is not there any more; a code above 127 it does not tell as it was."""
    ends = (
        "17_0|COMPLETED|0:0",
        "17_1|FAILED|9:0",
        "17_2|CANCELLED by 1000|0:0",
        "17_3|RUNNING|0:0",
        "17_4|FAILED|0:9",
    )

    states = told(rows() + accounted(*ends), *(f"17_{task}" for task in range(6)))

    assert [states[f"17_{task}"].state for task in range(5)] == ["DONE", "FAILED", "KILLED", "UNKNOWN", "FAILED"]
    assert (states["17_1"].exit_code, states["17_4"].signal, states["17_3"].native) == (None, 9, "RUNNING")
    assert states["17_2"].native == "CANCELLED by 1000"
    assert "17_5" not in states


def test_squeue_is_believed_before_accounting() -> None:
    """A job that was queued anew has an older end there."""
    answer = rows(("17_0", "RUNNING", "0", "None")) + accounted("17_0|NODE_FAIL|0:0")

    assert told(answer, "17_0")["17_0"].state is JobState.RUNNING


def test_where_accounting_is_away_nothing_is_absent() -> None:
    """UNKNOWN, and why: absence would end what we killed, for ever. Where there is none, squeue knows all."""
    away = told(
        rows()
        + f"intercede: unlisted 17_0@{SUBMISSION_ID}-0\n"
        + ACCOUNTED.format("sacct: error: Connection refused", 1),
        "17_0",
        "17_1",
    )
    none = told(rows() + ACCOUNTED.format("Slurm accounting storage is disabled", 1), "17_0")

    assert [*away] == ["17_0"]
    assert away["17_0"].state is JobState.UNKNOWN
    assert "Connection refused" in (away["17_0"].evidence or "")
    assert none == {}


@pytest.mark.parametrize("row", ["17", "17_[0-2,5]", "17_[0-9:1%2]"])
def test_an_array_that_never_began_is_one_row(row: str) -> None:
    """It is about each task that has none of its own."""
    states = told(rows((row, "CANCELLED", "0", "None"), ("17_1", "COMPLETED", "0", "None")), "17_0", "17_1", "170_0")

    assert (states["17_0"].state, states["17_1"].state) == (JobState.KILLED, JobState.DONE)
    assert "170_0" not in states


def test_a_row_of_what_waits_is_not_about_a_task_that_is_gone() -> None:
    """A task that is cancelled before it began is forgotten, and its array still waits."""
    assert told(rows() + accounted("17|PENDING|0:0"), "17_0") == {}


def test_the_same_number_in_two_clusters_is_two_jobs() -> None:
    """And a cluster that nobody asked tells nothing."""
    answer = rows(("17_0", "RUNNING", "0", "None")) + rows(("17_0", "FAILED", "256", "None"), cluster="east")

    states = told(answer, "17_0", "17_0;east", "17_0;west")

    assert {name: status.state for name, status in states.items()} == {
        "17_0": JobState.RUNNING,
        "17_0;east": JobState.FAILED,
    }


def test_all_are_asked_about_at_once(place: Place) -> None:
    """One squeue for any number of copies, two ids at least, and sacct for nobody that squeue lists."""
    place.answer("squeue", listing(*(f"17_{task}" for task in range(9))) + listing("18", word="PENDING"))
    ids = known(*(f"17_{task}" for task in range(9)), "18")

    result = place.run(SlurmScheduler().status_script(), ids)

    assert sorted(SlurmScheduler().parse_status(ids, result)) == sorted(ids)
    (words,) = place.calls("squeue")
    assert "--jobs=17,18,17" in words
    assert f"--user={os.getuid()}" in words
    assert place.calls("sacct") == []


def test_each_cluster_is_asked_once_and_accounting_for_the_rest_only(place: Place) -> None:
    """By the cluster's name; what is no id of ours is asked about nowhere."""
    place.answer("squeue", f"case $* in *east*)\n{listing('3')};; *)\n{listing('17_0')};; esac")
    place.answer("sacct", f"echo '19|FAILED|1:0|{OURS}'")
    ids = [*known("17_0", "17_1", "3;east", "x;east", "-x", "17_", "19"), "17_2", "17_2@", "17_2@-0", "17_2@x"]

    states = called(SlurmScheduler().parse_status(ids, place.run(SlurmScheduler().status_script(), ids)))

    assert {name: status.state for name, status in states.items()} == {
        "17_0": JobState.RUNNING,
        "3;east": JobState.RUNNING,
        "19": JobState.FAILED,
    }
    asked = [word for words in place.calls("squeue") for word in words if word.startswith(("--jobs", "--clusters"))]
    again = ["--jobs=17,19,17"]
    assert sorted(asked) == sorted(["--clusters=east", "--jobs=17,19,17", "--jobs=3,3", *again])
    (words,) = place.calls("sacct")
    assert {"--jobs=17,19,17", f"--name={OURS},{OURS}", f"--user={os.getuid()}"} <= set(words)


def test_a_task_that_squeue_loses_is_asked_for_again(place: Place) -> None:
    """Of `1-999:2` it lists 1 to 997, in 22.05 and in 24.11; written as a range it is whole."""
    waiting = listing("17_[1-999:2]", word="PENDING", reason="JobHeldUser")
    place.answer("squeue", listing("17_997", word="PENDING", reason="Priority"), waiting)
    ids = known("17_997", "17_998", "17_999")

    states = called(SlurmScheduler().parse_status(ids, place.run(SlurmScheduler().status_script(), ids)))

    assert {name: status.state for name, status in states.items()} == {
        "17_997": JobState.QUEUED,
        "17_999": JobState.HELD,
    }


def test_many_arrays_are_some_calls(tmp_path: Path) -> None:
    """Two thousand to a call, before and after: a command's arguments have an end."""
    place = Place(tmp_path)
    place.run(SlurmScheduler().kill_script(), known(*(f"{number}_0" for number in range(4500))))

    assert len(place.calls("squeue")) == 6


def test_a_squeue_that_fails_is_no_empty_answer(place: Place) -> None:
    """An outage may pass; anything else does not; one of several clusters is enough."""
    away = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    place.answer("squeue", f"case $* in *east*) echo '{away}' >&2; exit 1 ;; esac")
    ids = known("1", "2;east")
    with pytest.raises(SchedulerError, match="Unable to contact") as caught:
        SlurmScheduler().parse_status(ids, place.run(SlurmScheduler().status_script(), ids))
    assert caught.value.retryable

    place.forget()
    place.answer("squeue", "echo 'squeue: unrecognized option' >&2; exit 1")
    with pytest.raises(SchedulerError, match="unrecognized") as caught:
        SlurmScheduler().parse_kill(ids, place.run(SlurmScheduler().kill_script(), ids))
    assert not caught.value.retryable


def test_an_answer_without_its_end_is_none() -> None:
    """Whatever it says: the rest may have said more."""
    answer = said(rows(("17", "FAILED", "256", "None")))
    for parse in (SlurmScheduler().parse_status, SlurmScheduler().parse_kill):
        with pytest.raises(SchedulerError):
            parse(["17"], answer)
    with pytest.raises(SchedulerError):
        SlurmScheduler().parse_list(answer)


def expanded(words: Sequence[str]) -> list[str]:
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


def _in_cluster(names: Sequence[str], cluster: str) -> str:
    """Write a branch of a squeue that lists all of a cluster."""
    there = [job for job, _, behind in (name.partition(";") for name in names) if behind == cluster]
    return f"*{cluster}*)\n{listing(*there)};;\n"


@given(st.lists(IDS, max_size=40))
@settings(max_examples=25)
def test_exactly_the_copies_asked_are_ended(
    tmp_path_factory: pytest.TempPathFactory, ids: list[tuple[int, int | None, str]]
) -> None:
    """However they are mixed; each in the cluster that it is in."""
    names = [f"{job}{'' if task is None else f'_{task}'}{cluster}" for job, task, cluster in ids]
    place = Place(tmp_path_factory.mktemp("kill"))
    place.answer("squeue", "case $* in\n" + "".join(_in_cluster(names, each) for each in ("east", "west", "")) + "esac")

    place.run(SlurmScheduler().kill_script(), known(*names))

    ended: list[str] = []
    for words in place.calls("scancel"):
        cluster = words.pop(0).replace("--clusters=", ";") if words[0].startswith("--") else ""
        ended += [f"{each}{cluster}" for each in expanded(words)]
    assert set(ended) == set(names)


def test_many_copies_are_few_words(place: Place) -> None:
    """A thousand of one array are one; the brackets are no patterns for files."""
    (place.root / "17_0").touch()
    place.answer("squeue", listing("17_5"))

    place.run(SlurmScheduler().kill_script(), known(*(f"17_{task}" for task in range(1000))))
    place.run(SlurmScheduler().kill_script(), known(*(f"17_{2 * task}" for task in range(1000))))

    once, bounded = place.calls("scancel")
    assert once == ["17_[0-999]"]
    assert max(map(len, bounded)) < 1100


def test_a_kill_is_what_squeue_says_afterwards(place: Place) -> None:
    """What ends or has ended is ok, what scancel was denied is denied, and of what lives on nothing is said."""
    place.answer(
        "scancel", "echo 'scancel: error: Kill job error on job id 18_[0-1]: Access/permission denied' >&2; exit 210"
    )
    ending = listing("17_0", word="COMPLETING") + listing("17_1", word="CANCELLED")
    place.answer("squeue", ending + listing("17_2", "18_0"))
    ids = known("17_0", "17_1", "17_2", "17_3", "18_0", "18_1")

    outcomes = called(SlurmScheduler().parse_kill(ids, place.run(SlurmScheduler().kill_script(), ids)))

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
    place.answer("squeue", listing("17_0", "18", name=name) + listing("19"))
    place.answer("sacct", f"printf '%s\\n' {shlex.join([f'17_0|COMPLETED|0:0|{name}', f'18|FAILED|1:0|{name}'])}")
    scheduler, ids = SlurmScheduler(), known("17_0", "18", "19")

    assert [*called(scheduler.parse_status(ids, place.run(scheduler.status_script(), ids)))] == ["19"]
    assert scheduler.parse_kill(ids, place.run(scheduler.kill_script(), ids)) == {}
    assert place.calls("scancel") == [["19"]]
    assert told(rows() + accounted("17_0|COMPLETED|0:0", "18|FAILED|1:0", name=name), "17_0", "18") == {}


def test_a_number_that_two_submissions_of_ours_had_is_the_later_ones(place: Place) -> None:
    """After the controller lost its state: blackfish #484. The old ones are not there, and the new ones live on."""
    old, new = known("17_0", "17_1", submission_id="b" * 13), known("17_0", "17_1")
    place.answer("squeue", listing("17_0", "17_1"))
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


def test_a_row_of_waiting_tasks_is_about_those_of_its_name() -> None:
    """Also where it stands for a whole range, and where it cannot be read it is about all that have the number."""
    old, new = known("17_0", submission_id="b" * 13), known("17_0")
    waiting = said(rows(("17_[0-4]", "PENDING", "0", "Priority")) + "intercede: end\n")
    unreadable = said("intercede: squeue -\n17_0|?\nintercede: end\n")

    assert [*SlurmScheduler().parse_status([*old, *new], waiting)] == new
    assert {each.state for each in SlurmScheduler().parse_status([*old, *new], unreadable).values()} == {"UNKNOWN"}


def test_a_number_that_another_submission_s_array_has_is_not_ours(place: Place) -> None:
    """A task is none of the job that had its number alone."""
    place.answer("squeue", listing("17_0", "17_1") + listing("18"))
    ids = ["17", "18_0"]

    place.run(SlurmScheduler().kill_script(), known(*ids))

    assert place.calls("scancel") == []
    assert told(rows(("17_0", "RUNNING", "0", "None"), ("18", "RUNNING", "0", "None")), *ids) == {}


@pytest.mark.parametrize(
    "row",
    [
        "17_0|RUNNING|0|{}|ReqNodeNotAvail|Reserved|",
        "17_0|RUNNING|0|{}|",
        "17_0|RUNNING|many|{}|None|",
        "17_0|",
    ],
)
def test_what_squeue_lists_is_never_absent(row: str) -> None:
    """A reason may hold anything, and what cannot be read of a job that is listed is UNKNOWN."""
    answer = f"intercede: squeue -\n{row.format(OURS)}\n"

    status = told(answer, "17_0")["17_0"]

    assert status.state is (JobState.RUNNING if "Reserved" in row else JobState.UNKNOWN)
    assert SlurmScheduler().parse_kill(known("17_0"), said(f"{answer}intercede: end\n")) == {}


def test_accounting_that_stands_still_is_not_waited_for(place: Place) -> None:
    """Everybody would wait with it: what has no answer in ten seconds could not be asked."""
    place.put("timeout", '#!/bin/sh\n[ "$1" = 10 ] && shift && "$@" && exit 124\n')
    scheduler = SlurmScheduler()

    states = called(scheduler.parse_status(known("17"), place.run(scheduler.status_script(), known("17"))))

    assert states["17"].state is JobState.UNKNOWN
    assert len(place.calls("sacct")) == 1


def test_ten_thousand_are_read_in_no_time() -> None:
    """Also where each second one waits, and where all are asked of accounting."""
    ids = [f"17_{task}" for task in range(10_000)]
    every_second = ",".join(str(task) for task in range(0, 10_000, 2))
    answer = rows(*((each, "RUNNING", "0", "None") for each in ids[1::2]))
    answer += "".join(f"intercede: unlisted {each}@{SUBMISSION_ID}-0\n" for each in ids[::2])
    answer += rows((f"17_[{every_second}]", "PENDING", "0", "Priority"), ("18_[0-4000000000]", "PENDING", "0", "None"))
    began = time.process_time()

    states = told(answer + ACCOUNTED.format("", 124), *ids, "18_5")

    assert time.process_time() - began < 0.5  # some 0.03 where nothing else runs
    assert [states[each].state for each in ids] == [JobState.QUEUED, JobState.RUNNING] * 5000
    assert states["18_5"].state is JobState.QUEUED


def lost(place: Place, scheduler: SlurmScheduler, copies: int = 5) -> None:
    """Submit, and lose the answer."""
    place.answer("sbatch", "echo 17")
    place.run(scheduler.submit_script(batch(copies)))
    place.forget()


def found(place: Place, scheduler: SlurmScheduler, *, fence: bool = True) -> Mapping[int, str]:
    """Return what the list fragment finds: for whoever submits again what it does not, or for whoever only looks."""
    return scheduler.parse_list(
        place.run(f"IC_FENCE={'yes' if fence else ''}\n{scheduler.list_script(SUBMISSION_ID)}"),
    )


def began(place: Place, first: int, text: str) -> None:
    """Note that a chunk's job began, as the batch script does."""
    (place.root / SUBMISSION_ID / "slurm" / f"owner-{first}").write_text(f"{text}\n")


def test_a_lost_answer_is_found_by_name(place: Place) -> None:
    """Arrays are taken whole: by squeue's word, the oldest of one name; by their own, where squeue forgot them; else never."""
    scheduler = SlurmScheduler(max_array_size=2)
    lost(place, scheduler, 7)
    began(place, 4, "22 east")
    rows = [
        f"31|ic-{SUBMISSION_ID}-0",
        f"20|ic-{SUBMISSION_ID}-0",
        f"20|ic-{SUBMISSION_ID}-0",
        f"9|ic-{SUBMISSION_ID}-00",
        "8|other",
        "Welcome",
    ]
    place.answer("squeue", f"printf '%s\\n' {shlex.join(rows)}")

    assert found(place, scheduler) == by_copy("20_0", "20_1") | by_copy("22_0", "22_1", first=4)
    (words,) = place.calls("squeue")
    assert f"--name=ic-{SUBMISSION_ID}-0,ic-{SUBMISSION_ID}-2,ic-{SUBMISSION_ID}-4,ic-{SUBMISSION_ID}-6" in words


def test_every_cluster_is_searched(place: Place) -> None:
    """Those that it may have been submitted to; what began says in which."""
    scheduler = SlurmScheduler(clusters=["east", "west"], max_array_size=2)
    lost(place, scheduler, 3)
    began(place, 2, "22 east")
    place.answer("squeue", "true", f"echo '20|ic-{SUBMISSION_ID}-0'")

    assert found(place, scheduler) == by_copy("20_0;west", "20_1;west") | by_copy("22;east", first=2)


def test_who_is_found_stays_it(place: Place) -> None:
    """Of two jobs with one name, the one that was told runs, also where the other begins first, and is told again."""
    scheduler = SlurmScheduler(max_array_size=10)
    job = Job(place, "echo begun")
    place.answer("squeue", f"printf '%s\\n' '18|ic-{SUBMISSION_ID}-0' '17|ic-{SUBMISSION_ID}-0'")
    assert found(place, scheduler)[3] == f"17_3@{SUBMISSION_ID}-0"

    assert job.run(first=0, array="18") == (-53, "")
    assert job.run(first=0, array="17") == (0, "begun\n")
    place.answer("squeue", f"echo '18|ic-{SUBMISSION_ID}-0'")
    assert found(place, scheduler)[3] == f"17_3@{SUBMISSION_ID}-0"


def test_a_submission_that_never_came_to_sbatch_never_does(place: Place) -> None:
    """Nobody is asked, there is nothing, and whoever still queues it finds that it is over."""
    scheduler = SlurmScheduler()

    assert found(place, scheduler) == {}
    assert place.calls("squeue") == []
    with pytest.raises(SchedulerError, match="did not answer for each"):
        submitted(place, scheduler, batch(3))
    assert place.calls("sbatch") == []


def test_nothing_follows_what_was_looked_for(place: Place) -> None:
    """Who queues may be slow: of its later arrays nobody knew, so none is queued."""
    scheduler = SlurmScheduler(max_array_size=2)
    listing = place.stubs / "list"
    fragment = f"IC_FENCE=yes\n{scheduler.list_script(SUBMISSION_ID)}"
    listing.write_text(f"cd {place.root}\n{write_program('list', API, fragment)}")
    place.answer("sbatch", f"echo 17; {shlex.join(place.shell)} {listing} >{place.stubs}/told")
    place.answer("squeue", f"echo '17|ic-{SUBMISSION_ID}-0'")

    with pytest.raises(SchedulerError, match="somebody looked for this submission"):
        submitted(place, scheduler, batch(6))

    assert len(place.calls("sbatch")) == 1
    assert scheduler.parse_list(said((place.stubs / "told").read_text())) == by_copy("17_0", "17_1")
    assert found(place, scheduler) == by_copy("17_0", "17_1")


def test_who_look_at_once_are_told_the_same(place: Place) -> None:
    """Each fence and each note is somebody's, and good for all."""
    scheduler = SlurmScheduler(max_array_size=2)
    for _ in range(2):
        lost(place, scheduler, 9)
        place.answer("squeue", f"echo '20|ic-{SUBMISSION_ID}-2'; sleep 0.05")
        with ThreadPoolExecutor(4) as several:
            told = [each.result() for each in [several.submit(found, place, scheduler) for _ in range(4)]]
        assert told == [by_copy("20_0", "20_1", first=2)] * 4
        shutil.rmtree(place.root / SUBMISSION_ID)
        (place.root / SUBMISSION_ID).mkdir()


@pytest.mark.parametrize(("name", "text"), [("owner-0", ""), ("chunk-0", ""), ("chunk-0", "0\n"), ("chunk-0", "x\n")])
def test_what_a_crash_left_is_an_error_that_says_what_to_do(place: Place, name: str, text: str) -> None:
    """It says neither that something is there nor that nothing is."""
    lost(place, SlurmScheduler())
    (place.root / SUBMISSION_ID / "slurm" / name).write_text(text)

    with pytest.raises(SchedulerError, match=f"remove the directory {SUBMISSION_ID}"):
        found(place, SlurmScheduler())


def test_what_was_not_found_is_never_found(place: Place) -> None:
    """It may have been submitted again since, so it never begins, also where squeue comes to know it afterwards."""
    scheduler = SlurmScheduler(max_array_size=10)
    job = Job(place, "echo begun")

    assert found(place, scheduler) == {}
    place.answer("squeue", f"echo '17|ic-{SUBMISSION_ID}-0'")
    assert found(place, scheduler) == {}
    assert job.run(first=0, task=3) == (-53, "")


def test_who_only_looks_stops_nothing(place: Place) -> None:
    """Counting what there is takes nothing away from whoever submits meanwhile."""
    scheduler = SlurmScheduler(max_array_size=10)
    job = Job(place, "echo begun")

    assert found(place, scheduler, fence=False) == {}
    assert job.run(first=0, task=3) == (0, "begun\n")
    assert found(place, scheduler, fence=False)[3] == f"17_3@{SUBMISSION_ID}-0"


def test_what_cannot_be_fenced_is_not_called_absent(place: Place) -> None:
    """On a full disk, say: it might begin after all."""
    lost(place, SlurmScheduler())
    full = 'case $* in *owner*) echo "No space left" >&2; exit 1 ;; esac; exec /bin/mkdir "$@"'
    place.put("mkdir", f"#!/bin/sh\n{full}\n")

    with pytest.raises(SchedulerError, match="No space left"):
        found(place, SlurmScheduler())


def test_what_cannot_be_noted_is_not_queued(place: Place) -> None:
    """It could not be looked for."""
    place.put("mv", "#!/bin/sh\nexit 1\n")

    with pytest.raises(SchedulerError, match="note cannot be written"):
        submitted(place, SlurmScheduler(), batch(3))
    assert place.calls("sbatch") == []


def test_what_began_meanwhile_is_found(place: Place) -> None:
    """After squeue was asked."""
    lost(place, SlurmScheduler())
    place.answer("squeue", f"echo '22 east' >./{SUBMISSION_ID}/slurm/owner-0")

    assert found(place, SlurmScheduler()) == by_copy(*(f"22_{index}" for index in range(5)))


def test_a_line_that_says_it_waits_and_cannot_be_read_is_an_error(place: Place) -> None:
    """It is there, under an id that nobody knows."""
    lost(place, SlurmScheduler())
    place.answer("squeue", f"echo 'twenty|ic-{SUBMISSION_ID}-0'")
    with pytest.raises(SchedulerError, match="cannot be read"):
        found(place, SlurmScheduler())


@pytest.mark.parametrize("word", ["owned", "owned 22x east", "owned 22 my cluster", "begun 22 ", ""])
def test_what_became_of_a_chunk_is_understood_or_an_error(word: str) -> None:
    """What is not understood may have begun."""
    with pytest.raises(SchedulerError, match="cannot be read"):
        SlurmScheduler().parse_list(said(f"intercede: chunk {SUBMISSION_ID} 0 5 {word}\nintercede: end\n"))


class Job:
    """The batch script of a submission, to be run as slurmd runs it."""

    def __init__(self, place: Place, wrapper: str) -> None:
        self.here, self.shell = place.root / SUBMISSION_ID, place.shell
        lost(place, SlurmScheduler(max_array_size=10))
        for copy in ("3", "13"):
            (self.here / "copies" / copy).mkdir(parents=True)
        (self.here / "wrapper").write_text(wrapper)
        self.script = shutil.copy(self.here / "slurm" / "job", place.root / "spooled")

    def start(self, first: int = 10, count: int = 5, task: int = 3, array: str = "17") -> subprocess.Popen[str]:
        """Run a task."""
        environment = {
            "SLURM_SUBMIT_DIR": str(self.here),
            "SLURM_JOB_ID": str(18 + task),
            "SLURM_ARRAY_JOB_ID": array,
        }
        return subprocess.Popen(
            [*self.shell, str(self.script), str(first), str(count)],
            cwd="/",
            env={**os.environ, **environment, "SLURM_ARRAY_TASK_ID": str(task)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self, first: int = 10, task: int = 3, array: str = "17") -> tuple[int, str]:
        """Run a task to its end; return its code, and what it said."""
        started = self.start(first, task=task, array=array)
        stdout, _ = started.communicate()
        return started.returncode, stdout

    def record(self, text: str) -> None:
        """Write how the copy ended."""
        (self.here / "copies" / "13" / "exit").write_text(f"{text} 0 host 17_3 1\n")


@pytest.mark.parametrize(
    ("record", "code"),
    [("code 0", 0), ("code 3", 3), ("code 255", 255), ("signal 9", 137), ("caught 0", 0), ("caught 3", 3)],
)
def test_a_job_ends_as_its_payload_did(place: Place, record: str, code: int) -> None:
    """So that Slurm's own word for it is true."""
    job = Job(place, f'echo "{record} 0 host $IC_NATIVE 1" >"copies/$1/exit"')

    assert job.run() == (code, "")
    assert (job.here / "copies" / "13" / "exit").read_text() == f"{record} 0 host 17_3 1\n"


def test_a_job_without_a_record_ends_as_its_wrapper_did(place: Place) -> None:
    """Which tells so what it could not write."""
    assert Job(place, "exit 7").run() == (7, "")
    shutil.rmtree(place.root / SUBMISSION_ID)
    (place.root / SUBMISSION_ID).mkdir()
    assert Job(place, ': >"copies/$1/exit"; exit 126').run() == (126, "")


NOT_STARTED: Mapping[str, Callable[[Path], object]] = {
    "its directory is not there": lambda here: here.rename(here.with_name("away")),
    "nor its wrapper": lambda here: (here / "wrapper").unlink(),
    "nor the copy's": lambda here: (here / "copies" / "13").rmdir(),
    "its record cannot be written": lambda here: (here / "wrapper").write_text("exit 126"),
}


@pytest.mark.parametrize("what", NOT_STARTED)
def test_a_copy_that_was_not_started_has_no_exit_code(place: Place, what: str) -> None:
    """The job ends as Slurm shows what it could not launch itself: by a signal, as no payload's end is told."""
    job = Job(place, "exit 0")
    NOT_STARTED[what](job.here)

    code, _ = job.run()

    assert code == -53
    for ended in ("53", "0:53"):
        status = told(rows(("17_3", "FAILED", ended, "None")), "17_3")["17_3"]
        assert (status.state, status.reason, status.exit_code) == (JobState.FAILED, "launch_failure", None)


def test_every_task_of_one_array_begins_and_none_of_another(place: Place) -> None:
    """However many begin at once: the first notes whose the copies are. A job that Slurm has twice runs once."""
    job = Job(place, 'echo "$1"')
    for task in range(8):
        (job.here / "copies" / f"{10 + task}").mkdir(exist_ok=True)
    started = [job.start(count=8, task=task) for task in range(8)]

    assert sorted(each.communicate()[0] for each in started) == [f"{10 + task}\n" for task in range(8)]
    assert job.run(array="18") == (-53, "")
    assert (job.here / "slurm" / "owner-10").read_text() == "17 -\n"
    assert not [*(job.here / "slurm").glob("owner-10.*")]


def test_a_job_begins_or_is_not_there(place: Place) -> None:
    """Never neither, never both, when it begins while it is looked for and squeue does not know it yet."""
    for task in range(6):
        job = Job(place, "echo begun")
        place.answer("squeue", f"sleep 0.0{task}")
        started = job.start(first=0, task=3)
        there = found(place, SlurmScheduler(max_array_size=10))
        begun = "begun" in started.communicate()[0]
        assert begun == (3 in there)
        shutil.rmtree(job.here)
        job.here.mkdir()


def test_what_has_run_is_not_run_again_nor_queued_for_ever(place: Place) -> None:
    """A site may queue jobs anew by their exit code; one that a signal came to runs once more."""
    job = Job(place, 'echo again; echo "code 0 0 host x 2" >"copies/$1/exit"')
    job.record("code 3")
    assert job.run() == (0, "")
    for after_a_signal in ("signal 9", "caught 0", "caught 3"):
        job.record(after_a_signal)
        assert job.run() == (0, "again\n")


def test_one_copy_is_known_by_its_own_number(place: Place) -> None:
    """Also where whoever submitted was itself in an array, whose variables are here."""
    job = Job(place, 'echo "$1 $IC_NATIVE"')
    alone = job.start(first=13, count=1)

    assert alone.communicate()[0] == "13 21\n"


def test_the_batch_script_outlives_its_wrapper(place: Place) -> None:
    """Slurm's TERM goes to every process of the job, and the wrapper still has its record to write."""
    slow = 'trap "sleep 0.2; echo code 7 >copies/$1/exit.tmp; mv copies/$1/exit.tmp copies/$1/exit; exit" TERM; : >up; while :; do sleep 0.05; done'
    job = Job(place, slow)
    started = job.start()
    end = time.monotonic() + 30
    while not (job.here / "up").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
    for process in (started.pid, *map(int, children)):
        os.kill(process, signal.SIGTERM)

    started.communicate(timeout=30)
    assert started.returncode == 7


def test_the_payload_sees_nothing_of_ours(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that it is given keeps its value, and none is added but its native id, which the wrapper takes."""
    for name in ("index", "what", "number", "native"):
        monkeypatch.setenv(name, "theirs")
    job = Job(place, "env")
    environment = job.run()[1].splitlines()

    assert {f"{name}=theirs" for name in ("index", "what", "number", "native")} <= set(environment)
    assert [each for each in environment if each.startswith("ic_")] == []


def recordings(version: str) -> list[dict[str, Any]]:
    """Return what is shipped of a version."""
    return json.loads((RECORDED / f"{version}.json").read_text())  # type: ignore[no-any-return]  # test_it_ships holds it


def answers(version: str) -> list[dict[str, Any]]:
    """Return what Slurm's commands answered, in the same order."""
    return json.loads((ANSWERS / version / "answers.json").read_text())  # type: ignore[no-any-return]  # as above


class Replay:
    """A version's recorded life once more: fragments run where Slurm's commands are stubs that say what it said."""

    def __init__(self, tmp: Path) -> None:
        self.tmp = tmp
        shells = [tuple(shell.split()) for shell in SHELLS]
        self.places = {shell[0]: Place(tmp / shell[0], shell) for shell in shells if is_installed(shell[0])}
        self.schedulers: dict[str, SlurmScheduler] = {}

    def again(self, recording: Mapping[str, Any], answer: Mapping[str, Any], shell: str) -> CommandResult:
        """Run a recording's fragment."""
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
def test_fragments_make_of_real_answers_what_is_shipped(tmp_path: Path, version: str) -> None:
    """In each shell in turn; of the number of calls, too, none is more or less than on the real thing."""
    replay = Replay(tmp_path)
    shipped, answered = recordings(version), answers(version)
    assert [each["what"] for each in shipped] == [each["what"] for each in answered]
    for number, (recording, answer) in enumerate(zip(shipped, answered, strict=True)):
        shells = replay.places if recording["verb"] == "submit" else [[*replay.places][number % len(replay.places)]]
        for shell in shells:
            result = replay.again(recording, answer, shell)
            assert result.stdout.decode() == recording["stdout"], recording["what"]
            assert result.returncode == recording["returncode"], recording["what"]
            called = sum(len(replay.places[shell].calls(tool)) for tool in TOOLS)
            assert called == len(answer["calls"]), recording["what"]


STATUSES = [each for version in VERSIONS for each in recordings(version) if each["verb"] == "status"]


@given(st.sampled_from([each for each in STATUSES if each["returncode"] == 0]), st.data())
def test_a_damaged_answer_never_ends_a_job(recording: Mapping[str, Any], data: st.DataObject) -> None:
    """Lines that are lost, doubled, cut off or between others: part of the truth, or UNKNOWN, or an error."""
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
        states = SlurmScheduler().parse_status(recording["ids"], said(text))
    except SchedulerError:
        return
    for name, status in states.items():
        truth = recording["expected"].get(name, {}).get("state")
        assert status.state == truth or status.state is JobState.UNKNOWN, (name, text)


@given(st.sampled_from(STATUSES), st.binary(max_size=20), st.integers(0, 2000), st.integers(0, 40))
def test_bytes_of_any_kind_are_an_answer_or_an_error(
    recording: Mapping[str, Any], inserted: bytes, start: int, gone: int
) -> None:
    """No other exception, and nothing about a job that nobody asked about."""
    text = recording["stdout"].encode()
    result = CommandResult(returncode=0, stdout=text[:start] + inserted + text[start + gone :])
    scheduler = SlurmScheduler()
    for parse in (scheduler.parse_status, scheduler.parse_kill):
        try:
            assert set(parse(recording["ids"], result)) <= set(recording["ids"])
        except SchedulerError:
            continue


SUBMITS = [each for version in VERSIONS for each in recordings(version) if each["verb"] == "submit"]


@given(st.sampled_from(SUBMITS), st.data())
def test_a_damaged_answer_to_a_submission_loses_nothing(recording: Mapping[str, Any], data: st.DataObject) -> None:
    """With lines lost or the rest cut off, each copy has its true id or there is an error; what was taken is never called refused."""
    submission = Batch.model_validate(recording["batch"])
    lines = recording["stdout"].splitlines()
    kept = data.draw(st.lists(st.sampled_from(range(len(lines))), unique=True).map(sorted))
    text = "\n".join(lines[number] for number in kept) + "\n"
    text = text[: data.draw(st.integers(0, len(text)))] if data.draw(st.booleans()) else text
    try:
        queued = SlurmScheduler().parse_submit(submission, said(text, recording["stderr"], recording["returncode"]))
    except (SchedulerError, LimitError):
        return
    truth = recording["expected"]["ids"]
    assert {str(index): native for index, native in queued.ids.items()} == truth
