"""Submitting: one archive with everything, and one script that queues every copy.

Three texts are quoted into one another, each with ``shlex.quote``:

::

    archive  tag wrapper payload batch plan ... submit.sh      a tar stream, which boot.sh unpacks
    submit.sh    fragment='...'                                 the scheduler's, as a variable; run by eval
    fragment         job='...'                                  a job script's text, if the queue needs one
    job script           exec sh ./wrapper INDEX                what the queue runs
    wrapper                  . ./payload                        the user's program, below its directory
"""

import os
import shlex
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from intercede.batch.archive import Member
from intercede.batch.offload import offload_if_large
from intercede.batch.parsing import checked, parsing
from intercede.batch.purge import discard_submission
from intercede.batch.remote.api import load, text_of
from intercede.batch.remote.framing import Answer
from intercede.batch.remote.layout import MOST_COPIES, new_submission_id, write_batch
from intercede.batch.remote_jobs import RemoteJobs
from intercede.batch.selection import Plan
from intercede.contract.errors import InvalidSpecError, LimitError, SchedulerError, UnsupportedSpecError
from intercede.contract.job import CopyFailure, CopyVars, SubmissionSpec
from intercede.contract.scheduler import Batch, Queued, Scheduler
from intercede.contract.transport import CommandResult

__all__ = ["SubmissionArchive", "quoted_tag", "submit_copies"]

_SHELLS_OWN = frozenset(
    [
        "_",
        "BASHOPTS",
        "BASHPID",
        "BASH_ARGV0",
        "BASH_CMDS",
        "BASH_VERSINFO",
        "COMP_WORDBREAKS",
        "DIRSTACK",
        "EPOCHREALTIME",
        "EPOCHSECONDS",
        "EUID",
        "FUNCNAME",
        "GROUPS",
        "HISTCMD",
        "LINENO",
        "OPTIND",
        "PPID",
        "RANDOM",
        "SECONDS",
        "SHELLOPTS",
        "SRANDOM",
        "UID",
    ]
)
"""Variables that some sh keeps for itself: they would arrive changed, or not at all."""


def quoted_tag(tag: str) -> str:
    """Write a tag as one line of plain characters, to be compared and nothing else."""
    return quote(tag, safe="", errors="surrogatepass")


async def submit_copies(
    remote: RemoteJobs, api: str, spec: SubmissionSpec, copies: Sequence[CopyVars]
) -> tuple[Batch, Queued]:
    """Send everything in one archive and queue every copy: one command.

    Args:
        remote: Where to.
        api: The functions that the scheduler's fragment may call.
        spec: What to run.
        copies: What each copy has of its own.

    Returns:
        The submission, and which copies the scheduler took; at least one.

    Raises:
        InvalidSpecError: A local file cannot be read, or two files want the same place.
        UnsupportedSpecError: The specification asks for what sh, the transport or the scheduler cannot do.
        LimitError: The scheduler's own limit refused all copies.
        SchedulerError: The scheduler refused all copies, or its answer cannot be parsed.
        TransportError: The transport failed.
    """
    batch = Batch(submission_id=new_submission_id(), copies=len(copies), resources=spec.resources)
    archive = SubmissionArchive(spec, copies, batch)
    archive.check()
    fragment = remote.scheduler.submit_script(batch)
    try:
        answer = await remote.shell.unpack(batch.submission_id, archive.members(fragment, api))
        _check_executable(answer, remote.shell.root, spec)
        queued = await offload_if_large(len(copies), _parse_answer, remote.scheduler, batch, answer.frame("answer"))
    except InvalidSpecError:
        raise  # the archive has no end: nothing can have started
    except BaseException as error:
        if isinstance(error, UnsupportedSpecError) or (isinstance(error, SchedulerError) and error.refused):
            await discard_submission(remote, batch.submission_id, batch.copies)
        else:
            remote.doubtful.add(batch.submission_id)
        raise
    if not queued.ids:
        await discard_submission(remote, batch.submission_id, batch.copies)
        raise _refuse(batch, queued)
    if "noted" not in answer:  # the fragment has not reported its ids itself
        remote.remember_ids(batch.submission_id, queued)
    return batch, queued


def _parse_answer(scheduler: Scheduler, batch: Batch, answer: CommandResult) -> Queued:
    """Read the scheduler's answer. Its own limit, and no other, means that nothing was queued."""
    try:
        with parsing(scheduler, "parse_submit", answer, batch.submission_id):
            return checked(batch, scheduler.parse_submit(batch, answer))
    except LimitError as error:
        refusal = CopyFailure(reason=str(error), retryable=True)
        return Queued(refused=dict.fromkeys(range(batch.copies), refusal))


def _refuse(batch: Batch, queued: Queued) -> LimitError | SchedulerError:
    failure = next(iter(queued.refused.values()))
    kind = LimitError if failure.retryable else SchedulerError
    return kind(f"the scheduler took none of {batch.copies} copies: {failure.reason}")


def _check_executable(answer: Answer, root: str, spec: SubmissionSpec) -> None:
    """Check that the staged executable can run where it is. Else each copy would fail with 126, without a reason."""
    if "program" in answer and answer.frame("program").returncode != 0:
        raise UnsupportedSpecError(
            f"the executable {str(spec.executable)!r} cannot run where it was sent to, below {root}: its file system is "
            "mounted noexec, or keeps no permissions. Set root to a directory on another one; or send it as an input, "
            "and name what is there to run it, as sh or python3",
            field="executable",
            value=spec.executable,
        )


@dataclass(frozen=True)
class _LocalFile:
    """The facts of a local file that are needed before it is sent."""

    mode: int
    """Its permissions there."""
    is_program: bool
    """Whether the kernel knows how to run it; else sh does."""


@dataclass(frozen=True)
class SubmissionArchive:
    """One submission, ready to be sent."""

    spec: SubmissionSpec
    copies: Sequence[CopyVars]
    batch: Batch

    def check(self) -> None:
        """See that it can be sent at all.

        Raises:
            InvalidSpecError: A local file cannot be read, or two files want the same place.
            UnsupportedSpecError: It asks for what sh and a transport cannot do.
        """
        _check_supported(self.spec, self.copies)
        _check_places(self.spec, self.copies)
        self._local_files  # noqa: B018 -- looks at each of them

    def members(self, fragment: str, api: str) -> Iterator[Member]:
        """Give the files, ``submit.sh`` last: an archive that was cut starts nothing.

        Args:
            fragment: The scheduler's, that queues the copies.
            api: The functions that it may call.
        """
        if self.spec.tag is not None:
            yield Member("tag", _line(quoted_tag(self.spec.tag)))  # before the wrapper: `find` relies on it
        yield Member("wrapper", text_of("wrapper").encode(), 0o700)
        yield Member("payload", _bytes(self._payload))
        yield Member("batch", _line(write_batch(self.batch)))
        yield Member("plan", _line(self._plan.model_dump_json()))
        yield Member("find", _line(self._plan.expression(self.batch.submission_id, len(self.copies))))
        if spared := self._plan.spared(self.batch.submission_id):
            yield Member("spared", _bytes(spared))
        if self._staged is not None:
            yield Member(f"bin/{self._staged.name}", self._staged, 0o700)
        for file in self.spec.inputs:
            yield Member(f"inputs/{file.name}", Path(file.source), self._local_files[Path(file.source)].mode)
        for index, copy in enumerate(self.copies):
            yield from _of_copy(f"copies/{index}", copy)
        yield Member("submit.sh", _bytes(self._submit(fragment, api)), 0o700)

    def _submit(self, fragment: str, api: str) -> str:
        program = f"./bin/{self._staged.name}" if self._staged and self._local_files[self._staged].is_program else ""
        values = f"copies={len(self.copies)}\nfragment={shlex.quote(fragment)}\nprogram={shlex.quote(program)}"
        return "\n".join([load(api, "submit"), values, '_ic_submit "$@"\n'])

    @property
    def _staged(self) -> Path | None:
        return self.spec.staged_executable

    @cached_property
    def _local_files(self) -> dict[Path, _LocalFile]:
        """Looked at once: a file may vanish between the check and the sending."""
        paths = [*([self._staged] if self._staged else []), *(Path(file.source) for file in self.spec.inputs)]
        return {path: _local_file(path) for path in paths}

    @cached_property
    def _plan(self) -> Plan:
        return Plan.of(
            self.spec, {index: tuple(copy.secrets) for index, copy in enumerate(self.copies) if copy.secrets}
        )

    @property
    def _payload(self) -> str:
        spec = self.spec
        return "\n".join(
            [
                f"_ic_stdout={shlex.quote(_captured(spec.stdout, 'stdout'))}",
                f"_ic_stderr={shlex.quote(_captured(spec.stderr, 'stderr'))}",
                "_ic_set_environment() {",
                *_exports(spec.environment),
                ":",
                "}",
                "_ic_become() {",
                f'exec {self._command} </dev/null >"$1" 2>"$2"',
                "}\n",
            ]
        )

    @property
    def _command(self) -> str:
        return " ".join([*self._program, *map(shlex.quote, self.spec.arguments)])

    @property
    def _program(self) -> list[str]:
        name = str(self.spec.executable)
        if self._staged is not None:
            path = f'"$3"/bin/{shlex.quote(self._staged.name)}'
            return [path] if self._local_files[self._staged].is_program else ["sh", path]
        return ["env", "--", shlex.quote(name)] if name.startswith("-") else [shlex.quote(name)]


def _check_supported(spec: SubmissionSpec, copies: Sequence[CopyVars]) -> None:
    if len(copies) > MOST_COPIES:
        raise UnsupportedSpecError(f"{len(copies)} copies: a submission has at most {MOST_COPIES}", field="copies")
    if spec.container is not None:
        raise _unsupported("container", spec.container.image, "a payload runs as it is there: have it start its image")
    for file in spec.inputs:
        if file.is_url:
            raise _unsupported("inputs", file.source, "nothing there fetches URLs: name a local file")
    for member in spec.outputs.members:
        if member.destination is not None:
            raise _unsupported("outputs", member.destination, "nothing there uploads: leave destination None and fetch")
    for name in [*spec.environment, *(name for copy in copies for name in copy.environment)]:
        if name in _SHELLS_OWN:
            raise _unsupported("environment", name, "sh keeps that variable for itself: choose another name")


def _unsupported(field: str, value: object, advice: str) -> UnsupportedSpecError:
    return UnsupportedSpecError(
        f"{field} {str(value)!r} is more than this backend can do: {advice}", field=field, value=value
    )


def _check_places(spec: SubmissionSpec, copies: Sequence[CopyVars]) -> None:
    shared = [*(file.name for file in spec.inputs), *(name for name in (spec.stdout, spec.stderr) if name)]
    for secrets in {frozenset(copy.secrets) for copy in copies}:
        names = [*shared, *secrets]
        directories = {str(parent) for name in names for parent in PurePosixPath(name).parents}
        twice = sorted({name for name in names if names.count(name) > 1 or name in directories})
        if twice:
            raise InvalidSpecError(
                f"inputs, secrets, stdout and stderr must be different files, and none a directory of another: {twice}",
                field="inputs",
                value=twice,
            )


def _local_file(path: Path) -> _LocalFile:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a fifo would block
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise _unreadable(path, "it is not a regular file")
        start = os.read(descriptor, 4)
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error
    finally:
        os.close(descriptor)
    return _LocalFile(0o700 if mode & stat.S_IXUSR else 0o600, start.startswith(b"#!") or start == b"\x7fELF")


def _unreadable(path: Path, why: str) -> InvalidSpecError:
    return InvalidSpecError(f"the local file {str(path)!r} cannot be sent: {why}", field="inputs", value=str(path))


def _of_copy(place: str, copy: CopyVars) -> Iterator[Member]:
    if copy.environment:
        yield Member(f"{place}/vars", _bytes("\n".join([*_exports(copy.environment), ""])))
    if copy.secrets:
        names = " ".join(shlex.quote(f"./{name}") for name in copy.secrets)
        yield Member(f"{place}/secrets", _bytes(f"rm -rf {names}\n"))
    for name, secret in copy.secrets.items():
        yield Member(f"{place}/work/{name}", secret.get_secret_value())


def _exports(environment: Mapping[str, str]) -> list[str]:
    return [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]


def _captured(name: str | None, default: str) -> str:
    return f"./{name}" if name else f"../{default}"


def _line(text: str) -> bytes:
    return _bytes(text + "\n")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
