"""A backend runs jobs on one resource. Every backend can submit and monitor jobs; capabilities are optional.

A verb is a method of a backend that programs await, such as ``submit`` or ``kill``. A verb that takes handles takes any
number of them. ``each_handle(handles)`` reads the handles, and raises a TypeError for common mistakes of callers. If
the operation fails as a whole, the verb raises an exception. If the operation can succeed for one job and fail for
another job, the returned mapping has an answer for each handle. A verb that is awaited outside the backend's
``async with`` block raises NotOpenError, even for an empty list.
"""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from inspect import getattr_static
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Literal, Protocol, Self, runtime_checkable

from intercede.contract.job import (
    CopyVars,
    Diagnostics,
    JobCounts,
    JobHandle,
    JobOutput,
    JobStatus,
    OpOutcome,
    Submission,
    SubmissionSpec,
)

__all__ = [
    "CAPABILITIES",
    "Cancellable",
    "Capability",
    "Findable",
    "JobBackend",
    "LiveDiagnostics",
    "LoadReporter",
    "Monitor",
    "OutputRetriever",
    "Purgeable",
    "Submitter",
    "capabilities",
]


@runtime_checkable
class Submitter(Protocol):
    """The protocol of ``submit``, the method of a backend that starts jobs."""

    @abstractmethod
    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Start every copy of a submission, and return a handle or a failure for each copy.

        ``submit`` does not wait for the jobs to end. The caller's files are read before ``submit`` returns. After any
        exception but InvalidSpecError and UnsupportedSpecError, CancelledError included, jobs may have started.
        ``find(spec.tag)`` returns exactly the jobs that have started. Without a tag they cannot be found, so set a tag
        if you may cancel ``submit``.

        Args:
            spec: The specification of the payload to run.
            copies: The number of copies, or one CopyVars for each copy. Copy i gets the variables and secrets of
                ``copies[i]``.

        Returns:
            A handle or a failure for each copy. If no copy could be started, ``submit`` raises an exception instead.

        Raises:
            InvalidSpecError: The request itself is wrong. For example, ``copies`` is less than 1 or an empty sequence,
                or a local input is missing.
            UnsupportedSpecError: This backend cannot do what ``spec`` asks for.
            LimitError: The resource's submission limit is reached. No copy was started.
            ResourceError: The resource or the connection to it failed.
            NotOpenError: The call is outside the backend's ``async with`` block.
        """
        ...


@runtime_checkable
class Monitor(Protocol):
    """The protocol of ``status``, the method of a backend that returns the statuses of jobs."""

    @abstractmethod
    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Return the status of each job. A call of ``status`` changes no job.

        Args:
            handles: Any number of handles, in any order. Duplicates are ignored.

        Returns:
            A status for exactly these handles. A job that is unknown, purged or of another resource is not left out:
            its state is UNKNOWN. A final state can only change to UNKNOWN, when the job is purged or the resource's
            retention time is over.

        Raises:
            ResourceError: The resource or the connection to it failed, so no state is known.
            NotOpenError: The call is outside the backend's ``async with`` block.
        """
        ...


@runtime_checkable
class JobBackend(Submitter, Monitor, Protocol):
    """The protocol that the registry requires of every backend. A backend need not inherit this class.

    Constructing a backend opens no connection, starts no process or thread and writes no file; entering a backend may.
    Any number of verbs may be awaited at once. Two backends do not disturb each other. A cancelled verb ends within a
    limited time and leaves the backend usable.
    """

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Connect if a connection is needed, and return the backend itself.

        Raises:
            ResourceError: The resource cannot be reached, or refuses the login.
        """
        ...

    @abstractmethod
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Close all connections that ``__aenter__`` or another method has opened. Jobs continue.

        Leaving a backend twice is allowed.
        """
        ...


@runtime_checkable
class OutputRetriever(Protocol):
    """The capability of a backend to fetch the output of jobs."""

    @abstractmethod
    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Mapping[JobHandle, JobOutput]:
        """Fetch the output of each finished job into the job's own directory under ``dest``, and return the outputs.

        The job's directory is built under a temporary name and renamed at the end. Fetching again replaces the job's
        directory and nothing else. Links, devices, sockets and fifos are left out, and no path leads out of ``dest``.

        Args:
            handles: Any number of handles. Duplicates are ignored.
            dest: A local directory, which is created if it is missing.

        Returns:
            An output for exactly these handles. The output of a job that is unfinished, unknown, purged or of another
            resource is not ok, and does not affect the other outputs. After an unfinished job has ended, fetching again
            returns all of its output.

        Raises:
            ResourceError: The resource or the connection to it failed.
            OSError: ``dest`` cannot be written.
            NotOpenError: The call is outside the backend's ``async with`` block.
        """
        ...


@runtime_checkable
class Cancellable(Protocol):
    """The capability of a backend to end jobs."""

    @abstractmethod
    async def kill(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Request that each job ends, and return an outcome for each job.

        An outcome is ok once the resource has accepted the request; the job's state changes later. A job ends together
        with all processes that it started, in any process group or session, as far as the resource knows of them.

        Args:
            handles: Any number of handles. Duplicates are ignored.

        Returns:
            An outcome for exactly these handles. The outcome is ok for a finished or already killed job. The outcome is
            not ok for a job that is unknown, purged or of another resource.

        Raises:
            ResourceError: The resource or the connection to it failed.
            NotOpenError: The call is outside the backend's ``async with`` block.
        """
        ...


@runtime_checkable
class Purgeable(Protocol):
    """The capability of a backend to remove the files and records of jobs from the resource."""

    @abstractmethod
    async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Remove every trace of each job from the resource, and return an outcome for each job.

        Args:
            handles: Any number of handles. Duplicates are ignored.

        Returns:
            An outcome for exactly these handles. The outcome is ok for an unknown job of this resource, but not for a
            job of another resource. A job that is QUEUED, HELD or RUNNING is refused with the reason ``running``, and
            continues.

        Raises:
            ResourceError: The resource or the connection to it failed.
            NotOpenError: The call is outside the backend's ``async with`` block.
        """
        ...


@runtime_checkable
class LoadReporter(Protocol):
    """The capability of a backend to count the user's jobs on the resource."""

    @abstractmethod
    async def counts(self) -> JobCounts:
        """Return the numbers of queued and running jobs that this user submitted to this resource with intercede.

        Raises:
            ResourceError: The resource or the connection to it failed.
            NotOpenError: The call is outside the backend's ``async with`` block.
        """
        ...


@runtime_checkable
class LiveDiagnostics(Protocol):
    """The capability of a backend to return the output of running jobs."""

    @abstractmethod
    async def diagnostics(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, Diagnostics]:
        """Return the output that each job has written so far. A call changes nothing, so calls can be repeated.

        Returns:
            An answer for exactly these handles. The text is empty if a job has written nothing or is unknown.

        Raises:
            ResourceError: The resource or the connection to it failed.
            NotOpenError: The call is outside the backend's ``async with`` block.
        """
        ...


@runtime_checkable
class Findable(Protocol):
    """The capability of a backend to find jobs by their tag, from any process."""

    @abstractmethod
    async def find(self, tag: str) -> Sequence[JobHandle]:
        """Return the handle of every job of every submission with this tag, without duplicates or purged jobs.

        Raises:
            ResourceError: The resource or the connection to it failed.
            NotOpenError: The call is outside the backend's ``async with`` block.
        """
        ...


Capability = Literal["output", "kill", "purge", "load", "find", "diagnostics"]

CAPABILITIES: Mapping[Capability, type] = MappingProxyType(
    {
        "output": OutputRetriever,
        "kill": Cancellable,
        "purge": Purgeable,
        "load": LoadReporter,
        "find": Findable,
        "diagnostics": LiveDiagnostics,
    }
)
"""The protocol of each capability, by the capability's name. Reports list capabilities in this order."""

_VERBS: Mapping[Capability, str] = MappingProxyType(
    {
        "output": "fetch_output",
        "kill": "kill",
        "purge": "purge",
        "load": "counts",
        "find": "find",
        "diagnostics": "diagnostics",
    }
)


def capabilities(backend: object) -> frozenset[Capability]:
    """Return the capabilities that an object claims.

    An object claims a capability if it has the capability's verb, and the verb is neither None nor the method of the
    protocol itself.

    Attributes are looked up statically, so no code of the object runs. For type checkers, ``isinstance`` narrows to the
    same protocols. ``isinstance`` looks at the class first, so only ``capabilities`` detects a verb that is None on the
    object but not on its class.
    """
    return frozenset(name for name, protocol in CAPABILITIES.items() if _claims(backend, protocol, _VERBS[name]))


def _claims(backend: object, protocol: type, verb: str) -> bool:
    own = getattr_static(backend, verb, None)
    return own is not None and own is not getattr_static(protocol, verb)
