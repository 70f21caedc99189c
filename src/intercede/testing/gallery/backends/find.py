"""Backends with a mistake in find. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

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
    """Finds all jobs that this object submitted, whatever their tag."""

    caught_by = "IC-FIND-01"
    message_contains = "found besides: ["

    def __init__(self) -> None:
        super().__init__()
        self.mine: set[JobHandle] = set()  # other jobs would be ended by a clean-up that finds them

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        answer = await super().submit(spec, copies)
        self.mine.update(answer.handles.values())
        return answer

    async def find(self, tag: str) -> Sequence[JobHandle]:
        return list(self.mine.union(await super().find(tag)))


class FindsOneSubmission(FakeBackend):
    """Finds only the jobs of the first submission with the tag."""

    caught_by = "IC-FIND-01"
    message_contains = (
        "expected find to return the three jobs of two submissions with a tag, right after submit, each once"
    )

    async def find(self, tag: str) -> Sequence[JobHandle]:
        found = await super().find(tag)
        submissions = [list(each) for _, each in groupby(found, lambda handle: handle.job.split(".")[0])]
        return submissions[0] if submissions else []


class FindsTwice(FakeBackend):
    """Finds each job twice, as if a queue listed a job array and then each of its jobs."""

    caught_by = "IC-FIND-01"
    message_contains = "observed found more than once: ["

    async def find(self, tag: str) -> Sequence[JobHandle]:
        found = await super().find(tag)
        return [*found, *found]


class FindsTheUnfinished(FakeBackend):
    """Finds only jobs that have not ended."""

    caught_by = "IC-FIND-01"
    message_contains = "the three jobs of two submissions with a tag, "

    async def find(self, tag: str) -> Sequence[JobHandle]:
        return [handle for handle, each in (await self.status(await super().find(tag))).items() if not each.state.final]


class _Remembers(FakeBackend):
    """Finds jobs only in a dictionary of tags that it keeps in memory."""

    tags: dict[JobHandle, str | None]

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        answer = await super().submit(spec, copies)
        self.tags.update(dict.fromkeys(answer.handles.values(), spec.tag))
        return answer

    async def find(self, tag: str) -> Sequence[JobHandle]:
        await super().find(tag)
        return [handle for handle, stored in self.tags.items() if stored == tag]


class TagsOnTheInstance(_Remembers):
    """Keeps the tags in the object, so that another object does not find the jobs."""

    caught_by = "IC-FIND-02"
    also_red = ("IC-FIND-04", "IC-FIND-05")
    message_contains = (
        "expected find to return the two jobs that another instance submitted, each once; observed not found: ["
    )

    def __init__(self) -> None:
        super().__init__()
        self.tags = {}


class TagsInTheProcess(_Remembers):
    """Keeps the tags in the class, so that another process does not find the jobs."""

    caught_by = ("IC-FIND-02", "IC-FIND-04")
    also_red = ("IC-FIND-05",)
    message_contains = "each once; observed"
    tags: ClassVar[dict[JobHandle, str | None]] = {}  # type: ignore[misc]  # this is the intended mistake


class _Compares(FakeBackend):
    """Finds the jobs whose tag is similar to the wanted one. A subclass defines what is similar."""

    def is_alike(self, asked: str, stored: str) -> bool:
        raise NotImplementedError

    async def find(self, tag: str) -> Sequence[JobHandle]:
        await super().find(tag)
        return [each for each in self._list_handles() if self._is_alike(tag, each)]

    def _is_alike(self, asked: str, handle: JobHandle) -> bool:
        with suppress(FileNotFoundError):  # the job was purged meanwhile
            return self.is_alike(asked, str(self._get_job(handle).read_spec().tag))
        return False


class FindsByPrefix(_Compares):
    """Finds jobs whose tag begins with the wanted tag."""

    caught_by = "IC-FIND-03"
    message_contains = "a plain word, to return the one job with exactly that tag; observed it returned that one, and"

    def is_alike(self, asked: str, stored: str) -> bool:
        return stored.startswith(asked)


class FindsByContent(_Compares):
    """Finds jobs whose tag contains the wanted tag, as grep -F does."""

    caught_by = "IC-FIND-03"
    message_contains = "a plain word, to return the one job with exactly that tag; observed it returned that one, and"

    def is_alike(self, asked: str, stored: str) -> bool:
        return asked in stored


class TakesTagsForPatterns(_Compares):
    """Uses the wanted tag as a shell pattern, so that * matches other tags."""

    caught_by = "IC-FIND-03"
    message_contains = "a glob that matches other tags, to return the one job"

    def is_alike(self, asked: str, stored: str) -> bool:
        return asked == stored or fnmatchcase(stored, asked)


class TakesTagsForExpressions(_Compares):
    """Uses the wanted tag as a regular expression, if it is a valid one."""

    caught_by = "IC-FIND-03"
    message_contains = "an expression that matches other tags, to return the one job"

    def is_alike(self, asked: str, stored: str) -> bool:
        with suppress(re.error):
            if re.fullmatch(asked, stored):
                return True
        return asked == stored


class _Writes(_Compares):
    """Compares tags after a conversion that loses something. A subclass defines the conversion."""

    def convert_tag(self, tag: str) -> str:
        raise NotImplementedError

    def is_alike(self, asked: str, stored: str) -> bool:
        return self.convert_tag(asked) == self.convert_tag(stored)


class FoldsCase(_Writes):
    """Stores tags in lower case."""

    caught_by = "IC-FIND-03"
    message_contains = "another tag in capitals: '"

    def convert_tag(self, tag: str) -> str:
        return tag.lower()


class StripsTags(_Writes):
    """Removes the blanks around a tag."""

    caught_by = "IC-FIND-03"
    message_contains = "another tag with blanks around it: '"

    def convert_tag(self, tag: str) -> str:
        return tag.strip(" ")


class ReadsTagsThroughAShell(_Writes):
    """Reads tags with $(...) in a shell, which removes newlines from the end."""

    caught_by = "IC-FIND-03"
    message_contains = "another tag and a newline: '"

    def convert_tag(self, tag: str) -> str:
        return tag.rstrip("\n")


class KeepsOneLine(_Writes):
    """Stores only the first line of a tag."""

    caught_by = "IC-FIND-03"
    message_contains = "another tag, a newline and a letter: '"

    def convert_tag(self, tag: str) -> str:
        return tag.split("\n", 1)[0] if not tag.endswith("\n") else tag


class NamesFilesByTags(_Writes):
    """Stores a tag as a file name, on a file system that normalizes Unicode."""

    caught_by = "IC-FIND-03"
    message_contains = "another tag in another encoding of Unicode: '"

    def convert_tag(self, tag: str) -> str:
        return unicodedata.normalize("NFC", tag)


class CutsTags(_Writes):
    """Stores only the first 128 characters of a tag."""

    caught_by = "IC-FIND-03"
    message_contains = "256 characters, to return the one job"

    def convert_tag(self, tag: str) -> str:
        return tag[:128]


class CannotQuoteTags(FakeBackend):
    """Finds no job if the tag has a single quote in it."""

    caught_by = "IC-FIND-03"
    message_contains = (
        "quotes of both kinds, to return the one job with exactly that tag; observed it returned not that one"
    )

    async def find(self, tag: str) -> Sequence[JobHandle]:
        return [] if "'" in tag else await super().find(tag)


class FindsTheRestOfASubmission(FakeBackend):
    """Stores the tag with copy 0, so that the other copies are not found once copy 0 is purged."""

    caught_by = "IC-FIND-04"
    message_contains = "the two copies that were not purged, each once; observed not found: ["

    async def find(self, tag: str) -> Sequence[JobHandle]:
        found = await super().find(tag)
        first = {each.job.split(".")[0] for each in found if each.job.endswith(".0")}
        return [each for each in found if each.job.split(".")[0] in first]


class TagsAtTheEnd(FakeBackend):
    """Stores the tags when submit ends, so that the jobs of a cancelled submit are not found."""

    caught_by = "IC-FIND-05"
    message_contains = "payloads of a cancelled submit that ran to be found; observed find returned 0"

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        answer = await super().submit(spec, copies)
        for handle in answer.handles.values():
            (self._state / handle.job / "tagged").touch()
        return answer

    async def find(self, tag: str) -> Sequence[JobHandle]:
        return [each for each in await super().find(tag) if (self._state / each.job / "tagged").exists()]


class GoesOnWhenCancelled(FakeBackend):
    """Continues a cancelled submit in the background."""

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
    """Finds all copies of a cancelled submit, even those that never started."""

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
    """Repeats a cancelled submit as if its answer had been lost, so that each job is found twice."""

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
