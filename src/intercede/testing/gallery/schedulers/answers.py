"""Schedulers that conclude too much from an answer, or too little."""

# ruff: noqa: D102 -- the class says what its methods do otherwise

from collections.abc import Mapping, Sequence

from intercede.contract import Batch, CommandResult, JobState, JobStatus, OpOutcome, Queued, SchedulerError
from intercede.testing.gallery.schedulers.right import PlainQueue


class FailureIsSilence(PlainQueue):
    """Does not check the exit code: if the scheduler is down, no job exists."""

    caught_by = "IC-SCHEDULER-04"
    message_contains = "parse_status to raise SchedulerError"
    also_red = ("IC-SCHEDULER-07",)

    def said(self, result: CommandResult) -> str:
        return result.stdout.decode("utf-8", "replace")


class OneIsHarmless(PlainQueue):
    """Exit code 1 means that no job was found, whatever else it may mean."""

    caught_by = "IC-SCHEDULER-04"
    message_contains = "exited with code 1"

    def said(self, result: CommandResult) -> str:
        return super().said(result.model_copy(update={"returncode": 0}) if result.returncode == 1 else result)


class TrustsWhatWasSaid(PlainQueue):
    """If a listing breaks off after some lines, the other jobs do not exist."""

    caught_by = "IC-SCHEDULER-04"
    message_contains = "17.0 a0123456789ab running"

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        code = 0 if result.stdout else result.returncode
        return super().parse_status(ids, result.model_copy(update={"returncode": code}))


class TakesOutagesForSilence(PlainQueue):
    """An outage that is reported with exit code 0 is an empty answer."""

    caught_by = "IC-SCHEDULER-07"
    message_contains = "an outage with exit code 0"

    def said(self, result: CommandResult) -> str:
        return super().said(result.model_copy(update={"stderr": b""}))


class ForgetsHeld(PlainQueue):
    """Held jobs are queued ones."""

    caught_by = "IC-SCHEDULER-07"
    message_contains = "HELD"

    def status(self, word: str, code: str = "") -> JobStatus:
        known = super().status(word, code)
        return known.model_copy(update={"state": JobState.QUEUED}) if known.state is JobState.HELD else known


class UnknownIsDone(PlainQueue):
    """An unknown word means that the job is over."""

    caught_by = "IC-SCHEDULER-05"
    message_contains = "DONE"

    def status(self, word: str, code: str = "") -> JobStatus:
        known = super().status(word, code)
        return JobStatus(state=JobState.DONE, native=word) if known.state is JobState.UNKNOWN else known


class UnknownIsRunning(PlainQueue):
    """An unknown word is reported as running."""

    caught_by = "IC-SCHEDULER-05"
    message_contains = "RUNNING"

    def status(self, word: str, code: str = "") -> JobStatus:
        known = super().status(word, code)
        return JobStatus(state=JobState.RUNNING, native=word) if known.state is JobState.UNKNOWN else known


class UnknownHasNoWord(PlainQueue):
    """The unknown word is not reported."""

    caught_by = "IC-SCHEDULER-05"
    message_contains = "with the native word 'xyzzy'"

    def status(self, word: str, code: str = "") -> JobStatus:
        known = super().status(word, code)
        return JobStatus(state=JobState.UNKNOWN) if known.state is JobState.UNKNOWN else known


class UnknownIsAnError(PlainQueue):
    """One unknown word hides all jobs."""

    caught_by = "IC-SCHEDULER-05"
    message_contains = "SchedulerError"

    def status(self, word: str, code: str = "") -> JobStatus:
        known = super().status(word, code)
        if known.state is JobState.UNKNOWN:
            raise SchedulerError(f"what does {word!r} mean?")
        return known


class AbsentIsDone(PlainQueue):
    """A job that is not listed any more is done."""

    caught_by = "IC-SCHEDULER-06"
    also_red = ("IC-SCHEDULER-10",)
    message_contains = "of jobs that are not listed"

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        told = super().parse_status(ids, result)
        return {job: told.get(job, JobStatus(state=JobState.DONE)) for job in ids}


class SilenceIsDone(PlainQueue):
    """An empty listing means that all are done."""

    caught_by = "IC-SCHEDULER-06"
    message_contains = "if no job is listed"

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        told = super().parse_status(ids, result)
        return told if result.stdout else dict.fromkeys(ids, JobStatus(state=JobState.DONE))


class FindsIdsByPrefix(PlainQueue):
    """Job 17.0@a0 is confused with job 17.0@a01, and job 1 with both."""

    caught_by = "IC-SCHEDULER-06"
    message_contains = "of jobs that are not listed"

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        lines = [line.split() for line in self.said(result).splitlines()]
        return {
            job: self.status(*each[2:4])
            for job in ids
            for each in lines
            if len(each) > 2 and f"{each[0]}@{each[1]}".startswith(job)
        }


class TellsOfEverybody(PlainQueue):
    """Answers for every job in the listing."""

    caught_by = "IC-SCHEDULER-06"
    message_contains = "if no job is asked for"

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        lines = [line.split() for line in self.said(result).splitlines()]
        return super().parse_status(["@".join(words[:2]) for words in lines], result)


class KillsEverybody(PlainQueue):
    """If the command succeeded, every kill succeeded."""

    caught_by = "IC-SCHEDULER-06"
    message_contains = "parse_kill"
    also_red = ("IC-SCHEDULER-07", "IC-SCHEDULER-10")

    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, OpOutcome]:
        self.said(result)
        return dict.fromkeys(ids, OpOutcome(ok=True))


class CrashesOnShortLines(PlainQueue):
    """Every line is expected to have two words."""

    caught_by = "IC-SCHEDULER-06"
    message_contains = "IndexError"

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        lines = [line.split() for line in self.said(result).splitlines()]
        told = {f"{words[0]}@{words[1]}": self.status(*words[2:4]) for words in lines}
        return {job: told[job] for job in ids if job in told}


class CrashesOnOddBytes(PlainQueue):
    """Every answer is expected to be UTF-8."""

    caught_by = "IC-SCHEDULER-06"
    message_contains = "UnicodeDecodeError"

    def said(self, result: CommandResult) -> str:
        super().said(result)
        return result.stdout.decode()


class TakesAnythingForAnId(PlainQueue):
    """The text after a number is used as the id."""

    caught_by = "IC-SCHEDULER-06"
    message_contains = "ValidationError"

    def valid(self, word: str) -> bool:
        return True


class TakesAnyCodeForANumber(PlainQueue):
    """Reads the exit code with int(), which raises if it is not a number, as pydantic does if it is negative."""

    caught_by = "IC-SCHEDULER-06"
    message_contains = "ValueError"

    def status(self, word: str, code: str = "") -> JobStatus:
        if word != "done":
            return super().status(word)
        return JobStatus(state=JobState.FAILED if int(code) else JobState.DONE, exit_code=int(code))


class FindsOneOnly(PlainQueue):
    """If the answer of a submission was lost, only its first copy is found."""

    caught_by = "IC-SCHEDULER-07"
    message_contains = "for the recorded list"

    def parse_list(self, result: CommandResult) -> Mapping[int, str]:
        return dict(list(super().parse_list(result).items())[:1])


class TakesALimitForAnError(PlainQueue):
    """A full queue is reported as a failure that does not go away."""

    caught_by = "IC-SCHEDULER-07"
    message_contains = "LimitError"

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        if b"full" in result.stdout and batch.copies == 1:
            raise SchedulerError("plainq refused it")
        return super().parse_submit(batch, result)


class OkForSilence(PlainQueue):
    """A kill that the answer does not mention is ok."""

    caught_by = "IC-SCHEDULER-06"
    message_contains = "if the answer does not mention the job"

    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, OpOutcome]:
        told = super().parse_kill(ids, result)
        return told if result.stdout else dict.fromkeys(ids, OpOutcome(ok=True))
