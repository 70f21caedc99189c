"""Backends with a mistake in diagnostics. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

from collections.abc import Collection, Mapping

from intercede.contract import Diagnostics, JobHandle, ResourceError
from intercede.testing.gallery.fake import FakeBackend

Texts = Mapping[JobHandle, Diagnostics]


class ShowsTheEndedOnly(FakeBackend):
    """Returns no output of a job in diagnostics until the job has ended."""

    caught_by = "IC-DIAG-01"
    message_contains = "to be in the answer while it runs; observed the last texts were ['"
    scale = 0.08

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        ended = {handle for handle, each in (await self.status(handles)).items() if each.state.final}
        return {**dict.fromkeys(handles, Diagnostics(text="")), **await super().diagnostics(ended)}


class ShowsTheLastLine(FakeBackend):
    """Returns only the last line of the output in diagnostics."""

    caught_by = "IC-DIAG-01"
    message_contains = "observed the last texts were ['"
    scale = 0.08

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        answer = await super().diagnostics(handles)
        return {
            handle: Diagnostics(text=each.text[each.text[:-1].rfind("\n") + 1 :]) for handle, each in answer.items()
        }


class ShowsTheWholeSubmission(FakeBackend):
    """Returns the output of all copies in the diagnostics of each copy."""

    caught_by = "IC-DIAG-01"
    message_contains = "to hold nothing of the other copy's; observed"

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        answer = await super().diagnostics(handles)
        everything = Diagnostics(text="".join(each.text for each in answer.values()))
        return {handle: everything if each.text else each for handle, each in answer.items()}


class ShowsTheBeginning(FakeBackend):
    """Returns only the beginning of the output in diagnostics, if the output is long."""

    caught_by = "IC-DIAG-02"
    message_contains = "later output to be in later answers"
    scale = 0.08

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        answer = await super().diagnostics(handles)
        firsts = {handle: each.text.partition(" 39\n") for handle, each in answer.items()}
        return {handle: Diagnostics(text=first + mark) for handle, (first, mark, _) in firsts.items()}


class Consumes(FakeBackend):
    """Deletes long output after diagnostics has returned it once."""

    caught_by = "IC-DIAG-02"
    message_contains = ("to be in answer number 2", "expected the whole stdout of the job")

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        answer = await super().diagnostics(handles)
        for handle in filter(self._is_ours, handles):
            path = self._state / handle.job / "stdout"
            if path.exists() and path.stat().st_size > 600:  # a short text is left alone
                path.write_bytes(b"")
        return answer


class RemembersWhereItWas(FakeBackend):
    """Returns no output in diagnostics if nothing was written since the last call."""

    caught_by = "IC-DIAG-02"
    message_contains = "expected the text of the first answer to be in answer number 2"

    def __init__(self) -> None:
        super().__init__()
        self.seen_of: dict[JobHandle, str] = {}

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        answer = dict(await super().diagnostics(handles))
        for handle, each in answer.items():
            if self.seen_of.get(handle) == each.text:
                answer[handle] = Diagnostics(text="")
            self.seen_of[handle] = each.text
        return answer


class KillsWhatItShows(FakeBackend):
    """Kills a job that is asked for in diagnostics, by a signal that should flush its output."""

    caught_by = "IC-DIAG-02"
    message_contains = "expected the job to end with 3 after diagnostics were asked for; observed KILLED"

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        answer = await super().diagnostics(handles)
        long = [handle for handle, each in answer.items() if each.text.endswith(" 39\n")]
        self.looks += bool(long)
        if self.looks > 1:
            await self.kill(long)
        return answer


class DropsTheUnknown(FakeBackend):
    """Leaves unknown jobs out of the answer of diagnostics."""

    caught_by = "IC-DIAG-03"
    message_contains = "expected an answer of diagnostics for job"

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        answer = await self.status(handles)
        return await super().diagnostics([handle for handle in handles if answer[handle].state != "UNKNOWN"])


class RaisesForUnknownDiagnostics(FakeBackend):
    """Raises in diagnostics if one of the jobs is unknown, so that the other jobs get no answer."""

    caught_by = "IC-DIAG-03"
    message_contains = "diagnostics raised ResourceError"

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        if not all(map(self._is_ours, handles)):
            raise ResourceError("no such job")
        return await super().diagnostics(handles)


class ShowsAllForNone(FakeBackend):
    """Returns diagnostics of all jobs if it is given no handles."""

    caught_by = "IC-DIAG-03"
    message_contains = "expected an empty mapping for no handles"

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        return await super().diagnostics(handles or self._list_handles())


class ComplainsInTheText(FakeBackend):
    """Returns an error message as the diagnostics text of an unknown job."""

    caught_by = "IC-DIAG-03"
    message_contains = "expected an empty text for JobHandle("

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        answer = await super().diagnostics(handles)
        return {handle: each if each.text else Diagnostics(text="no such file") for handle, each in answer.items()}


class ShowsStdoutOnly(FakeBackend):
    """Returns only stdout in the diagnostics of a running job, not stderr."""

    caught_by = "IC-DIAG-04"
    message_contains = "written to stderr, to be in the answer while the job runs; observed the last texts were ['']"
    scale = 0.08

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        answer = dict(await super().diagnostics(handles))
        for handle in [handle for handle, each in answer.items() if each.text]:
            answer[handle] = Diagnostics(text=(self._state / handle.job / "stdout").read_text("utf-8", "replace"))
        return answer
