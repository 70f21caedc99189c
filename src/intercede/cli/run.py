"""``intercede run``: a payload and its copies, from the submission to an exit code, with no orphan left unmentioned."""

import asyncio
import math
import secrets
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from intercede.cli.words import plain, say
from intercede.contract.backend import Cancellable, Findable, JobBackend, OutputRetriever, Purgeable
from intercede.contract.errors import (
    InvalidSpecError,
    LimitError,
    ResourceError,
    SchedulerError,
    UnsupportedSpecError,
)
from intercede.contract.job import JobHandle, JobOutput, JobState, JobStatus, OutputSpec, SubmissionSpec
from intercede.redaction import redacted

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GONE = frozenset({"lost", "purged", "foreign"})  # UNKNOWN for these reasons stays so: waiting on is of no use
ONE_SIGNAL = 0.5
"""Seconds in which signals count as one: timeout(1) sends its signal to the process, and then to its group."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0  # seconds between two polls
_PATIENCE = (1, 5, 20)  # seconds after an error that may pass by itself; jobs go on meanwhile
UNKNOWN_FOR = 60.0
"""Seconds of nothing but UNKNOWN for whatever has not ended, after which it is not waited for any longer."""


def specification(command: Sequence[str], output: Path | None) -> SubmissionSpec:
    """Describe the command as a payload, with a tag of its own.

    Raises:
        InvalidSpecError: The command cannot be one.
    """
    # What an ASCII locale has no letters for arrives as surrogates, each a byte: it is taken for UTF-8.
    arguments = [each.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape") for each in command[1:]]
    try:
        return SubmissionSpec(
            executable=command[0],
            arguments=tuple(arguments),
            outputs=OutputSpec(include_unlisted=output is not None),
            tag=f"intercede-run-{secrets.token_hex(8)}",
        )
    except ValueError as error:
        words = " ".join(str(error).partition(" [type=")[0].split())
        raise InvalidSpecError(f"COMMAND {list(command)} cannot be a payload: {words}", field="COMMAND") from None


def ending(config: str | Mapping[str, object], file: Path | None, tag: str) -> str:
    """Write a line of Python that kills whatever a backend finds by a tag; one line, to be pasted as it is.

    Where the configuration holds what may be a secret, three asterisks stand in its place.
    """
    registry = "Registry()" if file is None else f"Registry({str(file.absolute())!r})"
    return (
        "import asyncio; from intercede.registry import Registry; r = asyncio.Runner(); "
        f"b = {registry}.backend({redacted(config)!r}); r.run(b.__aenter__()); "
        f"print(r.run(b.kill(r.run(b.find({tag!r}))))); r.run(b.__aexit__(None, None, None)); r.close()"
    )


async def run(backend: JobBackend, spec: SubmissionSpec, copies: int, output: Path | None, how_to_end: str) -> int:
    """Run copies of a payload to their end, print what they wrote, and purge them once that is safe.

    INT, TERM and HUP kill the jobs and bring back what they wrote; a second one gives up.

    Args:
        backend: Not yet entered.
        spec: What to run, with a tag.
        copies: How many.
        output: Where to keep what they wrote; None: printed and forgotten.
        how_to_end: The line of Python that ``ending`` wrote for the same backend and tag.

    Returns:
        The first exit code by index that is not 0: the payload's, 128 + n for signal n, 1 for whatever has no code,
        was not waited for any longer, or whose output could not be fetched. 128 + n where this process was
        interrupted by signal n.

    Raises:
        IntercedeError: Something failed as a whole. Whatever jobs are left were named on stderr.
        OSError: ``output`` cannot be written.
    """
    jobs = _Run(backend, spec, copies, output)
    try:
        async with backend:
            return await jobs.through()
    except asyncio.CancelledError:
        if not jobs.signals:
            raise
        say("interrupted: gave up" if jobs.leftover or jobs.submitting else "interrupted: nothing is left behind")
        return jobs.interrupted()
    finally:
        jobs.name_leftover()
        if jobs.may_go_on() and isinstance(backend, Findable) and isinstance(backend, Cancellable):
            say(f"to end what is left of them, in Python:\n{how_to_end}")


class _Run:
    """One command's way. Each signal cancels what is awaited at that moment."""

    def __init__(self, backend: JobBackend, spec: SubmissionSpec, copies: int, output: Path | None) -> None:
        self.backend, self.spec, self.copies, self.output = backend, spec, copies, output
        self.signals: list[int] = []
        self.last_signal = -math.inf
        self.codes = dict.fromkeys(range(copies), 0)
        self.handles: dict[int, JobHandle] = {}
        self.leftover: dict[int, JobHandle] = {}
        self.submitting = False
        self.ended: set[int] = set()

    async def through(self) -> int:
        """Submit, wait, collect; on the first signal kill, wait, collect."""
        self._listen()
        try:
            await self._submit()
            statuses = await self._wait()
        except asyncio.CancelledError:
            if len(self.signals) != 1:
                raise
            await self._kill()
            statuses = await self._wait()
        self._judge(statuses)
        await self._collect(statuses)
        return self.interrupted() or next((code for _, code in sorted(self.codes.items()) if code), 0)

    def interrupted(self) -> int:
        """Return 128 + n for the first signal, 0 where there was none."""
        return 128 + self.signals[0] if self.signals else 0

    def may_go_on(self) -> bool:
        """Tell whether jobs may be left that have not ended."""
        return self.submitting or not self.leftover.keys() <= self.ended

    def name_leftover(self) -> None:
        """Say how the jobs that may still be there can be found."""
        if self.submitting:
            say(f"jobs may have been started with the tag {self.spec.tag}")
        elif self.leftover:
            say(f"{_jobs(len(self.leftover))} left on the resource, with the tag {self.spec.tag}:")
            for index, handle in sorted(self.leftover.items()):
                say(f"copy {index}: {handle.model_dump_json()}")

    def _listen(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- a coroutine runs in a task

        def received(number: int) -> None:
            if time.monotonic() - self.last_signal > ONE_SIGNAL:
                self.last_signal = time.monotonic()
                self.signals.append(number)
                task.cancel()

        for number in (
            each for each in _SIGNALS if signal.getsignal(each) is not signal.SIG_IGN
        ):  # HUP is, under nohup(1)
            asyncio.get_running_loop().add_signal_handler(number, received, number)

    async def _submit(self) -> None:
        self.submitting = True
        try:
            submission = await self.backend.submit(self.spec, self.copies)
        except (InvalidSpecError, UnsupportedSpecError, LimitError):
            self.submitting = False  # any other error may have started jobs
            raise
        except SchedulerError as error:
            self.submitting = not error.refused
            raise
        self.submitting = False
        self._keep(submission.handles)
        for index, failure in sorted(submission.failures.items()):
            say(f"copy {index} was not started: {failure.reason}")
            self.codes[index] = 1

    def _keep(self, handles: Mapping[int, JobHandle]) -> None:
        self.handles, self.leftover = dict(handles), dict(handles)

    async def _wait(self) -> Mapping[JobHandle, JobStatus]:
        pause, doubted_since = _FIRST_PAUSE, math.inf
        with _progress(len(self.handles)) as show:
            while True:
                statuses = await self._status()
                show(statuses.values())
                going = [status for status in statuses.values() if not _settled(status)]
                doubted_since = min(doubted_since, time.monotonic()) if _all_unknown(going) else math.inf
                if not going or self._given_up(len(going), doubted_since):
                    return statuses
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _given_up(self, going: int, doubted_since: float) -> bool:
        late = time.monotonic() - doubted_since >= UNKNOWN_FOR
        if late:
            say(f"nothing is known of {_jobs(going)} for {UNKNOWN_FOR:g} s: gave up waiting")
        return late

    async def _status(self) -> Mapping[JobHandle, JobStatus]:
        for pause in _PATIENCE:
            try:
                return await self.backend.status(self.handles.values())
            except ResourceError as error:
                if not error.retryable:
                    raise
                say(f"{error}; asking again in {pause} s")
                await asyncio.sleep(pause)
        return await self.backend.status(self.handles.values())

    async def _kill(self) -> None:
        if self.submitting and isinstance(self.backend, Findable):
            self._keep(dict(enumerate(await self.backend.find(str(self.spec.tag)))))
            self.submitting = False
        if not self.handles:
            raise asyncio.CancelledError  # before the first job, or they cannot be found: run() says which
        if not isinstance(self.backend, Cancellable):
            say("interrupted, and this backend cannot kill: the jobs go on")
            raise asyncio.CancelledError
        say(f"interrupted: killing {_jobs(len(self.handles))}; interrupt again to give up")
        outcomes = await self.backend.kill(self.handles.values())
        for index, handle in self.handles.items():
            if not outcomes[handle].ok:
                say(f"copy {index} was not killed: {outcomes[handle].reason} {outcomes[handle].detail or ''}".rstrip())

    def _judge(self, statuses: Mapping[JobHandle, JobStatus]) -> None:
        for index, handle in self.handles.items():
            status = statuses[handle]
            self.codes[index] = _code(status)
            if _settled(status):
                self.ended.add(index)
            if status.state is not JobState.DONE:
                say(f"copy {index}: {_words(status)}")

    async def _collect(self, statuses: Mapping[JobHandle, JobStatus]) -> None:
        if not isinstance(self.backend, OutputRetriever):
            say("this backend brings no output back; nothing was purged")
            return
        with _destination(self.output) as dest:
            ended = {index: self.handles[index] for index in sorted(self.ended)}
            outputs = await self.backend.fetch_output(ended.values(), dest)
            for index, handle in ended.items():
                self._deliver(index, statuses[handle], outputs[handle])
            sys.stdout.flush()
        await self._purge([index for index, handle in ended.items() if outputs[handle].ok])

    def _deliver(self, index: int, status: JobStatus, output: JobOutput) -> None:
        if not output.ok:
            say(f"copy {index}: its output did not come: {output.reason}")
            self.codes[index] = self.codes[index] or 1
        if self.copies > 1 and self.output is not None:
            print(plain(f"copy {index}: {status.state}: {output.stdout or '-'} {output.stderr or '-'}"))
            return
        prefix = f"{index}: ".encode() if self.copies > 1 else b""
        for path, stream in ((output.stdout, sys.stdout), (output.stderr, sys.stderr)):
            if path is not None:
                _print(path, stream.buffer, prefix)

    async def _purge(self, safe: Sequence[int]) -> None:
        if not safe or not isinstance(self.backend, Purgeable):
            return
        outcomes = await self.backend.purge([self.handles[index] for index in safe])
        purged = [index for index in safe if outcomes[self.handles[index]].ok]
        for index in purged:
            del self.leftover[index]
        say(f"the output is here; purged {_jobs(len(purged))} from the resource")


def _settled(status: JobStatus) -> bool:
    return status.state.final or (status.state is JobState.UNKNOWN and status.reason in _GONE)


def _all_unknown(statuses: Sequence[JobStatus]) -> bool:
    return all(status.state is JobState.UNKNOWN for status in statuses)


def _code(status: JobStatus) -> int:
    if status.state is JobState.DONE:
        return 0
    return 128 + status.signal if status.signal else status.exit_code or 1


def _words(status: JobStatus) -> str:
    facts = (
        f"exit code {status.exit_code}" if status.exit_code is not None else None,
        f"signal {status.signal}" if status.signal is not None else None,
        status.reason if status.reason not in {"exit_code", "signal"} else None,
        status.evidence,
    )
    return ", ".join([str(status.state), *(fact for fact in facts if fact)])


def _totals(statuses: Iterable[JobStatus]) -> str:
    counts = Counter(status.state for status in statuses)
    return ", ".join(f"{counts[state]} {state}" for state in JobState if counts[state]) or "none"


def _jobs(number: int) -> str:
    return f"{number} job{'' if number == 1 else 's'}"


def _print(path: Path, stream: BinaryIO, prefix: bytes) -> None:
    with path.open("rb") as written:
        if not prefix:
            shutil.copyfileobj(written, stream)
        stream.writelines(prefix + line.removesuffix(b"\n") + b"\n" for line in written)
    stream.flush()


@contextmanager
def _destination(output: Path | None) -> Generator[Path, None, None]:
    if output is not None:
        yield output
        return
    with TemporaryDirectory(prefix="intercede-") as directory:
        yield Path(directory)


@contextmanager
def _progress(total: int) -> Generator[Callable[[Iterable[JobStatus]], None], None, None]:
    """Show where the jobs are: a live line on a terminal, elsewhere a line whenever the numbers change."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("submitted", total=total)

        def show(statuses: Iterable[JobStatus]) -> None:
            now = list(statuses)
            progress.update(bar, description=_totals(now), completed=sum(map(_settled, now)))

        yield show


def _lines() -> Callable[[Iterable[JobStatus]], None]:
    told = ""

    def show(statuses: Iterable[JobStatus]) -> None:
        nonlocal told
        now = _totals(statuses)
        if now != told:
            say(now)
        told = now

    return show
