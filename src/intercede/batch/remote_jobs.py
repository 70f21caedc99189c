"""Run scripts about jobs on the remote machine, and read the answers. All operations of a backend use this module."""

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from intercede.batch.offload import offload_if_large
from intercede.batch.parsing import check_ids, check_queued, convert_parser_errors
from intercede.batch.records import read_record
from intercede.batch.remote.api import load_script, write_call
from intercede.batch.remote.framing import NO_STREAMS, Answer, Streams
from intercede.batch.remote.layout import Job, group_by_submission
from intercede.batch.remote.shell import Shell, make_no_space_error
from intercede.batch.snapshot import Snapshot
from intercede.contract.errors import ResourceError
from intercede.contract.job import JobStatus
from intercede.contract.scheduler import Batch, Queued, Scheduler
from intercede.contract.transport import CommandResult

__all__ = ["RemoteJobs", "find_frame", "read_rows"]

_NO_SPACE = 28
"""The exit code of records.sh if the disk is full: ENOSPC."""
_REFUSED = "!"
"""The text that is recorded in place of a native id if the scheduler refused the copy. No native id can be ``!``."""


def _write_each_function(jobs: Iterable[Job]) -> str:
    """Return the shell function ``_ic_each COMMAND``, which calls the command once for each submission of the jobs.

    The arguments of a call are the submission id and the indices of the copies that the jobs name.
    """
    calls = [
        f'"$1" {submission_id} {" ".join(map(str, indices))}'
        for submission_id, indices in group_by_submission(jobs).items()
    ]
    return "\n".join(["_ic_each() {", *calls, ":", "}"])  # the body of a shell function must not be empty


class RemoteJobs:
    """Asks the remote side about jobs, and keeps their native ids.

    Native ids that a client learns are not recorded at once, because that would cost another command. They are kept in
    memory until any verb sends the next script about their submission, which records them. Another client, or this
    client after a restart, learns them from the scheduler's recorded answer (``learn_ids``).
    """

    def __init__(self, shell: Shell, scheduler: Scheduler) -> None:
        self.shell = shell
        self.scheduler = scheduler
        self._pending_ids: dict[str, Mapping[int, str]] = {}
        self.doubtful: set[str] = set()
        """The ids of submissions to which the scheduler's answer was lost.

        ``find`` keeps such a submission from starting. If the scheduler's commands for the submission have begun,
        ``find`` waits for the end of the commands.
        """
        self.status_part = f"_ic_print_status {shlex.quote(scheduler.status_script())}"
        """The shell command that reads the records and the queue's listing."""

    def remember_ids(self, submission_id: str, queued: Queued) -> None:
        """Keep native ids in memory. The next script about the submission records the native ids."""
        self._pending_ids[submission_id] = _collect_ids(queued)

    async def ask(
        self,
        jobs: Collection[Job],
        *parts: str,
        streams: Streams = NO_STREAMS,
        calls: str | None = None,
    ) -> Answer:
        """Run a script about jobs, and return its answer.

        Args:
            jobs: The jobs that the shell function ``_ic_each`` iterates over.
            parts: The parts of the script that follow records.sh.
            streams: Functions that return a ``ByteSink`` for some frames of the answer, as in ``Answer``.
            calls: A text that replaces the definition of ``_ic_each``. None keeps the definition.
        """
        submission_ids = {job.submission_id for job in jobs} & self._pending_ids.keys()
        ids = {submission_id: self._pending_ids[submission_id] for submission_id in submission_ids}
        known = [
            write_call("_ic_note_ids", submission_id, _write_lines(ids[submission_id]))
            for submission_id in submission_ids
        ]
        answer = await self.shell.run(
            [load_script("records"), *known, _write_each_function(jobs) if calls is None else calls, *parts], streams
        )
        for submission_id in submission_ids:
            self._pending_ids.pop(submission_id, None)
        return answer

    async def read_snapshot(self, answer: Answer) -> Snapshot:
        """Return the snapshot in the answer of a script that contains ``status_part``.

        Raises:
            ResourceError: The remote disk had no space for the list of jobs.
        """
        if answer.get_frame("records").returncode == _NO_SPACE:
            raise make_no_space_error(answer.get_frame("records").stderr)
        lines = [*answer.get_lines("records"), *(answer.get_lines("open") if "open" in answer else ())]
        return await offload_if_large(len(lines), self._parse_snapshot, answer, lines)

    def _parse_snapshot(self, answer: Answer, lines: Sequence[str]) -> Snapshot:
        records = {record.job: record for record in map(read_record, lines)}
        natives = [record.native for record in records.values() if record.native is not None]
        statuses: Mapping[str, JobStatus] = {}
        if "listing" in answer:
            listing = answer.get_frame("listing")
            with convert_parser_errors(self.scheduler, "parse_status", listing):
                statuses = dict(self.scheduler.parse_status(natives, listing))
        return Snapshot(records, statuses, "listing" in answer)

    async def take_snapshot(self, jobs: Collection[Job]) -> Snapshot:
        """Return a snapshot of jobs. This runs one remote command, and more if native ids must be read first."""
        snapshot = await self.read_snapshot(await self.ask(jobs, self.status_part))
        if await self.learn_ids(snapshot.unnamed_submissions):
            snapshot = await self.read_snapshot(await self.ask(jobs, self.status_part))
        return snapshot

    async def learn_ids(self, submission_ids: Collection[str], *, fence: bool = False) -> bool:
        """Read native ids from the scheduler's recorded answers, and return whether any of them is new.

        A submission that is still being queued is skipped: the client that queues it will get all of its ids.

        Args:
            submission_ids: The submissions whose native ids are wanted.
            fence: True keeps copies that the scheduler does not know from ever starting. Callers that submit these
                copies again need it.
        """
        if not submission_ids:
            return False
        calls = [write_call("_ic_show_submission", submission_id) for submission_id in sorted(submission_ids)]
        answer = await self.shell.run([load_script("find"), *calls])
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
        """Return the native ids in the scheduler's recorded answer, or None if the answer is not complete."""
        if f"{submission_id}.answer" not in answer:
            return None
        batch, result = (
            Batch.model_validate_json(answer.get_text(f"{submission_id}.batch")),
            answer.get_frame(f"{submission_id}.answer"),
        )
        try:
            with convert_parser_errors(self.scheduler, "parse_submit", result, submission_id):
                return _collect_ids(check_queued(batch, self.scheduler.parse_submit(batch, result)))
        except ResourceError:
            # The scheduler refused, or its answer cannot be parsed: ask the queue for the jobs instead.
            return None

    async def _list_submissions(
        self, submission_ids: Collection[str], fence: str
    ) -> dict[str, Mapping[int, str] | None]:
        if not submission_ids:
            return {}
        calls = [
            write_call("_ic_frame", submission_id, "_ic_run_clean", self.scheduler.list_script(submission_id))
            for submission_id in submission_ids
        ]
        answer = await self.shell.run([load_script("records"), f"IC_FENCE={fence}", *calls])
        return {
            submission_id: self._parse_listing(submission_id, answer.get_frame(submission_id))
            for submission_id in submission_ids
        }

    def _parse_listing(self, submission_id: str, result: CommandResult) -> Mapping[int, str]:
        with convert_parser_errors(self.scheduler, "parse_list", result, submission_id):
            found = dict(self.scheduler.parse_list(result))
            check_ids("parse_list", found.values(), submission_id)
        return found


def _collect_ids(queued: Queued) -> dict[int, str]:
    return {**queued.ids, **dict.fromkeys(queued.refused, _REFUSED)}


def _write_lines(ids: Mapping[int, str]) -> str:
    return "\n".join(f"{index} {native}" for index, native in ids.items())


def find_frame(answer: Answer, name: str) -> CommandResult | None:
    """Return the frame ``name`` of an answer, or None if the answer has no such frame."""
    return answer.get_frame(name) if name in answer else None


def read_rows(answer: Answer, name: str) -> Iterator[list[str]]:
    """Return the lines of a frame, each as a list of its words."""
    return (line.split() for line in answer.get_lines(name))
