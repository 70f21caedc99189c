"""Fetch the output of jobs from the remote side into a local directory."""

import errno
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from intercede.batch.archive import ArchiveError, Unpacker, make_local_name
from intercede.batch.offload import offload_if_large
from intercede.batch.records import LIVE
from intercede.batch.remote.api import load_script
from intercede.batch.remote.framing import Answer, Streams
from intercede.batch.remote.layout import Job
from intercede.batch.remote.shell import make_no_space_error
from intercede.batch.remote_jobs import RemoteJobs
from intercede.batch.selection import Plan
from intercede.batch.status import write_settle_part
from intercede.contract.errors import TransportError
from intercede.contract.job import JobOutput, JobStatus
from intercede.contract.transport import CommandResult

__all__ = ["Download", "Limits", "fetch_jobs"]

_CHANGED = re.compile(r"([a-z][a-z0-9]{12})/copies/([0-9]{1,7})/.*: (?:file changed as we read it|File shrank)")
"""The message that GNU tar prints if a file changed while tar read it. The fetched file may end in added NUL bytes."""
_MEMBER = re.compile(r"([a-z][a-z0-9]{12})/copies/([0-9]{1,7})/(.*)", re.DOTALL)
_TIMED_OUT = frozenset({124, 143})
_NAME_TAKEN = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR})
"""The errors that renaming a directory raises if the new name belongs to a file or to a directory that is not empty."""


@dataclass(frozen=True)
class Limits:
    """The limits of a fetch."""

    bytes: int
    """The maximum number of bytes to fetch for each job."""
    files: int
    """The maximum number of files to fetch for each job."""
    seconds: int
    """The maximum number of seconds for which the remote side lists and packs the files of all jobs."""


@dataclass(frozen=True)
class _Share:
    """The remote side's announcement about one job: how many files will be sent, and how many will be left out."""

    files: int
    """The number of files that will be sent."""
    left_out: int
    """The number of files that are over a limit."""
    unfit: int
    """The number of files whose names the remote tar cannot read from a list."""
    fault: int = 0
    """The exit code of find(1). It is 0 if find(1) listed all files."""


class _Text:
    """A ByteSink that keeps all bytes."""

    def __init__(self) -> None:
        self.data = bytearray()

    async def write(self, data: bytes) -> None:
        self.data += data

    @property
    def lines(self) -> list[str]:
        return self.data.decode("utf-8", "surrogateescape").split("\n")[:-1]


async def fetch_jobs(remote: RemoteJobs, jobs: Collection[Job], dest: Path, limits: Limits) -> dict[Job, JobOutput]:
    """Fetch the output of finished jobs.

    This runs one remote command if the exit code or the final status of every job is recorded, else two.
    """
    with Download(jobs, dest, limits) as download:
        answer = await remote.ask(jobs, remote.status_part, download.script_part, streams=download.streams)
        snapshot = await remote.read_snapshot(answer)
        over = [job for job, record in snapshot.records.items() if record.is_over and not record.gone]
        outputs = await download.deliver(over, answer)
    if snapshot.unnamed_submissions:
        snapshot = await remote.take_snapshot([job for job in jobs if job not in outputs])
    if finals := snapshot.unwritten_finals:
        with Download(finals, dest, limits) as download:
            parts = write_settle_part(finals), download.script_part
            answer = await remote.ask(finals, *parts, streams=download.streams)
            outputs |= await download.deliver(finals, answer)
    return {job: outputs.get(job) or _make_refusal(snapshot.get_status(job)) for job in jobs}


def _make_refusal(status: JobStatus) -> JobOutput:
    word = "running" if status.state in LIVE else "unknown"
    return JobOutput(
        ok=False, reason=f"{word}: the job is {status.state}, {status.evidence or status.native or status.reason}"
    )


class Download:
    """Receives one archive with the files of many jobs, and unpacks it while it arrives.

    Each job gets a temporary directory in ``dest``, which is renamed to its final name when the archive is complete.
    """

    def __init__(self, jobs: Collection[Job], dest: Path, limits: Limits) -> None:
        self._jobs = frozenset(jobs)
        self._dest = dest
        self._limits = limits
        self._temporary = dest / f".fetching-{secrets.token_hex(8)}"
        self._made: dict[Job, Path] = {}
        self._seen: Counter[Job] = Counter()
        self._changed: set[Job] = set()
        self._plans_text, self._report_text = _Text(), _Text()
        self._unpackers: dict[str, Unpacker] = {}

    def __enter__(self) -> Self:
        self._dest.mkdir(parents=True, exist_ok=True)
        self._temporary.mkdir(mode=0o700)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        for unpacker in self._unpackers.values():
            unpacker.__exit__(exc_type, exc, traceback)
        shutil.rmtree(self._temporary)

    @property
    def script_part(self) -> str:
        """The part of a script that sends the files of finished jobs."""
        limits = self._limits
        values = f"max_bytes={limits.bytes}\nmax_files={limits.files}\nmax_seconds={limits.seconds}"
        return "\n".join([values, load_script("fetch"), "_ic_send"])

    @property
    def streams(self) -> Streams:
        """Name of an output of ``script_part`` -> a function that returns the ``ByteSink`` for this output."""
        return {
            "plans": lambda _: self._plans_text,
            "report": lambda _: self._report_text,
            "archive": self._get_unpacker,
        }

    def _get_unpacker(self, name: str) -> Unpacker:
        if name not in self._unpackers:
            limits = self._limits
            self._unpackers[name] = Unpacker(self._route, max_bytes=limits.bytes, max_files=limits.files)
        return self._unpackers[name]

    async def deliver(self, jobs: Collection[Job], answer: Answer) -> dict[Job, JobOutput]:
        """Move the directory of each job to its final name, and return the outputs.

        Args:
            jobs: The finished jobs.
            answer: The answer to the script that contains ``script_part``.

        Raises:
            TransportError: The archive is incomplete, although no limit was reached.
            ResourceError: The remote disk had no space for the list of files.
            OSError: The local directory cannot be written.
        """
        if "listed" in answer and answer.get_frame("listed").returncode != 0:
            raise make_no_space_error(answer.get_frame("listed").stderr)
        if "sent" not in answer:
            raise answer.make_cut_error("sent")
        late = True in {
            self._finish_archive(answer.get_frame(name), self._get_unpacker(name))
            for name in answer.list_names("archive")
        }
        return await offload_if_large(len(jobs), self._make_outputs, jobs, late=late)

    def _make_outputs(self, jobs: Collection[Job], *, late: bool) -> dict[Job, JobOutput]:
        names = self._list_names()
        return {job: self._make_output(job, names.get(job, []), late=late) for job in jobs}

    def _finish_archive(self, tar: CommandResult, unpacker: Unpacker) -> bool:
        self._changed.update(
            Job(submission_id, int(index))
            for submission_id, index in _CHANGED.findall(tar.stderr.decode("utf-8", "replace"))
        )
        try:
            unpacker.finish()
        except ArchiveError as error:
            if tar.returncode in _TIMED_OUT:
                return True
            stderr = tar.stderr.decode("utf-8", "replace").strip()[-500:]
            raise TransportError(f"tar failed on the remote side: {stderr}", stderr=stderr) from error
        return False

    def _route(self, member: str) -> tuple[Path, str] | None:
        submission_id, _, index, name = member.split("/", 3)
        job = Job(submission_id, int(index))
        if job not in self._jobs:
            return None
        self._seen[job] += 1
        place = self._choose_name(job, name)
        if place is None:
            return None
        return self._get_directory(job), place

    def _choose_name(self, job: Job, name: str) -> str | None:
        """Return the local path of a remote file in the job's directory, or None if the file is not wanted."""
        if name in {"stdout", "stderr", "log"}:
            return name
        plan, inside = self._plans[job.submission_id], name.removeprefix("work/")
        if inside in {plan.stdout, plan.stderr}:
            return "stdout" if inside == plan.stdout else "stderr"
        return f"files/{inside}" if plan.wants(job.copy, inside) else None

    def _get_directory(self, job: Job) -> Path:
        if job not in self._made:
            self._made[job] = self._temporary / _name_directory(job)
            self._made[job].mkdir(mode=0o700)
        return self._made[job]

    def _move_into_place(self, job: Job) -> Path:
        new, place = self._get_directory(job), self._dest / _name_directory(job)
        try:
            return new.rename(place)
        except OSError as error:
            if error.errno not in _NAME_TAKEN:
                raise
        place.rename(self._temporary / f"{place.name}.old")
        return new.rename(place)

    def _list_names(self) -> dict[Job, list[str]]:
        """Return a dict: job -> the paths of its files that arrived, relative to the job's directory."""
        names: dict[Path, list[str]] = {}
        for unpacker in self._unpackers.values():
            for directory, name in unpacker.files.values():
                names.setdefault(directory, []).append(name)
        return {job: names.get(directory, []) for job, directory in self._made.items()}

    def _make_output(self, job: Job, names: Collection[str], *, late: bool) -> JobOutput:
        reason = self._explain_shortfall(job, late=late)
        if reason is not None and not names:
            # Keep the directory of an earlier fetch, rather than replace it by an empty one.
            return JobOutput(ok=False, reason=reason)
        place = self._move_into_place(job)
        plan, files = self._plans[job.submission_id], [name for name in names if name.startswith("files/")]
        captured = {"stdout": plan.stdout, "stderr": plan.stderr}
        came = [name.removeprefix("files/") for name in files]
        return JobOutput(
            ok=reason is None,
            reason=reason,
            stdout=place / "stdout" if "stdout" in names else None,
            stderr=place / "stderr" if "stderr" in names else None,
            log=place / "log" if "log" in names else None,
            files={name.removeprefix("files/"): place / make_local_name(name) for name in files},
            missing=self._find_missing(job, [*came, *(its for name, its in captured.items() if its and name in names)]),
        )

    def _find_missing(self, job: Job, names: Collection[str]) -> tuple[str, ...]:
        """Return the missing output: patterns that match no fetched file, and matched links, devices and fifos.

        Links, devices and fifos are never fetched, so they are missing even if a pattern matches them.
        """
        plan = self._plans[job.submission_id]
        links = sorted(name for name in self._not_files.get(job, ()) if plan.is_matched(name))
        return tuple(dict.fromkeys([*plan.find_unmatched(names), *links]))

    def _explain_shortfall(self, job: Job, *, late: bool) -> str | None:
        """Return the reason why the output of a job is incomplete, or None if it is complete."""
        share = self._shares.get(job)
        if share is None or job.submission_id not in self._plans:
            return "unknown: the job was purged while its output was fetched"
        if share.left_out:
            most = f"{self._limits.bytes} bytes or {self._limits.files} files a job"
            return f"limit: {share.left_out} files were left out, because they are over {most}"
        if share.fault in _TIMED_OUT or (late and self._seen[job] < share.files):
            return f"limit: packing took longer than {self._limits.seconds} seconds"
        if share.fault:
            return f"other: its files could not be listed, find ended with {share.fault}"
        if share.unfit:
            return f"other: {share.unfit} files have names that cannot be passed to the remote tar"
        if refused := self._refused.get(job):
            return f"other: {len(refused)} files were refused; {refused[0]}"
        if job in self._changed:
            return "other: a file was written while it was packed, and may be incomplete: fetch again"
        if lacking := share.files - self._seen[job]:
            return f"other: the remote side could not read {lacking} files"
        return None

    @cached_property
    def _refused(self) -> Mapping[Job, Sequence[str]]:
        """Job -> the files that were refused, each with the reason."""
        refused: dict[Job, list[str]] = {}
        for unpacker in self._unpackers.values():
            for name, why in unpacker.refused.items():
                if name not in unpacker.not_files and (match := _MEMBER.fullmatch(name)):
                    refused.setdefault(Job(match[1], int(match[2])), []).append(f"{name!r}: {why}")
        return refused

    @cached_property
    def _not_files(self) -> Mapping[Job, Sequence[str]]:
        """Job -> the symbolic links, devices and fifos in the job's working directory."""
        found: dict[Job, list[str]] = {}
        for name in (name for unpacker in self._unpackers.values() for name in unpacker.not_files):
            if match := _MEMBER.fullmatch(name):
                found.setdefault(Job(match[1], int(match[2])), []).append(match[3].removeprefix("work/"))
        return found

    @cached_property
    def _plans(self) -> dict[str, Plan]:
        lines = (line.split(" ", 1) for line in self._plans_text.lines)
        return {submission_id: Plan.model_validate_json(plan) for submission_id, plan in lines}

    @cached_property
    def _shares(self) -> dict[Job, _Share]:
        """Job -> the remote side's announcement: how many of the job's files will be sent, and how many left out.

        A line of the announcement is ``SUBMISSION_ID INDEX FILES LEFT_OUT UNFIT``. If find(1) failed for a job, a line
        ``SUBMISSION_ID INDEX failed CODE`` follows.
        """
        shares: dict[Job, _Share] = {}
        for submission_id, index, *rest in (line.split() for line in self._report_text.lines if line != "whole"):
            job = Job(submission_id, int(index))
            if rest[0] == "failed":
                shares[job] = replace(shares.get(job, _Share(0, 0, 0)), fault=int(rest[1]))
            else:
                shares[job] = _Share(*map(int, rest))
        return shares


def _name_directory(job: Job) -> str:
    return f"{job.submission_id}.{job.copy}"
