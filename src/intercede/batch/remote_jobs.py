"""Jobs as the remote side knows them: what all verbs use to ask about them, in a constant number of commands."""

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from intercede.batch.offload import offload_if_large
from intercede.batch.parsing import checked, expect_ids, parsing
from intercede.batch.records import read_record
from intercede.batch.remote.api import call, text_of
from intercede.batch.remote.framing import NO_STREAMS, Answer, Streams
from intercede.batch.remote.layout import Job, group_by_submission, read_batch
from intercede.batch.remote.shell import Shell, no_room
from intercede.batch.snapshot import Snapshot
from intercede.contract.errors import ResourceError
from intercede.contract.job import JobStatus
from intercede.contract.scheduler import Queued, Scheduler
from intercede.contract.transport import CommandResult

__all__ = ["RemoteJobs", "frame_or_none", "rows_of"]

_NO_ROOM = 28
"""As records.sh says it: ENOSPC."""
_REFUSED = "!"
"""Where an id would stand; none can be spelled like that."""


def _each(jobs: Iterable[Job]) -> str:
    """Write the shell function that calls a command once a submission, with its indices."""
    calls = [
        f'"$1" {submission_id} {" ".join(map(str, indices))}'
        for submission_id, indices in group_by_submission(jobs).items()
    ]
    return "\n".join(["_ic_each() {", *calls, ":", "}"])  # of no job, too, a function


class RemoteJobs:
    """Asks the remote side about jobs, and knows what the scheduler calls them.

    Native ids that a client learns are not written down at once, which would take another command. They are pending
    until the next script about their submission, whichever verb sends it. Another client, or this one after a restart,
    learns them from the scheduler's recorded answer (``learn_ids``).
    """

    def __init__(self, shell: Shell, scheduler: Scheduler) -> None:
        self.shell = shell
        self.scheduler = scheduler
        self._pending_ids: dict[str, Mapping[int, str]] = {}
        self.doubtful: set[str] = set()
        """Submissions whose answer was lost: ``find`` waits for them, or keeps them from starting."""
        self.status_part = f"_ic_look {shlex.quote(scheduler.status_script())}"
        """The part of a script that reads records and listing."""

    def remember_ids(self, submission_id: str, queued: Queued) -> None:
        """Keep native ids pending: the next script about the submission writes them down."""
        self._pending_ids[submission_id] = _ids_of(queued)

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
        submission_ids = {job.submission_id for job in jobs} & self._pending_ids.keys()
        ids = {submission_id: self._pending_ids[submission_id] for submission_id in submission_ids}
        known = [
            call("_ic_note_ids", submission_id, _write_lines(ids[submission_id])) for submission_id in submission_ids
        ]
        answer = await self.shell.run(
            [text_of("records"), *known, _each(jobs) if calls is None else calls, *parts], streams
        )
        for submission_id in submission_ids:
            self._pending_ids.pop(submission_id, None)
        return answer

    async def read_snapshot(self, answer: Answer) -> Snapshot:
        """Read the answer of ``status_part``.

        Raises:
            ResourceError: The remote side had no room to note which jobs there are.
        """
        if answer.frame("records").returncode == _NO_ROOM:
            raise no_room(answer.frame("records").stderr)
        lines = [*answer.lines("records"), *(answer.lines("open") if "open" in answer else ())]
        return await offload_if_large(len(lines), self._parse_snapshot, answer, lines)

    def _parse_snapshot(self, answer: Answer, lines: Sequence[str]) -> Snapshot:
        records = {record.job: record for record in map(read_record, lines)}
        natives = [record.native for record in records.values() if record.native is not None]
        said: Mapping[str, JobStatus] = {}
        if "listing" in answer:
            listing = answer.frame("listing")
            with parsing(self.scheduler, "parse_status", listing):
                said = dict(self.scheduler.parse_status(natives, listing))
        return Snapshot(records, said, "listing" in answer)

    async def take_snapshot(self, jobs: Collection[Job]) -> Snapshot:
        """Return where jobs are: one command, and more if native ids have to be read first."""
        snapshot = await self.read_snapshot(await self.ask(jobs, self.status_part))
        if await self.learn_ids(snapshot.unnamed):
            snapshot = await self.read_snapshot(await self.ask(jobs, self.status_part))
        return snapshot

    async def learn_ids(self, submission_ids: Collection[str], *, fence: bool = False) -> bool:
        """Read the scheduler's recorded answers to these submissions; return whether there are ids that were not known.

        A submission that is still being queued is left alone: the client that queues it will know all of its ids.

        Args:
            submission_ids: The submissions.
            fence: Whether copies that the scheduler does not know are kept from starting: they will be submitted again.
        """
        if not submission_ids:
            return False
        calls = [call("_ic_show_submission", submission_id) for submission_id in sorted(submission_ids)]
        answer = await self.shell.run([text_of("find"), *calls])
        found = {
            submission_id: self._parse_recorded_answer(submission_id, answer)
            for submission_id in submission_ids
            if f"{submission_id}.batch" in answer
        }
        found |= await self._list_submissions(
            [submission_id for submission_id, ids in found.items() if ids is None], "yes" if fence else ""
        )
        news = {submission_id: ids for submission_id, ids in found.items() if ids}
        self._pending_ids |= news
        return bool(news)

    def _parse_recorded_answer(self, submission_id: str, answer: Answer) -> Mapping[int, str] | None:
        """Return the ids of the scheduler's own answer; None if that is not complete."""
        if f"{submission_id}.answer" not in answer:
            return None
        batch, said = read_batch(answer.text(f"{submission_id}.batch")), answer.frame(f"{submission_id}.answer")
        try:
            with parsing(self.scheduler, "parse_submit", said, submission_id):
                return _ids_of(checked(batch, self.scheduler.parse_submit(batch, said)))
        except ResourceError:
            return None  # a refusal, or an answer that cannot be parsed: the queue decides

    async def _list_submissions(
        self, submission_ids: Collection[str], fence: str
    ) -> dict[str, Mapping[int, str] | None]:
        if not submission_ids:
            return {}
        calls = [
            call("_ic_frame", submission_id, "_ic_run_plainly", self.scheduler.list_script(submission_id))
            for submission_id in submission_ids
        ]
        answer = await self.shell.run([text_of("records"), f"IC_FENCE={fence}", *calls])
        return {
            submission_id: self._parse_listing(submission_id, answer.frame(submission_id))
            for submission_id in submission_ids
        }

    def _parse_listing(self, submission_id: str, said: CommandResult) -> Mapping[int, str]:
        with parsing(self.scheduler, "parse_list", said, submission_id):
            found = dict(self.scheduler.parse_list(said))
            expect_ids("parse_list", found.values(), submission_id)
        return found


def _ids_of(queued: Queued) -> dict[int, str]:
    return {**queued.ids, **dict.fromkeys(queued.refused, _REFUSED)}


def _write_lines(ids: Mapping[int, str]) -> str:
    return "\n".join(f"{index} {native}" for index, native in ids.items())


def frame_or_none(answer: Answer, name: str) -> CommandResult | None:
    """Return a frame, or None if its command had nothing to do."""
    return answer.frame(name) if name in answer else None


def rows_of(answer: Answer, name: str) -> Iterator[list[str]]:
    """Return a frame's lines, split at blanks."""
    return (line.split() for line in answer.lines(name))
