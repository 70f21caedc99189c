"""Record real answers of a scheduler: ``python -m intercede.testing record NAME DIRECTORY``.

Run the command on a machine that has the scheduler's commands. The command submits one copy and then three copies, each
of which sleeps for some seconds. It queries their status until all have ended, kills some of them, and writes the
answers to ``DIRECTORY/recorded.json``. Each recording *expects* the results of the parsers: read it before you ship it.
"""

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from intercede.batch.remote.api import Verb, write_api, write_program
from intercede.contract.errors import IntercedeError, ResourceError
from intercede.contract.job import Resources
from intercede.contract.scheduler import Batch, Queued, Scheduler
from intercede.contract.transport import CommandResult
from intercede.testing.subjects.subject import make_registry

__all__ = ["main", "record"]

_SECONDS = 120.0
"""The time limit, in seconds, for all jobs of a submission to end."""
_PAYLOAD_SECONDS = 4
_PLAIN: TypeAdapter[object] = TypeAdapter(object)


@dataclass
class _SubmissionDirectory:
    """A root directory with one submission. It runs fragments as a batch backend does."""

    root: Path
    submission_id: str
    api: str

    def __post_init__(self) -> None:
        (self.root / self.submission_id).mkdir()
        (self.root / self.submission_id / "wrapper").write_text(f"sleep {_PAYLOAD_SECONDS}\n", "utf-8")

    def run(self, verb: Verb, fragment: str, ids: Sequence[str] = (), copies: int = 1) -> CommandResult:
        (self.root / "ids").write_text("".join(f"{each}\n" for each in ids), "utf-8")
        ended = subprocess.run(  # noqa: S603 -- the fragments are run on purpose
            ["sh", "-c", write_program(verb, self.api, fragment, copies)],  # noqa: S607 -- sh is found as by a transport
            cwd=self.root / self.submission_id if verb == "submit" else self.root,
            env={**os.environ, "IC_IDS": str(self.root / "ids")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        code = ended.returncode if ended.returncode >= 0 else 128 - ended.returncode
        return CommandResult(returncode=code, stdout=ended.stdout, stderr=ended.stderr)


def record(scheduler: Scheduler, queue: str | None = None) -> Iterator[dict[str, object]]:
    """Submit jobs on this machine, and yield recordings of the answers.

    Raises:
        IntercedeError: A submission is refused, or an answer cannot be parsed.
    """
    for copies, killed in ((1, 0), (3, 2)):
        with tempfile.TemporaryDirectory(prefix="intercede-", ignore_cleanup_errors=True) as root:
            place = _SubmissionDirectory(Path(root), "a" + secrets.token_hex(6), write_api(scheduler))
            yield from _of_submission(scheduler, place, copies, killed, queue)


def _of_submission(
    scheduler: Scheduler, place: _SubmissionDirectory, copies: int, killed: int, queue: str | None
) -> Iterator[dict[str, object]]:
    batch = Batch(submission_id=place.submission_id, copies=copies, resources=Resources(queue=queue))
    result = place.run("submit", scheduler.submit_script(batch), copies=copies)
    queued = scheduler.parse_submit(batch, result)
    plain = batch.model_dump(mode="json", exclude_defaults=True)
    yield _write_recording("submit", result, queued, f"copies: {copies}", batch=plain)
    listed = place.run("list", scheduler.list_script(place.submission_id))
    yield _write_recording(
        "list", listed, scheduler.parse_list(listed), "right after the submission", submission_id=place.submission_id
    )
    ids = list(queued.ids.values())
    watched = _watch_calls(scheduler, place, ids)
    yield next(watched)
    if asked := ids[:killed]:
        ended = place.run("kill", scheduler.kill_script(), asked)
        yield _write_recording(
            "kill", ended, scheduler.parse_kill(asked, ended), f"killed: {killed} of {copies}", ids=asked
        )
    yield from watched


def _watch_calls(scheduler: Scheduler, place: _SubmissionDirectory, ids: Sequence[str]) -> Iterator[dict[str, object]]:
    """Yield a recording for each change of a status, until all jobs have ended."""
    end, last = time.monotonic() + _SECONDS, None
    while time.monotonic() < end:
        result = place.run("status", scheduler.status_script(), ids)
        statuses = scheduler.parse_status(ids, result)
        words = {job: (status.state, status.native) for job, status in statuses.items()}
        if words != last:
            plain = {job: status.model_copy(update={"evidence": None}) for job, status in statuses.items()}
            yield _write_recording(
                "status", result, plain, "then" if last else "right after the submission", ids=list(ids)
            )
        if all(status.state.final for status in statuses.values()):
            return
        last = words
        time.sleep(0.5)
    raise ResourceError(f"jobs of {place.submission_id} have not ended within {_SECONDS:g} s: end them by hand")


def _write_recording(
    verb: str, result: CommandResult, meaning: object, what: str, **question: object
) -> dict[str, object]:
    plain = _PLAIN.dump_python(meaning, mode="json", exclude_none=True, exclude_defaults=isinstance(meaning, Queued))
    return {
        "what": what,
        "verb": verb,
        **question,
        "returncode": result.returncode,
        "stdout": result.stdout.decode("utf-8", "surrogateescape"),
        "stderr": result.stderr.decode("utf-8", "surrogateescape"),
        "expected": plain,
    }


def main(arguments: Sequence[str]) -> int:
    """Run the command ``record``, and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m intercede.testing record", description=__doc__)
    parser.add_argument("name", help="the scheduler: a registered name, or a configuration in JSON")
    parser.add_argument("directory", type=Path, help="where recorded.json is written")
    parser.add_argument("--queue", help="the queue to submit to")
    asked = parser.parse_args(arguments)
    config: object = json.loads(asked.name) if asked.name.startswith("{") else asked.name
    try:
        scheduler = make_registry().scheduler(config)  # type: ignore[arg-type]  # the registry reports what is wrong
        recordings = list(record(scheduler, asked.queue))
    except IntercedeError as error:
        print(error, file=sys.stderr)  # noqa: T201 -- a command prints
        return 1
    asked.directory.mkdir(parents=True, exist_ok=True)
    path = asked.directory / "recorded.json"
    # Each recording is written on its own line, so that changes are easy to review.
    lines = ",\n".join(map(json.dumps, recordings))
    path.write_text(f"[\n{lines}\n]\n", "utf-8")
    print(f"{path}: {len(recordings)} recordings. Read what they expect before you ship them.")  # noqa: T201 -- as above
    return 0
