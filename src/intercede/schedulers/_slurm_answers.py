"""Parses the output of the fragments: lines of the fragment itself, and between them lines of Slurm's tools.

A native id is ``JOB[_TASK][;CLUSTER]@SUBMISSION_ID-FIRST``: Slurm's id of the job, then the name of the job without the
prefix ``ic-``. Slurm uses the numbers of jobs again after Slurm has lost its state. So a row with the number of our job
is about our job only if the names are equal, too.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from intercede.contract.errors import SchedulerError
from intercede.contract.job import CopyFailure, JobState, JobStatus
from intercede.contract.scheduler import Batch, Queued
from intercede.contract.transport import CommandResult
from intercede.plugin_tools.scheduler import scheduler_error
from intercede.schedulers._slurm_words import is_ambiguous, is_outage, make_refusal, make_status

__all__ = ["Jobs", "get_job", "parse_denied", "parse_found", "parse_jobs", "parse_queued"]

_SHOWN = 500
"""The number of characters of a tool's output that an error shows."""
_SIGNAL = 127
"""The bits of a wait status that hold the signal."""
_LOCAL = "-"
"""The word that a fragment prints for the local cluster, in place of a name."""
_OURS = "intercede: "
_ACCEPTED = re.compile(r"([0-9]{1,10})(;[A-Za-z0-9._-]{1,100})?")
_NATIVE = re.compile(
    r"(?P<slurm_id>(?P<job>[0-9]{1,10})(?:_(?P<task>[0-9]{1,10}))?(?P<cluster>;[A-Za-z0-9._-]{1,100})?)"
    r"@(?P<name>[a-z][a-z0-9]{12}-[0-9]{1,7})"
)
_SECTION = re.compile(r"intercede: (squeue|sacct) ([A-Za-z0-9._-]+)")
_CODE = re.compile(r"intercede: code ([0-9]{1,3})")
_OURS_CHUNK = "intercede: chunk "
_CHUNK = re.compile(
    r"intercede: chunk (?P<submission_id>[a-z][a-z0-9]{12}) (?P<first>[0-9]{1,7}) (?P<count>[0-9]{1,7}) "
    r"(?:fenced|unknown|owned (?P<job>[0-9]{1,10}) (?P<cluster>[A-Za-z0-9._-]{0,100}))"
)
_UNLISTED = "intercede: unlisted "
_END = "intercede: end"
_ROW = re.compile(r"[0-9]{1,10}(?:_(?:[0-9]{1,10}|\[[0-9,:%-]+\]))?")
_SQUEUE_ROW = re.compile(r" *([^| ]+) *\| *([0-9]{1,10})(?::([0-9]{1,10}))? *\| *([^|]*?) *\|(.*)\|")
_SACCT_ROW = re.compile(r" *([^|]+?) *\|([0-9]{1,10}):([0-9]{1,10})\|(.*)")
_NAME = re.compile(r"ic-([a-z][a-z0-9]{12}-[0-9]{1,7})")
_TASK = re.compile("^([0-9]+)_[0-9]+")
_RANGE = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?(?::([1-9][0-9]{0,9}))?")
_DENIED = re.compile(r"job id ([0-9]{1,10})\S*: (Access/permission denied.*)")
_NO_ACCOUNTING = re.compile(r"accounting storage is disabled|accounting_storage/none", re.IGNORECASE)


def parse_queued(batch: Batch, result: CommandResult) -> Queued:
    """Return the native id of each copy. sbatch gives one answer for each chunk, the copies of one array.

    Raises:
        LimitError: A limit refused the first chunk.
        SchedulerError: The first chunk was refused for another reason, or Slurm may have accepted copies for which
            there is no answer.
    """
    ids: dict[int, str] = {}
    complaints = {chunk.first: chunk.text for chunk in _parse_chunks(batch.submission_id, _decode(result.stderr))}
    for chunk in _parse_chunks(batch.submission_id, _decode(result.stdout)):
        if chunk.first != len(ids) or not 0 < chunk.count <= batch.copies - chunk.first:
            raise _make_doubt_error(batch, result)
        if chunk.code != 0 or not chunk.job:
            return _handle_refusal(batch, result, ids, chunk, complaints.get(chunk.first, ""))
        ids |= dict(_list_copies(batch.submission_id, chunk.first, chunk.count, *chunk.job))
    if len(ids) != batch.copies or len(set(ids.values())) != len(ids) or result.returncode != 0:
        raise _make_doubt_error(batch, result)
    return Queued(ids=ids)


@dataclass
class _Chunk:
    """The copies of one array, and what the call of sbatch for this array wrote to stdout or to stderr."""

    first: int
    count: int
    code: int | None = None
    lines: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        return "\n".join(self.lines).strip()

    @property
    def job(self) -> tuple[str, str] | None:
        """The job's id and its cluster, from the last line of the form ``ID[;CLUSTER]``. Other lines are messages."""
        accepted = [match for line in self.lines if (match := _ACCEPTED.fullmatch(line.strip()))]
        return (accepted[-1][1], accepted[-1][2] or "") if accepted else None


def _parse_chunks(submission_id: str, text: str) -> list[_Chunk]:
    """Return a chunk (the copies of one array) for each section of an output.

    A section begins with the line ``SUBMISSION_ID chunk FIRST COUNT`` and ends with ``SUBMISSION_ID end CODE``.
    """
    border = re.compile(rf"{submission_id} (?:chunk ([0-9]{{1,7}}) ([0-9]{{1,7}})|end ([0-9]{{1,3}}))")
    found: list[_Chunk] = []
    for line in text.split("\n"):
        match = border.fullmatch(line)
        if match and match[1]:
            found.append(_Chunk(int(match[1]), int(match[2])))
        elif match and found:
            found[-1].code = int(match[3])
        elif found and found[-1].code is None:
            found[-1].lines.append(line)
    return found


def _list_copies(submission_id: str, first: int, count: int, job: str, cluster: str) -> Iterator[tuple[int, str]]:
    """Yield each copy with its native id: a single copy is a plain job, several are the tasks of an array."""
    for task in range(count):
        yield first + task, f"{job}{f'_{task}' if count > 1 else ''}{cluster}@{submission_id}-{first}"


def _handle_refusal(batch: Batch, result: CommandResult, ids: Mapping[int, str], chunk: _Chunk, stderr: str) -> Queued:
    """Return the copies of the chunks before a refused chunk as queued, and all other copies as refused.

    Raises:
        LimitError: A limit refused the first chunk.
        SchedulerError: The first chunk was refused for another reason, or it is not certain that Slurm refused it.
    """
    if not chunk.code or chunk.job or is_ambiguous(chunk.code, stderr):
        raise _make_doubt_error(batch, result)
    why = stderr[-_SHOWN:] or f"sbatch ended with exit code {chunk.code}"
    error = make_refusal(f"sbatch accepted none of {batch.copies} copies: {why}", chunk.code, stderr[-_SHOWN:])
    if not ids:
        raise error
    failure = CopyFailure(reason=why, retryable=error.retryable)
    return Queued(ids=ids, refused=dict.fromkeys(range(chunk.first, batch.copies), failure))


def _make_doubt_error(batch: Batch, result: CommandResult) -> SchedulerError:
    stderr = _decode(result.stderr).replace(f"{batch.submission_id} ", "").strip()[-_SHOWN:]
    return SchedulerError(
        f"sbatch did not answer for each of {batch.copies} copies: some may have started, so find them by their tag "
        f"before you submit again; it printed: {stderr or 'nothing'}",
        returncode=result.returncode,
        stderr=stderr,
    )


@dataclass
class _Section:
    """The output of one command: squeue or sacct, for one cluster."""

    tool: str = ""
    cluster: str = ""
    """The suffix that a job's id has on this cluster: ``;NAME``, or an empty text for the local cluster."""
    code: int | None = None
    lines: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        return "\n".join(self.lines).strip()[-_SHOWN:]

    @property
    def has_no_accounting(self) -> bool:
        """Whether sacct reports that there is no accounting. Then squeue is the only source of statuses."""
        return _NO_ACCOUNTING.search(self.text) is not None

    @property
    def has_failed(self) -> bool:
        """Whether there is accounting, and sacct gave no answer."""
        return self.tool == "sacct" and self.code != 0 and not self.has_no_accounting

    @property
    def rows(self) -> Iterator[tuple[str, "_Row"]]:
        """Pairs of a job's Slurm id and a row. The row is about one of our jobs, or is unreadable after the id."""
        parse = _parse_squeue_row if self.tool == "squeue" else _parse_sacct_row
        for line in self.lines:
            job, bar, rest = line.partition("|")
            if bar and _ROW.fullmatch(job := job.strip()) and (row := parse(rest)):
                yield job, row


@dataclass(frozen=True)
class _Row:
    """A row of squeue or sacct."""

    status: JobStatus
    name: str | None
    """The job's name without the prefix ``ic-``, or None if the row cannot be read.

    A row that cannot be read may be about any job that has the row's number.
    """

    def is_about(self, native: str) -> bool:
        """Return whether this row may be about a job: the names are equal, or the row's name cannot be read.

        The caller has already compared the number of the row with that of the job.
        """
        return self.name is None or native.endswith(f"@{self.name}")


def _parse_sections(result: CommandResult) -> list[_Section]:
    """Return the output of each command in a fragment's answer; the first section has the lines before any command.

    Raises:
        SchedulerError: A command failed, or the end of the answer is missing.
    """
    lines = _decode(result.stdout).split("\n")
    if result.returncode != 0 or _END not in lines:
        raise scheduler_error("Slurm could not be asked", result, retryable=is_outage)
    found = [_Section()]
    for line in lines:
        if line.startswith(_OURS) and (match := _SECTION.fullmatch(line)):
            found.append(_Section(match[1], _format_cluster(match[2])))
        elif line.startswith(_OURS) and (match := _CODE.fullmatch(line)):
            found[-1].code = int(match[1])
        elif found[-1].code is None:
            found[-1].lines.append(line)
    return found


def _format_cluster(cluster: str) -> str:
    return "" if cluster == _LOCAL else f";{cluster}"


class Jobs:
    """The statuses of the jobs that were asked for. If several rows are about a job, the first row counts.

    Args:
        ids: The native ids that were asked for.
    """

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = ids
        self._listed: dict[str, JobStatus] = {}
        self._waiting: dict[str, JobStatus] = {}
        self._unanswered: dict[str, JobStatus] = {}

    def add(self, cluster: str, job: str, row: "_Row") -> None:
        """Add a row, which is about a job, a task of an array, some of its tasks, or a whole array."""
        array, _, tasks = job.partition("_")
        if tasks.startswith("["):
            for native in self._find_tasks(f"{array}{cluster}", tasks):
                if row.is_about(native):
                    self._waiting.setdefault(native, row.status)
        elif row.name is not None:
            self._listed.setdefault(f"{job}{cluster}@{row.name}", row.status)
        else:
            for native in self._natives.get(f"{job}{cluster}", ()):
                self._listed.setdefault(native, row.status)

    def add_unanswered(self, natives: Iterable[str], why: str) -> None:
        """Set the status of some jobs to UNKNOWN, because accounting gave no answer about them.

        These jobs must not be absent from the statuses: a job that we killed and that is absent counts as ended.
        """
        evidence = f"squeue does not list it, and accounting gave no answer: {why}"
        self._unanswered |= dict.fromkeys(natives, JobStatus(state=JobState.UNKNOWN, evidence=evidence))

    def get(self, native: str) -> JobStatus | None:
        """Return the status of a job, or None if no row is about the job.

        If an array was cancelled before any task began, it has a single row, which is about every task without a row of
        its own. If such a row has another state, it is about the tasks that wait, and not about a task that was
        cancelled earlier.
        """
        if status := self._listed.get(native) or self._waiting.get(native) or self._unanswered.get(native):
            return status
        rest = self._listed.get(_TASK.sub(r"\1", native))
        return rest if rest and rest.state.final else None

    def _find_tasks(self, whole: str, tasks: str) -> Iterator[str]:
        """Yield those tasks of an array that a row names and that the caller asked for.

        A row that names a wide range takes no longer than one that names a single task.
        """
        asked = self._tasks.get(whole, [])
        for each in _parse_ranges(tasks):
            near = asked[bisect_left(asked, (each.start, "")) : bisect_left(asked, (each.stop, ""))]
            yield from (native for task, native in near if task in each)

    @cached_property
    def _tasks(self) -> Mapping[str, list[tuple[int, str]]]:
        """Maps an array to the tasks that the caller asked for, as sorted pairs of a number and a native id."""
        tasks: dict[str, list[tuple[int, str]]] = {}
        for match in filter(None, map(_NATIVE.fullmatch, self._ids)):
            if match["task"] is not None:
                tasks.setdefault(f"{match['job']}{match['cluster'] or ''}", []).append((int(match["task"]), match[0]))
        return {whole: sorted(each) for whole, each in tasks.items()}

    @cached_property
    def _natives(self) -> Mapping[str, list[str]]:
        """Maps Slurm's id of a job to its native ids. There are several if Slurm has used a number again."""
        natives: dict[str, list[str]] = {}
        for match in filter(None, map(_NATIVE.fullmatch, self._ids)):
            natives.setdefault(match["slurm_id"], []).append(match[0])
        return natives


def _parse_ranges(tasks: str) -> Iterator[range]:
    """Yield the ranges of a list of tasks such as ``[0-3,7,10-20:2%5]``."""
    for part in tasks[1:-1].partition("%")[0].split(","):
        if match := _RANGE.fullmatch(part):
            low, high, step = match.groups()
            yield range(int(low), int(high or low) + 1, int(step or 1))


def parse_jobs(ids: Sequence[str], result: CommandResult) -> Jobs:
    """Return the statuses of these jobs: from squeue if squeue lists the job, otherwise from accounting.

    Raises:
        SchedulerError: squeue failed, or the end of the answer is missing.
    """
    jobs, sections = Jobs(ids), _parse_sections(result)
    for section in sections:
        for job, row in section.rows:
            jobs.add(section.cluster, job, row)
    for section in (each for each in sections if each.has_failed):
        jobs.add_unanswered(_list_unlisted(sections, section.cluster), section.text or "it gave no answer")
    return jobs


def _list_unlisted(sections: Iterable[_Section], cluster: str) -> Iterator[str]:
    """Yield the native ids on one cluster that squeue does not list."""
    for line in (line for section in sections for line in section.lines if line.startswith(_UNLISTED)):
        match = _NATIVE.fullmatch(line.removeprefix(_UNLISTED))
        if match and (match["cluster"] or "") == cluster:
            yield match[0]


@lru_cache(maxsize=4096)
def _parse_squeue_row(row: str) -> _Row | None:
    """Parse the columns of squeue that follow a job's id. Return the row, or None if the job is not ours.

    The result is cached, because many rows are equal.

    The end of a job is a wait status in Slurm 22.05, and CODE:SIGNAL in 24.11.
    """
    match = _SQUEUE_ROW.fullmatch(row)
    if match is None:
        return _make_unreadable(row)
    word, ended, signal, name, reason = match.groups()
    code, number = divmod(int(ended), 256) if signal is None else (int(ended), int(signal))
    status = make_status(word, code=code, signal=number & _SIGNAL, reason=reason.strip())
    return _make_row(name, status)


@lru_cache(maxsize=4096)
def _parse_sacct_row(row: str) -> _Row | None:
    """Parse the columns of sacct that follow a job's id. Return the row, or None if the job is not ours.

    A job without an end becomes UNKNOWN: Slurm does not list it any more, so its state in accounting is out of date.
    """
    match = _SACCT_ROW.fullmatch(row)
    if match is None:
        return _make_unreadable(row)
    word, code, signal, name = match.groups()
    status = make_status(word, signal=int(signal))
    if not status.state.final:
        status = JobStatus(state=JobState.UNKNOWN, native=word)
    evidence = f"squeue does not list it; accounting has {word} {code}:{signal}"
    return _make_row(name.strip(), status.model_copy(update={"evidence": evidence}))


def _make_row(name: str, status: JobStatus) -> _Row | None:
    match = _NAME.fullmatch(name)
    return _Row(status, match[1]) if match else None


def _make_unreadable(row: str) -> _Row:
    evidence = f"Slurm lists it in a form that cannot be read: {row[:_SHOWN]}"
    return _Row(JobStatus(state=JobState.UNKNOWN, evidence=evidence), None)


def get_job(native: str) -> str:
    """Return the number of a job, or of its array. The number is an empty text if the id is invalid."""
    match = _NATIVE.fullmatch(native)
    return match["job"] if match else ""


def parse_denied(result: CommandResult) -> Mapping[str, str]:
    """Return scancel's message, by job number, for each job that scancel is not allowed to end."""
    return {match[1]: match[2] for match in _DENIED.finditer(_decode(result.stderr))}


def parse_found(result: CommandResult) -> Mapping[int, str]:
    """Return the id of every copy whose array Slurm has accepted. Slurm accepts an array as a whole, or not at all.

    A chunk is the consecutive copies of one array. The owner of a chunk is the job that Slurm has for this array.

    Raises:
        SchedulerError: squeue failed, the answer is unreadable, or a chunk got neither an owner nor a fence.
    """
    copies: dict[int, str] = {}
    for line in (line for line in _parse_sections(result)[0].lines if line.startswith(_OURS_CHUNK)):
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise SchedulerError(f"the answer about some copies cannot be read: {line[:_SHOWN]}")
        if match["job"]:
            chunk = match["submission_id"], int(match["first"]), int(match["count"])
            copies |= _list_copies(*chunk, match["job"], _format_cluster(match["cluster"] or _LOCAL))
    return copies


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "replace")
