"""``intercede run``: runs copies of a payload until they end, and reports every job that remains on the resource."""

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

from intercede.cli.terminal import escape_unprintable, print_message
from intercede.contract.backend import Cancellable, Findable, JobBackend, OutputRetriever, Purgeable
from intercede.contract.errors import (
    InvalidSpecError,
    LimitError,
    ResourceError,
    SchedulerError,
    UnsupportedSpecError,
)
from intercede.contract.job import JobHandle, JobOutput, JobState, JobStatus, OutputSpec, SubmissionSpec
from intercede.redaction import redact

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A job that is UNKNOWN for one of the reasons in ``_GONE`` never gets another state.
_GONE = frozenset({"lost", "purged", "foreign"})
ONE_SIGNAL = 0.5
"""Signals within this number of seconds count as one signal: timeout(1) signals a process and then its group."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0  # seconds between two polls
# Seconds to wait after each retryable error before the next try. The jobs continue meanwhile.
_PATIENCE = (1, 5, 20)
UNKNOWN_FOR = 60.0
"""The number of seconds after which the wait times out, if every unfinished job was UNKNOWN for all of that time."""


def build_spec(command: Sequence[str], output: Path | None) -> SubmissionSpec:
    """Return the specification for a command, with a new, unique tag.

    Raises:
        InvalidSpecError: The command is not a valid payload.
    """
    # In an ASCII locale, the bytes of an argument that are not ASCII arrive as surrogates. Decode such bytes as UTF-8.
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
        raise InvalidSpecError(f"COMMAND {list(command)} is not a valid payload: {words}", field="COMMAND") from None


def write_kill_command(config: str | Mapping[str, object], file: Path | None, tag: str) -> str:
    """Return one line of Python, ready to paste, that finds and kills the jobs with a tag.

    Values of the configuration that may be secret are replaced by three asterisks.
    """
    registry = "Registry()" if file is None else f"Registry({str(file.absolute())!r})"
    return (
        "import asyncio; from intercede.registry import Registry; r = asyncio.Runner(); "
        f"b = {registry}.backend({redact(config)!r}); r.run(b.__aenter__()); "
        f"print(r.run(b.kill(r.run(b.find({tag!r}))))); r.run(b.__aexit__(None, None, None)); r.close()"
    )


async def run(backend: JobBackend, spec: SubmissionSpec, copies: int, output: Path | None, how_to_end: str) -> int:
    """Run copies of a payload until they end, print their output, purge the jobs, and return an exit code.

    A job is purged only after its output was fetched. The signals INT, TERM and HUP kill the jobs, and the output is
    still fetched. After a second signal, ``run`` gives up.

    Args:
        backend: The backend, not yet entered.
        spec: The payload, with a tag.
        copies: The number of copies.
        output: The directory for the output. None means that the output is printed and not kept.
        how_to_end: The line of ``write_kill_command`` for the same backend and tag.

    Returns:
        128 + n if signal n interrupted this process. Otherwise the first exit code that is not 0, in the order of the
        copies, or 0. The exit code of a copy is the exit code of its payload, 128 + n if signal n ended the payload, or
        1 if the copy has no exit code, timed out, or has output that could not be fetched.

    Raises:
        IntercedeError: An operation failed as a whole. The jobs that are left are named on stderr.
        OSError: ``output`` cannot be written.
    """
    jobs = _Run(backend, spec, copies, output)
    try:
        async with backend:
            return await jobs.run_to_end()
    except asyncio.CancelledError:
        if not jobs.signals:
            raise
        print_message(
            "interrupted: gave up" if jobs.leftover or jobs.submitting else "interrupted: no job is left behind"
        )
        return jobs.get_signal_code()
    finally:
        jobs.report_leftover()
        if jobs.has_unfinished_jobs() and isinstance(backend, Findable) and isinstance(backend, Cancellable):
            print_message(f"to end what is left of them, in Python:\n{how_to_end}")


class _Run:
    """The state of one run. Each signal cancels the current wait."""

    def __init__(self, backend: JobBackend, spec: SubmissionSpec, copies: int, output: Path | None) -> None:
        self.backend, self.spec, self.copies, self.output = backend, spec, copies, output
        self.signals: list[int] = []
        self.last_signal = -math.inf
        self.codes = dict.fromkeys(range(copies), 0)
        self.handles: dict[int, JobHandle] = {}
        self.leftover: dict[int, JobHandle] = {}
        self.submitting = False
        self.ended: set[int] = set()

    async def run_to_end(self) -> int:
        """Submit the copies, wait for the jobs, fetch their output, and return the exit code.

        The first signal kills the jobs. Then wait for the jobs again, and fetch their output.
        """
        self._listen_for_signals()
        try:
            await self._submit()
            statuses = await self._wait_for_jobs()
        except asyncio.CancelledError:
            if len(self.signals) != 1:
                raise
            await self._kill()
            statuses = await self._wait_for_jobs()
        self._record_codes(statuses)
        await self._fetch_output(statuses)
        return self.get_signal_code() or next((code for _, code in sorted(self.codes.items()) if code), 0)

    def get_signal_code(self) -> int:
        """Return 128 + n if signal n came first, or 0 if no signal came."""
        return 128 + self.signals[0] if self.signals else 0

    def has_unfinished_jobs(self) -> bool:
        """Return whether unfinished jobs may remain on the resource."""
        return self.submitting or not self.leftover.keys() <= self.ended

    def report_leftover(self) -> None:
        """Print how to find the jobs that may remain on the resource."""
        if self.submitting:
            print_message(f"jobs may have been started with the tag {self.spec.tag}")
        elif self.leftover:
            print_message(
                f"{_format_job_count(len(self.leftover))} left on the resource, with the tag {self.spec.tag}:"
            )
            for index, handle in sorted(self.leftover.items()):
                print_message(f"copy {index}: {handle.model_dump_json()}")

    def _listen_for_signals(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- a coroutine runs in a task

        def handle_signal(number: int) -> None:
            if time.monotonic() - self.last_signal > ONE_SIGNAL:
                self.last_signal = time.monotonic()
                self.signals.append(number)
                task.cancel()

        for number in (
            each for each in _SIGNALS if signal.getsignal(each) is not signal.SIG_IGN
        ):  # nohup(1) ignores HUP
            asyncio.get_running_loop().add_signal_handler(number, handle_signal, number)

    async def _submit(self) -> None:
        self.submitting = True
        try:
            submission = await self.backend.submit(self.spec, self.copies)
        except (InvalidSpecError, UnsupportedSpecError, LimitError):
            self.submitting = False  # these three errors prove that no job was started
            raise
        except SchedulerError as error:
            self.submitting = not error.refused
            raise
        self.submitting = False
        self._set_handles(submission.handles)
        for index, failure in sorted(submission.failures.items()):
            print_message(f"copy {index} was not started: {failure.reason}")
            self.codes[index] = 1

    def _set_handles(self, handles: Mapping[int, JobHandle]) -> None:
        self.handles, self.leftover = dict(handles), dict(handles)

    async def _wait_for_jobs(self) -> Mapping[JobHandle, JobStatus]:
        pause, doubted_since = _FIRST_PAUSE, math.inf
        with _show_progress(len(self.handles)) as show:
            while True:
                statuses = await self._poll()
                show(statuses.values())
                going = [status for status in statuses.values() if not _is_finished(status)]
                doubted_since = min(doubted_since, time.monotonic()) if _are_all_unknown(going) else math.inf
                if not going or self._has_timed_out(len(going), doubted_since):
                    return statuses
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)

    def _has_timed_out(self, going: int, doubted_since: float) -> bool:
        late = time.monotonic() - doubted_since >= UNKNOWN_FOR
        if late:
            print_message(f"{_format_job_count(going)} UNKNOWN for {UNKNOWN_FOR:g} s: timed out")
        return late

    async def _poll(self) -> Mapping[JobHandle, JobStatus]:
        for pause in _PATIENCE:
            try:
                return await self.backend.status(self.handles.values())
            except ResourceError as error:
                if not error.retryable:
                    raise
                print_message(f"{error}; asking again in {pause} s")
                await asyncio.sleep(pause)
        return await self.backend.status(self.handles.values())

    async def _kill(self) -> None:
        if self.submitting and isinstance(self.backend, Findable):
            self._set_handles(dict(enumerate(await self.backend.find(str(self.spec.tag)))))
            self.submitting = False
        if not self.handles:
            # Either no job was started, or the jobs cannot be found. ``run`` reports the case.
            raise asyncio.CancelledError
        if not isinstance(self.backend, Cancellable):
            print_message("interrupted, and this backend cannot kill: the jobs go on")
            raise asyncio.CancelledError
        print_message(f"interrupted: killing {_format_job_count(len(self.handles))}; interrupt again to give up")
        outcomes = await self.backend.kill(self.handles.values())
        for index, handle in self.handles.items():
            if not outcomes[handle].ok:
                print_message(
                    f"copy {index} was not killed: {outcomes[handle].reason} {outcomes[handle].detail or ''}".rstrip()
                )

    def _record_codes(self, statuses: Mapping[JobHandle, JobStatus]) -> None:
        for index, handle in self.handles.items():
            status = statuses[handle]
            self.codes[index] = _get_exit_code(status)
            if _is_finished(status):
                self.ended.add(index)
            if status.state is not JobState.DONE:
                print_message(f"copy {index}: {_describe(status)}")

    async def _fetch_output(self, statuses: Mapping[JobHandle, JobStatus]) -> None:
        if not isinstance(self.backend, OutputRetriever):
            print_message("this backend cannot fetch output; no job was purged")
            return
        with _open_destination(self.output) as dest:
            ended = {index: self.handles[index] for index in sorted(self.ended)}
            outputs = await self.backend.fetch_output(ended.values(), dest)
            for index, handle in ended.items():
                self._show_output(index, statuses[handle], outputs[handle])
            sys.stdout.flush()
        await self._purge([index for index, handle in ended.items() if outputs[handle].ok])

    def _show_output(self, index: int, status: JobStatus, output: JobOutput) -> None:
        if not output.ok:
            print_message(f"copy {index}: its output could not be fetched: {output.reason}")
            self.codes[index] = self.codes[index] or 1
        if self.copies > 1 and self.output is not None:
            print(escape_unprintable(f"copy {index}: {status.state}: {output.stdout or '-'} {output.stderr or '-'}"))
            return
        prefix = f"{index}: ".encode() if self.copies > 1 else b""
        for path, stream in ((output.stdout, sys.stdout), (output.stderr, sys.stderr)):
            if path is not None:
                _copy_stream(path, stream.buffer, prefix)

    async def _purge(self, safe: Sequence[int]) -> None:
        if not safe or not isinstance(self.backend, Purgeable):
            return
        outcomes = await self.backend.purge([self.handles[index] for index in safe])
        purged = [index for index in safe if outcomes[self.handles[index]].ok]
        for index in purged:
            del self.leftover[index]
        print_message(f"the output is here; purged {_format_job_count(len(purged))} from the resource")


def _is_finished(status: JobStatus) -> bool:
    return status.state.final or (status.state is JobState.UNKNOWN and status.reason in _GONE)


def _are_all_unknown(statuses: Sequence[JobStatus]) -> bool:
    return all(status.state is JobState.UNKNOWN for status in statuses)


def _get_exit_code(status: JobStatus) -> int:
    if status.state is JobState.DONE:
        return 0
    return 128 + status.signal if status.signal else status.exit_code or 1


def _describe(status: JobStatus) -> str:
    facts = (
        f"exit code {status.exit_code}" if status.exit_code is not None else None,
        f"signal {status.signal}" if status.signal is not None else None,
        status.reason if status.reason not in {"exit_code", "signal"} else None,
        status.evidence,
    )
    return ", ".join([str(status.state), *(fact for fact in facts if fact)])


def _format_totals(statuses: Iterable[JobStatus]) -> str:
    counts = Counter(status.state for status in statuses)
    return ", ".join(f"{counts[state]} {state}" for state in JobState if counts[state]) or "none"


def _format_job_count(number: int) -> str:
    return f"{number} job{'' if number == 1 else 's'}"


def _copy_stream(path: Path, stream: BinaryIO, label: bytes) -> None:
    with path.open("rb") as written:
        if not label:
            shutil.copyfileobj(written, stream)
        stream.writelines(label + line.removesuffix(b"\n") + b"\n" for line in written)
    stream.flush()


@contextmanager
def _open_destination(output: Path | None) -> Generator[Path, None, None]:
    if output is not None:
        yield output
        return
    with TemporaryDirectory(prefix="intercede-") as directory:
        yield Path(directory)


@contextmanager
def _show_progress(total: int) -> Generator[Callable[[Iterable[JobStatus]], None], None, None]:
    """Show the states of the jobs. A terminal shows one live line; any other stream gets a new line for each change."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _print_changes()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("submitted", total=total)

        def show(statuses: Iterable[JobStatus]) -> None:
            now = list(statuses)
            progress.update(bar, description=_format_totals(now), completed=sum(map(_is_finished, now)))

        yield show


def _print_changes() -> Callable[[Iterable[JobStatus]], None]:
    last = ""

    def show(statuses: Iterable[JobStatus]) -> None:
        nonlocal last
        now = _format_totals(statuses)
        if now != last:
            print_message(now)
        last = now

    return show
