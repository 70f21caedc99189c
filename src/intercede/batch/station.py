"""What the far side and its scheduler say of jobs, in a constant number of commands."""

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from intercede.batch.api import call, text_of
from intercede.batch.aside import aside
from intercede.batch.framing import NO_STREAMS, Answer, Streams
from intercede.batch.layout import Job, by_stamp
from intercede.batch.parsing import checked, expect_ids, parsing
from intercede.batch.records import Record, read_record, verdict
from intercede.batch.shell import Shell, no_room
from intercede.contract.errors import ResourceError
from intercede.contract.job import JobStatus
from intercede.contract.scheduler import Batch, Queued, Scheduler
from intercede.contract.transport import CommandResult

__all__ = ["Look", "Station", "each", "lines_of", "said_of", "settling"]

_AT_ONCE = 400
_NO_ROOM = 28
"""As records.sh says it: ENOSPC."""
_REFUSED = "!"
"""Where an id would stand; none can be spelled like that."""


def each(jobs: Iterable[Job]) -> str:
    """Write the shell function that calls a command once a submission, with its indices."""
    calls = [f'"$1" {stamp} {" ".join(map(str, indices))}' for stamp, indices in by_stamp(jobs).items()]
    return "\n".join(["_ic_each() {", *calls, ":", "}"])  # of no job, too, a function


@dataclass(frozen=True)
class Look:
    """The records of some jobs, and what the scheduler said of those that had not ended."""

    records: Mapping[Job, Record] = field(default_factory=dict[Job, Record])
    said: Mapping[str, JobStatus] = field(default_factory=dict[str, JobStatus])
    listed: bool = False
    """Whether the scheduler was asked."""

    def verdict(self, job: Job) -> JobStatus:
        """Tell where a job is."""
        record = self.records[job]
        return verdict(record, None if record.native is None else self.said.get(record.native))

    @cached_property
    def verdicts(self) -> Mapping[Job, JobStatus]:
        """Where every job is."""
        return {job: self.verdict(job) for job in self.records}

    @property
    def open(self) -> list[Job]:
        """The jobs whose verdict rests on the scheduler's word."""
        return [job for job, record in self.records.items() if not record.over]

    @property
    def unnamed(self) -> set[str]:
        """The submissions of which nobody there knows yet what the scheduler calls them."""
        return {job.stamp for job in self.open if self.records[job].native is None}

    @property
    def to_settle(self) -> dict[Job, JobStatus]:
        """The final verdicts that rest on no exit code and are not written down yet."""
        return {job: status for job in self.open if (status := self.verdicts[job]).state.final}


class Station:
    """Asks the far side about jobs, and knows what the scheduler calls them."""

    def __init__(self, shell: Shell, scheduler: Scheduler) -> None:
        self._shell = shell
        self._scheduler = scheduler
        self._unwritten: dict[str, Mapping[int, str]] = {}
        self.look_part = f"_ic_look {shlex.quote(scheduler.status_script())}"
        """The part of a script that reads records and listing."""

    def named(self, stamp: str, queued: Queued) -> None:
        """Remember native ids; the next script about the submission writes them down there."""
        self._unwritten[stamp] = _known(queued)

    async def ask(
        self,
        jobs: Collection[Job],
        *parts: str,
        streams: Streams = NO_STREAMS,
        calls: str | None = None,
    ) -> Answer:
        """Run a script about jobs.

        Args:
            jobs: What its function ``_ic_each`` goes through.
            parts: The script, after records.sh.
            streams: Frames to be handed on as they come.
            calls: Another text for ``_ic_each``.
        """
        stamps = {job.stamp for job in jobs} & self._unwritten.keys()
        ids = {stamp: self._unwritten[stamp] for stamp in stamps}
        known = [call("_ic_note_ids", stamp, _lines(ids[stamp])) for stamp in stamps]
        answer = await self._shell.run(
            [text_of("records"), *known, each(jobs) if calls is None else calls, *parts], streams
        )
        for stamp in stamps:
            self._unwritten.pop(stamp, None)
        return answer

    async def read(self, answer: Answer) -> Look:
        """Read what ``look_part`` told.

        Raises:
            ResourceError: The far side had no room to note which jobs there are.
        """
        if answer.frame("records").returncode == _NO_ROOM:
            raise no_room(answer.frame("records").stderr)
        lines = [*answer.lines("records"), *(answer.lines("open") if "open" in answer else ())]
        return await aside(len(lines), self._read, answer, lines)

    def _read(self, answer: Answer, lines: Sequence[str]) -> Look:
        records = {record.job: record for record in map(read_record, lines)}
        natives = [record.native for record in records.values() if record.native is not None]
        said: Mapping[str, JobStatus] = {}
        if "listing" in answer:
            listing = answer.frame("listing")
            with parsing(self._scheduler, "parse_status", listing):
                said = dict(self._scheduler.parse_status(natives, listing))
        return Look(records, said, "listing" in answer)

    async def look(self, jobs: Collection[Job]) -> Look:
        """Tell where jobs are: one command, and more where native ids have to be read first."""
        look = await self.read(await self.ask(jobs, self.look_part))
        if await self.learn(look.unnamed):
            look = await self.read(await self.ask(jobs, self.look_part))
        return look

    async def decide(self, look: Look) -> Mapping[Job, JobStatus]:
        """Return every job's status, after final verdicts without an exit code were written down.

        What stands there already counts, so that everybody is told the same for ever.
        """
        finals = await aside(len(look.records), lambda: look.to_settle)
        if not finals:
            return look.verdicts
        settled = self._settled(await self.ask(finals, settling(finals)))
        stands = {job: settled.verdict(job) for job, record in settled.records.items() if record.over}
        unwritten = {job: _unwritten(status) for job, status in finals.items() if job not in stands}
        return {**look.verdicts, **unwritten, **stands}

    def _settled(self, answer: Answer) -> Look:
        return Look({record.job: record for record in map(read_record, answer.lines("settled"))})

    async def learn(self, stamps: Collection[str], *, fence: bool = False) -> bool:
        """Read what the scheduler answered to these submissions; tell whether there are ids that were not known.

        A submission that is still being queued is left alone: whoever queues it will know all of its ids.

        Args:
            stamps: The submissions.
            fence: What the scheduler does not know is submitted again, so it must never start.
        """
        if not stamps:
            return False
        calls = [call("_ic_show_submission", stamp) for stamp in sorted(stamps)]
        answer = await self._shell.run([text_of("find"), *calls])
        found = {stamp: self._understood(stamp, answer) for stamp in stamps if f"{stamp}.batch" in answer}
        found |= await self._listed([stamp for stamp, ids in found.items() if ids is None], "yes" if fence else "")
        news = {stamp: ids for stamp, ids in found.items() if ids}
        self._unwritten |= news
        return bool(news)

    def _understood(self, stamp: str, answer: Answer) -> Mapping[int, str] | None:
        """What the scheduler's own answer says; None where that never came whole."""
        if f"{stamp}.answer" not in answer:
            return None
        batch, said = Batch.model_validate_json(answer.text(f"{stamp}.batch")), answer.frame(f"{stamp}.answer")
        try:
            with parsing(self._scheduler, "parse_submit", said, stamp):
                return _known(checked(batch, self._scheduler.parse_submit(batch, said)))
        except ResourceError:
            return None  # it said no, or nothing that can be understood: what is there decides

    async def _listed(self, stamps: Collection[str], fence: str) -> dict[str, Mapping[int, str] | None]:
        if not stamps:
            return {}
        calls = [call("_ic_frame", stamp, "_ic_run_plainly", self._scheduler.list_script(stamp)) for stamp in stamps]
        answer = await self._shell.run([text_of("records"), f"IC_FENCE={fence}", *calls])
        return {stamp: self._found(stamp, answer.frame(stamp)) for stamp in stamps}

    def _found(self, stamp: str, said: CommandResult) -> Mapping[int, str]:
        with parsing(self._scheduler, "parse_list", said, stamp):
            found = dict(self._scheduler.parse_list(said))
            expect_ids("parse_list", found.values(), stamp)
        return found


def settling(finals: Mapping[Job, JobStatus]) -> str:
    """Write the part of a script that writes verdicts down and tells which stand."""
    calls = [
        call("_ic_settle", stamp, *(word for index in some for word in (str(index), _json(finals[Job(stamp, index)]))))
        for stamp, indices in by_stamp(finals).items()
        for some in _some(indices)
    ]
    return "\n".join([text_of("settle"), "_ic_settle_all() {", *calls, "}", "_ic_frame settled _ic_settle_all"])


def _unwritten(status: JobStatus) -> JobStatus:
    """Say that nothing keeps a verdict: once its scheduler has forgotten the job, another look may know less."""
    return status.model_copy(
        update={"evidence": f"{status.evidence}; it could not be written down, so it may not last"}
    )


def _json(status: JobStatus) -> str:
    return status.model_dump_json(exclude_none=True)


def _some(indices: Sequence[int]) -> Iterator[Sequence[int]]:
    return (indices[start : start + _AT_ONCE] for start in range(0, len(indices), _AT_ONCE))


def _known(queued: Queued) -> dict[int, str]:
    return {**queued.ids, **dict.fromkeys(queued.refused, _REFUSED)}


def _lines(ids: Mapping[int, str]) -> str:
    return "\n".join(f"{index} {native}" for index, native in ids.items())


def said_of(answer: Answer, name: str) -> CommandResult | None:
    """Return a frame, or None where its command had nothing to do."""
    return answer.frame(name) if name in answer else None


def lines_of(answer: Answer, name: str) -> Iterator[list[str]]:
    """Return a frame's lines, split at blanks."""
    return (line.split() for line in answer.lines(name))
