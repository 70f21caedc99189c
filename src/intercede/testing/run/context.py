"""The context of a check: its subject, the calls that the check makes, its jobs, and ``expect``."""

import re
import secrets
import string
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from enum import Enum
from inspect import isawaitable
from itertools import islice
from pathlib import Path
from reprlib import Repr
from types import TracebackType
from typing import Protocol, Self, TypeVar, cast

from pydantic import BaseModel

from intercede.contract.backend import Capability, JobBackend
from intercede.contract.job import JobHandle, SubmissionSpec
from intercede.contract.scheduler import Scheduler
from intercede.contract.transport import Transport
from intercede.testing.isolation import timeouts
from intercede.testing.model.calls import Call, get_class_name
from intercede.testing.model.clause import Clause
from intercede.testing.run.waiting import QueueActivity, Wait
from intercede.testing.subjects.child import ChildFunction, run_child
from intercede.testing.subjects.entering import LoginThrottle, Semaphores
from intercede.testing.subjects.subject import Subject

__all__ = ["SECONDS", "Check", "CheckFailed", "Context", "Enterable", "collect", "format_value", "get_check"]

SECONDS = 20.0
"""The time limit of one call of a verb."""
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""Matches the address of an object in a repr. An address is removed, because it differs from run to run."""
_MOST = 100_000

_T = TypeVar("_T")


class Enterable(Protocol):
    """The part of a backend or a transport that makes it an async context manager: entering and leaving."""

    async def __aenter__(self) -> Self:
        """Enter the object."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Leave the object."""
        ...


_E = TypeVar("_E", bound=Enterable)


class _ShortRepr(Repr):
    """Writes short texts for values. The text of a pydantic model contains only the fields that were given."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 300
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 8
        self.maxlevel = 5

    def repr_instance(self, x: object, level: int) -> str:
        """Write a value of a type that reprlib does not know."""
        if isinstance(x, Enum):
            return x.name
        if isinstance(x, JobHandle):
            return f"<{x.job}>"
        if isinstance(x, BaseModel):
            given = [name for name in type(x).model_fields if name in x.model_fields_set]
            fields = [f"{name}={self.repr1(getattr(x, name), level - 1)}" for name in given]
            return f"{type(x).__name__}({', '.join(fields)})"
        if isinstance(x, Mapping):
            # Only the first items are read, because the mapping of a faulty subject may have no end.
            first = islice(cast("Mapping[object, object]", x).items(), self.maxdict + 1)
            return self.repr_dict(dict(first), level)
        return _ADDRESS.sub("", super().repr_instance(x, level))


_BRIEF = _ShortRepr()


def format_value(value: object) -> str:
    """Return a text of at most a few hundred characters for a value. If ``__repr__`` raises, the text says so."""
    try:
        return _BRIEF.repr(value)
    except Exception as error:  # noqa: BLE001 -- the repr is the subject's
        return f"<{get_class_name(value)} whose repr raised {get_class_name(error)}>"


def collect(values: Iterable[_T]) -> list[_T]:
    """Copy the items of an answer into a list.

    Raises:
        CheckFailed: The answer has more than 100,000 items, so it may have no end.
    """
    found = list(islice(values, _MOST + 1))
    if len(found) > _MOST:
        raise CheckFailed("an answer that has an end", f"more than {_MOST} entries")
    return found


class CheckFailed(Exception):  # noqa: N818 -- a finding about a subject, not an error of the kit
    """A subject does not do what a clause says.

    Args:
        expected: What the clause asks for.
        observed: The observation, as text.
    """

    def __init__(self, expected: str, observed: str) -> None:
        super().__init__(f"expected {expected}; observed {observed}")
        self.expected, self.observed = expected, observed

    def __reduce__(self) -> tuple[type["CheckFailed"], tuple[str, str]]:
        """Return the class and its arguments, the expectation and the observation, to pickle the exception."""
        return type(self), (self.expected, self.observed)


class Context:
    """Everything that a check is given: the subject, a directory, and a record of its calls and jobs.

    ``open_backend`` and ``open_transport`` of ``run/driver.py`` open the subject and call it.
    """

    def __init__(
        self,
        subject: Subject,
        tmp: Path,
        *,
        capabilities: frozenset[Capability] = frozenset(),
        scale: float = 1.0,
        children: Semaphores | None = None,
        traffic: QueueActivity | None = None,
        throttle: LoginThrottle | None = None,
    ) -> None:
        self.subject = subject
        self._children = children or Semaphores(1)
        self.tmp = tmp
        """An empty directory that only this check uses."""
        self.capabilities = capabilities
        """The capabilities that the subject claims."""
        self.scale = scale
        """The factor for every time limit, since real resources are slow. A check multiplies its own time limits by the
        factor."""
        self.journal: list[Call] = []
        """The calls of the subject so far."""
        self.handles: dict[JobHandle, None] = {}
        """The jobs to kill and purge after the check."""
        self.tags: dict[str, None] = {}
        """The tags of submissions that have returned no handles. Their jobs are found by tag after the check."""
        self._lost = set[str]()
        """The tags of submissions that failed. Such a tag stays in ``tags``, even if another submission with the tag
        succeeds."""
        self.began = time.monotonic()
        """The time when the check began, in seconds of the monotonic clock."""
        self._fetched = 0
        self.traffic = traffic or QueueActivity()
        """The activity of the queue that the checks of the run have seen."""
        self.throttle = throttle or LoginThrottle()
        self._waits: list[Wait] = []

    @property
    def queue_seconds(self) -> float:
        """The seconds that jobs of the check waited behind jobs of other checks. Time limits exclude these seconds."""
        return sum(each.queue_seconds for each in self._waits)

    @property
    def config(self) -> Mapping[str, object] | str:
        """The configuration of the subject, or the name of its configuration or of its callable."""
        return self.subject.config

    # Objects of the subject

    def make_backend(self) -> JobBackend:
        """Make a new backend from the subject's configuration. The caller enters the backend."""
        return self.subject.make_backend()

    def make_transport(self) -> Transport:
        """Make a new transport from the subject's configuration. The caller enters the transport."""
        return cast("Transport", self.subject.make_plugin())

    def make_scheduler(self) -> Scheduler:
        """Make a new scheduler from the subject's configuration."""
        return cast("Scheduler", self.subject.make_plugin())

    async def enter(self, make: Callable[[], _E]) -> tuple[_E, object]:
        """Make a new object and enter it. Return the object and the value that ``__aenter__`` returned.

        The caller leaves the object.

        Raises:
            TransportError: Every attempt failed, or an attempt failed with an error that is not retryable.
        """

        async def attempt() -> tuple[_E, object]:
            made = make()
            return made, await self.record("__aenter__", "", type(made).__aenter__(made))

        return await self.throttle.enter(attempt, self.scale)

    # Values and expectations

    def make_token(self) -> str:
        """Return a random text of twelve letters and digits."""
        return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(12))

    def sh(self, script: str, *arguments: str, **fields: object) -> SubmissionSpec:
        """Return a specification that runs a POSIX sh script.

        The specification has a new tag, unless ``fields`` contains a tag. The context remembers the tag.
        """
        payload = {"executable": "sh", "arguments": ("-c", script, "sh", *arguments), "tag": f"ic-{self.make_token()}"}
        spec = SubmissionSpec.model_validate({**payload, **fields})
        if spec.tag is not None:
            self.tags[spec.tag] = None
        return spec

    def expect(self, condition: object, *, expected: str, observed: object) -> None:
        """Fail the check unless the condition holds.

        Raises:
            CheckFailed: The condition is false.
        """
        if not condition:
            is_text = isinstance(observed, str) and observed.strip()
            raise CheckFailed(expected, str(observed) if is_text else format_value(observed))

    # The jobs of the check

    def remember(self, handles: Iterable[JobHandle]) -> None:
        """Note jobs that are ended and purged when the check has ended."""
        self.handles.update(dict.fromkeys(handles))

    def remember_tag(self, tag: str | None) -> None:
        """Note the tag of a submission that returned no handles. The tag is used to find the jobs after the check."""
        if tag is not None:
            self._lost.add(tag)
            self.tags[tag] = None

    def forget_tag(self, tag: str | None) -> None:
        """Note that a submission with this tag has returned its handles.

        The tag is forgotten, unless another submission with the tag returned no handles.
        """
        if tag is not None and tag not in self._lost:
            self.tags.pop(tag, None)

    def start_wait(self, seconds: float, *, patient: bool = True) -> Wait:
        """Start the time limit of a wait for jobs, and return the ``Wait``.

        Args:
            seconds: The time limit, before it is multiplied by ``scale``.
            patient: Whether the time limit excludes time in a queue that makes progress.
        """
        waiting = Wait(self.traffic if patient else QueueActivity(), seconds * self.scale, self.scale)
        self._waits.append(waiting)
        return waiting

    # Child processes

    async def run_child(
        self, function: ChildFunction, *arguments: str, what: str, jobs: bool = False, within: float = SECONDS
    ) -> object:
        """Call a function of a module in a child process, and return its report.

        Args:
            function: The function. It takes a ChildContext, with the subject, the arguments and ``report``.
            arguments: The arguments, which the function finds in ``ChildContext.arguments``.
            what: The task of the function in words, for the message if the child process fails.
            jobs: Whether the function starts jobs, which may outlive the child process.
            within: The time limit in seconds, before it is multiplied by ``scale``.

        Raises:
            CheckFailed: The process did not end in time, did not exit with 0, or reported nothing.
        """
        async with self._children.here:  # the time limit begins when the child process may start
            seconds = within * self.scale * timeouts.get_load_factor()
            child = await self.call(
                "child process",
                f"{what}{', ' if arguments else ''}{', '.join(map(format_value, arguments))}",
                lambda: run_child(self.subject, function, arguments, self.tmp, seconds=seconds, jobs=jobs),
                within=within,
            )
        self.expect(
            child.code == 0 and child.report is not None,
            expected=f"{what} to work in a child process",
            observed=f"it ended with exit code {child.code}: {child.last_words}",
        )
        return child.report

    # Calls of the subject

    def make_directory_name(self) -> Path:
        """Return the path of a directory that does not exist yet, for fetched files."""
        self._fetched += 1
        return self.tmp / f"fetched-{self._fetched}"

    async def call(self, verb: str, arguments: str, asked: Callable[[], Awaitable[_T]], within: float = SECONDS) -> _T:
        """Call a verb of the subject with a time limit, record the call, and return the answer.

        Raises:
            CheckFailed: The verb has not answered in ``within`` seconds, times ``scale``, or its answer cannot be
                awaited.
        """
        seconds = within * self.scale
        try:
            return await self.record(verb, arguments, timeouts.limit_time(seconds, _await_answer(verb, asked)))
        except timeouts.TimeLimitExceeded as late:
            raise CheckFailed(f"{verb} to answer within {seconds:g} s", f"{verb} {late}") from late

    async def record(self, verb: str, arguments: str, awaitable: Awaitable[_T]) -> _T:
        """Record a call, await its result without a time limit, and return the result."""
        call = Call(verb, arguments, start=time.monotonic() - self.began)
        self.journal.append(call)
        try:
            value = await awaitable
        except timeouts.TimeLimitExceeded as late:
            call.outcome = late.summary
            raise
        except BaseException as error:
            call.outcome = f"raised {format_value(error)}"
            raise
        else:
            call.outcome = format_value(value)
            return value
        finally:
            call.seconds = time.monotonic() - self.began - call.start


async def _await_answer(verb: str, asked: Callable[[], Awaitable[_T]]) -> _T:
    answer = asked()
    if not isawaitable(answer):
        raise CheckFailed(f"{verb} to be awaitable", f"{format_value(answer)} from the call itself")
    return await answer


Check = Callable[[Context], Awaitable[None]]
"""The type of a check: an async function that returns if the subject keeps the clause, and raises if not."""


def get_check(clause: Clause) -> Check:
    """Return the check of a clause, typed as ``Check``.

    The field ``Clause.check`` has a more general type, because the module of ``Clause`` does not import ``Context``.
    """
    return cast("Check", clause.check)
