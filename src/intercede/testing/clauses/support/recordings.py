r"""Recordings: real answers of a scheduler, each with its meaning. The author of the scheduler ships them.

The recordings are the ``*.json`` files in a directory ``recordings`` beside the module of the scheduler's class. If a
package has several schedulers, the directory is ``recordings/MODULE``. A class that inherits has the recordings of its
base class, unless the class brings its own. Each file holds one recording, or a list of recordings::

    {"verb": "status", "ids": ["17.0@a0123456789ab", "17.1@a0123456789ab"], "returncode": 0,
     "stdout": "17.0 a0123456789ab R\n", "stderr": "", "what": "of two jobs one is listed", "version": "9.2",
     "expected": {"17.0@a0123456789ab": {"state": "RUNNING", "native": "R"}}}
"""

import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import Field, TypeAdapter, ValidationError

from intercede.contract.job import JobStatus, OpOutcome, _Data
from intercede.contract.scheduler import Batch, NativeId, Queued, SubmissionId
from intercede.contract.transport import CommandResult
from intercede.testing.run.context import CheckFailed

__all__ = [
    "EXAMPLE",
    "KillRecording",
    "ListRecording",
    "Raises",
    "Recording",
    "StatusRecording",
    "SubmitRecording",
    "list_places",
    "load_recordings",
    "read_recordings",
]

EXAMPLE = """\
[
  {"verb": "submit", "batch": {"submission_id": "a0123456789ab", "copies": 2, "resources": {}}, "returncode": 0,
   "stdout": "queued as 17\\n", "stderr": "",
   "expected": {"ids": {"0": "17.0@a0123456789ab", "1": "17.1@a0123456789ab"}}},
  {"verb": "status", "ids": ["17.0@a0123456789ab", "17.1@a0123456789ab"], "returncode": 0,
   "stdout": "17.0 a0123456789ab R\\n", "stderr": "",
   "expected": {"17.0@a0123456789ab": {"state": "RUNNING", "native": "R"}}},
  {"verb": "status", "ids": ["17.0@a0123456789ab"], "returncode": 1, "stdout": "",
   "stderr": "cannot connect to server\\n", "expected": {"raises": "SchedulerError"}},
  {"verb": "kill", "ids": ["17.0@a0123456789ab"], "returncode": 0, "stdout": "", "stderr": "", "expected": {}},
  {"verb": "list", "submission_id": "a0123456789ab", "returncode": 0, "stderr": "",
   "stdout": "17.0 a0123456789ab\\n17.1 a0123456789ab\\n",
   "expected": {"0": "17.0@a0123456789ab", "1": "17.1@a0123456789ab"}}
]"""


class Raises(_Data):
    """The expected result of a recording for which the parser must raise an error."""

    raises: Literal["SchedulerError", "LimitError"]
    retryable: bool | None = None
    """The value that ``retryable`` of the error must have. None means that any value is accepted."""


class _Answer(_Data):
    returncode: Annotated[int, Field(strict=True, ge=0, le=255)]
    stdout: str
    stderr: str
    what: str = ""
    """A note for readers that says how the recording was made."""
    version: str = ""
    """The version of the scheduler, as a note for readers."""

    @property
    def result(self) -> CommandResult:
        """The answer of the fragment, as a parser gets it."""
        stdout, stderr = (each.encode("utf-8", "surrogateescape") for each in (self.stdout, self.stderr))
        return CommandResult(returncode=self.returncode, stdout=stdout, stderr=stderr)


class SubmitRecording(_Answer):
    """The answer of the fragment that submits jobs."""

    verb: Literal["submit"]
    batch: Batch
    expected: Queued | Raises


class StatusRecording(_Answer):
    """The answer of the fragment that queries statuses. Only the fields that the recording gives are compared."""

    verb: Literal["status"]
    ids: tuple[NativeId, ...]
    expected: Mapping[NativeId, JobStatus] | Raises


class KillRecording(_Answer):
    """The answer of the fragment that kills jobs. Only the fields that the recording gives are compared."""

    verb: Literal["kill"]
    ids: tuple[NativeId, ...]
    expected: Mapping[NativeId, OpOutcome] | Raises


class ListRecording(_Answer):
    """The answer of the fragment that finds the jobs of a submission."""

    verb: Literal["list"]
    submission_id: SubmissionId
    expected: Mapping[int, NativeId] | Raises


Recording = SubmitRecording | StatusRecording | KillRecording | ListRecording

_ONE: TypeAdapter[Recording] = TypeAdapter(Annotated[Recording, Field(discriminator="verb")])


def list_places(scheduler: object) -> list[Path]:
    """Return the directories that may hold the recordings of a scheduler, in the order in which they are tried."""
    found: list[Path] = []
    for each in type(scheduler).__mro__:
        try:
            file = Path(inspect.getfile(each))
        except (TypeError, OSError):  # the class is a built-in
            continue
        word = file.parent.name if file.stem == "__init__" else file.stem
        found += [file.parent / "recordings" / word, file.parent / "recordings"]
    return list(dict.fromkeys(found))


def load_recordings(scheduler: object) -> tuple[Recording, ...]:
    """Read the recordings of a scheduler from the first directory that has recordings.

    Return an empty tuple if no directory has recordings.

    Raises:
        CheckFailed: A file does not have the format that the module describes.
    """
    for place in list_places(scheduler):
        if files := sorted(place.glob("*.json")):
            return tuple(each for file in files for each in read_recordings(file))
    return ()


def read_recordings(file: Path) -> Iterator[Recording]:
    """Read the recordings in a file.

    Raises:
        CheckFailed: The file does not have the format that the module describes.
    """
    try:
        data: object = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # too many nested brackets cause a RecursionError
        raise CheckFailed(f"a recording in {file}", f"it is not valid JSON: {error}") from error
    for number, each in enumerate(cast("list[object]", data) if isinstance(data, list) else [data]):
        try:
            recording = _ONE.validate_python(each)
            _ = recording.result  # halves of surrogate pairs cannot be encoded
        except ValidationError as error:
            wrong = "; ".join(f"{_place(one['loc'])}: {one['msg']}" for one in error.errors(include_url=False))
            raise CheckFailed(f"recording {number} of {file} to be of the described form", wrong) from error
        except UnicodeEncodeError as error:
            raise CheckFailed(f"recording {number} of {file} to be text", str(error)) from error
        yield recording


def _place(loc: tuple[int | str, ...]) -> str:
    return ".".join(map(str, loc)) or "the recording"
