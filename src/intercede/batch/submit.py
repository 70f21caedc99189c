"""Submit jobs: send one archive that holds everything, and run one script that queues every copy.

Three of the scripts are quoted into one another, each with ``shlex.quote``:

::

    archive     tag wrapper payload batch plan ... submit.sh    a tar stream, which boot.sh unpacks
    submit.sh       fragment='...'                               a variable with the scheduler's fragment, run by eval
    fragment            job='...'                                a variable with the job script, if the queue needs one
    job script              exec sh ./wrapper INDEX              the program that the queue runs

The wrapper is a file of its own. It reads the file ``payload``, which starts the user's program.
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
from intercede.batch.parsing import check_queued, convert_parser_errors
from intercede.batch.purge import discard_submission
from intercede.batch.remote.api import load_script, write_preamble
from intercede.batch.remote.framing import Answer
from intercede.batch.remote.layout import MOST_COPIES, make_submission_id
from intercede.batch.remote_jobs import RemoteJobs
from intercede.batch.selection import Plan
from intercede.contract.errors import InvalidSpecError, LimitError, SchedulerError, UnsupportedSpecError
from intercede.contract.job import CopyFailure, CopyVars, SubmissionSpec
from intercede.contract.scheduler import Batch, Queued, Scheduler
from intercede.contract.transport import CommandResult

__all__ = ["SubmissionArchive", "quote_tag", "submit_copies"]

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
"""Variables that some shells set themselves. A job would not get the values that a user gives to these variables."""


def quote_tag(tag: str) -> str:
    """Return a tag as one line of safe characters. Tags are only compared, so the result is never decoded."""
    return quote(tag, safe="", errors="surrogatepass")


async def submit_copies(
    remote: RemoteJobs, api: str, spec: SubmissionSpec, copies: Sequence[CopyVars]
) -> tuple[Batch, Queued]:
    """Send a submission in one archive, queue every copy, and return the scheduler's answer.

    This runs one remote command.

    Args:
        remote: The remote side.
        api: The shell functions that the scheduler's fragment may call.
        spec: The payload to run.
        copies: The variables and secrets of each copy.

    Returns:
        The submission, and the scheduler's answer, in which at least one copy was accepted.

    Raises:
        InvalidSpecError: A local file cannot be read, or two files have the same path in the working directory.
        UnsupportedSpecError: The specification asks for something that sh, the transport or the scheduler cannot do.
        LimitError: The scheduler's own limit refused all copies.
        SchedulerError: The scheduler refused all copies, or its answer cannot be parsed.
        TransportError: The transport failed.
    """
    batch = Batch(submission_id=make_submission_id(), copies=len(copies), resources=spec.resources)
    archive = SubmissionArchive(spec, copies, batch)
    archive.check()
    fragment = remote.scheduler.submit_script(batch)
    try:
        answer = await remote.shell.unpack(batch.submission_id, archive.list_members(fragment, api))
        _check_executable(answer, remote.shell.root, spec)
        queued = await offload_if_large(len(copies), _parse_answer, remote.scheduler, batch, answer.get_frame("answer"))
    except InvalidSpecError:
        raise  # the archive is incomplete, so nothing can have started
    except BaseException as error:
        if isinstance(error, UnsupportedSpecError) or (isinstance(error, SchedulerError) and error.refused):
            await discard_submission(remote, batch.submission_id, batch.copies)
        else:
            remote.doubtful.add(batch.submission_id)
        raise
    if not queued.ids:
        await discard_submission(remote, batch.submission_id, batch.copies)
        raise _make_refusal(batch, queued)
    if "noted" not in answer:  # the fragment has not reported the native ids
        remote.remember_ids(batch.submission_id, queued)
    return batch, queued


def _parse_answer(scheduler: Scheduler, batch: Batch, answer: CommandResult) -> Queued:
    """Return the native ids and the refusals in the scheduler's answer to a submission.

    A LimitError of the parser means that the scheduler refused all copies. The result is then a retryable refusal of
    each copy.
    """
    try:
        with convert_parser_errors(scheduler, "parse_submit", answer, batch.submission_id):
            return check_queued(batch, scheduler.parse_submit(batch, answer))
    except LimitError as error:
        refusal = CopyFailure(reason=str(error), retryable=True)
        return Queued(refused=dict.fromkeys(range(batch.copies), refusal))


def _make_refusal(batch: Batch, queued: Queued) -> LimitError | SchedulerError:
    failure = next(iter(queued.refused.values()))
    kind = LimitError if failure.retryable else SchedulerError
    return kind(f"the scheduler accepted none of {batch.copies} copies: {failure.reason}")


def _check_executable(answer: Answer, root: str, spec: SubmissionSpec) -> None:
    """Check that the remote machine can run the executable that was sent with the submission.

    Without this check, each copy might fail with exit code 126.
    """
    if "program" in answer and answer.get_frame("program").returncode != 0:
        raise UnsupportedSpecError(
            f"the executable {str(spec.executable)!r} cannot run in the directory to which it was sent, below {root}: "
            "its file system is mounted noexec, or keeps no permissions. Set root to a directory on another file "
            "system; or send the file as an input, and make an installed program run it, such as sh or python3",
            field="executable",
            value=spec.executable,
        )


@dataclass(frozen=True)
class _LocalFile:
    """The facts about a local file that are needed before the file is sent."""

    mode: int
    """The permissions that the file gets on the remote machine."""
    is_program: bool
    """True if the kernel can execute the file, False if ``sh`` must run the file."""


@dataclass(frozen=True)
class SubmissionArchive:
    """The archive that is sent for one submission."""

    spec: SubmissionSpec
    copies: Sequence[CopyVars]
    batch: Batch

    def check(self) -> None:
        """Check that the submission can be sent.

        Raises:
            InvalidSpecError: A local file cannot be read, or two files have the same path in the working directory.
            UnsupportedSpecError: The specification asks for something that sh or a transport cannot do.
        """
        _check_supported(self.spec, self.copies)
        _check_places(self.spec, self.copies)
        self._local_files  # noqa: B018 -- the property inspects each file

    def list_members(self, fragment: str, api: str) -> Iterator[Member]:
        """Yield the files of the archive, ``submit.sh`` last, so that an archive that is cut off starts nothing.

        Args:
            fragment: The scheduler's fragment that queues the copies.
            api: The shell functions that the fragment may call.
        """
        if self.spec.tag is not None:
            yield Member("tag", _encode_line(quote_tag(self.spec.tag)))  # find.sh expects the tag before the wrapper
        yield Member("wrapper", load_script("wrapper").encode(), 0o700)
        yield Member("payload", _encode(self._payload))
        yield Member("batch", _encode_line(self.batch.model_dump_json()))
        yield Member("plan", _encode_line(self._plan.model_dump_json()))
        yield Member("find", _encode_line(self._plan.write_expression(self.batch.submission_id, len(self.copies))))
        if spared := self._plan.list_unsent_inputs(self.batch.submission_id):
            yield Member("spared", _encode(spared))
        if self._staged is not None:
            yield Member(f"bin/{self._staged.name}", self._staged, 0o700)
        for file in self.spec.inputs:
            yield Member(f"inputs/{file.name}", Path(file.source), self._local_files[Path(file.source)].mode)
        for index, copy in enumerate(self.copies):
            yield from _list_copy_members(f"copies/{index}", copy)
        yield Member("submit.sh", _encode(self._write_submit_script(fragment, api)), 0o700)

    def _write_submit_script(self, fragment: str, api: str) -> str:
        program = f"./bin/{self._staged.name}" if self._staged and self._local_files[self._staged].is_program else ""
        values = f"copies={len(self.copies)}\nfragment={shlex.quote(fragment)}\nprogram={shlex.quote(program)}"
        return "\n".join([write_preamble(api, "submit"), values, '_ic_submit "$@"\n'])

    @property
    def _staged(self) -> Path | None:
        return self.spec.staged_executable

    @cached_property
    def _local_files(self) -> dict[Path, _LocalFile]:
        """Path -> the facts about each local file.

        The facts are read only once, because a file may vanish before it is sent.
        """
        paths = [*([self._staged] if self._staged else []), *(Path(file.source) for file in self.spec.inputs)]
        return {path: _inspect_file(path) for path in paths}

    @cached_property
    def _plan(self) -> Plan:
        return Plan.from_spec(
            self.spec, {index: tuple(copy.secrets) for index, copy in enumerate(self.copies) if copy.secrets}
        )

    @property
    def _payload(self) -> str:
        spec = self.spec
        return "\n".join(
            [
                f"_ic_stdout={shlex.quote(_write_capture_path(spec.stdout, 'stdout'))}",
                f"_ic_stderr={shlex.quote(_write_capture_path(spec.stderr, 'stderr'))}",
                "_ic_set_environment() {",
                *_write_exports(spec.environment),
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
        raise _make_unsupported_error(
            "container", spec.container.image, "a payload runs without a container: let the payload start the image"
        )
    for file in spec.inputs:
        if file.is_url:
            raise _make_unsupported_error("inputs", file.source, "the remote side fetches no URLs: name a local file")
    for member in spec.outputs.members:
        if member.destination is not None:
            raise _make_unsupported_error(
                "outputs",
                member.destination,
                "the remote side uploads nothing: leave destination None, and use fetch_output",
            )
    for name in [*spec.environment, *(name for copy in copies for name in copy.environment)]:
        if name in _SHELLS_OWN:
            raise _make_unsupported_error("environment", name, "sh sets this variable itself: choose another name")


def _make_unsupported_error(field: str, value: object, advice: str) -> UnsupportedSpecError:
    return UnsupportedSpecError(
        f"{field} {str(value)!r} is not supported by this backend: {advice}", field=field, value=value
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


def _inspect_file(path: Path) -> _LocalFile:
    try:
        # Without O_NONBLOCK, opening a fifo would block.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _make_read_error(path, str(error.strerror)) from error
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise _make_read_error(path, "it is not a regular file")
        start = os.read(descriptor, 4)
    except OSError as error:
        raise _make_read_error(path, str(error.strerror)) from error
    finally:
        os.close(descriptor)
    return _LocalFile(0o700 if mode & stat.S_IXUSR else 0o600, start.startswith(b"#!") or start == b"\x7fELF")


def _make_read_error(path: Path, why: str) -> InvalidSpecError:
    return InvalidSpecError(f"the local file {str(path)!r} cannot be sent: {why}", field="inputs", value=str(path))


def _list_copy_members(place: str, copy: CopyVars) -> Iterator[Member]:
    if copy.environment:
        yield Member(f"{place}/vars", _encode("\n".join([*_write_exports(copy.environment), ""])))
    if copy.secrets:
        names = " ".join(shlex.quote(f"./{name}") for name in copy.secrets)
        yield Member(f"{place}/secrets", _encode(f"rm -rf {names}\n"))
    for name, secret in copy.secrets.items():
        yield Member(f"{place}/work/{name}", secret.get_secret_value())


def _write_exports(environment: Mapping[str, str]) -> list[str]:
    return [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]


def _write_capture_path(name: str | None, default: str) -> str:
    return f"./{name}" if name else f"../{default}"


def _encode_line(text: str) -> bytes:
    return _encode(text + "\n")


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
