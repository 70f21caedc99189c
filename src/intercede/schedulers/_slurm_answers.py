"""What Slurm's commands answered: the lines of our fragments, and the rows of squeue and sacct between them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from intercede.contract.errors import SchedulerError
from intercede.contract.job import CopyFailure, JobState, JobStatus
from intercede.contract.scheduler import Batch, Queued
from intercede.contract.transport import CommandResult
from intercede.schedulers._slurm_words import is_ambiguous, is_outage, refusal, status_of

__all__ = ["Jobs", "denied", "found", "job_of", "jobs", "queued"]

_SAID = 500
_SIGNAL = 127
"""The bits of a wait status that tell a signal."""
_HERE = "-"
"""The cluster that needs no name."""
_TAKEN = re.compile(r"([0-9]{1,10})(;[A-Za-z0-9._-]{1,100})?")
_NATIVE = re.compile(r"([0-9]{1,10})(?:_([0-9]{1,10}))?(?:;([A-Za-z0-9._-]{1,100}))?")
_SECTION = re.compile(r"intercede: (squeue|sacct) ([A-Za-z0-9._-]+)")
_CODE = re.compile(r"intercede: code ([0-9]{1,3})")
_CHUNK = re.compile(r"intercede: chunk ([0-9]{1,7}) ([0-9]{1,7})")
_UNLISTED = re.compile(r"intercede: unlisted ([0-9A-Za-z._;-]{1,200})")
_END = "intercede: end"
_NAME = r" *([0-9]{1,10}(?:_(?:[0-9]{1,10}|\[[0-9,:%-]+\]))?) *"
_LISTED = re.compile(rf"{_NAME}\| *([^| ]+) *\| *([0-9]{{1,10}})(?::([0-9]{{1,10}}))? *\|([^|]*)\|")
_ACCOUNTED = re.compile(rf"{_NAME}\| *([^|]+?) *\|([0-9]{{1,10}}):([0-9]{{1,10}})")
_NAMED = re.compile(r" *([0-9]{1,10})(?:_[^|]*)? *\|ic-[a-z][a-z0-9]{12}-([0-9]{1,7}) *")
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
    complaints = {chunk.first: chunk.text for chunk in _chunks(batch.stamp, _text(result.stderr))}
    for chunk in _chunks(batch.stamp, _text(result.stdout)):
        if chunk.first != len(ids) or not 0 < chunk.count <= batch.copies - chunk.first:
            raise _doubtful(batch, result)
        if chunk.code != 0 or not chunk.job:
            return _refused(batch, result, ids, chunk, complaints.get(chunk.first, ""))
        ids |= dict(_copies(chunk.first, chunk.count, *chunk.job))
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


def _chunks(stamp: str, text: str) -> list[_Chunk]:
    """Read what stands between our lines, ``STAMP chunk FIRST COUNT`` and ``STAMP end CODE``."""
    border = re.compile(rf"{stamp} (?:chunk ([0-9]{{1,7}}) ([0-9]{{1,7}})|end ([0-9]{{1,3}}))")
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


def _copies(first: int, count: int, job: str, cluster: str) -> Iterator[tuple[int, str]]:
    """One copy is a job, several are an array's tasks."""
    for task in range(count):
        yield first + task, f"{job}_{task}{cluster}" if count > 1 else f"{job}{cluster}"


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
    said = _text(result.stderr).replace(f"{batch.stamp} ", "").strip()[-_SAID:]
    return SchedulerError(
        f"sbatch did not answer for each of {batch.copies} copies: some may have started, so find them by their tag "
        f"before you submit again; it said: {said or 'nothing'}",
        returncode=result.returncode,
        stderr=said,
    )


@dataclass
class _Section:
    """What one command printed."""

    tool: str
    cluster: str
    code: int | None = None
    lines: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        return "\n".join(self.lines).strip()[-_SAID:]

    @property
    def has_no_accounting(self) -> bool:
        """Whether sacct says so: then squeue tells all that can be known."""
        return _NO_ACCOUNTING.search(self.text) is not None


def _sections(result: CommandResult) -> list[_Section]:
    """Read a fragment's answer.

    Raises:
        SchedulerError: A command failed, or the answer has no end.
    """
    lines = _text(result.stdout).split("\n")
    if result.returncode != 0 or _END not in lines:
        said = _text(result.stderr).strip()[-_SAID:]
        raise SchedulerError(
            f"Slurm could not be asked: {said or f'exit code {result.returncode}'}",
            retryable=is_outage(said),
            returncode=result.returncode,
            stderr=said,
        )
    found = [_Section("", _HERE)]
    for line in lines:
        if match := _SECTION.fullmatch(line):
            found.append(_Section(match[1], match[2]))
        elif match := _CODE.fullmatch(line):
            found[-1].code = int(match[1])
        elif found[-1].code is None:
            found[-1].lines.append(line)
    return found


class Jobs:
    """What is listed of jobs, by their native ids: of one tool or of several, the first that knows a job tells."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], JobStatus] = {}
        self._ranges: dict[tuple[str, str], list[tuple[tuple[range, ...], JobStatus]]] = {}
        self._unasked: dict[str, str] = {}

    def add(self, cluster: str, name: str, status: JobStatus) -> None:
        """Take a row: of a job, of an array's task, of some of its tasks, or of a whole array."""
        array, _, tasks = name.partition("_")
        if tasks.startswith("["):
            self._ranges.setdefault((cluster, array), []).append((tuple(_ranges(tasks)), status))
        else:
            self._told.setdefault((cluster, name), status)

    def add_unasked(self, native: str, why: str) -> None:
        """Take an id that nothing is known of, since accounting could not be asked."""
        self._unasked[native] = why

    def get(self, native: str) -> JobStatus | None:
        """Return what is told of a job.

        An array that was cancelled before any of it began is one row, about all of its tasks that have none. In any
        other state such a row is about those that wait, and not about one that was cancelled before.
        """
        match = _NATIVE.fullmatch(native)
        if match is None:
            return None
        array, task, cluster = match[1], match[2], match[3] or _HERE
        exact, whole = (cluster, f"{array}_{task}" if task else array), (cluster, array)
        if exact in self._told:
            return self._told[exact]
        for ranges, status in self._ranges.get(whole, ()):
            if task and any(int(task) in each for each in ranges):
                return status
        if native in self._unasked:  # absence would be final for what we killed, so it has to be sure
            evidence = f"squeue does not list it, and its accounting could not be asked: {self._unasked[native]}"
            return JobStatus(state=JobState.UNKNOWN, evidence=evidence)
        rest = self._told.get(whole)
        return rest if rest and rest.state.final else None


def _ranges(tasks: str) -> Iterator[range]:
    """Read ``[0-3,7,10-20:2%5]``."""
    for part in tasks[1:-1].partition("%")[0].split(","):
        if match := _RANGE.fullmatch(part):
            low, high, step = match.groups()
            yield range(int(low), int(high or low) + 1, int(step or 1))


def jobs(result: CommandResult) -> Jobs:
    """Read what squeue lists and what accounting knows of the rest.

    Raises:
        SchedulerError: squeue failed, or the answer has no end.
    """
    told, unlisted = Jobs(), list[str]()
    for section in _sections(result):
        for name, status in _listed(section.lines) if section.tool == "squeue" else _accounted(section.lines):
            told.add(section.cluster, name, status)
        unlisted += [match[1] for match in map(_UNLISTED.fullmatch, section.lines) if match]
        if section.tool == "sacct" and section.code != 0 and not section.has_no_accounting:
            for native in (each for each in unlisted if _cluster(each) == section.cluster):
                told.add_unasked(native, section.text or "it said nothing")
    return told


def _cluster(native: str) -> str:
    return native.partition(";")[2] or _HERE


def _listed(lines: Iterable[str]) -> Iterator[tuple[str, JobStatus]]:
    """Read squeue's rows. What a job ended with is a wait status in 22.05, and CODE:SIGNAL in 24.11."""
    for match in filter(None, map(_LISTED.fullmatch, lines)):
        name, word, ended, signal, reason = match.groups()
        code, number = divmod(int(ended), 256) if signal is None else (int(ended), int(signal))
        yield name, status_of(word, code=code, signal=number & _SIGNAL, reason=reason.strip())


def _accounted(lines: Iterable[str]) -> Iterator[tuple[str, JobStatus]]:
    """Read sacct's rows. Of what has no end there nothing is known, since Slurm itself does not list it any more."""
    for match in filter(None, map(_ACCOUNTED.fullmatch, lines)):
        name, word, code, signal = match.groups()
        status = status_of(word, signal=int(signal))
        evidence = f"squeue does not list it; accounting says {word} {code}:{signal}"
        if not status.state.final:
            status = JobStatus(state=JobState.UNKNOWN, native=word)
        yield name, status.model_copy(update={"evidence": evidence})


def job_of(native: str) -> str:
    """Return the number of a job, or of its array; nothing of what is no id of ours."""
    match = _NATIVE.fullmatch(native)
    return match[1] if match else ""


def denied(result: CommandResult) -> Mapping[str, str]:
    """Return the job ids that scancel may not end, with its words."""
    return {match[1]: match[2] for match in _DENIED.finditer(_text(result.stderr))}


def found(result: CommandResult) -> Mapping[int, str]:
    """Tell every copy of the chunks that Slurm knows by their names: an array is taken whole, or not at all.

    Raises:
        SchedulerError: squeue failed; or it does not list a chunk that accounting, which could not be asked, may know.
    """
    sections = _sections(result)
    named = {first: job for section in sections for first, job in _named(section)}
    chunks = [match.groups() for line in sections[0].lines if (match := _CHUNK.fullmatch(line))]
    for section in sections:
        if section.tool == "sacct" and section.code != 0 and any(first not in named for first, _ in chunks):
            _insist_on_no_accounting(section)
    taken = ((int(first), int(count), *named[first]) for first, count in chunks if first in named)
    return {index: native for chunk in taken for index, native in _copies(*chunk)}


def _named(section: _Section) -> Iterator[tuple[str, tuple[str, str]]]:
    """Read rows of an id and a name: where a chunk begins, its job and its cluster."""
    cluster = "" if section.cluster == _HERE else f";{section.cluster}"
    for match in filter(None, map(_NAMED.fullmatch, section.lines)):
        yield match[2], (match[1], cluster)


def _insist_on_no_accounting(section: _Section) -> None:
    if not section.has_no_accounting:
        raise SchedulerError(f"sacct failed, and squeue does not list all: {section.text}", retryable=True)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
