"""Transports keep track of running commands, the end of a stream, and arguments as bytes."""

import asyncio
from collections.abc import AsyncIterable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.contract.errors import InvalidSpecError, NotOpenError
from intercede.contract.transport import ByteSink, CommandResult
from intercede.plugin_tools import transport
from intercede.plugin_tools.transport import RunningCommands, TailBuffer, encode_argv, wait_uninterrupted


class Site:
    """A site that runs pretended commands, and records their fate."""

    def __init__(self) -> None:
        self.begun, self.may_end, self.reaping, self.may_reap = (asyncio.Event() for _ in range(4))
        self.may_reap.set()
        self.cancellations = self.reaped = 0

    async def run_command(
        self, argv: Sequence[str], stdin: AsyncIterable[bytes] | None, stdout: ByteSink | None
    ) -> CommandResult:
        """Wait until the command may end. If cancelled, wait until it is reaped."""
        assert (stdin, stdout) == (None, None)
        if argv[0] == "fail":
            raise OSError("it failed")
        self.begun.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancellations += 1
            self.reaping.set()
            await self.may_reap.wait()
            self.reaped += 1
            raise
        return CommandResult(returncode=len(argv))


@pytest.fixture
def site() -> Site:
    """Return a site without commands."""
    return Site()


@pytest.fixture
def commands() -> RunningCommands:
    """Return the commands of an open transport."""
    running = RunningCommands()
    running.open()
    return running


@pytest.mark.asyncio
async def test_a_result_and_an_exception_are_passed_on(site: Site, commands: RunningCommands) -> None:
    """The function ``run`` returns the result of a command, and raises the transport's exception."""
    site.may_end.set()

    assert (await commands.run(site.run_command, ["a", "b"], None, None)).returncode == 2
    with pytest.raises(OSError, match="it failed"):
        await commands.run(site.run_command, ["fail"], None, None)


@pytest.mark.asyncio
async def test_commands_run_only_while_the_transport_is_open(site: Site) -> None:
    """No command starts before entering and after leaving, and a transport may be entered again."""
    commands = RunningCommands()
    site.may_end.set()
    for _ in range(2):
        with pytest.raises(NotOpenError, match="not open"):
            await commands.run(site.run_command, ["a"], None, None)
        commands.open()
        assert (await commands.run(site.run_command, ["a"], None, None)).returncode == 1
        await commands.close()
        await commands.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("argv", [[], ["a\0"], ["\ud800"]])
async def test_an_invalid_argv_starts_nothing(site: Site, commands: RunningCommands, argv: list[str]) -> None:
    """An invalid argv raises before the command starts."""
    with pytest.raises(InvalidSpecError):
        await commands.run(site.run_command, argv, None, None)
    assert not site.begun.is_set()


@pytest.mark.asyncio
async def test_leaving_ends_each_command_and_its_caller_gets_an_error(site: Site, commands: RunningCommands) -> None:
    """Leaving ends each command, and its caller gets a NotOpenError that names it."""
    calls = [asyncio.create_task(commands.run(site.run_command, ["sleep", "9"], None, None)) for _ in range(3)]
    await site.begun.wait()

    await commands.close()

    assert site.reaped == 3
    for call in calls:
        with pytest.raises(NotOpenError, match="'sleep'"):
            await call


@pytest.mark.asyncio
async def test_a_command_is_cancelled_once_and_reaped(site: Site, commands: RunningCommands) -> None:
    """A command is cancelled once and reaped, however often its caller is cancelled."""
    site.may_reap.clear()
    call = asyncio.create_task(commands.run(site.run_command, ["sleep"], None, None))
    await site.begun.wait()
    call.cancel()
    await site.reaping.wait()
    for _ in range(3):
        call.cancel()
        await asyncio.sleep(0)
    leaving = asyncio.create_task(commands.close())
    await asyncio.sleep(0)
    assert not call.done()
    assert not leaving.done()

    site.may_reap.set()
    await leaving

    with pytest.raises(asyncio.CancelledError):
        await call
    assert (site.cancellations, site.reaped) == (1, 1)


@pytest.mark.asyncio
async def test_a_caller_that_is_cancelled_while_the_transport_is_left_is_cancelled(
    site: Site, commands: RunningCommands
) -> None:
    """A caller that is cancelled during leaving gets CancelledError and not NotOpenError."""
    site.may_reap.clear()
    call = asyncio.create_task(commands.run(site.run_command, ["sleep"], None, None))
    await site.begun.wait()
    leaving = asyncio.create_task(commands.close())
    await site.reaping.wait()
    call.cancel()
    await asyncio.sleep(0)
    site.may_reap.set()
    await leaving

    with pytest.raises(asyncio.CancelledError):
        await call
    assert (site.cancellations, site.reaped) == (1, 1)


@pytest.mark.asyncio
async def test_a_timeout_of_the_caller_is_a_timeout(site: Site, commands: RunningCommands) -> None:
    """A timeout of the caller around ``run`` ends the command and raises TimeoutError."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await commands.run(site.run_command, ["sleep"], None, None)
    assert site.reaped == 1


@pytest.mark.asyncio
async def test_waiting_is_not_interrupted_and_has_a_limit() -> None:
    """A cancelled caller still waits for the future, up to its limit."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(wait_uninterrupted(future, 30))
    for _ in range(3):
        await asyncio.sleep(0)
        waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()

    future.set_result(None)
    await waiting
    await wait_uninterrupted(asyncio.get_running_loop().create_future(), 0.01)


@given(st.lists(st.binary(max_size=9), max_size=9), st.integers(0, 20))
def test_a_tail_buffer_keeps_the_last_bytes(chunks: list[bytes], limit: int) -> None:
    """A buffer with a limit keeps the last bytes, and one without a limit keeps all."""

    async def write_all(buffer: TailBuffer) -> bytes:
        for chunk in chunks:
            await buffer.write(chunk)
        return bytes(buffer.data)

    everything = b"".join(chunks)
    assert asyncio.run(write_all(TailBuffer())) == everything  # hypothesis calls this test, which is no coroutine
    assert asyncio.run(write_all(TailBuffer(limit))) == everything[max(0, len(everything) - limit) :]  # as above


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1))
def test_arguments_are_utf_8(argv: list[str]) -> None:
    """Arguments are encoded as UTF-8."""
    assert [word.decode() for word in encode_argv(argv)] == argv


def test_names_of_files_keep_their_bytes() -> None:
    """A file name from ``os.fsdecode`` that is not UTF-8 keeps its bytes."""
    assert encode_argv(["cat", "\udcff"]) == [b"cat", b"\xff"]


@pytest.mark.parametrize(
    ("argv", "words"), [([], "argv is empty"), (["a", "b\0c"], "cannot hold a NUL"), (["\ud800"], "not text")]
)
def test_arguments_that_no_command_can_get_are_refused(argv: list[str], words: str) -> None:
    """An argument that no command can get is refused, and the error names it."""
    with pytest.raises(InvalidSpecError, match=words) as caught:
        encode_argv(argv)
    assert (caught.value.field, caught.value.value) == ("argv", argv)


@pytest.mark.parametrize("argv", ["ls", "", [1], ["ls", b"-l"], ["ls", None], b"ls"])
def test_an_argv_of_another_type_is_refused(argv: Any) -> None:
    """A text in place of a sequence is refused, and so is an argument that is no text."""
    with pytest.raises(InvalidSpecError, match=r"not the text|is not text: .* is of type") as caught:
        encode_argv(argv)
    assert (caught.value.field, caught.value.value) == ("argv", argv)


@given(st.binary().filter(lambda data: 0 not in data))
def test_each_escaped_byte_is_one_byte(data: bytes) -> None:
    """Bytes that were decoded with surrogateescape, as file names are, reach the command unchanged."""
    assert encode_argv([data.decode("utf-8", "surrogateescape")]) == [data]


@pytest.mark.asyncio
async def test_leaving_waits_for_a_command_whose_caller_has_stopped_waiting(
    site: Site, commands: RunningCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caller waits for a limited time. Leaving then still waits for the command, without a second cancellation."""
    monkeypatch.setattr(transport, "_END_SECONDS", 0.01)
    site.may_reap.clear()
    call = asyncio.create_task(commands.run(site.run_command, ["sleep"], None, None))
    await site.begun.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    leaving = asyncio.create_task(commands.close())
    await asyncio.wait({leaving}, timeout=0.01)
    assert not leaving.done()

    site.may_reap.set()
    await leaving
    assert (site.cancellations, site.reaped) == (1, 1)


@pytest.mark.asyncio
async def test_leaving_waits_again_if_it_was_cancelled(site: Site, commands: RunningCommands) -> None:
    """If leaving is cancelled while a command ends, leaving for a second time waits for that command."""
    site.may_reap.clear()
    call = asyncio.create_task(commands.run(site.run_command, ["sleep"], None, None))
    await site.begun.wait()
    leaving = asyncio.create_task(commands.close())
    await site.reaping.wait()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving

    again = asyncio.create_task(commands.close())
    await asyncio.wait({again}, timeout=0.01)
    assert not again.done()

    site.may_reap.set()
    await again
    assert (site.cancellations, site.reaped) == (1, 1)
    with pytest.raises(NotOpenError):
        await call


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "end", [ConnectionResetError("it is gone"), CommandResult(returncode=0)], ids=["error", "result"]
)
async def test_a_command_that_ends_otherwise_during_leaving_is_a_call_on_a_closed_transport(
    commands: RunningCommands, end: Exception | CommandResult
) -> None:
    """If a command raises or returns while the transport is left, its caller gets NotOpenError, from the exception."""
    begun = asyncio.Event()

    async def run_command(*_: object) -> CommandResult:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if isinstance(end, Exception):
                raise end from None
        assert isinstance(end, CommandResult)
        return end

    call = asyncio.create_task(commands.run(run_command, ["sleep"], None, None))
    await begun.wait()
    await commands.close()

    with pytest.raises(NotOpenError, match="was left while 'sleep' ran") as caught:
        await call
    assert caught.value.__cause__ is (end if isinstance(end, Exception) else None)


@pytest.mark.asyncio
async def test_a_command_that_has_ended_before_leaving_keeps_its_result(commands: RunningCommands) -> None:
    """A command that has ended when the transport is left has its result, although its caller has not run since."""
    ended = asyncio.Event()

    async def run_command(*_: object) -> CommandResult:
        ended.set()
        return CommandResult(returncode=3)

    call = asyncio.create_task(commands.run(run_command, ["true"], None, None))
    await ended.wait()
    await commands.close()

    assert (await call).returncode == 3


@pytest.mark.asyncio
async def test_a_caller_raises_its_cancellation_again_after_waiting() -> None:
    """The first cancellation is suppressed during waiting too, so the caller must raise one of its own."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(wait_uninterrupted(future, 30))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    future.set_result(None)

    await waiting
    assert waiting.cancelling() == 1
