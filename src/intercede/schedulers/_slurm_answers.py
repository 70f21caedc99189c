"""What Slurm's commands answered: the lines of our fragments, and the rows of squeue and sacct between them.

A native id is ``JOB[_TASK][;CLUSTER]@SUBMISSION_ID-FIRST``: what Slurm calls the job, and behind that the job's name without its
``ic-``. Slurm gives a number again once it has lost its state, so only a row with that very name is about the job.
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
from intercede.schedulers._slurm_words import is_ambiguous, is_outage, refusal, status_of

__all__ = ["Jobs", "denied", "found", "job_of", "jobs", "queued"]

_SAID = 500
_SIGNAL = 127
"""The bits of a wait status that tell a signal."""
_HERE = "-"
"""The cluster that needs no name."""
_OURS = "intercede: "
_TAKEN = re.compile(r"([0-9]{1,10})(;[A-Za-z0-9._-]{1,100})?")
_NATIVE = re.compile(
    r"(?P<told>(?P<job>[0-9]{1,10})(?:_(?P<task>[0-9]{1,10}))?(?P<cluster>;[A-Za-z0-9._-]{1,100})?)"
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
_LISTED = re.compile(r" *([^| ]+) *\| *([0-9]{1,10})(?::([0-9]{1,10}))? *\| *([^|]*?) *\|(.*)\|")
_ACCOUNTED = re.compile(r" *([^|]+?) *\|([0-9]{1,10}):([0-9]{1,10})\|(.*)")
_NAME = re.compile(r"ic-([a-z][a-z0-9]{12}-[0-9]{1,7})")
_TASK = re.compile("^([0-9]+)_[0-9]+")
_RANGE = re.compile(r"([0-9]{1,10})(?:-([0-9]{1,10}))?(?::([1-9][0-9]{0,9}))?")
_DENIED = re.compile(r"job id ([0-9]{1,10})\S*: (Access/permission denied.*)")
_NO_ACCOUNTING = re.compile(r"accounting storage is disabled|accounting_storage/none", re.IGNORECASE)


def queued(batch: Batch, result: CommandResult) -> Queued:
    """Tell from sbatch's answers, chunk by chunk, which copy got which id.

    Raises:
        LimitError: A limit refused the first chunk.
        SchedulerError: It was refused for another reason, or some copy may have been taken without an answer.
    """
    ids: dict[int, str] = {}
    complaints = {chunk.first: chunk.text for chunk in _chunks(batch.submission_id, _text(result.stderr))}
    for chunk in _chunks(batch.submission_id, _text(result.stdout)):
        if chunk.first != len(ids) or not 0 < chunk.count <= batch.copies - chunk.first:
            raise _doubtful(batch, result)
        if chunk.code != 0 or not chunk.job:
            return _refused(batch, result, ids, chunk, complaints.get(chunk.first, ""))
        ids |= dict(_copies(batch.submission_id, chunk.first, chunk.count, *chunk.job))
    if len(ids) != batch.copies or len(set(ids.values())) != len(ids) or result.returncode != 0:
        raise _doubtful(batch, result)
    return Queued(ids=ids)


@dataclass
class _Chunk:
    first: int
    count: int
    code: int | None = None
    lines: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        return "\n".join(self.lines).strip()

    @property
    def job(self) -> tuple[str, str] | None:
        """The job's id and its cluster, of the last line that is one: what else is printed there is none."""
        taken = [match for line in self.lines if (match := _TAKEN.fullmatch(line.strip()))]
        return (taken[-1][1], taken[-1][2] or "") if taken else None


def _chunks(submission_id: str, text: str) -> list[_Chunk]:
    """Read what stands between our lines, ``SUBMISSION_ID chunk FIRST COUNT`` and ``SUBMISSION_ID end CODE``."""
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


def _copies(submission_id: str, first: int, count: int, job: str, cluster: str) -> Iterator[tuple[int, str]]:
    """One copy is a job, several are an array's tasks."""
    for task in range(count):
        yield first + task, f"{job}{f'_{task}' if count > 1 else ''}{cluster}@{submission_id}-{first}"


def _refused(batch: Batch, result: CommandResult, ids: Mapping[int, str], chunk: _Chunk, said: str) -> Queued:
    """Nothing of this chunk was taken, and later ones were not tried; where that is not sure it is an error."""
    if not chunk.code or chunk.job or is_ambiguous(chunk.code, said):
        raise _doubtful(batch, result)
    why = said[-_SAID:] or f"sbatch ended with exit code {chunk.code}"
    error = refusal(f"sbatch took none of {batch.copies} copies: {why}", chunk.code, said[-_SAID:])
    if not ids:
        raise error
    failure = CopyFailure(reason=why, retryable=error.retryable)
    return Queued(ids=ids, refused=dict.fromkeys(range(chunk.first, batch.copies), failure))


def _doubtful(batch: Batch, result: CommandResult) -> SchedulerError:
    said = _text(result.stderr).replace(f"{batch.submission_id} ", "").strip()[-_SAID:]
    return SchedulerError(
        f"sbatch did not answer for each of {batch.copies} copies: some may have started, so find them by their tag "
        f"before you submit again; it said: {said or 'nothing'}",
        returncode=result.returncode,
        stderr=said,
    )


@dataclass
class _Section:
    """The lines that one command printed."""

    tool: str = ""
    cluster: str = ""
    """As it stands behind an id: with a semicolon, and nothing for the one that is here."""
    code: int | None = None
    lines: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        return "\n".join(self.lines).strip()[-_SAID:]

    @property
    def has_no_accounting(self) -> bool:
        """Whether sacct says so: then squeue tells all that can be known."""
        return _NO_ACCOUNTING.search(self.text) is not None

    @property
    def is_missed(self) -> bool:
        """Whether accounting is there and gave no answer."""
        return self.tool == "sacct" and self.code != 0 and not self.has_no_accounting

    @property
    def rows(self) -> Iterator[tuple[str, "_Row"]]:
        """What is said of jobs, by what Slurm calls them: of those whose names may be ours, or cannot be read."""
        read = _listed if self.tool == "squeue" else _accounted
        for line in self.lines:
            job, bar, rest = line.partition("|")
            if bar and _ROW.fullmatch(job := job.strip()) and (row := read(rest)):
                yield job, row


@dataclass(frozen=True)
class _Row:
    """A row about one job."""

    status: JobStatus
    name: str | None
    """The job's, without its ``ic-``; None: the row cannot be read, so it may be about any job that has the number."""

    def is_about(self, native: str) -> bool:
        """Whether it is about a job that has its number: a number that was given again is another job's."""
        return self.name is None or native.endswith(f"@{self.name}")


def _sections(result: CommandResult) -> list[_Section]:
    """Read a fragment's answer.

    Raises:
        SchedulerError: A command failed, or the answer has no end.
    """
    lines = _text(result.stdout).split("\n")
    if result.returncode != 0 or _END not in lines:
        raise scheduler_error("Slurm could not be asked", result, retryable=is_outage)
    found = [_Section()]
    for line in lines:
        if line.startswith(_OURS) and (match := _SECTION.fullmatch(line)):
            found.append(_Section(match[1], _behind(match[2])))
        elif line.startswith(_OURS) and (match := _CODE.fullmatch(line)):
            found[-1].code = int(match[1])
        elif found[-1].code is None:
            found[-1].lines.append(line)
    return found


def _behind(cluster: str) -> str:
    return "" if cluster == _HERE else f";{cluster}"


class Jobs:
    """What is listed of the jobs that were asked about: of one tool or of several, the first that knows a job tells."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = ids
        self._told: dict[str, JobStatus] = {}
        self._waiting: dict[str, JobStatus] = {}
        self._unasked: dict[str, JobStatus] = {}

    def add(self, cluster: str, job: str, row: "_Row") -> None:
        """Take a row: of a job, of an array's task, of some of its tasks, or of a whole array."""
        array, _, tasks = job.partition("_")
        if tasks.startswith("["):
            for native in self._among(f"{array}{cluster}", tasks):
                if row.is_about(native):
                    self._waiting.setdefault(native, row.status)
        elif row.name is not None:
            self._told.setdefault(f"{job}{cluster}@{row.name}", row.status)
        else:
            for native in self._called.get(f"{job}{cluster}", ()):
                self._told.setdefault(native, row.status)

    def add_unasked(self, natives: Iterable[str], why: str) -> None:
        """Take ids that accounting could not be asked about. Absence would be final for what we killed, so it has to be sure."""
        evidence = f"squeue does not list it, and its accounting could not be asked: {why}"
        self._unasked |= dict.fromkeys(natives, JobStatus(state=JobState.UNKNOWN, evidence=evidence))

    def get(self, native: str) -> JobStatus | None:
        """Return what is told of a job.

        An array that was cancelled before any of it began is one row, about all of its tasks that have none. In any
        other state such a row is about those that wait, and not about one that was cancelled before.
        """
        if told := self._told.get(native) or self._waiting.get(native) or self._unasked.get(native):
            return told
        rest = self._told.get(_TASK.sub(r"\1", native))
        return rest if rest and rest.state.final else None

    def _among(self, whole: str, tasks: str) -> Iterator[str]:
        """Those of an array's tasks that were asked about: however wide a range is, there are no more."""
        asked = self._tasks.get(whole, [])
        for each in _ranges(tasks):
            near = asked[bisect_left(asked, (each.start, "")) : bisect_left(asked, (each.stop, ""))]
            yield from (native for task, native in near if task in each)

    @cached_property
    def _tasks(self) -> Mapping[str, list[tuple[int, str]]]:
        """The tasks that were asked about, of each array, by their numbers."""
        tasks: dict[str, list[tuple[int, str]]] = {}
        for match in filter(None, map(_NATIVE.fullmatch, self._ids)):
            if match["task"] is not None:
                tasks.setdefault(f"{match['job']}{match['cluster'] or ''}", []).append((int(match["task"]), match[0]))
        return {whole: sorted(each) for whole, each in tasks.items()}

    @cached_property
    def _called(self) -> Mapping[str, list[str]]:
        """The ids that were asked about, by what Slurm calls them: two, where it gave a number again."""
        called: dict[str, list[str]] = {}
        for match in filter(None, map(_NATIVE.fullmatch, self._ids)):
            called.setdefault(match["told"], []).append(match[0])
        return called


def _ranges(tasks: str) -> Iterator[range]:
    """Read ``[0-3,7,10-20:2%5]``."""
    for part in tasks[1:-1].partition("%")[0].split(","):
        if match := _RANGE.fullmatch(part):
            low, high, step = match.groups()
            yield range(int(low), int(high or low) + 1, int(step or 1))


def jobs(ids: Sequence[str], result: CommandResult) -> Jobs:
    """Read what squeue lists of these jobs, and what accounting knows of the rest.

    Raises:
        SchedulerError: squeue failed, or the answer has no end.
    """
    told, sections = Jobs(ids), _sections(result)
    for section in sections:
        for job, row in section.rows:
            told.add(section.cluster, job, row)
    for section in (each for each in sections if each.is_missed):
        told.add_unasked(_unlisted(sections, section.cluster), section.text or "it gave no answer")
    return told


def _unlisted(sections: Iterable[_Section], cluster: str) -> Iterator[str]:
    """Read what squeue does not list of a cluster."""
    for line in (line for section in sections for line in section.lines if line.startswith(_UNLISTED)):
        match = _NATIVE.fullmatch(line.removeprefix(_UNLISTED))
        if match and (match["cluster"] or "") == cluster:
            yield match[0]


@lru_cache(maxsize=4096)
def _listed(row: str) -> _Row | None:
    """Read squeue's row behind the id; None: of a job of somebody else. Many rows are alike but for their ids.

    What a job ended with is a wait status in 22.05, and CODE:SIGNAL in 24.11.
    """
    match = _LISTED.fullmatch(row)
    if match is None:
        return _unreadable(row)
    word, ended, signal, name, reason = match.groups()
    code, number = divmod(int(ended), 256) if signal is None else (int(ended), int(signal))
    status = status_of(word, code=code, signal=number & _SIGNAL, reason=reason.strip())
    return _named(name, status)


@lru_cache(maxsize=4096)
def _accounted(row: str) -> _Row | None:
    """Read sacct's. Of what has no end there nothing is known, since Slurm itself does not list it any more."""
    match = _ACCOUNTED.fullmatch(row)
    if match is None:
        return _unreadable(row)
    word, code, signal, name = match.groups()
    status = status_of(word, signal=int(signal))
    if not status.state.final:
        status = JobStatus(state=JobState.UNKNOWN, native=word)
    evidence = f"squeue does not list it; accounting says {word} {code}:{signal}"
    return _named(name.strip(), status.model_copy(update={"evidence": evidence}))


def _named(name: str, status: JobStatus) -> _Row | None:
    match = _NAME.fullmatch(name)
    return _Row(status, match[1]) if match else None


def _unreadable(row: str) -> _Row:
    evidence = f"Slurm lists it, and what it says cannot be read: {row[:_SAID]}"
    return _Row(JobStatus(state=JobState.UNKNOWN, evidence=evidence), None)


def job_of(native: str) -> str:
    """Return the number of a job, or of its array; nothing of what is no id of ours."""
    match = _NATIVE.fullmatch(native)
    return match["job"] if match else ""


def denied(result: CommandResult) -> Mapping[str, str]:
    """Return the job ids that scancel may not end, with its words."""
    return {match[1]: match[2] for match in _DENIED.finditer(_text(result.stderr))}


def found(result: CommandResult) -> Mapping[int, str]:
    """Tell every copy of the chunks that have an owner: an array is taken whole, or not at all.

    Raises:
        SchedulerError: squeue failed; or a chunk could neither be given an owner nor be fenced.
    """
    taken: dict[int, str] = {}
    for line in (line for line in _sections(result)[0].lines if line.startswith(_OURS_CHUNK)):
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise SchedulerError(f"what became of some copies cannot be read: {line[:_SAID]}")
        if match["job"]:
            chunk = match["submission_id"], int(match["first"]), int(match["count"])
            taken |= _copies(*chunk, match["job"], _behind(match["cluster"] or _HERE))
    return taken


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
