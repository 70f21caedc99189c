"""A scheduler queues work on a machine. Its methods are pure functions that turn jobs into text, and text into facts.

The methods do no I/O and read no clock, so that recorded answers can test them. They return fragments of POSIX sh,
which ask the machine at run time.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Protocol, Self, runtime_checkable

from pydantic import Field, StringConstraints, field_validator, model_validator

from intercede.contract.job import (
    CopyFailure,
    JobStatus,
    OpOutcome,
    Positive,
    ReadOnly,
    RelativePath,
    Resources,
    _Data,
)
from intercede.contract.transport import CommandResult

__all__ = ["Batch", "Queued", "Scheduler", "ToolEnvironment"]

NativeId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._;@\[\]][A-Za-z0-9._;@\[\]-]{0,199}\z")]
"""A scheduler's own name for one job. It has no newline and no blank, and does not begin with ``-``.

A queue that loses its state gives the same number again. So an id holds more than a number, such as the submission id
(``17.0@SUBMISSION_ID``), unless the queue never gives an id twice.
"""
SubmissionId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{12}\z")]
"""The id of one submission."""


class Batch(_Data):
    """The facts about one submission that a scheduler gets. A Batch holds no payload, environment, secret or tag."""

    submission_id: SubmissionId
    """The id of the submission. The queue sees it as the job's name or comment."""
    copies: Positive
    resources: Resources
    carry_shared: tuple[RelativePath, ...] = ()
    """Files in the submission's directory that every copy needs, for a scheduler that stages files itself."""
    carry_copy: tuple[RelativePath, ...] = ()
    """Files that one copy needs, for a scheduler that stages files itself. ``{index}`` means the copy's index."""
    returns: tuple[RelativePath, ...] = ()
    """Files that one copy writes, for a scheduler that stages files itself. ``{index}`` means the copy's index."""


class Queued(_Data):
    """The scheduler's answer to a submission. Each index of ``range(copies)`` is in one of the two mappings."""

    ids: ReadOnly[int, NativeId] = Field(default_factory=dict, validate_default=True)
    """Copy index -> the native id of the copy."""
    refused: ReadOnly[int, CopyFailure] = Field(default_factory=dict, validate_default=True)
    """Copy index -> why the scheduler refused it, for instance because a limit was reached."""


_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\z")]
_Pattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\*?\z")]
"""The name of a variable, or its beginning and ``*``. The remote shell uses the text unquoted in a ``case``."""
_NEEDED = ("HOME", "IFS", "LC_ALL", "PATH")
_OURS = ("IC_", "_ic_", "ic_")


class ToolEnvironment(_Data):
    """The environment variables that a scheduler's tools must not see: they would change a submission or an answer.

    Each pattern is a variable's name, or the beginning of one and ``*``. It cannot match HOME, IFS, LC_ALL, PATH, nor a
    name that begins with ``IC_``, ``ic_`` or ``_ic_``.

    ::

        ToolEnvironment(unset=("PLAINQ_*",), keep=("PLAINQ_ACCOUNT",))
    """

    unset: tuple[_Pattern, ...] = ()
    """Variables that are unset for every tool."""
    keep: tuple[_Pattern, ...] = ()
    """Variables that are never unset, even if another pattern matches."""
    job_variable: _Name | None = None
    """A variable that the scheduler sets inside a job. Jobs that are submitted inside a job inherit its variables."""
    unset_in_job: tuple[_Pattern, ...] = ()
    """Variables that are unset if ``job_variable`` is set and not empty."""

    @field_validator("unset", "unset_in_job")
    @classmethod
    def _check_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            stem, star = pattern.removesuffix("*"), pattern.endswith("*")
            needed = [name for name in _NEEDED if name == stem or (star and name.startswith(stem))]
            needed += [f"{name}*" for name in _OURS if stem.startswith(name) or (star and name.startswith(stem))]
            if needed:
                raise ValueError(f"{pattern!r} would unset {needed[0]}, which fragments need")
        return patterns

    @model_validator(mode="after")
    def _check_job_variable(self) -> Self:
        if self.unset_in_job and self.job_variable is None:
            raise ValueError("unset_in_job needs job_variable: the variable that is set inside of a job")
        return self


@runtime_checkable
class Scheduler(Protocol):
    """Writes fragments of POSIX sh that run on the remote machine, and parses their answers. Plugins do not inherit it.

    A fragment may use sh, the scheduler's commands and the utilities of POSIX. It calls every tool with ``</dev/null``.
    The fragment that submits runs in the submission's directory, and makes ``sh ./wrapper INDEX`` run once for each
    index. The other fragments are about many submissions. They run in the directory above, and read ids from the file
    ``$IC_IDS``, one a line.

    The fragment that submits runs in the original environment, because payloads inherit it. It writes ``ic_tool``
    before each of the scheduler's own commands (``ic_tool sbatch ...``). Such a command runs with ``LC_ALL=C``, and
    without the variables that ``tool_environment`` names. The other fragments run like that as a whole. A fragment may
    call four functions of intercede, the same in every verb: ``ic_tool``, ``ic_read_record``, ``ic_forget_secrets`` and
    ``ic_report_ids``. docs/reference/types.md describes them. ``result`` is the fragment's own exit code, stdout and
    stderr, without anything that a login shell added.

    Two methods are optional. ``tool_environment() -> ToolEnvironment`` names the variables that the tools must not see;
    without it there are none. ``min_poll_interval() -> float`` returns the minimum number of seconds between two status
    listings; the default is 5.
    """

    @abstractmethod
    def stages_own_files(self) -> bool:
        """Return whether the scheduler itself copies files to the nodes and back.

        This version of BatchBackend expects one file system, and refuses a scheduler that returns True.
        """
        ...

    @abstractmethod
    def submit_script(self, batch: Batch) -> str:
        """Write the fragment that queues every copy of a submission.

        The fragment prints native ids as soon as it has them.

        Raises:
            UnsupportedSpecError: ``batch.resources`` asks for something that this scheduler cannot do.
        """
        ...

    @abstractmethod
    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Parse the answer of the fragment that submits: the native id of each copy, or the reason of its refusal.

        If a limit refused a later chunk of copies, these are ``refused`` and retryable. An exception would orphan the
        chunks before it.

        Raises:
            LimitError: The scheduler's own limit refused all copies.
            SchedulerError: The scheduler refused all copies, or the answer cannot be parsed.
        """
        ...

    @abstractmethod
    def status_script(self) -> str:
        """Write the fragment that lists the jobs of ``$IC_IDS``."""
        ...

    @abstractmethod
    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        """Return the status of each id that the scheduler lists. Leave out any other id: it is never final.

        If the listing has the same number under another name, that job is another user's, and the id is not listed.

        A native state that is not known is UNKNOWN, with the native word. If a payload handled the signal that ended
        it, and exited with 0, only the scheduler knows the reason: a time limit, a cancellation, a preemption. List
        such a job for as long as the scheduler knows it. If a job is not listed, an exit code 0 after a signal is not
        a success.

        Raises:
            SchedulerError: The command failed or reported an outage; never an empty answer instead.
        """
        ...

    @abstractmethod
    def kill_script(self) -> str:
        """Write the fragment that ends the jobs of ``$IC_IDS``.

        It must not end another job to which the queue has given the number of one of them.
        """
        ...

    @abstractmethod
    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, OpOutcome]:
        """Return the outcome of a kill for each id.

        If an id is absent, the listing that the same command has printed decides: the kill is ok if the job is not
        listed, or has ended.

        Raises:
            SchedulerError: The command failed or reported an outage.
        """
        ...

    @abstractmethod
    def list_script(self, submission_id: str) -> str:
        """Write the fragment that finds the native ids of a submission.

        If the variable ``IC_FENCE`` is not empty, the caller submits every copy again that is not reported. A request
        that the scheduler has not read yet must then never start, or the fragment must fail. If the variable is empty,
        the caller only looks, and nothing may be kept from starting.
        """
        ...

    @abstractmethod
    def parse_list(self, result: CommandResult) -> Mapping[int, str]:
        """Return copy index -> native id, for a submission whose answer was lost.

        Raises:
            SchedulerError: The command failed or reported an outage.
        """
        ...
