"""A backend runs jobs on one resource. Submitting and monitoring are essential; the rest are capabilities.

Every verb takes many handles and answers for each. ``each_handle(handles)`` reads them, and raises a TypeError for
common mistakes of callers. If the operation fails as a whole, the verb raises. If it can succeed for one job and fail
for another, the mapping has an answer for each. A verb that is awaited before entering or after leaving raises
NotOpenError, even for an empty list.
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
    """The verb of a backend that starts jobs."""

    @abstractmethod
    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Start every copy of a payload, and return without waiting for the jobs to end.

        The caller's files are read before it returns. After any exception but InvalidSpecError and
        UnsupportedSpecError, CancelledError included, jobs may have started: ``find(spec.tag)`` returns exactly those.
        They cannot be found without a tag, so set one if you may cancel.

        Args:
            spec: The payload to run.
            copies: The number of copies, or one CopyVars per copy; copy i gets the variables and secrets of
                ``copies[i]``.

        Returns:
            A handle or a failure for each copy. If no copy could be started, it raises instead.

        Raises:
            InvalidSpecError: The request itself is wrong: copies < 1, an empty sequence, a missing local input.
            UnsupportedSpecError: This backend cannot run it.
            LimitError: The resource's submission limit is reached; no copy was started.
            ResourceError: The resource or the connection to it failed.
            NotOpenError: Before entering or after leaving.
        """
        ...


@runtime_checkable
class Monitor(Protocol):
    """The verb of a backend that reports the states of jobs."""

    @abstractmethod
    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Return the state of each job. This changes no job.

        Args:
            handles: Any number, in any order; duplicates collapse.

        Returns:
            A status for exactly these handles. Unknown, purged and foreign ones are UNKNOWN, never dropped. A final
            state can only change to UNKNOWN: once purged, or after the resource's retention time.

        Raises:
            ResourceError: The resource or the connection to it failed, so no state is known.
            NotOpenError: Before entering or after leaving.
        """
        ...


@runtime_checkable
class JobBackend(Submitter, Monitor, Protocol):
    """The protocol that the registry requires of every backend. A backend need not inherit this class.

    Constructing it opens no connection, starts no process or thread and writes no file; entering it may. Any number of
    verbs may be awaited at once. Two instances do not disturb each other. A cancelled verb ends in bounded time and
    leaves the instance usable.
    """

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Connect, if a connection is needed. Returns the object itself.

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
        """Close all connections that ``__aenter__`` or a verb has opened. Jobs continue. Leaving twice is allowed."""
        ...


@runtime_checkable
class OutputRetriever(Protocol):
    """The capability of a backend to fetch the output of jobs."""

    @abstractmethod
    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Mapping[JobHandle, JobOutput]:
        """Fetch the output of each finished job into a directory of its own under ``dest``.

        That directory is built under a temporary name and renamed at the end. Fetching again replaces it and nothing
        else. Links, devices, sockets and fifos are left out, and no path leads out of ``dest``.

        Args:
            handles: Any number; duplicates collapse.
            dest: A local directory, created if it is missing.

        Returns:
            An output for exactly these handles. An unfinished, unknown or foreign job is not ok, and does not affect
            the others; fetching an unfinished one later returns all of its output.

        Raises:
            ResourceError: The resource or the connection to it failed.
            OSError: ``dest`` cannot be written.
            NotOpenError: Before entering or after leaving.
        """
        ...


@runtime_checkable
class Cancellable(Protocol):
    """The capability of a backend to end jobs."""

    @abstractmethod
    async def kill(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Make each job end. The outcome is ok once the resource has accepted the request. The state changes later.

        A job ends together with everything that it started, in any process group or session, as far as the resource
        knows of it.

        Args:
            handles: Any number; duplicates collapse.

        Returns:
            An outcome for exactly these handles. A finished or already killed job is ok; an unknown, purged or foreign
            one is not.

        Raises:
            ResourceError: The resource or the connection to it failed.
            NotOpenError: Before entering or after leaving.
        """
        ...


@runtime_checkable
class Purgeable(Protocol):
    """The capability of a backend to remove the files and records of jobs from the resource."""

    @abstractmethod
    async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """Remove every trace of each job from the resource.

        Args:
            handles: Any number; duplicates collapse.

        Returns:
            An outcome for exactly these handles. An unknown job of this resource is ok, a foreign one is not. A job
            that is QUEUED, HELD or RUNNING is refused (``running``) and continues.

        Raises:
            ResourceError: The resource or the connection to it failed.
            NotOpenError: Before entering or after leaving.
        """
        ...


@runtime_checkable
class LoadReporter(Protocol):
    """The capability of a backend to count the user's jobs on the resource."""

    @abstractmethod
    async def counts(self) -> JobCounts:
        """Count the jobs that this user has submitted to this resource with intercede.

        Raises:
            ResourceError: The resource or the connection to it failed.
            NotOpenError: Before entering or after leaving.
        """
        ...


@runtime_checkable
class LiveDiagnostics(Protocol):
    """The capability of a backend to return the output of running jobs."""

    @abstractmethod
    async def diagnostics(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, Diagnostics]:
        """Return the output of each job so far. A call changes nothing, so it can be repeated.

        Returns:
            An answer for exactly these handles; the text is empty if a job has written nothing or is unknown.

        Raises:
            ResourceError: The resource or the connection to it failed.
            NotOpenError: Before entering or after leaving.
        """
        ...


@runtime_checkable
class Findable(Protocol):
    """The capability of a backend to find jobs by their tag, from any process."""

    @abstractmethod
    async def find(self, tag: str) -> Sequence[JobHandle]:
        """Return every job of every submission with this tag, each job once. Purged jobs are not found.

        Raises:
            ResourceError: The resource or the connection to it failed.
            NotOpenError: Before entering or after leaving.
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
"""Each capability's name and its protocol, in the order in which reports list capabilities."""

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

    It claims a capability if its verb exists, is not None, and is not the method of the protocol itself.

    Members are looked up statically, so no code of the object runs. ``isinstance`` narrows to the same protocols for
    type checkers. It looks at the class first, so only this function sees a verb that is None on the object alone.
    """
    return frozenset(name for name, protocol in CAPABILITIES.items() if _claims(backend, protocol, _VERBS[name]))


def _claims(backend: object, protocol: type, verb: str) -> bool:
    own = getattr_static(backend, verb, None)
    return own is not None and own is not getattr_static(protocol, verb)
