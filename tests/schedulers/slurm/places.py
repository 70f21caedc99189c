"""A root with stubs for Slurm's commands, and the texts that those commands print."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from intercede.batch.remote.api import write_api, write_program
from intercede.contract.job import JobStatus, Resources
from intercede.contract.scheduler import Batch, Queued
from intercede.contract.transport import CommandResult
from intercede.schedulers.slurm import SlurmScheduler

T = TypeVar("T")
SUBMISSION_ID = "a" * 13
OURS = f"ic-{SUBMISSION_ID}-0"
API = write_api(SlurmScheduler())
TOOLS = ("sbatch", "squeue", "sacct", "scancel", "scontrol")
SHELLS = ("dash", "bash --posix", "busybox sh")
RARE_SHELLS = ("mksh", "posh", "yash -o posixlycorrect", "zsh --emulate sh")
#: A stub that records how it was called, and runs the next script that a test gave it, or the one for all calls.
STUB = """\
#!/bin/sh
tool=${0##*/} number=0
while [ -e "$STUBS/log/$tool.$number" ]; do number=$((number + 1)); done
printf '%s\\0' "$@" >"$STUBS/log/$tool.$number"
for answer in "$STUBS/answers/$tool.$number" "$STUBS/answers/$tool"; do
    [ ! -e "$answer" ] || { . "$answer"; exit; }
done
"""


def format_ids(*jobs: str, first: int = 0, submission_id: str = SUBMISSION_ID) -> list[str]:
    """Return native ids of jobs of a chunk: the job's id in Slurm, and its name behind it."""
    return [f"{job}@{submission_id}-{first}" for job in jobs]


def index_ids(*jobs: str, first: int = 0) -> dict[int, str]:
    """Return native ids by the indexes of their copies."""
    return {first + number: native for number, native in enumerate(format_ids(*jobs, first=first))}


def make_batch(copies: int = 4, **resources: object) -> Batch:
    """Return a submission."""
    return Batch(submission_id=SUBMISSION_ID, copies=copies, resources=Resources.model_validate(resources))


def make_result(stdout: str, stderr: str = "", returncode: int = 0) -> CommandResult:
    """Return the result of a command."""
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
        """Put a program in front of an installed one."""
        (self.stubs / "bin" / tool).write_text(script)
        (self.stubs / "bin" / tool).chmod(0o700)

    def answer(self, tool: str, *scripts: str) -> None:
        """Give a stub one script for all of its calls, or one for each call."""
        for number, script in enumerate(scripts):
            self.answer_one(tool, None if len(scripts) == 1 else number, script)

    def answer_one(self, tool: str, number: int | None, script: str) -> None:
        """Give a stub a script for the call with this number, or for all calls if the number is None."""
        (self.stubs / "answers" / (tool if number is None else f"{tool}.{number}")).write_text(script)

    def run(self, fragment: str, ids: Sequence[str] | None = None, submission_id: str = SUBMISSION_ID) -> CommandResult:
        """Run a fragment as a batch backend does.

        A fragment that submits runs in the submission's directory, others in the root.
        """
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
        """Return the arguments of each call of a stub."""
        logs = sorted((self.stubs / "log").glob(f"{tool}.*"), key=lambda path: int(path.suffix[1:]))
        return [log.read_text().split("\0")[:-1] for log in logs]

    def forget(self) -> None:
        """Remove all calls and answers of the stubs."""
        for path in [*(self.stubs / "log").iterdir(), *(self.stubs / "answers").iterdir()]:
            path.unlink()


def submit(place: Place, scheduler: SlurmScheduler, submission: Batch) -> Queued:
    """Run the submit fragment, and parse its answer."""
    return scheduler.parse_submit(submission, place.run(scheduler.submit_script(submission)))


def format_squeue(*rows: tuple[str, str, str, str], cluster: str = "-", name: str = OURS) -> str:
    """Return the rows of squeue as the status fragment prints them."""
    return f"intercede: squeue {cluster}\n" + "".join(
        f"{job:40}|{word:24}|{code:12}|{name:40}|{reason:48}|\n" for job, word, code, reason in rows
    )


def write_squeue(*jobs: str, word: str = "RUNNING", name: str = OURS, reason: str = "None") -> str:
    """Return a script of a squeue that lists these jobs."""
    lines = "\n".join(f"{job} |{word} |0 |{name} |{reason} |" for job in jobs)
    return f"cat <<'E'\n{lines}\nE\n"


def parse_states(answer: str, *ids: str) -> dict[str, JobStatus]:
    """Return what an answer of the status fragment means, by Slurm's ids of the jobs."""
    return key_by_job(SlurmScheduler().parse_status(format_ids(*ids), make_result(f"{answer}intercede: end\n")))


def key_by_job(told: Mapping[str, T]) -> dict[str, T]:
    """Return the values by Slurm's ids of the jobs."""
    assert all(native.endswith(f"@{SUBMISSION_ID}-0") for native in told)
    return {native.partition("@")[0]: each for native, each in told.items()}


ACCOUNTED = "intercede: sacct -\n{}\nintercede: code {}\n"


def format_sacct(*rows: str, name: str = OURS, code: int = 0) -> str:
    """Return the rows of sacct as the status fragment prints them."""
    return ACCOUNTED.format("\n".join(f"{row}|{name}" for row in rows), code)


def submit_unanswered(place: Place, scheduler: SlurmScheduler, copies: int = 5) -> None:
    """Run the submit fragment, and ignore its answer."""
    place.answer("sbatch", "echo 17")
    place.run(scheduler.submit_script(make_batch(copies)))
    place.forget()


def find_jobs(place: Place, scheduler: SlurmScheduler, *, fence: bool = True) -> Mapping[int, str]:
    """Return the jobs that the list fragment finds, with or without a fence."""
    return scheduler.parse_list(
        place.run(f"IC_FENCE={'yes' if fence else ''}\n{scheduler.list_script(SUBMISSION_ID)}"),
    )


class Job:
    """The batch script of a submission, which runs as slurmd runs it."""

    def __init__(self, place: Place, wrapper: str) -> None:
        self.here, self.shell = place.root / SUBMISSION_ID, place.shell
        submit_unanswered(place, SlurmScheduler(max_array_size=10))
        for copy in ("3", "13"):
            (self.here / "copies" / copy).mkdir(parents=True)
        (self.here / "wrapper").write_text(wrapper)
        self.script = shutil.copy(self.here / "slurm" / "job", place.root / "spooled")

    def start(self, first: int = 10, count: int = 5, task: int = 3, array: str = "17") -> subprocess.Popen[str]:
        """Start a task."""
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
        """Run a task to its end, and return its exit code and its stdout."""
        started = self.start(first, task=task, array=array)
        stdout, _ = started.communicate()
        return started.returncode, stdout

    def record(self, text: str) -> None:
        """Write the record of a copy."""
        (self.here / "copies" / "13" / "exit").write_text(f"{text} 0 host 17_3 1\n")
