"""Wrong in showing output. Every class in this file is wrong, on purpose: its docstring says how."""

# ruff: noqa: D102 -- the class says what its methods do otherwise

from collections.abc import Collection, Mapping

from intercede.contract import Diagnostics, JobHandle, ResourceError
from intercede.testing.gallery.fake import FakeBackend

Texts = Mapping[JobHandle, Diagnostics]


class ShowsTheEndedOnly(FakeBackend):
    """Output is spooled on the node until the job has ended."""

    caught_by = "IC-DIAG-01"
    message_contains = "to be in the answer while it runs; observed the last texts were ['"
    scale = 0.08

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        ended = {handle for handle, each in (await self.status(handles)).items() if each.state.final}
        return {**dict.fromkeys(handles, Diagnostics(text="")), **await super().diagnostics(ended)}


class ShowsTheLastLine(FakeBackend):
    """The tail is one line long."""

    caught_by = "IC-DIAG-01"
    message_contains = "observed the last texts were ['"
    scale = 0.08

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        told = await super().diagnostics(handles)
        return {handle: Diagnostics(text=each.text[each.text[:-1].rfind("\n") + 1 :]) for handle, each in told.items()}


class ShowsTheWholeSubmission(FakeBackend):
    """Diagnostics of a copy hold the output of all copies."""

    caught_by = "IC-DIAG-01"
    message_contains = "to hold nothing of the other copy's; observed"

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        told = await super().diagnostics(handles)
        everything = Diagnostics(text="".join(each.text for each in told.values()))
        return {handle: everything if each.text else each for handle, each in told.items()}


class ShowsTheFirstLook(FakeBackend):
    """If there is much output, only its beginning is returned."""

    caught_by = "IC-DIAG-02"
    message_contains = "later output to be in later answers"
    scale = 0.08

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        told = await super().diagnostics(handles)
        firsts = {handle: each.text.partition(" 39\n") for handle, each in told.items()}
        return {handle: Diagnostics(text=first + mark) for handle, (first, mark, _) in firsts.items()}


class Consumes(FakeBackend):
    """Output that was returned once is gone."""

    caught_by = "IC-DIAG-02"
    message_contains = ("to be in answer number 2", "expected the whole stdout of the job")

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        told = await super().diagnostics(handles)
        for handle in filter(self._ours, handles):
            path = self._state / handle.job / "stdout"
            if path.exists() and path.stat().st_size > 600:  # a beginning is left where it is
                path.write_bytes(b"")
        return told


class RemembersWhereItWas(FakeBackend):
    """If there is much output, only the new part since the last call is returned."""

    caught_by = "IC-DIAG-02"
    message_contains = "expected the text of the first answer to be in answer number 2"

    def __init__(self) -> None:
        super().__init__()
        self.seen_of: dict[JobHandle, str] = {}

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        told = dict(await super().diagnostics(handles))
        for handle, each in told.items():
            if self.seen_of.get(handle) == each.text:
                told[handle] = Diagnostics(text="")
            self.seen_of[handle] = each.text
        return told


class EndsWhatItLooksAt(FakeBackend):
    """Asking makes the job flush its output, by a signal that ends it."""

    caught_by = "IC-DIAG-02"
    message_contains = "expected the job to end with 3 after diagnostics were asked for; observed KILLED"

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        told = await super().diagnostics(handles)
        long = [handle for handle, each in told.items() if each.text.endswith(" 39\n")]
        self.looks += bool(long)
        if self.looks > 1:
            await self.kill(long)
        return told


class DropsTheUnknown(FakeBackend):
    """Unknown jobs are left out of the answer."""

    caught_by = "IC-DIAG-03"
    message_contains = "expected an answer of diagnostics for job"

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        told = await self.status(handles)
        return await super().diagnostics([handle for handle in handles if told[handle].state != "UNKNOWN"])


class RaisesForUnknownDiagnostics(FakeBackend):
    """One unknown job spoils the whole call."""

    caught_by = "IC-DIAG-03"
    message_contains = "diagnostics raised ResourceError"

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        if not all(map(self._ours, handles)):
            raise ResourceError("no such job")
        return await super().diagnostics(handles)


class ShowsAllForNone(FakeBackend):
    """Asked for no handles, it answers for all jobs."""

    caught_by = "IC-DIAG-03"
    message_contains = "expected an empty mapping for no handles"

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        return await super().diagnostics(handles or self._all())


class ComplainsInTheText(FakeBackend):
    """The text of an unknown job is an error message."""

    caught_by = "IC-DIAG-03"
    message_contains = "expected an empty text for JobHandle("

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        told = await super().diagnostics(handles)
        return {handle: each if each.text else Diagnostics(text="no such file") for handle, each in told.items()}


class ShowsStdoutOnly(FakeBackend):
    """stderr is returned only after the end."""

    caught_by = "IC-DIAG-04"
    message_contains = "written to stderr, to be in the answer while the job runs; observed the last texts were ['']"
    scale = 0.08

    async def diagnostics(self, handles: Collection[JobHandle]) -> Texts:
        told = dict(await super().diagnostics(handles))
        for handle in [handle for handle, each in told.items() if each.text]:
            told[handle] = Diagnostics(text=(self._state / handle.job / "stdout").read_text("utf-8", "replace"))
        return told
