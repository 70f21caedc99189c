"""The data that all roles share: what a job needs, how it is named, and how it ended.

**job**: the resource's job (a Slurm task, an ARC activity), never a workload manager's. **copy**: one of the N jobs
of one submission. **sandbox**: the files that a job reads and writes in its own working directory. **resource**: the
system that one configured backend talks to. **tag**: a text that the caller gives a submission; several submissions
may have the same tag.

Every type is frozen, refuses unknown fields, takes keyword arguments only, and copies its mappings into read-only
mappings. A wrong value raises pydantic's ``ValidationError``, a ``ValueError`` that names the field and never shows the
value.
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

# When the first model is made, pydantic reads the entry points of every installed distribution, and raises an error if
# a file of an unrelated distribution is invalid. The next lines make pydantic read the entry points now, and ignore the
# error. pydantic reads the entry points only once.
with suppress(Exception):
    TypeAdapter(object)

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class _ReadOnly(Mapping[K, V]):
    """A read-only mapping that can be pickled and has the repr of a dict. It is hashable if its values are hashable."""

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


def _serialize_read_only(value: Mapping[K, V], handler: object) -> object:
    """Serialize a read-only mapping as a dict."""
    assert callable(handler)  # noqa: S101 -- pydantic's serializer, for the type checkers
    return handler(dict(value))


ReadOnly = Annotated[Mapping[K, V], AfterValidator(_ReadOnly), WrapSerializer(_serialize_read_only)]
"""The type of a model's field whose value is a mapping. The model stores a read-only copy of the mapping."""


def _refuse_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds a NUL, which no argument, value or name may hold")
    return text


def _check_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds a lone surrogate, which is not text: decode the original bytes as UTF-8") from None
    return _refuse_nul(text)


def _check_relative_path(name: str) -> str:
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or str(path) != name:
        raise ValueError("must be a plain relative path that stays inside the working directory, like 'data/in.txt'")
    return name


def _check_file_name(name: str) -> str:
    if "/" in name:
        raise ValueError("must be a file name without '/'")
    return name


def _check_pattern(pattern: str) -> str:
    if pattern.startswith("/") or not {"", ".", ".."}.isdisjoint(pattern.split("/")):
        raise ValueError("must be a plain relative pattern inside the working directory, like 'logs/*.txt' or 'logs'")
    return pattern


def _check_url(text: str) -> str:
    if not _URL.match(text):
        raise ValueError("must be a URL, like 'https://host/path'")
    return text


Text = Annotated[str, AfterValidator(_check_text)]
"""Text that UTF-8 can encode, without a NUL."""
Name = Annotated[str, StringConstraints(min_length=1), AfterValidator(_check_text)]
"""Text that is not empty."""
RelativePath = Annotated[Name, AfterValidator(_check_relative_path)]
"""A POSIX path inside the working directory."""
FileName = Annotated[RelativePath, AfterValidator(_check_file_name)]
"""The name of a file, without a slash."""
Url = Annotated[Text, AfterValidator(_check_url)]
Count = Annotated[int, Field(strict=True, ge=0)]
Positive = Annotated[int, Field(strict=True, ge=1)]
Environment = ReadOnly[Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\z")], Text]
Tag = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_check_text)]


def _check_local(path: str | Path) -> str | Path:
    _refuse_nul(str(path))
    if not str(path):
        raise ValueError("is empty: name a program or a local file")
    return path


def _write_path(path: str | Path) -> str:
    """Return a path as text, with ``./`` before a ``Path`` that has no slash.

    In ``executable``, a text without a slash is the name of a program to search for on the remote PATH.
    """
    return f"./{path}" if isinstance(path, Path) and "/" not in str(path) else str(path)


LocalOrName = Annotated[str | Path, AfterValidator(_check_local), PlainSerializer(_write_path)]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Resources(_Data):
    """The cores, memory, time, accelerators and queue that one copy requests.

    A backend may honour, refuse or ignore each of these requests, but it never ignores ``queue``.
    """

    cpus: Positive = 1
    """The number of cores."""
    memory_mb: Positive | None = None
    """The memory of the copy in units of 2**20 bytes."""
    wall_time_s: Positive | None = None
    """The maximum number of seconds for which the copy runs."""
    gpus: Count = 0
    """The number of accelerators, of any kind that the resource has."""
    queue: Name | None = None
    """The queue or partition. The backend uses it or refuses the submission, and never ignores it."""


class FileRef(_Data):
    """A file that every copy finds in its working directory."""

    name: RelativePath
    """The file's path in the working directory."""
    source: LocalOrName
    """A local path or a URL. ``submit`` reads a local file before it returns. The resource fetches a URL if it can."""

    @property
    def is_url(self) -> bool:
        """Return whether the source is a URL, which the resource has to fetch."""
        return isinstance(self.source, str) and _URL.match(self.source) is not None


class OutputMember(_Data):
    """A pattern for files of the working directory that are fetched after the job ends.

    ``*``, ``?`` and ``[]`` do not match ``/``, but ``**`` does. A leading dot must be written out. If a directory
    matches, everything below it is taken. A pattern without a match is listed in ``JobOutput.missing``.
    """

    pattern: Annotated[Name, AfterValidator(_check_pattern)]
    """The pattern of the files, relative to the working directory."""
    destination: Url | None = None
    """The URL to which the resource uploads the files. A backend may refuse any URL. If ``destination`` is None, the
    files are kept for ``fetch_output``."""


class OutputSpec(_Data):
    """The files that are fetched in addition to stdout and stderr."""

    members: tuple[OutputMember, ...] = ()
    include_unlisted: StrictBool = False
    """If True, the files that match no pattern are fetched as well, except inputs, the executable and secrets."""


class ContainerSpec(_Data):
    """The container image in which the payload runs. The backend uses it or refuses the submission."""

    image: Name
    """The image's name in the form that the resource's container runtime uses."""


class CopyVars(_Data):
    """The environment variables and secrets that only one copy of a submission gets."""

    environment: Environment = Field(default_factory=dict, validate_default=True)
    """The variables of this copy. They override the variables of the specification."""
    secrets: ReadOnly[FileName, SecretBytes] = Field(default_factory=dict, validate_default=True)
    """File name -> content. Each file is written with mode 0600 into the copy's working directory, and nowhere else."""


class SubmissionSpec(_Data):
    """The specification of one payload, which runs as one copy or as many copies.

    The payload's stdin is ``/dev/null``. The variables of ``environment`` are added to the resource's own environment.
    """

    executable: LocalOrName
    """The program: a name that is searched for on the remote PATH, or a local file that is copied to the resource.

    A string without a slash is a name. A string with a slash, or any ``Path``, is a local file. The file is run by its
    shebang, or by ``sh`` if it has no shebang, whatever the file's mode is.
    """
    arguments: tuple[Text, ...] = ()
    """The arguments of the executable. They reach the executable unchanged, byte for byte."""
    inputs: tuple[FileRef, ...] = ()
    """The files that every copy finds in its working directory."""
    outputs: OutputSpec = OutputSpec()
    """The files that are fetched after the job ends."""
    resources: Resources = Resources()
    """The cores, memory, time, accelerators and queue that each copy requests."""
    environment: Environment = Field(default_factory=dict, validate_default=True)
    """Variables in addition to the resource's own environment. Their names match ``[A-Za-z_][A-Za-z0-9_]*``."""
    container: ContainerSpec | None = None
    """The container image in which the payload runs."""
    stdout: RelativePath | None = None
    """The file in the working directory that receives stdout. If ``stdout`` is None, the backend chooses a file."""
    stderr: RelativePath | None = None
    """The file in the working directory that receives stderr. It must differ from ``stdout``."""
    tag: Tag | None = None
    """The name by which ``find`` finds the submission. Set a tag if you may cancel ``submit``: a cancelled call
    returns no handles, so only the tag finds the jobs that the call has started."""

    @property
    def staged_executable(self) -> Path | None:
        """Return the path of the local file that is copied and run, or None if ``executable`` is a program's name."""
        local = isinstance(self.executable, Path) or "/" in self.executable
        return Path(self.executable) if local else None

    @model_validator(mode="after")
    def _check_file_names(self) -> Self:
        names = [file.name for file in self.inputs] + [name for name in (self.stdout, self.stderr) if name]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"inputs, stdout and stderr must be different files, but {twice} occur twice")
        return self


class JobHandle(_Data):
    """The name of one job. It is hashable, and names the job in any process and at any later time.

    A handle that is written as JSON and read back is unchanged. The two texts of a handle have at most 512 characters
    in all, and hold no secret.
    """

    resource: Name
    """The name of the resource. It is the same for every backend and process that sees the same jobs."""
    job: Name
    """The name of the job on the resource. The name is opaque to callers. The backend treats the name as untrusted
    data: it checks the name against a pattern, and never uses the name as a path, a pid or an expression. If the name
    does not match the backend's pattern, the job's state is ``UNKNOWN`` with the reason ``foreign``."""

    def __hash__(self) -> int:  # type checkers do not see pydantic's __hash__, and handles are dictionary keys
        return hash((self.resource, self.job))

    def __iter__(self) -> Never:
        # pydantic's __iter__ would yield the two fields, so a single handle would be mistaken for a collection of
        # handles.
        raise TypeError("expected a collection of handles, not a single JobHandle: write [handle]")

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        if len(self.resource) + len(self.job) > 512:  # noqa: PLR2004 -- the contract's number
            raise ValueError("resource and job must be at most 512 characters in all")
        return self


class CopyFailure(_Data):
    """The reason why one copy of a submission was not started."""

    reason: str
    retryable: StrictBool = False
    """True if submitting this copy again later may succeed."""


class Submission(_Data):
    """The result of ``submit``: a handle or a failure for each copy."""

    handles: ReadOnly[int, JobHandle] = Field(default_factory=dict, validate_default=True)
    """Copy index -> the handle of the job that was started."""
    failures: ReadOnly[int, CopyFailure] = Field(default_factory=dict, validate_default=True)
    """Copy index -> the reason why no job was started for the copy."""

    @model_validator(mode="after")
    def _check_indices(self) -> Self:
        if sorted([*self.handles, *self.failures]) != list(range(len(self.handles) + len(self.failures))):
            raise ValueError("handles and failures must be disjoint and together cover 0 to the number of copies")
        return self

    def raise_for_failures(self) -> None:
        """Raise an error unless every copy was started.

        Raises:
            ResourceError: At least one copy was not started. The error has this submission's ``failures`` and
                ``handles``. The error's ``retryable`` is True if every failure is retryable.
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
    """The state of a job. DONE, FAILED and KILLED are final; UNKNOWN is not."""

    QUEUED = "QUEUED"
    """The job is accepted and does not run yet: it waits, is being configured, or stages in."""
    HELD = "HELD"
    """The job waits until a person releases it. A job that the scheduler holds after an error is HELD as well."""
    RUNNING = "RUNNING"
    """The payload has started. A job that is suspended, completing or staging out is RUNNING as well. In
    ``JobStatus.native``, the resource's own word distinguishes these cases."""
    DONE = "DONE"
    """The payload ended with exit code 0."""
    FAILED = "FAILED"
    """The job could not start, or it ended on its own with a failure, such as a nonzero exit code. The failure is named
    in ``JobStatus.reason``."""
    KILLED = "KILLED"
    """The job ended because a person or program requested its end."""
    UNKNOWN = "UNKNOWN"
    """The state is unknown: the job was purged or lost, or it belongs to another resource. An absent job never
    counts as DONE."""

    @property
    def final(self) -> bool:
        """True if the job has ended.

        A final state can only change to UNKNOWN, when the job is purged or the resource's retention time is over.
        """
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
    """The state of one job, and the evidence for it."""

    state: JobState
    exit_code: Count | None = None
    """The payload's exit code, or None if the payload did not exit with a code. ``exit_code`` and ``signal`` are never
    both set. A payload that handles a signal may still exit with a code. The state of such a job is KILLED, or FAILED
    with the reason ``timeout``."""
    signal: Positive | None = None
    """The number of the signal that ended the job."""
    reason: Reason | None = None
    """The reason for the state: one of the words that the contract defines for reasons."""
    native: str | None = None
    """The native state: the resource's own word for the state."""
    evidence: str | None = None
    """A text for people that says where the state was read."""

    @model_validator(mode="after")
    def _check_ending(self) -> Self:
        if self.exit_code is not None and self.signal is not None:
            raise ValueError("exit_code and signal must not both be set: a job ends in one way")
        return self


class JobOutput(_Data):
    """The output of one job, as far as it could be fetched."""

    ok: StrictBool
    """True if the output was fetched completely, apart from the names in ``missing``."""
    reason: str | None = None
    """The reason why the output is incomplete: one of the reasons of ``OpOutcome``, or ``limit``. A colon and details
    may follow the reason."""
    stdout: Path | None = None
    stderr: Path | None = None
    log: Path | None = None
    """A log that the resource itself wrote about the job."""
    files: ReadOnly[str, Path] = Field(default_factory=dict, validate_default=True)
    """POSIX path in the working directory -> the fetched file below ``dest``."""
    missing: tuple[str, ...] = ()
    """The patterns that matched no file. A backend may add the names of links, fifos and devices that a pattern
    matched, because these are not fetched."""


class OpOutcome(_Data):
    """The result of ``kill`` or ``purge`` for one job."""

    ok: StrictBool
    reason: OutcomeReason | None = None
    """The reason why the operation failed, or None if ``ok`` is True."""
    detail: str | None = None

    @model_validator(mode="after")
    def _check_reason(self) -> Self:
        if self.ok != (self.reason is None):
            raise ValueError("reason must be given if ok is False, and only then")
        return self


class JobCounts(_Data):
    """The numbers of queued and running jobs that this user submitted to this resource with intercede."""

    queued: Count
    """The number of jobs that are QUEUED or HELD."""
    running: Count


class Diagnostics(_Data):
    """The output that an unfinished job has written so far."""

    text: str


def each_copy(copies: int | Sequence[CopyVars]) -> tuple[CopyVars, ...]:
    """Return one ``CopyVars`` for each copy, given the argument ``copies`` of ``submit``: a number or a sequence.

    Raises:
        InvalidSpecError: ``copies`` is less than 1, is an empty sequence, or holds anything but CopyVars.
    """
    if isinstance(copies, int) and not isinstance(copies, bool):
        expanded: tuple[object, ...] = (CopyVars(),) * copies
    else:
        expanded = tuple(copies) if isinstance(copies, Sequence) else (copies,)
    if not expanded or not all(isinstance(each, CopyVars) for each in expanded):
        # An invalid value may be a secret, so the error shows only the types of the values.
        given = f"of {', '.join(sorted({type(each).__name__ for each in expanded}))}" if expanded else "empty"
        what = copies if isinstance(copies, int) else f"a {type(copies).__name__} {given}"
        raise InvalidSpecError(
            f"copies must be a number of at least 1, or a sequence of at least one CopyVars, not {what}",
            field="copies",
            value=what,
        )
    return tuple(each for each in expanded if isinstance(each, CopyVars))


def each_handle(handles: Iterable[JobHandle]) -> tuple[JobHandle, ...]:
    """Return the handles that a caller passed to a backend, in their order and without duplicates.

    Raises:
        TypeError: The argument is not a collection of handles: for example, it is a submission. The message says what
            to write instead.
    """
    given: object = handles
    if isinstance(given, Mapping | Submission):
        raise TypeError(
            "expected a collection of handles; those of a submission are the values of a mapping: "
            "write submission.handles.values()"
        )
    each = cast("tuple[object, ...]", tuple(handles))
    wrong = sorted({type(one).__name__ for one in each if not isinstance(one, JobHandle)})
    if wrong:
        raise TypeError(
            f"expected a collection of handles, not of {', '.join(wrong)}: pass those that submit or find returned, "
            "or JobHandle(resource=..., job=...) with the values that you stored"
        )
    return tuple(dict.fromkeys(one for one in each if isinstance(one, JobHandle)))
