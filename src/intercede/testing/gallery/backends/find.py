"""Wrong in finding. Every class in this file is wrong, on purpose: its docstring says how."""

# ruff: noqa: D102 -- the class says what its methods do otherwise

import asyncio
import re
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from itertools import groupby
from typing import ClassVar

from intercede.contract import CopyVars, JobHandle, Submission, SubmissionSpec
from intercede.testing.gallery.fake import FakeBackend


class FindsEverything(FakeBackend):
    """find also returns everything else that this instance has submitted."""

    caught_by = "IC-FIND-01"
    message_contains = "found besides: ["

    def __init__(self) -> None:
        super().__init__()
        self.mine: set[JobHandle] = set()  # not all jobs that there are: whoever cleans up by a tag would end them

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        told = await super().submit(spec, copies)
        self.mine.update(told.handles.values())
        return told

    async def find(self, tag: str) -> Sequence[JobHandle]:
        return list(self.mine.union(await super().find(tag)))


class FindsOneSubmission(FakeBackend):
    """A tag leads to one submission, the first."""

    caught_by = "IC-FIND-01"
    message_contains = (
        "expected find to return the three jobs of two submissions with a tag, right after submit, each once"
    )

    async def find(self, tag: str) -> Sequence[JobHandle]:
        found = await super().find(tag)
        submissions = [list(each) for _, each in groupby(found, lambda handle: handle.job.split(".")[0])]
        return submissions[0] if submissions else []


class FindsTwice(FakeBackend):
    """Jobs are listed with their array, and again one by one."""

    caught_by = "IC-FIND-01"
    message_contains = "observed found more than once: ["

    async def find(self, tag: str) -> Sequence[JobHandle]:
        found = await super().find(tag)
        return [*found, *found]


class FindsTheUnfinished(FakeBackend):
    """Only jobs that the queue still lists are found."""

    caught_by = "IC-FIND-01"
    message_contains = "the three jobs of two submissions with a tag, "

    async def find(self, tag: str) -> Sequence[JobHandle]:
        return [handle for handle, each in (await self.status(await super().find(tag))).items() if not each.state.final]


class _Remembers(FakeBackend):
    """Finds what it remembers."""

    tags: dict[JobHandle, str | None]

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        told = await super().submit(spec, copies)
        self.tags.update(dict.fromkeys(told.handles.values(), spec.tag))
        return told

    async def find(self, tag: str) -> Sequence[JobHandle]:
        await super().find(tag)
        return [handle for handle, its in self.tags.items() if its == tag]


class TagsOnTheInstance(_Remembers):
    """Tags are remembered on the instance."""

    caught_by = "IC-FIND-02"
    also_red = ("IC-FIND-04", "IC-FIND-05")
    message_contains = (
        "expected find to return the two jobs that another instance submitted, each once; observed not found: ["
    )

    def __init__(self) -> None:
        super().__init__()
        self.tags = {}


class TagsInTheProcess(_Remembers):
    """Tags are remembered on the class, and gone with the process."""

    caught_by = ("IC-FIND-02", "IC-FIND-04")
    also_red = ("IC-FIND-05",)
    message_contains = "each once; observed"
    tags: ClassVar[dict[JobHandle, str | None]] = {}  # type: ignore[misc]  # the mistake


class _Compares(FakeBackend):
    """Finds the jobs whose tag is like the one that is asked for."""

    def alike(self, asked: str, its: str) -> bool:
        raise NotImplementedError

    async def find(self, tag: str) -> Sequence[JobHandle]:
        await super().find(tag)
        return [each for each in self._all() if self._is_alike(tag, each)]

    def _is_alike(self, asked: str, handle: JobHandle) -> bool:
        with suppress(FileNotFoundError):  # purged meanwhile
            return self.alike(asked, str(self._job(handle).spec().tag))
        return False


class FindsByPrefix(_Compares):
    """Tags that begin with the tag are found as well."""

    caught_by = "IC-FIND-03"
    message_contains = "a plain word, to return the one job with exactly that tag; observed it returned that one, and"

    def alike(self, asked: str, its: str) -> bool:
        return its.startswith(asked)


class FindsByContent(_Compares):
    """Tags that contain the tag are found as well, as by grep -F."""

    caught_by = "IC-FIND-03"
    message_contains = "a plain word, to return the one job with exactly that tag; observed it returned that one, and"

    def alike(self, asked: str, its: str) -> bool:
        return asked in its


class TakesTagsForPatterns(_Compares):
    """A tag is a pattern of file names."""

    caught_by = "IC-FIND-03"
    message_contains = "a glob that matches other tags, to return the one job"

    def alike(self, asked: str, its: str) -> bool:
        return asked == its or fnmatchcase(its, asked)


class TakesTagsForExpressions(_Compares):
    """A tag is used as a regular expression, if it is a valid one."""

    caught_by = "IC-FIND-03"
    message_contains = "an expression that matches other tags, to return the one job"

    def alike(self, asked: str, its: str) -> bool:
        with suppress(re.error):
            if re.fullmatch(asked, its):
                return True
        return asked == its


class _Writes(_Compares):
    """Writes tags down in a way that loses something."""

    def written(self, tag: str) -> str:
        raise NotImplementedError

    def alike(self, asked: str, its: str) -> bool:
        return self.written(asked) == self.written(its)


class FoldsCase(_Writes):
    """Tags are kept in small letters."""

    caught_by = "IC-FIND-03"
    message_contains = "another tag in capitals: '"

    def written(self, tag: str) -> str:
        return tag.lower()


class StripsTags(_Writes):
    """A tag loses the blanks around it."""

    caught_by = "IC-FIND-03"
    message_contains = "another tag with blanks around it: '"

    def written(self, tag: str) -> str:
        return tag.strip(" ")


class ReadsTagsThroughAShell(_Writes):
    """A tag is read by $(...), which takes newlines from its end."""

    caught_by = "IC-FIND-03"
    message_contains = "another tag and a newline: '"

    def written(self, tag: str) -> str:
        return tag.rstrip("\n")


class KeepsOneLine(_Writes):
    """Only the first line of a tag is kept."""

    caught_by = "IC-FIND-03"
    message_contains = "another tag, a newline and a letter: '"

    def written(self, tag: str) -> str:
        return tag.split("\n", 1)[0] if not tag.endswith("\n") else tag


class NamesFilesByTags(_Writes):
    """A tag is the name of a file on a disk that keeps one spelling of each letter."""

    caught_by = "IC-FIND-03"
    message_contains = "another tag in another encoding of Unicode: '"

    def written(self, tag: str) -> str:
        return unicodedata.normalize("NFC", tag)


class CutsTags(_Writes):
    """A tag is a job's name, of which the resource keeps 128 characters."""

    caught_by = "IC-FIND-03"
    message_contains = "256 characters, to return the one job"

    def written(self, tag: str) -> str:
        return tag[:128]


class CannotQuoteTags(FakeBackend):
    """A tag with a quote in it is never found."""

    caught_by = "IC-FIND-03"
    message_contains = (
        "quotes of both kinds, to return the one job with exactly that tag; observed it returned not that one"
    )

    async def find(self, tag: str) -> Sequence[JobHandle]:
        return [] if "'" in tag else await super().find(tag)


class FindsTheRestOfASubmission(FakeBackend):
    """The tag is kept with copy 0, and purged with it."""

    caught_by = "IC-FIND-04"
    message_contains = "the two copies that were not purged, each once; observed not found: ["

    async def find(self, tag: str) -> Sequence[JobHandle]:
        found = await super().find(tag)
        first = {each.job.split(".")[0] for each in found if each.job.endswith(".0")}
        return [each for each in found if each.job.split(".")[0] in first]


class TagsAtTheEnd(FakeBackend):
    """Tags are written down when submit ends: a cancelled one leaves none."""

    caught_by = "IC-FIND-05"
    message_contains = "payloads of a cancelled submit that ran to be found; observed find returned 0"

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        told = await super().submit(spec, copies)
        for handle in told.handles.values():
            (self._state / handle.job / "tagged").touch()
        return told

    async def find(self, tag: str) -> Sequence[JobHandle]:
        return [each for each in await super().find(tag) if (self._state / each.job / "tagged").exists()]


class GoesOnWhenCancelled(FakeBackend):
    """A cancelled submit goes on in the background."""

    caught_by = "IC-FIND-05"
    message_contains = "the same jobs of a cancelled submit, asked a second time, each once; observed found besides: ["

    def __init__(self) -> None:
        super().__init__()
        self.behind: set[asyncio.Task[Submission]] = set()

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        task = asyncio.ensure_future(super().submit(spec, copies))
        self.behind.add(task)
        task.add_done_callback(self.behind.discard)
        return await asyncio.shield(task)


class FindsWhatNeverStarted(FakeBackend):
    """After a cancelled submit, all copies are found, even those that never started."""

    caught_by = "IC-FIND-05"
    message_contains = "jobs that were started, and end; observed job"

    def __init__(self) -> None:
        super().__init__()
        self.cancelled: dict[str | None, int] = {}

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        try:
            return await super().submit(spec, copies)
        except asyncio.CancelledError:
            self.cancelled[spec.tag] = copies if isinstance(copies, int) else len(copies)
            raise

    async def find(self, tag: str) -> Sequence[JobHandle]:
        found = list(await super().find(tag))
        planned = self.cancelled.get(tag, 0)
        return found + [JobHandle(resource=self._resource, job=f"{'0' * 12}.{n}") for n in range(len(found), planned)]


class SubmitsAgainWhenCancelled(FakeBackend):
    """A cancelled submit is treated as a lost answer: each job is listed once for each try."""

    caught_by = "IC-FIND-05"
    message_contains = "the jobs of a cancelled submit, each once; observed found more than once: ["

    def __init__(self) -> None:
        super().__init__()
        self.cancelled: set[str | None] = set()

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        try:
            return await super().submit(spec, copies)
        except asyncio.CancelledError:
            self.cancelled.add(spec.tag)
            raise

    async def find(self, tag: str) -> Sequence[JobHandle]:
        found = await super().find(tag)
        return [*found, *found] if tag in self.cancelled else found
