"""The words all roles share: what is asked for, how a job is named, and what came of it.

**job**: the resource's job (a Slurm task, an ARC activity), never a workload manager's. **copy**: one of the N jobs
of one submission. **sandbox**: the files a job reads and writes in its own working directory. **resource**: what one
configured backend talks to. **tag**: the consumer's token on a submission; several submissions may share one.

Every type is frozen, refuses unknown fields, takes keywords only, copies its mappings into read-only ones, and
raises pydantic's ``ValidationError``, a ``ValueError``, which names the field and never shows the value.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Never, Self, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretBytes,
    StrictBool,
    StringConstraints,
    TypeAdapter,
    WrapSerializer,
    model_validator,
)

from intercede.contract.errors import InvalidSpecError, ResourceError

__all__ = [
    "ContainerSpec",
    "CopyFailure",
    "CopyVars",
    "Diagnostics",
    "FileRef",
    "JobCounts",
    "JobHandle",
    "JobOutput",
    "JobState",
    "JobStatus",
    "OpOutcome",
    "OutputMember",
    "OutputSpec",
    "Resources",
    "Submission",
    "SubmissionSpec",
    "each_copy",
    "each_handle",
]

K = TypeVar("K")
V = TypeVar("V")

# Pydantic reads the entry points of every distribution when the first model is made, and raises for one unrelated bad
# file; only once, so it does that here, and a neighbour's bad file harms nobody.
with suppress(Exception):
    TypeAdapter(object)

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class _ReadOnly(Mapping[K, V]):
    """A mapping that nobody can change: hashable where its values are, picklable, shown as a dict."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[K, V]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: K) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __repr__(self) -> str:
        return repr(self._items)


def _plain(value: Mapping[K, V], handler: object) -> object:
    """Serialize a read-only mapping as the dict that it holds."""
    assert callable(handler)  # noqa: S101 -- pydantic's serializer, for the type checkers
    return handler(dict(value))


ReadOnly = Annotated[Mapping[K, V], AfterValidator(_ReadOnly), WrapSerializer(_plain)]
"""A mapping copied on the way in."""


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL, which no argument, value or name can carry")
    return text


def _carriable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds a lone surrogate, which is no text: decode what it came from as UTF-8") from None
    return _without_nul(text)


def _contained(name: str) -> str:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or str(path) != name:
        raise ValueError("must be a plain relative path that stays inside the working directory, like 'data/in.txt'")
    return name


def _file_name(name: str) -> str:
    if "/" in name:
        raise ValueError("must be a file name without '/'")
    return name


def _pattern(pattern: str) -> str:
    if pattern.startswith("/") or not {"", ".", ".."}.isdisjoint(pattern.split("/")):
        raise ValueError("must be a plain relative pattern inside the working directory, like 'logs/*.txt' or 'logs'")
    return pattern


def _url(text: str) -> str:
    if not _URL.match(text):
        raise ValueError("must be a URL, like 'https://host/path'")
    return text


Text = Annotated[str, AfterValidator(_carriable)]
"""Any text without NUL."""
Name = Annotated[str, StringConstraints(min_length=1), AfterValidator(_carriable)]
"""Text that is not empty."""
RelativePath = Annotated[Name, AfterValidator(_contained)]
"""A POSIX path inside the working directory."""
FileName = Annotated[RelativePath, AfterValidator(_file_name)]
"""One component of such a path."""
Url = Annotated[Text, AfterValidator(_url)]
Count = Annotated[int, Field(strict=True, ge=0)]
Positive = Annotated[int, Field(strict=True, ge=1)]
Environment = ReadOnly[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\z")], Text]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_carriable)]


def _local(path: str | Path) -> str | Path:
    _without_nul(str(path))
    if not str(path):
        raise ValueError("is empty: name a program or a local file")
    return path


def _keep_path(path: str | Path) -> str:
    """Write a Path so that reading it back still means a local file: a bare name would mean PATH."""
    return f"./{path}" if isinstance(path, Path) and "/" not in str(path) else str(path)


LocalOrName = Annotated[str | Path, AfterValidator(_local), PlainSerializer(_keep_path)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Resources(_Data):
    """What one copy asks of the resource. All but ``queue`` are requests: honoured, refused, or ignored."""

    cpus: Positive = 1
    """Cores."""
    memory_mb: Positive | None = None
    """Memory of the copy, in units of 2**20 bytes."""
    wall_time_s: Positive | None = None
    """Seconds that the copy may run."""
    gpus: Count = 0
    """Accelerators, of whatever kind the resource has."""
    queue: Name | None = None
    """Queue or partition. Kept or refused, never dropped."""


class FileRef(_Data):
    """A file that every copy finds in its working directory."""

    name: RelativePath
    """Where it lies in the working directory."""
    source: LocalOrName
    """A local path, read before ``submit`` returns; or a URL, which the resource fetches, or the backend refuses."""

    @property
    def is_url(self) -> bool:
        """Whether the resource is to fetch it."""
        return isinstance(self.source, str) and _URL.match(self.source) is not None


class OutputMember(_Data):
    """Files of the working directory that are wanted afterwards.

    ``*``, ``?`` and ``[]`` do not cross ``/``, ``**`` does; a leading dot is matched only where it is spelt out; what
    matches a directory takes all below it. A pattern without a match stands in ``JobOutput.missing``.
    """

    pattern: Annotated[Name, AfterValidator(_pattern)]
    """What to take, relative to the working directory."""
    destination: Url | None = None
    """None: kept for ``fetch_output``. A URL: the resource uploads it, or the backend refuses."""


class OutputSpec(_Data):
    """Which files come back, besides stdout and stderr."""

    members: tuple[OutputMember, ...] = ()
    include_unlisted: StrictBool = False
    """Also take what no member names; never inputs, the executable or secrets."""


class ContainerSpec(_Data):
    """The image that the payload runs in. Kept or refused, never dropped."""

    image: Name
    """As the resource's container runtime spells it."""


class CopyVars(_Data):
    """What one copy has that the others do not."""

    environment: Environment = Field(default_factory=dict, validate_default=True)
    """Added to the specification's; wins over it."""
    secrets: ReadOnly[FileName, SecretBytes] = Field(default_factory=dict, validate_default=True)
    """File name -> contents, delivered with mode 0600 into this copy's working directory, and nowhere else."""


class SubmissionSpec(_Data):
    """One payload, to be run as one or many copies.

    stdin is ``/dev/null``. The base environment is the resource's own.
    """

    executable: LocalOrName
    """A name without a slash is found on PATH there. A string with a slash, or any Path, is a local file, staged, and
    run whatever its mode: with its shebang, or by sh."""
    arguments: tuple[Text, ...] = ()
    """Arrive byte for byte."""
    inputs: tuple[FileRef, ...] = ()
    """Files that every copy finds."""
    outputs: OutputSpec = OutputSpec()
    """Files that come back."""
    resources: Resources = Resources()
    """What each copy asks for."""
    environment: Environment = Field(default_factory=dict, validate_default=True)
    """Added to the resource's own; names match ``[A-Za-z_][A-Za-z0-9_]*``."""
    container: ContainerSpec | None = None
    """The image to run in."""
    stdout: RelativePath | None = None
    """The file in the working directory that stdout goes to; None: one of the backend's own."""
    stderr: RelativePath | None = None
    """The same for stderr. Never the same file as stdout."""
    tag: Tag | None = None
    """What ``find`` knows the submission by. Whoever may cancel a ``submit`` gives one."""

    @property
    def staged_executable(self) -> Path | None:
        """The local file to stage and run, or None where the executable is a name to be found on PATH there."""
        local = isinstance(self.executable, Path) or "/" in self.executable
        return Path(self.executable) if local else None

    @model_validator(mode="after")
    def _files_differ(self) -> Self:
        names = [file.name for file in self.inputs] + [name for name in (self.stdout, self.stderr) if name]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"inputs, stdout and stderr must be different files: {twice} stand twice")
        return self


class JobHandle(_Data):
    """The name of one job: hashable, and the same after a JSON round trip, in another process, in another year.

    At most 512 characters in all; neither part holds a secret.
    """

    resource: Name
    """The same for every instance and process that sees the same jobs."""
    job: Name
    """Opaque to callers. To the backend it is data: checked against its own pattern before use, never a path, a pid
    or an expression. What does not match is ``UNKNOWN(foreign)``."""

    def __hash__(self) -> int:  # written out: type checkers do not see pydantic's, and handles are keys everywhere
        return hash((self.resource, self.job))

    def __iter__(self) -> Never:  # a model's own would make of one handle a collection of two wrong ones
        raise TypeError("one JobHandle was given where a collection of handles is expected: write [handle]")

    @model_validator(mode="after")
    def _is_short(self) -> Self:
        if len(self.resource) + len(self.job) > 512:  # noqa: PLR2004 -- the contract's number
            raise ValueError("resource and job must be at most 512 characters in all")
        return self


class CopyFailure(_Data):
    """Why one copy of a submission was not started."""

    reason: str
    retryable: StrictBool = False
    """True where submitting this copy again later may succeed."""


class Submission(_Data):
    """What became of each copy: exactly one of a handle and a failure."""

    handles: ReadOnly[int, JobHandle] = Field(default_factory=dict, validate_default=True)
    """Copy index -> the job that was started."""
    failures: ReadOnly[int, CopyFailure] = Field(default_factory=dict, validate_default=True)
    """Copy index -> why none was."""

    @model_validator(mode="after")
    def _answers_for_each_copy(self) -> Self:
        if sorted([*self.handles, *self.failures]) != list(range(len(self.handles) + len(self.failures))):
            raise ValueError("handles and failures must be disjoint and together cover 0 to the number of copies")
        return self

    def raise_for_failures(self) -> None:
        """Insist that every copy was started.

        Raises:
            ResourceError: One or more were not. ``failures`` and ``handles`` are this submission's; ``retryable`` is
                True where every failure is.
        """
        if self.failures:
            index, failure = min(self.failures.items())
            raise ResourceError(
                f"{len(self.failures)} of {len(self.handles) + len(self.failures)} copies were not started; "
                f"copy {index}: {failure.reason}",
                failures=self.failures,
                handles=self.handles,
                retryable=all(failure.retryable for failure in self.failures.values()),
            )


class JobState(StrEnum):
    """Where a job is. DONE, FAILED and KILLED are final; UNKNOWN is not."""

    QUEUED = "QUEUED"
    """Accepted and not yet running: waiting, being configured, staging in."""
    HELD = "HELD"
    """Waiting for somebody to release it, error-held included."""
    RUNNING = "RUNNING"
    """The payload has started: also suspended, completing, staging out, which ``native`` tells apart."""
    DONE = "DONE"
    """Ended with exit code 0. /bin/false cannot get here."""
    FAILED = "FAILED"
    """Ended in any other way by itself, or could not start. ``reason`` says how."""
    KILLED = "KILLED"
    """Ended because somebody asked for it."""
    UNKNOWN = "UNKNOWN"
    """Nothing can be said: never ours, purged, or lost. Absence is never success."""

    @property
    def final(self) -> bool:
        """Whether the state will not change, except to UNKNOWN once purged or past the resource's retention."""
        return self in _FINAL


_FINAL = frozenset({JobState.DONE, JobState.FAILED, JobState.KILLED})

Reason = Literal[
    "exit_code",
    "signal",
    "timeout",
    "out_of_memory",
    "node_failure",
    "preempted",
    "launch_failure",
    "killed_by_user",
    "killed_by_site",
    "staging",
    "lost",
    "purged",
    "foreign",
]
OutcomeReason = Literal["unknown", "foreign", "running", "denied", "other"]


class JobStatus(_Data):
    """Where one job is, and how that is known."""

    state: JobState
    exit_code: Count | None = None
    """The payload's, where it exited: KILLED, or FAILED by ``timeout``, if it was asked to end. Never set together with ``signal``."""
    signal: Positive | None = None
    """The number of the signal that ended it."""
    reason: Reason | None = None
    """Why it is in this state, in the contract's words."""
    native: str | None = None
    """The resource's own word for the state."""
    evidence: str | None = None
    """Free text: where the verdict came from."""

    @model_validator(mode="after")
    def _one_ending(self) -> Self:
        if self.exit_code is not None and self.signal is not None:
            raise ValueError("exit_code and signal must not both be set: a job ends in one way")
        return self


class JobOutput(_Data):
    """What one job wrote, as far as it could be had."""

    ok: StrictBool
    """True where everything that was to come is here, apart from what stands in ``missing``."""
    reason: str | None = None
    """Why not: a word of ``OpOutcome.reason`` or ``limit``; after a colon, whatever helps."""
    stdout: Path | None = None
    stderr: Path | None = None
    log: Path | None = None
    """What the resource itself wrote about the job."""
    files: ReadOnly[str, Path] = Field(default_factory=dict, validate_default=True)
    """POSIX name in the working directory -> the file under ``dest``."""
    missing: tuple[str, ...] = ()
    """Patterns that matched nothing; and by its name what a pattern matched that is a link, a fifo or a device, if that is told."""


class OpOutcome(_Data):
    """What became of one job of a ``kill`` or a ``purge``."""

    ok: StrictBool
    reason: OutcomeReason | None = None
    """Set exactly where ``ok`` is False."""
    detail: str | None = None

    @model_validator(mode="after")
    def _says_why_not(self) -> Self:
        if self.ok != (self.reason is None):
            raise ValueError("reason must be given where ok is False, and only there")
        return self


class JobCounts(_Data):
    """Jobs submitted through this resource by this user with intercede, by state."""

    queued: Count
    """QUEUED or HELD."""
    running: Count


class Diagnostics(_Data):
    """The output of an unfinished job so far."""

    text: str


def each_copy(copies: int | Sequence[CopyVars]) -> tuple[CopyVars, ...]:
    """Turn the ``copies`` of a ``submit`` into one ``CopyVars`` a copy.

    Raises:
        InvalidSpecError: Fewer than one copy, or something else than a number and CopyVars.
    """
    if isinstance(copies, int) and not isinstance(copies, bool):
        expanded: tuple[object, ...] = (CopyVars(),) * copies
    else:
        expanded = tuple(copies) if isinstance(copies, Sequence) else (copies,)
    if not expanded or not all(isinstance(each, CopyVars) for each in expanded):
        # What was given may hold secrets in the wrong wrapping: only its types are told.
        given = f"of {', '.join(sorted({type(each).__name__ for each in expanded}))}" if expanded else "empty"
        what = copies if isinstance(copies, int) else f"a {type(copies).__name__} {given}"
        raise InvalidSpecError(
            f"copies must be a number of at least 1, or a sequence of at least one CopyVars, not {what}",
            field="copies",
            value=what,
        )
    return tuple(each for each in expanded if isinstance(each, CopyVars))


def each_handle(handles: Iterable[JobHandle]) -> tuple[JobHandle, ...]:
    """Return the handles that a verb was given, each once, in their order.

    Raises:
        TypeError: Something else was given, such as a submission; the message says what to write.
    """
    given: object = handles
    if isinstance(given, Mapping | Submission):
        raise TypeError(
            "a collection of handles is expected, and those of a submission are keyed by copy: "
            "write submission.handles.values()"
        )
    each = cast("tuple[object, ...]", tuple(handles))
    wrong = sorted({type(one).__name__ for one in each if not isinstance(one, JobHandle)})
    if wrong:
        raise TypeError(
            f"a collection of handles is expected, not one of {', '.join(wrong)}: give what submit or find returned, "
            "or JobHandle(resource=..., job=...) of what was written down"
        )
    return tuple(dict.fromkeys(one for one in each if isinstance(one, JobHandle)))
