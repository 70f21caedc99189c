"""A backend runs jobs on one resource. Submitting and monitoring are essential; the rest are capabilities.

Every verb takes many and answers for each: ``each_handle(handles)`` reads them, and refuses with a TypeError what callers
give by mistake. A whole operation's failure raises; what can succeed for one job and fail for another is in the mapping. A verb awaited before entering, or after leaving, raises NotOpenError, also with an
empty list.
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
    """Starts jobs."""

    @abstractmethod
    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        """Start every copy of a payload, without waiting for any.

        The caller's files are read before it returns. Whatever is raised other than InvalidSpecError and
        UnsupportedSpecError, CancelledError included, may have started jobs: ``find(spec.tag)`` returns exactly those.
        Without a tag they cannot be found, so whoever may cancel gives a tag.

        Args:
            spec: What to run.
            copies: How many, or one CopyVars for each; copy i gets the variables and secrets of ``copies[i]``.

        Returns:
            A handle or a failure for each copy. Where none could be started it raises instead.

        Raises:
            InvalidSpecError: The request itself is wrong: copies < 1, an empty sequence, a missing local input.
            UnsupportedSpecError: This backend cannot do it.
            LimitError: The resource's submission limit is reached; none was started.
            ResourceError: The resource failed, or the way to it.
            NotOpenError: Before entering or after leaving.
        """
        ...


@runtime_checkable
class Monitor(Protocol):
    """Tells where jobs are."""

    @abstractmethod
    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        """Tell where each job is. Asking changes nothing.

        Args:
            handles: Any number, in any order; duplicates collapse.

        Returns:
            Exactly the handles that were asked. Unknown, purged and foreign ones are UNKNOWN, never dropped. A final
            state does not change, except to UNKNOWN once purged or past the resource's retention.

        Raises:
            ResourceError: The resource failed, or the way to it: nothing is known of any.
            NotOpenError: Before entering or after leaving.
        """
        ...


@runtime_checkable
class JobBackend(Submitter, Monitor, Protocol):
    """What every backend is: the registry's gate. Nobody inherits it; whatever has its methods is one.

    Constructing connects nowhere, starts no process or thread and writes no file; entering may. Any number of verbs
    may be awaited at once; two instances do not disturb each other; a cancelled verb ends in bounded time and leaves
    the instance usable.
    """

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Connect, where there is something to connect. Returns the object itself.

        Raises:
            ResourceError: The resource cannot be reached, or does not let us in.
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
        """Close everything that entering or a verb opened; jobs go on. Leaving twice is fine."""
        ...


@runtime_checkable
class OutputRetriever(Protocol):
    """Brings back what jobs wrote."""

    @abstractmethod
    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Mapping[JobHandle, JobOutput]:
        """Fetch what finished jobs wrote, each into a directory of its own under ``dest``.

        That directory is built aside and renamed into place. Fetching again replaces it and touches nothing else;
        links, devices, sockets and fifos are left out, and no path leads out of ``dest``.

        Args:
            handles: Any number; duplicates collapse.
            dest: A local directory, made where it is missing.

        Returns:
            Exactly the handles that were asked. An unfinished, unknown or foreign job is not ok, alone; fetching an
            unfinished one later gives all.

        Raises:
            ResourceError: The resource failed, or the way to it.
            OSError: ``dest`` cannot be written.
            NotOpenError: Before entering or after leaving.
        """
        ...


@runtime_checkable
class Cancellable(Protocol):
    """Ends jobs."""

    @abstractmethod
    async def kill(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """See to it that each job ends. Ok once the resource accepted; the state follows.

        A job ends with all that it started, in whatever process group or session, as far as the resource knows it.

        Args:
            handles: Any number; duplicates collapse.

        Returns:
            Exactly the handles that were asked. A finished or already killed one is ok; an unknown, purged or foreign
            one is not.

        Raises:
            ResourceError: The resource failed, or the way to it.
            NotOpenError: Before entering or after leaving.
        """
        ...


@runtime_checkable
class Purgeable(Protocol):
    """Removes what jobs left on the resource."""

    @abstractmethod
    async def purge(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, OpOutcome]:
        """See to it that nothing of each job is left there.

        Args:
            handles: Any number; duplicates collapse.

        Returns:
            Exactly the handles that were asked. Unknown of this resource is ok, a foreign one is not; one that is
            QUEUED, HELD or RUNNING is refused (``running``) and lives on.

        Raises:
            ResourceError: The resource failed, or the way to it.
            NotOpenError: Before entering or after leaving.
        """
        ...


@runtime_checkable
class LoadReporter(Protocol):
    """Tells how much of ours is there."""

    @abstractmethod
    async def counts(self) -> JobCounts:
        """Count the jobs submitted through this resource by this user with intercede.

        Raises:
            ResourceError: The resource failed, or the way to it.
            NotOpenError: Before entering or after leaving.
        """
        ...


@runtime_checkable
class LiveDiagnostics(Protocol):
    """Shows what a running job has written."""

    @abstractmethod
    async def diagnostics(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, Diagnostics]:
        """Return the output so far of each job. Repeatable, changes nothing.

        Returns:
            Exactly the handles that were asked; empty text for what has written nothing or is not known.

        Raises:
            ResourceError: The resource failed, or the way to it.
            NotOpenError: Before entering or after leaving.
        """
        ...


@runtime_checkable
class Findable(Protocol):
    """Finds jobs again, from any process."""

    @abstractmethod
    async def find(self, tag: str) -> Sequence[JobHandle]:
        """Return every job of every submission with that tag, each once; purged ones are gone.

        Raises:
            ResourceError: The resource failed, or the way to it.
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
"""Each capability's name and its protocol, in the order in which they are shown."""

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
    """Tell which capabilities an object claims: their verb is there, is not None, and is not the protocol's own.

    Members are looked up statically, so nothing of the object runs. ``isinstance`` narrows to the same protocols for
    type checkers; it looks at the class first, so a verb that is None on the object alone is seen only here.
    """
    return frozenset(name for name, protocol in CAPABILITIES.items() if _claims(backend, protocol, _VERBS[name]))


def _claims(backend: object, protocol: type, verb: str) -> bool:
    own = getattr_static(backend, verb, None)
    return own is not None and own is not getattr_static(protocol, verb)
