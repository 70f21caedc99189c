"""IC-FIND: a tag finds the jobs that were submitted with it, all of them and no others."""

import asyncio
import os
import time
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from intercede.contract.job import CopyVars, JobHandle, JobState, Submission, SubmissionSpec
from intercede.testing.clauses import clause
from intercede.testing.clauses.support import child_functions
from intercede.testing.clauses.support.handles import read_handles
from intercede.testing.model.calls import shorten
from intercede.testing.model.clause import MUST
from intercede.testing.run.answers import describe_status
from intercede.testing.run.context import CheckFailed, Context, format_value
from intercede.testing.run.driver import BackendDriver, open_backend

_FRACTIONS = (0.2, 0.5, 0.8, 0.95)
"""The times at which the first calls of ``submit`` are cancelled, as fractions of the usual duration of a call."""
_TRIES = 10
"""The maximum number of ``submit`` calls to cancel, to find a call that started two jobs but returned no handles."""
_COPIES, _SEVERAL = 3, 5
_LATER = 0.5
"""Seconds to wait before the second call of ``find``, because a cancelled ``submit`` may still be starting jobs."""


async def _expect_found(backend: BackendDriver, tag: str, handles: Sequence[JobHandle], what: str) -> None:
    """Expect ``find`` to return exactly the given jobs, each once."""
    _expect_same(await backend.find(tag), handles, what)


def _expect_same(found: Sequence[JobHandle], wanted: Sequence[JobHandle], what: str) -> None:
    """Compare the jobs that ``find`` returned with the expected jobs. Their order may differ.

    Raises:
        CheckFailed: A job is missing, unexpected or returned twice.
    """
    once = dict.fromkeys(found)
    differing = {
        "not found": [each for each in wanted if each not in once],
        "found besides": [each for each in once if each not in wanted],
        "found more than once": [each for each in once if found.count(each) > 1],
    }
    differences = "; ".join(f"{which}: {format_value(jobs)}" for which, jobs in differing.items() if jobs)
    if differences:
        raise CheckFailed(f"find to return {what}, each once", differences)


@clause(
    "IC-FIND-01",
    title="A tag finds every job of every submission with that tag, each once, and no other.",
    level=MUST,
    capability="find",
    depends=("IC-STATUS-05", "IC-SHAPE-05", "IC-HANDLE-01", "IC-HANDLE-04"),
    hint=(
        "A map from a tag to one submission: several may share a tag. A tag that is written only to the first copy, "
        "or looked for only among unfinished jobs. An id that is listed for the array and again for each task."
    ),
)
async def check_every_job(context: Context) -> None:
    """Submit twice with one tag and once with another. Find the jobs right after submit, and after their end."""
    tag, other = f"ic-{context.make_token()}", f"ic-{context.make_token()}"
    async with open_backend(context) as backend:
        mine = await backend.submit_jobs(context.sh("exit 0", tag=tag), copies=2)
        mine += await backend.submit_jobs(context.sh("exit 0", tag=tag))
        theirs = await backend.submit_jobs(context.sh("exit 0", tag=other))
        for when in ("right after submit", "when they have ended"):
            await _expect_found(backend, tag, mine, f"the three jobs of two submissions with a tag, {when}")
            await _expect_found(backend, other, theirs, f"the one job with another tag, {when}")
            await backend.wait_until_final([*mine, *theirs])
        await _expect_found(backend, f"ic-{context.make_token()}", [], "no job for a tag that no job has")


@clause(
    "IC-FIND-02",
    title="Another instance and another process find the same jobs.",
    level=MUST,
    capability="find",
    depends=("IC-FIND-01", "IC-HANDLE-03", "IC-LIFE-08"),
    hint=(
        "Tags that are kept on the instance, on the class or in a file of this process. Keep them on the resource, "
        "with the job: after a crash, the tag is all that a caller has."
    ),
)
async def check_from_elsewhere(context: Context) -> None:
    """Submit through one instance. Find the jobs through another instance, and in a child process."""
    tag = f"ic-{context.make_token()}"
    async with open_backend(context) as backend:
        handles = await backend.submit_jobs(context.sh("exit 0", tag=tag), copies=2)
    async with open_backend(context) as other:
        await _expect_found(other, tag, handles, "the two jobs that another instance submitted")
    found = read_handles(await context.run_child(child_functions.find_jobs, tag, what="find"))
    _expect_same(found, handles, "in another process the two jobs that this one submitted")


def _list_awkward_tags(word: str) -> Mapping[str, str]:
    """Map descriptions to awkward tags. Each tag holds a random word, so that no other run has the same tag."""
    return {
        "a plain word": word,
        "another tag with a letter behind it": f"{word}x",
        "another tag with a letter before it": f"x{word}",
        "another tag in capitals": word.upper(),
        "another tag with blanks around it": f" {word} ",
        "another tag and a newline": f"{word}\n",
        "another tag, a newline and a letter": f"{word}\nx",
        "a glob that matches other tags": f"{word[:-1]}?*",
        "an expression that matches other tags": f"{word[:-1]}.*|{word}x",
        "quotes of both kinds": f"'{word}\" '; \"",
        "what a shell would run": f"$(exit 1)`exit 1`;{word}&|$HOME\\",
        "separators": f"{word},{word}x:{word}=%_ #\t",
        "a path": f"../{word}/..",
        "what looks like an option": f"-{word}",
        "letters beyond ASCII": f"{word}é漢🙂",
        "another tag in another encoding of Unicode": unicodedata.normalize("NFD", f"{word}é漢🙂"),
        "256 characters": f"{word}{'é' * 256}"[:256],
        "another tag but for its last character": f"{word}{'é' * 256}"[:255] + "x",
    }


_EVERYTHING = ("*", ".*", "%", "[a-z0-9 -]*", "' || true '", "\n")
"""Tags that no job has, and that would match every tag if a backend took them for patterns, queries or code."""


@clause(
    "IC-FIND-03",
    title="Tags are data: any text of 1 to 256 characters finds its own jobs and no others.",
    level=MUST,
    capability="find",
    depends=("IC-FIND-01",),
    jobs=18,
    hint=(
        "If there are too many: a tag that is given to fnmatch, glob, re, LIKE, grep or a scheduler's filter. "
        "Compare it by ==, or escape it. If there are too few: a tag that is part of a command line, a file's name "
        "or a job's name, which lose blanks, case, length or letters beyond ASCII. Write it as hexadecimal or as a "
        "hash, and compare all of it."
    ),
)
async def check_hostile_tags(context: Context) -> None:
    """Submit jobs whose tags are hard to transport or similar to each other, and find each job by its tag."""
    tags = _list_awkward_tags(context.make_token())
    async with open_backend(context) as backend:
        handles = {what: await backend.submit_jobs(context.sh("exit 0", tag=tag)) for what, tag in tags.items()}
        ours = {handle: what for what, (handle,) in handles.items()}
        for what, tag in tags.items():
            found = [ours.get(each, f"another job, {each.job}") for each in await backend.find(tag)]
            others = [
                f"{each}{f': {shorten(repr(tags[each]), 60)}' if each in tags else ''}"
                for each in found
                if each != what
            ]
            context.expect(
                found == [what],
                expected=f"find({shorten(format_value(tag), 60)}), {what}, to return the one job with exactly that tag",
                observed=_list_found(found.count(what), others),
            )
        for tag in _EVERYTHING:
            taken = [ours[each] for each in await backend.find(tag) if each in ours]
            expected = f"find({format_value(tag)}) to return none of the jobs with other tags"
            context.expect(not taken, expected=expected, observed=f"it returned those of {format_value(taken)}")
        await backend.wait_until_final(list(ours))


def _list_found(times: int, others: Sequence[str]) -> str:
    mine = {0: "not that one", 1: "that one"}.get(times, f"that one {times} times")
    return f"it returned {mine}" + (f", and {len(others)} with other tags: {'; '.join(others[:3])}" if others else "")


@clause(
    "IC-FIND-04",
    title="Purged jobs are not found any more.",
    level=MUST,
    capability="find",
    also_needs=("purge",),
    depends=("IC-FIND-01", "IC-PURGE-01", "IC-PURGE-04", "IC-LIFE-08"),
    hint=(
        "An index of tags that purging does not update, or that it removes with the first copy. Callers ask for the "
        "jobs that find returns, and fetch them."
    ),
)
async def check_purged_jobs(context: Context) -> None:
    """Purge one of three copies, then all of them. Each time, find the copies that are left."""
    tag = f"ic-{context.make_token()}"
    async with open_backend(context) as backend, open_backend(context) as other:
        handles = await backend.submit_jobs(context.sh("exit 0", tag=tag), _COPIES)
        await backend.wait_until_final(handles)
        await _expect_found(backend, tag, handles, "the three copies of a submission")
        await backend.purge(handles[:1])
        for instance in (backend, other):
            await _expect_found(instance, tag, handles[1:], "the two copies that were not purged")
        await backend.purge(handles)
        for instance in (backend, other):
            await _expect_found(instance, tag, [], "no copy, since all were purged")


@clause(
    "IC-FIND-05",
    title="The jobs that a cancelled submit has started are found: exactly those, each once.",
    level=MUST,
    capability="find",
    depends=("IC-FIND-01", "IC-LIFE-09"),
    jobs=5,
    seconds=180,
    hint=(
        "A tag that is written down only when submit has ended: write it before anything starts, or send it with "
        "the job. A submit that goes on in a thread or on the resource after it was cancelled: find must wait for "
        "it, or stop it. If find returns too few jobs, the caller submits them again, and they run twice. If there "
        "are too many: a list of submissions in progress, which a cancelled submit does not clear, is added to the "
        "jobs that are found anyway."
    ),
)
async def check_cancelled_submits(context: Context) -> None:
    """Cancel calls of ``submit`` at different moments, and find the jobs that they started.

    Later, find these jobs again, and count the payloads that ran.
    """
    async with open_backend(context) as backend:
        cancelled = await _cancel_submits(context, backend)
        await asyncio.sleep(_LATER)
        for each in cancelled:
            again = "the same jobs of a cancelled submit, asked a second time"
            await _expect_found(backend, each.tag, each.found, again)
            count = len(os.listdir(each.ran))  # noqa: PTH208 -- a count of names, no paths
            expected = f"each of the {count} payloads of a cancelled submit that ran to be found"
            observed = f"find returned {len(each.found)}: {format_value(each.found)}"
            context.expect(count <= len(each.found), expected=expected, observed=observed)


@dataclass(frozen=True)
class _Cancelled:
    """A call of ``submit`` that was cancelled.

    Attributes:
        tag: The tag of the submission.
        returned: The handles that ``submit`` returned, or None if ``submit`` was cancelled before it returned.
        found: The jobs that ``find`` returned for the tag.
        ran: The directory in which each payload that ran has left a file.
    """

    tag: str
    returned: list[JobHandle] | None
    found: list[JobHandle]
    ran: Path

    @property
    def had_started_jobs(self) -> bool:
        """Whether ``submit`` was cancelled before it returned, and after it had started at least two jobs."""
        return self.returned is None and len(self.found) > 1


@dataclass
class _CancelTime:
    """Chooses when to cancel a call of ``submit``.

    The first times are fractions of the usual duration of a call. The later times bisect the interval between a time
    that was too early and a time that was too late.
    """

    took: float
    early: float = 0.0
    late: float = field(init=False)

    def __post_init__(self) -> None:
        self.late = self.took

    def choose(self, number: int) -> float:
        """Return the seconds after which call number N of ``submit`` is cancelled. The first call has number 0."""
        return _FRACTIONS[number] * self.took if number < len(_FRACTIONS) else (self.early + self.late) / 2

    def learn(self, seconds: float, *, ended: bool) -> None:
        """Record that a call of ``submit`` was cancelled too late or too early.

        It was too late if the call had ended, and too early if the call had started fewer than two jobs.
        """
        if ended:
            self.late = min(self.late, seconds)
            self.early = min(self.early, self.late / 2)
        else:
            self.early = min(max(self.early, seconds), self.late)


async def _cancel_submits(context: Context, backend: BackendDriver) -> list[_Cancelled]:
    """For each fraction, cancel a call of ``submit`` after that fraction of its usual duration, and find its jobs.

    Then cancel further calls, at most ten in all, until a call has started two jobs but returned no handles.
    """
    cancel_time, cancelled = _CancelTime(await _time_a_submit(context, backend)), list[_Cancelled]()
    for number in range(_TRIES):
        seconds = cancel_time.choose(number)
        cancelled.append(each := await _cancel(context, backend, seconds, context.tmp / str(number)))
        if not each.had_started_jobs:
            cancel_time.learn(seconds, ended=each.returned is not None)
        if number + 1 >= len(_FRACTIONS) and any(each.had_started_jobs for each in cancelled):
            break
    return cancelled


async def _time_a_submit(context: Context, backend: BackendDriver) -> float:
    """Return the seconds that a call of ``submit`` takes."""
    began = time.monotonic()
    handles = await backend.submit_jobs(context.sh("exit 0"), _SEVERAL)
    took = time.monotonic() - began
    await backend.wait_until_final(handles)
    return took


async def _cancel(context: Context, backend: BackendDriver, seconds: float, ran: Path) -> _Cancelled:
    """Cancel ``submit`` after a number of seconds, find the jobs that it had started, and wait until they end."""
    ran.mkdir()  # noqa: ASYNC240 -- it is one directory
    # The payload creates a file in the directory of this check, if it sees that directory. A failed redirection of `:`
    # would end the whole shell. In parentheses, it ends a subshell only.
    spec = context.sh('(: > "$1/$IC_COPY") 2>/dev/null; exit 0', str(ran))
    returned = await _submit_for(backend, spec, seconds)
    found = await backend.find(str(spec.tag))
    _expect_same(found, list(dict.fromkeys(found)) if returned is None else returned, "the jobs of a cancelled submit")
    for handle in found:
        status = await backend.wait_for_state(handle, JobState.UNKNOWN)
        expected = "the jobs that find returns for a cancelled submit to be jobs that were started, and end"
        context.expect(status.state.final, expected=expected, observed=f"job {handle.job} is {describe_status(status)}")
    return _Cancelled(str(spec.tag), returned, found, ran)


async def _submit_for(backend: BackendDriver, spec: SubmissionSpec, seconds: float) -> list[JobHandle] | None:
    """Cancel ``submit`` after a number of seconds. Return its handles, or None if it was cancelled before its end."""
    copies = [CopyVars(environment={"IC_COPY": str(index)}) for index in range(_SEVERAL)]
    task = asyncio.ensure_future(backend.submit(spec, copies))
    await asyncio.wait({task}, timeout=seconds)
    task.cancel()
    (ending,) = await asyncio.gather(task, return_exceptions=True)
    if isinstance(ending, CheckFailed):
        raise ending
    return list(ending.handles.values()) if isinstance(ending, Submission) else None
