"""Schedulers that read a queue's answer wrongly. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

from collections.abc import Mapping, Sequence

from intercede.contract import Batch, CommandResult, JobState, JobStatus, OpOutcome, Queued, SchedulerError
from intercede.testing.gallery.schedulers.right import PlainQueue


class FailureIsSilence(PlainQueue):
    """Ignores the exit code of the queue's command, so that no job is listed if the queue is down."""

    caught_by = "IC-SCHEDULER-04"
    message_contains = "parse_status to raise SchedulerError"
    also_red = ("IC-SCHEDULER-07",)

    def read_output(self, result: CommandResult) -> str:
        return result.stdout.decode("utf-8", "replace")


class OneIsHarmless(PlainQueue):
    """Reads exit code 1 of the queue's command as an empty listing."""

    caught_by = "IC-SCHEDULER-04"
    message_contains = "exited with code 1"

    def read_output(self, result: CommandResult) -> str:
        return super().read_output(result.model_copy(update={"returncode": 0}) if result.returncode == 1 else result)


class TrustsWhatWasSaid(PlainQueue):
    """Ignores the exit code if there is some output, so that a listing that breaks off counts as complete."""

    caught_by = "IC-SCHEDULER-04"
    message_contains = "17.0 a0123456789ab running"

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        code = 0 if result.stdout else result.returncode
        return super().parse_status(ids, result.model_copy(update={"returncode": code}))


class TakesOutagesForSilence(PlainQueue):
    """Reads an outage that is reported with exit code 0 as an empty listing."""

    caught_by = "IC-SCHEDULER-07"
    message_contains = "an outage with exit code 0"

    def read_output(self, result: CommandResult) -> str:
        return super().read_output(result.model_copy(update={"stderr": b""}))


class ForgetsHeld(PlainQueue):
    """Reports held jobs as QUEUED."""

    caught_by = "IC-SCHEDULER-07"
    message_contains = "HELD"

    def make_status(self, word: str, code: str = "") -> JobStatus:
        known = super().make_status(word, code)
        return known.model_copy(update={"state": JobState.QUEUED}) if known.state is JobState.HELD else known


class UnknownIsDone(PlainQueue):
    """Reports a native state that it does not know as DONE."""

    caught_by = "IC-SCHEDULER-05"
    message_contains = "DONE"

    def make_status(self, word: str, code: str = "") -> JobStatus:
        known = super().make_status(word, code)
        return JobStatus(state=JobState.DONE, native=word) if known.state is JobState.UNKNOWN else known


class UnknownIsRunning(PlainQueue):
    """Reports a native state that it does not know as RUNNING."""

    caught_by = "IC-SCHEDULER-05"
    message_contains = "RUNNING"

    def make_status(self, word: str, code: str = "") -> JobStatus:
        known = super().make_status(word, code)
        return JobStatus(state=JobState.RUNNING, native=word) if known.state is JobState.UNKNOWN else known


class UnknownHasNoWord(PlainQueue):
    """Does not report the native state of a job if it does not know that state."""

    caught_by = "IC-SCHEDULER-05"
    message_contains = "with the native word 'xyzzy'"

    def make_status(self, word: str, code: str = "") -> JobStatus:
        known = super().make_status(word, code)
        return JobStatus(state=JobState.UNKNOWN) if known.state is JobState.UNKNOWN else known


class UnknownIsAnError(PlainQueue):
    """Raises if one native state is unknown, so that no job has a status."""

    caught_by = "IC-SCHEDULER-05"
    message_contains = "SchedulerError"

    def make_status(self, word: str, code: str = "") -> JobStatus:
        known = super().make_status(word, code)
        if known.state is JobState.UNKNOWN:
            raise SchedulerError(f"what does {word!r} mean?")
        return known


class AbsentIsDone(PlainQueue):
    """Reports a job that is not listed as DONE."""

    caught_by = "IC-SCHEDULER-06"
    also_red = ("IC-SCHEDULER-10",)
    message_contains = "of jobs that are not listed"

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        answer = super().parse_status(ids, result)
        return {job: answer.get(job, JobStatus(state=JobState.DONE)) for job in ids}


class SilenceIsDone(PlainQueue):
    """Reports all jobs as DONE if the listing is empty."""

    caught_by = "IC-SCHEDULER-06"
    message_contains = "if no job is listed"

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        answer = super().parse_status(ids, result)
        return answer if result.stdout else dict.fromkeys(ids, JobStatus(state=JobState.DONE))


class FindsIdsByPrefix(PlainQueue):
    """Matches ids by prefix, so that the status of job 17 is given to job 1."""

    caught_by = "IC-SCHEDULER-06"
    message_contains = "of jobs that are not listed"

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        lines = [line.split() for line in self.read_output(result).splitlines()]
        return {
            job: self.make_status(*each[2:4])
            for job in ids
            for each in lines
            if len(each) > 2 and f"{each[0]}@{each[1]}".startswith(job)
        }


class AnswersForEveryListedJob(PlainQueue):
    """Answers parse_status for every job in the listing, also for those that are not asked for."""

    caught_by = "IC-SCHEDULER-06"
    message_contains = "if no job is asked for"

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        lines = [line.split() for line in self.read_output(result).splitlines()]
        return super().parse_status(["@".join(words[:2]) for words in lines], result)


class AcceptsEveryKillAnswer(PlainQueue):
    """Answers that every kill is ok if the queue's command succeeded."""

    caught_by = "IC-SCHEDULER-06"
    message_contains = "parse_kill"
    also_red = ("IC-SCHEDULER-07", "IC-SCHEDULER-10")

    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, OpOutcome]:
        self.read_output(result)
        return dict.fromkeys(ids, OpOutcome(ok=True))


class CrashesOnShortLines(PlainQueue):
    """Raises IndexError if a line of the answer has less than two words."""

    caught_by = "IC-SCHEDULER-06"
    message_contains = "IndexError"

    def parse_status(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, JobStatus]:
        lines = [line.split() for line in self.read_output(result).splitlines()]
        answer = {f"{words[0]}@{words[1]}": self.make_status(*words[2:4]) for words in lines}
        return {job: answer[job] for job in ids if job in answer}


class CrashesOnOddBytes(PlainQueue):
    """Raises UnicodeDecodeError if the answer is not UTF-8."""

    caught_by = "IC-SCHEDULER-06"
    message_contains = "UnicodeDecodeError"

    def read_output(self, result: CommandResult) -> str:
        super().read_output(result)
        return result.stdout.decode()


class TakesAnythingForAnId(PlainQueue):
    """Uses any text as a job id, without checking its form."""

    caught_by = "IC-SCHEDULER-06"
    message_contains = "ValidationError"

    def is_valid(self, word: str) -> bool:
        return True


class TakesAnyCodeForANumber(PlainQueue):
    """Raises ValueError if an exit code in the answer is not a number."""

    caught_by = "IC-SCHEDULER-06"
    message_contains = "ValueError"

    def make_status(self, word: str, code: str = "") -> JobStatus:
        if word != "done":
            return super().make_status(word)
        return JobStatus(state=JobState.FAILED if int(code) else JobState.DONE, exit_code=int(code))


class FindsOneOnly(PlainQueue):
    """Returns only the first copy from parse_list."""

    caught_by = "IC-SCHEDULER-07"
    message_contains = "for the recorded list"

    def parse_list(self, result: CommandResult) -> Mapping[int, str]:
        return dict(list(super().parse_list(result).items())[:1])


class TakesALimitForAnError(PlainQueue):
    """Raises SchedulerError if the queue is full, not LimitError."""

    caught_by = "IC-SCHEDULER-07"
    message_contains = "LimitError"

    def parse_submit(self, batch: Batch, result: CommandResult) -> Queued:
        if b"full" in result.stdout and batch.copies == 1:
            raise SchedulerError("plainq refused it")
        return super().parse_submit(batch, result)


class OkForSilence(PlainQueue):
    """Answers that a kill is ok if the answer does not name the job."""

    caught_by = "IC-SCHEDULER-06"
    message_contains = "if the answer does not mention the job"

    def parse_kill(self, ids: Sequence[str], result: CommandResult) -> Mapping[str, OpOutcome]:
        answer = super().parse_kill(ids, result)
        return answer if result.stdout else dict.fromkeys(ids, OpOutcome(ok=True))
