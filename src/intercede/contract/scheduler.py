"""A scheduler queues work on a machine: pure functions between jobs and text, so it can be replayed and fuzzed.

No I/O and no clock: what it wants to know there, its fragments ask there, in POSIX sh, at run time.
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
"""What a scheduler calls one job: safe in a file with one a line and, quoted, in any shell; no option of any command.

Queues lose their state and give a number again. So an id holds more than a number, as the submission's stamp
(``17.0@STAMP``), unless the queue itself never gives one twice.
"""
Stamp = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{12}\z")]
"""The id of one submission."""


class Batch(_Data):
    """What a scheduler learns of one submission: never the payload, the environment, a secret or the tag."""

    stamp: Stamp
    """The submission's id: the only word of ours that reaches the scheduler, as a job's name or comment."""
    copies: Positive
    resources: Resources
    carry_shared: tuple[RelativePath, ...] = ()
    """Names in the submission's directory that every copy needs: for schedulers that stage files themselves."""
    carry_copy: tuple[RelativePath, ...] = ()
    """Names that one copy needs, with ``{index}`` for its index."""
    returns: tuple[RelativePath, ...] = ()
    """Names that come back from one copy, with ``{index}``."""


class Queued(_Data):
    """The scheduler's answer to a submission: together ``range(copies)``."""

    ids: ReadOnly[int, NativeId] = Field(default_factory=dict, validate_default=True)
    """Copy index -> native id."""
    refused: ReadOnly[int, CopyFailure] = Field(default_factory=dict, validate_default=True)
    """Copy index -> why it was not taken, for instance because a limit was reached."""


_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\z")]
_Pattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\*?\z")]
"""Nothing else: it becomes a pattern of a remote shell's ``case``."""
_NEEDED = ("HOME", "IFS", "LC_ALL", "PATH")
_OURS = ("IC_", "_ic_", "ic_")


class ToolEnvironment(_Data):
    """Which environment variables a scheduler's own tools must not see, because they would change what is submitted or answered.

    Each pattern is a variable's name, or the beginning of one and ``*``. It cannot match HOME, IFS, LC_ALL, PATH, nor a name
    that begins with ``IC_``, ``ic_`` or ``_ic_``.

    ::

        ToolEnvironment(unset=("PLAINQ_*",), keep=("PLAINQ_ACCOUNT",))
    """

    unset: tuple[_Pattern, ...] = ()
    """Unset for every tool."""
    keep: tuple[_Pattern, ...] = ()
    """Never unset, although another pattern matches."""
    job_variable: _Name | None = None
    """A variable that the scheduler sets inside of a job: a submission from there inherits the outer job's variables."""
    unset_in_job: tuple[_Pattern, ...] = ()
    """Unset if ``job_variable`` is set and not empty."""

    @field_validator("unset", "unset_in_job")
    @classmethod
    def _spare_what_is_needed(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            stem, star = pattern.removesuffix("*"), pattern.endswith("*")
            needed = [name for name in _NEEDED if name == stem or (star and name.startswith(stem))]
            needed += [f"{name}*" for name in _OURS if stem.startswith(name) or (star and name.startswith(stem))]
            if needed:
                raise ValueError(f"{pattern!r} would unset {needed[0]}, which fragments need")
        return patterns

    @model_validator(mode="after")
    def _know_the_job(self) -> Self:
        if self.unset_in_job and self.job_variable is None:
            raise ValueError("unset_in_job needs job_variable: the variable that is set inside of a job")
        return self


@runtime_checkable
class Scheduler(Protocol):
    """Fragments of POSIX sh to be run there, and what their answers mean. Nobody inherits it.

    A fragment may use sh, the scheduler's commands and what POSIX calls utilities; every tool is called with
    ``</dev/null``. The one that submits runs in the submission's directory and sees to it that ``sh ./wrapper INDEX``
    runs once for each index. The others are about many submissions and run in the directory above; ids come to them in
    the file ``$IC_IDS``, one a line.

    A fragment that submits runs in the environment as it was found, for the payloads' sake. It writes ``ic_tool`` before
    each of the scheduler's own commands (``ic_tool sbatch ...``): these then run with ``LC_ALL=C``, and without the variables
    that ``tool_environment`` names. The other fragments run like that as a whole. Of intercede a fragment may call the
    functions ``ic_tool``, ``ic_read_record``, ``ic_forget_secrets`` and ``ic_report_ids``, the same in each verb, and nothing
    else: docs/reference/types.md describes them. ``result`` is the fragment's own exit code, stdout and stderr, without
    whatever a login shell added.

    An object of a class with a method ``tool_environment() -> ToolEnvironment`` names the variables that its tools must not
    see; by default there are none. A method ``min_poll_interval() -> float`` gives the minimum number of seconds between two
    of its status listings; the default is 5.
    """

    @abstractmethod
    def stages_own_files(self) -> bool:
        """Whether the scheduler carries ``carry_shared``, ``carry_copy`` and ``returns`` itself.

        BatchBackend of this version expects one file system, and refuses a scheduler that answers True.
        """
        ...

    @abstractmethod
    def submit_script(self, batch: Batch) -> str:
        """Write the fragment that queues every copy of a submission.

        Whatever it learns of native ids it prints as soon as it has it.

        Raises:
            UnsupportedSpecError: ``batch.resources`` asks for what this scheduler cannot do.
        """
        ...

    @abstractmethod
    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Tell from the fragment's answer which copy got which native id.

        A later chunk that a limit refused is ``refused``, retryable, for its copies: no exception that would orphan
        the chunks before it.

        Raises:
            LimitError: The scheduler's own limit refused all of it.
            SchedulerError: It refused all of it, or the answer cannot be understood.
        """
        ...

    @abstractmethod
    def status_script(self) -> str:
        """Write the fragment that lists the jobs of ``$IC_IDS``."""
        ...

    @abstractmethod
    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        """Tell what the scheduler says of each id; an id that it does not list is absent, never final.

        A job with the same number and another name is somebody else's: the id is not listed.

        A native state that is not known is UNKNOWN with the native word. Why the scheduler ended a job (its time, a
        cancellation, a preemption) stands nowhere else if the payload handled the signal and exited, perhaps with 0: list
        such a job for as long as it is known. Of a job that is not listed, a code 0 that followed a signal is no success.

        Raises:
            SchedulerError: The command failed or reported an outage; never an empty answer instead.
        """
        ...

    @abstractmethod
    def kill_script(self) -> str:
        """Write the fragment that ends the jobs of ``$IC_IDS``, and nobody else's that has one of their numbers now."""
        ...

    @abstractmethod
    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, OpOutcome]:
        """Tell what became of each id; one that is absent is settled by reading back.

        Raises:
            SchedulerError: The command failed or reported an outage.
        """
        ...

    @abstractmethod
    def list_script(self, stamp: str) -> str:
        """Write the fragment that finds the native ids of a submission by its stamp.

        Where its variable ``IC_FENCE`` is not empty, a copy that is not told is submitted again. What may still be on its
        way, such as a request that the scheduler has not read yet, must then be kept from starting for ever, or the
        fragment must fail. Where it is empty somebody only looks, and nothing may be kept from starting by that.
        """
        ...

    @abstractmethod
    def parse_list(self, result: CommandResult) -> Mapping[int, str]:
        """Tell copy index -> native id: settles a submission whose answer was lost.

        Raises:
            SchedulerError: The command failed or reported an outage.
        """
        ...
