"""Fetching what jobs wrote, from the remote side into a local directory."""

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

from intercede.batch.archive import ArchiveError, Unpacker, local
from intercede.batch.offload import offload_if_large
from intercede.batch.records import LIVE
from intercede.batch.remote.api import text_of
from intercede.batch.remote.framing import Answer, Streams
from intercede.batch.remote.layout import Job
from intercede.batch.remote.shell import no_room
from intercede.batch.remote_jobs import RemoteJobs
from intercede.batch.selection import Plan
from intercede.batch.status import write_settling
from intercede.contract.errors import TransportError
from intercede.contract.job import JobOutput, JobStatus
from intercede.contract.transport import CommandResult

__all__ = ["Download", "Limits", "fetch_jobs"]

_CHANGED = re.compile(r"([a-z][a-z0-9]{12})/copies/([0-9]{1,7})/.*: (?:file changed as we read it|File shrank)")
"""What GNU tar says of a file that was written while it was read; what it sends of it may be filled up with zeros."""
_MEMBER = re.compile(r"([a-z][a-z0-9]{12})/copies/([0-9]{1,7})/(.*)", re.DOTALL)
_TIMED_OUT = frozenset({124, 143})
_LIES_THERE = frozenset({errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR})
"""What renaming a directory fails with because something has its new name, other than an empty directory."""


@dataclass(frozen=True)
class Limits:
    """The most that one job may send, and the seconds that one fetch may take there."""

    bytes: int
    files: int
    seconds: int


@dataclass(frozen=True)
class _Share:
    """The files of one job, as the remote side announces them."""

    files: int
    left_out: int
    unfit: int
    fault: int = 0
    """How the listing of its files failed, an exit code."""


class _Text:
    """A ByteSink that keeps everything."""

    def __init__(self) -> None:
        self.data = bytearray()

    async def write(self, data: bytes) -> None:
        self.data += data

    @property
    def lines(self) -> list[str]:
        return self.data.decode("utf-8", "surrogateescape").split("\n")[:-1]


async def fetch_jobs(remote: RemoteJobs, jobs: Collection[Job], dest: Path, limits: Limits) -> dict[Job, JobOutput]:
    """Fetch the output of jobs that are over: one command if each has its final record, else two."""
    with Download(jobs, dest, limits) as download:
        answer = await remote.ask(jobs, remote.status_part, download.part, streams=download.streams)
        snapshot = await remote.read_snapshot(answer)
        over = [job for job, record in snapshot.records.items() if record.over and not record.gone]
        outputs = await download.deliver(over, answer)
    if snapshot.unnamed:
        snapshot = await remote.take_snapshot([job for job in jobs if job not in outputs])
    if finals := snapshot.to_settle:
        with Download(finals, dest, limits) as download:
            parts = write_settling(finals), download.part
            answer = await remote.ask(finals, *parts, streams=download.streams)
            outputs |= await download.deliver(finals, answer)
    return {job: outputs.get(job) or _refuse(snapshot.verdict(job)) for job in jobs}


def _refuse(status: JobStatus) -> JobOutput:
    word = "running" if status.state in LIVE else "unknown"
    return JobOutput(
        ok=False, reason=f"{word}: it is {status.state}, {status.evidence or status.native or status.reason}"
    )


class Download:
    """One archive of many jobs' files, taken apart while it arrives, beside where they will lie.

    Every job gets a directory of its own, which is renamed into place when all has arrived.
    """

    def __init__(self, jobs: Collection[Job], dest: Path, limits: Limits) -> None:
        self._jobs = frozenset(jobs)
        self._dest = dest
        self._limits = limits
        self._aside = dest / f".fetching-{secrets.token_hex(8)}"
        self._made: dict[Job, Path] = {}
        self._seen: Counter[Job] = Counter()
        self._changed: set[Job] = set()
        self._plans_text, self._report_text = _Text(), _Text()
        self._unpackers: dict[str, Unpacker] = {}

    def __enter__(self) -> Self:
        self._dest.mkdir(parents=True, exist_ok=True)
        self._aside.mkdir(mode=0o700)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        for unpacker in self._unpackers.values():
            unpacker.__exit__(exc_type, exc, traceback)
        shutil.rmtree(self._aside)

    @property
    def part(self) -> str:
        """The part of a script that sends what is over."""
        limits = self._limits
        values = f"max_bytes={limits.bytes}\nmax_files={limits.files}\nmax_seconds={limits.seconds}"
        return "\n".join([values, text_of("fetch"), "_ic_send"])

    @property
    def streams(self) -> Streams:
        """The sinks for the frames of that part."""
        return {"plans": lambda _: self._plans_text, "report": lambda _: self._report_text, "archive": self._unpacker}

    def _unpacker(self, name: str) -> Unpacker:
        if name not in self._unpackers:
            limits = self._limits
            self._unpackers[name] = Unpacker(self._route, max_bytes=limits.bytes, max_files=limits.files)
        return self._unpackers[name]

    async def deliver(self, jobs: Collection[Job], answer: Answer) -> dict[Job, JobOutput]:
        """Put each job's directory in its place.

        Raises:
            TransportError: The archive is incomplete, and not because a limit was reached.
            ResourceError: The remote side had no room to list what it sends.
            OSError: The local directory cannot be written.
        """
        if "listed" in answer and answer.frame("listed").returncode != 0:
            raise no_room(answer.frame("listed").stderr)
        if "sent" not in answer:
            raise answer.cut("sent")
        late = True in {self._is_late(answer.frame(name), self._unpacker(name)) for name in answer.names("archive")}
        return await offload_if_large(len(jobs), self._delivered, jobs, late=late)

    def _delivered(self, jobs: Collection[Job], *, late: bool) -> dict[Job, JobOutput]:
        names = self._names()
        return {job: self._output(job, names.get(job, []), late=late) for job in jobs}

    def _is_late(self, tar: CommandResult, unpacker: Unpacker) -> bool:
        self._changed.update(
            Job(submission_id, int(index))
            for submission_id, index in _CHANGED.findall(tar.stderr.decode("utf-8", "replace"))
        )
        try:
            unpacker.finish()
        except ArchiveError as error:
            if tar.returncode in _TIMED_OUT:
                return True
            said = tar.stderr.decode("utf-8", "replace").strip()[-500:]
            raise TransportError(f"tar failed on the far side: {said}", stderr=said) from error
        return False

    def _route(self, member: str) -> tuple[Path, str] | None:
        submission_id, _, index, name = member.split("/", 3)
        job = Job(submission_id, int(index))
        if job not in self._jobs:
            return None
        self._seen[job] += 1
        place = self._place(job, name)
        if place is None:
            return None
        return self._directory(job), place

    def _place(self, job: Job, name: str) -> str | None:
        """Return the place of a file in the job's directory; None: it was not asked for."""
        if name in {"stdout", "stderr", "log"}:
            return name
        plan, inside = self._plans[job.submission_id], name.removeprefix("work/")
        if inside in {plan.stdout, plan.stderr}:
            return "stdout" if inside == plan.stdout else "stderr"
        return f"files/{inside}" if plan.wants(job.copy, inside) else None

    def _directory(self, job: Job) -> Path:
        if job not in self._made:
            self._made[job] = self._aside / _name(job)
            self._made[job].mkdir(mode=0o700)
        return self._made[job]

    def _placed(self, job: Job) -> Path:
        new, place = self._directory(job), self._dest / _name(job)
        try:
            return new.rename(place)
        except OSError as error:
            if error.errno not in _LIES_THERE:
                raise
        place.rename(self._aside / f"{place.name}.old")
        return new.rename(place)

    def _names(self) -> dict[Job, list[str]]:
        """For each job what arrived, by its name in the job's directory."""
        names: dict[Path, list[str]] = {}
        for unpacker in self._unpackers.values():
            for directory, name in unpacker.files.values():
                names.setdefault(directory, []).append(name)
        return {job: names.get(directory, []) for job, directory in self._made.items()}

    def _output(self, job: Job, names: Collection[str], *, late: bool) -> JobOutput:
        reason = self._shortfall(job, late=late)
        if reason is not None and not names:
            return JobOutput(ok=False, reason=reason)  # what was fetched earlier is worth more than nothing
        place = self._placed(job)
        plan, files = self._plans[job.submission_id], [name for name in names if name.startswith("files/")]
        captured = {"stdout": plan.stdout, "stderr": plan.stderr}
        came = [name.removeprefix("files/") for name in files]
        return JobOutput(
            ok=reason is None,
            reason=reason,
            stdout=place / "stdout" if "stdout" in names else None,
            stderr=place / "stderr" if "stderr" in names else None,
            log=place / "log" if "log" in names else None,
            files={name.removeprefix("files/"): place / local(name) for name in files},
            missing=self._missing(job, [*came, *(its for name, its in captured.items() if its and name in names)]),
        )

    def _missing(self, job: Job, names: Collection[str]) -> tuple[str, ...]:
        """Return the patterns that match none of these names, and the matched links, which are not fetched."""
        plan = self._plans[job.submission_id]
        links = sorted(name for name in self._no_files.get(job, ()) if plan.lists(name))
        return tuple(dict.fromkeys([*plan.missing(names), *links]))

    def _shortfall(self, job: Job, *, late: bool) -> str | None:
        """Why something of the job that was to come is not here."""
        share = self._shares.get(job)
        if share is None or job.submission_id not in self._plans:
            return "unknown: it was removed there while it was fetched"
        if share.left_out:
            most = f"{self._limits.bytes} bytes or {self._limits.files} files a job"
            return f"limit: {share.left_out} files were left out, they are over {most}"
        if share.fault in _TIMED_OUT or (late and self._seen[job] < share.files):
            return f"limit: packing took longer than {self._limits.seconds} seconds"
        if share.fault:
            return f"other: its files could not be listed there, find ended with {share.fault}"
        if share.unfit:
            return f"other: {share.unfit} files have names that tar there cannot be told"
        if refused := self._refused.get(job):
            return f"other: {len(refused)} files were refused; {refused[0]}"
        if job in self._changed:
            return "other: a file was written while it was packed, and may have come in parts: fetch again"
        if lacking := share.files - self._seen[job]:
            return f"other: {lacking} files could not be read there"
        return None

    @cached_property
    def _refused(self) -> Mapping[Job, Sequence[str]]:
        """The files that were refused, by job, and why."""
        refused: dict[Job, list[str]] = {}
        for unpacker in self._unpackers.values():
            for name, why in unpacker.refused.items():
                if name not in unpacker.no_files and (match := _MEMBER.fullmatch(name)):
                    refused.setdefault(Job(match[1], int(match[2])), []).append(f"{name!r}: {why}")
        return refused

    @cached_property
    def _no_files(self) -> Mapping[Job, Sequence[str]]:
        """The links, devices and fifos in the working directory, by job."""
        found: dict[Job, list[str]] = {}
        for name in (name for unpacker in self._unpackers.values() for name in unpacker.no_files):
            if match := _MEMBER.fullmatch(name):
                found.setdefault(Job(match[1], int(match[2])), []).append(match[3].removeprefix("work/"))
        return found

    @cached_property
    def _plans(self) -> dict[str, Plan]:
        lines = (line.split(" ", 1) for line in self._plans_text.lines)
        return {submission_id: Plan.model_validate_json(plan) for submission_id, plan in lines}

    @cached_property
    def _shares(self) -> dict[Job, _Share]:
        """The lines ``SUBMISSION_ID INDEX FILES LEFT_OUT UNFIT``, some of them followed by ``SUBMISSION_ID INDEX failed CODE``."""
        shares: dict[Job, _Share] = {}
        for submission_id, index, *rest in (line.split() for line in self._report_text.lines if line != "whole"):
            job = Job(submission_id, int(index))
            if rest[0] == "failed":
                shares[job] = replace(shares.get(job, _Share(0, 0, 0)), fault=int(rest[1]))
            else:
                shares[job] = _Share(*map(int, rest))
        return shares


def _name(job: Job) -> str:
    return f"{job.submission_id}.{job.copy}"
