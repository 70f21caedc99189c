"""A scheduler turns jobs into shell text for a queue, and the queue's answers into ids and statuses.

The methods of a scheduler are pure functions: they do no I/O and read no clock, so that recorded answers can test them.
They return fragments of POSIX sh, which query the machine when they run.
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

A queue that loses its state gives the same number to another job. So an id holds more than a number, such as the
submission id (``17.0@SUBMISSION_ID``), unless the queue never gives an id twice.
"""
SubmissionId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{12}\z")]
"""The id of one submission."""


class Batch(_Data):
    """A submission as a scheduler sees it. A ``Batch`` contains no payload, environment, secret or tag."""

    submission_id: SubmissionId
    """The id of the submission. The queue sees it as the job's name or comment."""
    copies: Positive
    resources: Resources
    carry_shared: tuple[RelativePath, ...] = ()
    """The files in the submission's directory that every copy needs. A scheduler that stages files itself must copy
    them to the nodes."""
    carry_copy: tuple[RelativePath, ...] = ()
    """The files that one copy needs. A scheduler that stages files itself must copy them to the copy's node. In each
    name, ``{index}`` means the copy's index."""
    returns: tuple[RelativePath, ...] = ()
    """The files that one copy writes. A scheduler that stages files itself must copy them back from the copy's node. In
    each name, ``{index}`` means the copy's index."""


class Queued(_Data):
    """The scheduler's answer to a submission. Each index of ``range(copies)`` is a key of ``ids`` or ``refused``."""

    ids: ReadOnly[int, NativeId] = Field(default_factory=dict, validate_default=True)
    """Copy index -> the native id of the copy."""
    refused: ReadOnly[int, CopyFailure] = Field(default_factory=dict, validate_default=True)
    """Copy index -> the reason why the scheduler refused the copy, for example a limit."""


_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\z")]
_Pattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\*?\z")]
"""The name of a variable, or the beginning of a name followed by ``*``. The remote shell uses the text unquoted as a
``case`` pattern, so no other special character is allowed."""
_NEEDED = ("HOME", "IFS", "LC_ALL", "PATH")
_OURS = ("IC_", "_ic_", "ic_")


class ToolEnvironment(_Data):
    """The environment variables that are hidden from a scheduler's commands, such as ``sbatch``.

    The hidden variables would change what is submitted, or what a command prints. Each pattern is a variable's name, or
    the beginning of a name followed by ``*``. A pattern for hidden variables cannot match HOME, IFS, LC_ALL, PATH, or a
    name that begins with ``IC_``, ``ic_`` or ``_ic_``.

    ::

        ToolEnvironment(unset=("PLAINQ_*",), keep=("PLAINQ_ACCOUNT",))
    """

    unset: tuple[_Pattern, ...] = ()
    """The variables that every command of the scheduler runs without."""
    keep: tuple[_Pattern, ...] = ()
    """The variables that are never unset, even if a pattern of ``unset`` or ``unset_in_job`` matches them."""
    job_variable: _Name | None = None
    """A variable that the scheduler sets inside a job. A job that is submitted inside another job would inherit the
    outer job's variables, so the variables of ``unset_in_job`` are unset there."""
    unset_in_job: tuple[_Pattern, ...] = ()
    """The variables that are unset if the variable of ``job_variable`` is set and not empty."""

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
    """Writes fragments of POSIX sh that run on the remote machine, and parses the output of the fragments.

    A plugin does not inherit this class.

    A fragment may use sh, the scheduler's commands and the utilities of POSIX. In a loop that reads a list from stdin,
    it calls every command with ``</dev/null``, because the command would read the rest of the list. The fragment that
    submits runs in the submission's directory, and makes ``sh ./wrapper INDEX`` run once for each index. The other
    fragments are about many submissions. They run in the directory above, and read native ids from the file
    ``$IC_IDS``, which has one id on each line.

    The fragment that submits runs in the original environment, because payloads inherit it. It writes ``ic_tool``
    before each of the scheduler's own commands (``ic_tool sbatch ...``). Such a command runs with ``LC_ALL=C``, and
    without the variables that ``tool_environment`` names. The other fragments run as a whole with ``LC_ALL=C`` and
    without these variables. A fragment may call four functions of intercede, which are the same in every verb:
    ``ic_tool``, ``ic_read_record``, ``ic_forget_secrets`` and ``ic_report_ids``. docs/reference/types.md describes
    them. The argument ``result`` of a parser is the fragment's own exit code, stdout and stderr, without anything that
    a login shell added.

    Two methods are optional. ``tool_environment() -> ToolEnvironment`` names the variables that are hidden from the
    scheduler's commands; without this method, no variable is hidden. ``min_poll_interval() -> float`` returns the
    minimum number of seconds between two status listings; the default is 5.
    """

    @abstractmethod
    def stages_own_files(self) -> bool:
        """Return whether the scheduler itself copies a job's files to the nodes and back from the nodes.

        This version of BatchBackend expects a file system that all nodes share, and refuses a scheduler that returns
        True.
        """
        ...

    @abstractmethod
    def submit_script(self, batch: Batch) -> str:
        """Return the fragment that queues every copy of a submission.

        The fragment prints native ids as soon as it has them. If it fails later, the answer has the ids of the jobs
        that were queued before. To store all ids early, it may call ``ic_report_ids`` as well.

        The wrapper exits with 0 once it has written its record. If ``parse_status`` reports the ends of jobs, the
        fragment queues a script that runs the wrapper, and then exits with the code in the record.
        docs/reference/types.md has such a script.

        Raises:
            UnsupportedSpecError: ``batch.resources`` asks for something that this scheduler cannot do.
        """
        ...

    @abstractmethod
    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        """Return the native id of each copy, or the reason why the scheduler refused the copy.

        ``result`` is the answer of the fragment that submits. If a limit refused a later chunk of copies, these copies
        are ``refused`` and retryable. An exception would orphan the copies of the chunks before.

        Raises:
            LimitError: The scheduler's own limit refused all copies.
            SchedulerError: The scheduler refused all copies, or the answer cannot be parsed.
        """
        ...

    @abstractmethod
    def status_script(self) -> str:
        """Return the fragment that lists the jobs whose native ids are in the file ``$IC_IDS``."""
        ...

    @abstractmethod
    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        """Return the status of each id that the scheduler lists. Leave out every id that it does not list.

        The absence of an id never means that the job has ended. If the listing has the number of an id under another
        job name, the listed job is another user's, and the id is not listed.

        An unknown native state is UNKNOWN, with the scheduler's own word in ``native``. If a payload handled the signal
        that was to end it, and exited with 0, only the scheduler knows the reason: a time limit, a cancellation, a
        preemption. Return the status of such a job for as long as the scheduler knows the job. If the job is not
        listed, an exit code 0 after a signal is not a success.

        Raises:
            SchedulerError: The command failed or reported an outage. An empty answer must not be returned instead.
        """
        ...

    @abstractmethod
    def kill_script(self) -> str:
        """Return the fragment that ends the jobs whose native ids are in the file ``$IC_IDS``.

        The fragment must not end another job to which the queue has given the number of one of these jobs.
        """
        ...

    @abstractmethod
    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, OpOutcome]:
        """Return the outcome of a kill for each id.

        ``parse_kill`` may leave out an id. For such an id, the listing that the same command has printed decides: the
        kill is ok if the job is not listed, or has ended.

        Raises:
            SchedulerError: The command failed or reported an outage.
        """
        ...

    @abstractmethod
    def list_script(self, submission_id: str) -> str:
        """Return the fragment that finds the native ids of a submission's copies.

        If the variable ``IC_FENCE`` is not empty, the caller submits again every copy that the fragment does not
        report. A request that the scheduler has not read yet must then never start a job, or the fragment must fail. If
        ``IC_FENCE`` is empty, the caller only queries, and the fragment must not keep any copy from starting.
        """
        ...

    @abstractmethod
    def parse_list(self, result: CommandResult) -> Mapping[int, str]:
        """Return the native id of each copy that the fragment of ``list_script`` has found, by the copy's index.

        The caller needs these ids if the scheduler's answer to a submission was lost.

        Raises:
            SchedulerError: The command failed or reported an outage.
        """
        ...
