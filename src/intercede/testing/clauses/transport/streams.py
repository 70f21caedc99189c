"""IC-TRANSPORT: stdin, stdout and stderr of a command are exact, and are streamed in little memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from typing import cast

from intercede.testing.clauses import clause
from intercede.testing.clauses.support import child_functions, commands
from intercede.testing.isolation.timeouts import Deadline
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import Context, format_value
from intercede.testing.run.driver import TransportDriver, open_transport

_BYTES = bytes(range(256))
_OCTAL = "".join(f"\\{byte:03o}" for byte in _BYTES)
_HUNDRED = 400 * len(commands.FILLER)
"""The number of bytes that a check sends to a command: 100 MiB."""
_IN_FLIGHT = 64 * len(commands.FILLER)
"""The maximum number of bytes that may be under way between a sender and a receiver: 16 MiB.

Pipes and flow-control windows hold far less.
"""
_HELD_BACK = 128 * len(commands.FILLER)
"""The number of bytes that a command writes to a slow sink: 32 MiB."""
_GROWTH_MIB = 64
_LAST = 2**20
_MANY = 400_000
"""How many numbers a command writes, each on a line. The output is 2.7 MB."""
_REPLY = 10.0
_STILL = 1.0
"""Seconds without growth after which no further growth is expected."""
_WAIT_AND_COUNT = """
echo begun
i=0
while [ ! -e "$1/go" ] && [ "$i" -lt 600 ]; do i=$((i + 1)); sleep 0.1 || sleep 1; done 2>/dev/null
wc -c
"""
_WRITE_AND_TELL = f"""
i=0
while [ "$i" -lt {_HELD_BACK >> 20} ]; do
    head -c 1048576 /dev/zero
    i=$((i + 1)); echo "$i" >> "$1/written"
done
"""


@clause(
    "IC-TRANSPORT-03",
    title="stdout and stderr arrive separate, exact and complete, whatever the bytes are, and however many.",
    level=MUST,
    depends=("IC-TRANSPORT-01",),
    hint=(
        "`text=True`, an encoding, or decode() and encode() on the way. A terminal (`ssh -t`), which turns newlines "
        "into CR LF and joins both streams. stderr=STDOUT. A strip() that removes a trailing newline. If the end is "
        "missing: a single read(n) instead of reading to the end of the file, or a limit on the bytes that are "
        "kept."
    ),
)
async def check_bytes(context: Context) -> None:
    """Write all 256 byte values to stdout, and in reverse order to stderr. Then write 2.7 MB to stdout.

    Newlines follow the byte values on stdout and on stderr. A newline precedes the byte values on stdout.
    """
    back = "".join(f"\\{byte:03o}" for byte in reversed(_BYTES))
    async with open_transport(context) as transport:
        result = await transport.run(commands.sh_argv(f"printf '\\n{_OCTAL}\\r\\n'; printf '{back}\\n\\n' >&2"))
        commands.expect_bytes(context, "on stdout", b"\n" + _BYTES + b"\r\n", result.stdout)
        commands.expect_bytes(context, "on stderr", _BYTES[::-1] + b"\n\n", result.stderr)
        result = await transport.run(commands.sh_argv(commands.numbers_script(_MANY)))
        commands.expect_bytes(context, "on stdout", commands.make_numbers(_MANY), result.stdout)


@clause(
    "IC-TRANSPORT-29",
    title="run keeps the last 1 MiB of stderr, and reads it while it reads stdout.",
    level=MUST,
    depends=("IC-TRANSPORT-03",),
    hint=(
        "Reading one stream to its end before the other: the command stops as soon as the other pipe is full, and "
        "never ends. Keeping the first MiB, everything, or nothing: drop from the front, since the reason of a "
        "failure is at the end."
    ),
)
async def check_last_of_stderr(context: Context) -> None:
    """Write 2.7 MB to stderr, and then 2.7 MB to stdout."""
    async with open_transport(context) as transport:
        result = await transport.run(
            commands.sh_argv(f"{commands.numbers_script(_MANY)} >&2; {commands.numbers_script(_MANY)}")
        )
        commands.expect_bytes(context, "on stdout", commands.make_numbers(_MANY), result.stdout)
        commands.expect_bytes(
            context, "on stderr, the last of it", commands.make_numbers(_MANY)[-_LAST:], result.stderr
        )


@clause(
    "IC-TRANSPORT-23",
    title="Without stdin, a command reads /dev/null.",
    level=MUST,
    depends=("IC-TRANSPORT-20",),
    hint=(
        "stdin=None in the functions of asyncio and subprocess gives the command this process's stdin: use DEVNULL. "
        "A pipe that is opened and never closed: the command waits for ever. With ssh, use `-n`."
    ),
)
async def check_no_stdin(context: Context) -> None:
    """Run `cat` from a child process whose stdin holds a line and never ends."""
    [read] = cast(
        "list[str | None]",
        await context.run_child(child_functions.read_inherited_stdin, str(5 * context.scale), what="running `cat`"),
    )
    observed = "it did not end" if read is None else f"it read {read!r}"
    context.expect(read == "", expected="`cat` to end, having read nothing", observed=observed)


class _PlainIterable:
    """An asynchronous iterable that is no generator: its iterator has no aclose."""

    def __init__(self, given: Iterable[bytes]) -> None:
        self._given = given

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _PlainIterator(iter(self._given))


class _PlainIterator:
    def __init__(self, given: Iterator[bytes]) -> None:
        self._given = given

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for each in self._given:
            return each
        raise StopAsyncIteration


@clause(
    "IC-TRANSPORT-24",
    title="stdin arrives byte for byte, in pieces of any size, from any asynchronous iterable.",
    level=MUST,
    depends=("IC-TRANSPORT-03",),
    hint=(
        "An empty piece is not the end of the file. A piece of some MiB is written in parts: check the return value "
        "of `write`, or use `drain`. Any iterable is valid, so its iterator may lack aclose. Close the pipe at the "
        "end, not before everything is written."
    ),
)
async def check_stdin(context: Context) -> None:
    """Send one stdin through `cat` with an empty piece, a piece of all 256 byte values, and a piece of 2.7 MB.

    Then send a stdin without any pieces.
    """
    async with open_transport(context) as transport:
        given = [b"", _BYTES, b"", b"\r\n\x04\x1a", commands.make_numbers(_MANY), b"", b"\n"]
        whole = b"".join(given)
        result = await transport.run(["cat"], stdin=_PlainIterable(given))
        sizes = ", ".join(f"{len(each)}" for each in given)
        commands.expect_bytes(
            context, f"to come back from `cat`, whose stdin came in pieces of {sizes}", whole, result.stdout
        )
        result = await transport.run(["cat"], stdin=commands.yield_pieces())
        commands.expect_bytes(context, "to come back from `cat` for no pieces", b"", result.stdout)


@clause(
    "IC-TRANSPORT-04",
    title="stdin streams: 100 MB are taken from the iterator as the command reads them, not before.",
    level=MUST,
    depends=("IC-TRANSPORT-01", "IC-TRANSPORT-05", "IC-TRANSPORT-18", "IC-TRANSPORT-28"),
    hint=(
        "Collecting the iterator (b''.join, communicate()) before the command starts. Writing without `await "
        "writer.drain()`: all of the data then lies in a buffer of this process. An unbounded queue between a "
        "feeder and the connection."
    ),
    seconds=180,
)
async def check_stdin_streams(context: Context) -> None:
    """Send 100 MB to a command that waits before it reads. Measure how much is taken from the iterator meanwhile."""
    given = 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(_HUNDRED // len(commands.FILLER)):
            given += len(commands.FILLER)
            yield commands.FILLER

    async def count_taken() -> int:
        return given

    sink = commands.RecordingSink()
    async with (
        open_transport(context) as transport,
        open_transport(context) as other,
        commands.make_directory(other) as place,
    ):
        run = commands.begin_run(
            transport.run(commands.sh_argv(_WAIT_AND_COUNT, place), stdin=source(), stdout=sink, within=120)
        )
        try:
            await commands.wait_unless_over(context, run, sink.begun.wait())
            most = await _wait_until_settled(count_taken, lambda: _send_and_receive(other))
        finally:
            await other.run(["touch", f"{place}/go"])
        result = (await run).get()
    observed = f"{format_value(sink.data)}, {commands.describe_result(result)}"
    words = sink.data.decode(errors="replace").split()
    context.expect(words == ["begun", str(_HUNDRED)], expected=f"`wc -c` to count {_HUNDRED} bytes", observed=observed)
    context.expect(
        most <= _IN_FLIGHT,
        expected=f"at most {_IN_FLIGHT >> 20} MiB to be taken from the iterator while the command reads nothing",
        observed=f"at least {most >> 20} MiB of {_HUNDRED >> 20} were taken before it began to read",
    )


async def _wait_until_settled(amount: Callable[[], Awaitable[int]], carry: Callable[[], Awaitable[None]]) -> int:
    """Poll a byte count until it exceeds the limit or stops growing, and return its last value.

    Between two polls, ``carry`` sends more bytes than the limit over another connection, so that a busy machine gets
    enough time.
    """
    last, before = await amount(), -1
    while before != last <= _IN_FLIGHT:
        before = last
        await asyncio.sleep(_STILL)
        await carry()
        last = await amount()
    return last


class _DiscardingSink:
    """A sink that discards its pieces."""

    async def write(self, data: bytes) -> None:
        """Discard a piece."""


async def _send_and_receive(transport: TransportDriver) -> None:
    """Send 32 MiB to a command and back."""
    source = commands.yield_pieces(*[commands.FILLER] * (_HELD_BACK // len(commands.FILLER)))
    await transport.run(["cat"], stdin=source, stdout=_DiscardingSink(), within=120)


class _Dialogue:
    """An iterator and a sink in one: it yields each word only after the word before has come back to the sink."""

    def __init__(self, words: list[bytes], patience: float) -> None:
        self.words, self._patience = words, patience
        self.answered = 0
        self.silent: bytes | None = None
        """The word that did not come back in time."""
        self._news = asyncio.Event()
        self._heard = b""

    async def write(self, data: bytes) -> None:
        self._heard += data
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        said = b""
        for word in self.words:
            said += word
            yield word
            patience = Deadline(self._patience)
            while self._heard != said and patience.seconds_left:
                self._news.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), patience.seconds_left)
            if self._heard != said:
                self.silent = word
                return
            self.answered += 1


@clause(
    "IC-TRANSPORT-05",
    title="stdout streams while stdin does: the output of a command reaches the sink before its input ends.",
    level=MUST,
    depends=("IC-TRANSPORT-24", "IC-TRANSPORT-28"),
    hint=(
        "communicate(), or any code that first sends everything and then reads: start reading, then feed. A reader "
        "that waits for a full buffer (readexactly, BufferedReader.read(n)) instead of taking the bytes that have "
        "arrived. A client that collects its input before sending it. If `true` alone takes as long as this check "
        "waited, the connection is slow: raise --intercede-timeout-scale."
    ),
)
async def check_dialogue(context: Context) -> None:
    """Send words through `cat`, each after the previous word has come back."""
    talk = _Dialogue([b"one\n", b"two", b"\x00three", commands.FILLER[:5000], b"five\n"], _REPLY * context.scale)
    async with open_transport(context) as transport:
        await transport.run(["cat"], stdin=talk, stdout=talk, within=6 * _REPLY)
    context.expect(
        talk.answered == len(talk.words),
        expected="`cat` to give back each piece of its input before the next is sent",
        observed=f"nothing came back for {_REPLY * context.scale:g} s after {format_value(talk.silent)}"
        if talk.silent
        else f"{talk.answered} of {len(talk.words)} pieces were taken and came back",
    )


@clause(
    "IC-TRANSPORT-28",
    title=(
        "A sink gets all of stdout, in order, one piece after the other, none empty; the result's stdout is then empty."
    ),
    level=MUST,
    depends=("IC-TRANSPORT-03",),
    hint=(
        "Use `await stdout.write(data)` for each piece as it is read. Without await, or as tasks, pieces overlap "
        "and change places. An empty read is the end of the file: do not write it. Do not keep the bytes that the "
        "sink took. run returns after the sink has taken the last piece."
    ),
)
async def check_sink(context: Context) -> None:
    """Write 2.7 MB to a sink that spends a second on its first piece. Then give a sink to a command without output."""
    async with open_transport(context) as transport:
        for count in (_MANY, 0):
            sink = commands.RecordingSink(holds=1)
            result = await transport.run(commands.sh_argv(commands.numbers_script(count)), stdout=sink)
            odd = [each for each in sink.pieces if not isinstance(each, bytes) or not each]
            context.expect(not odd, expected="every piece to be bytes, and not empty", observed=odd[:1])
            commands.expect_bytes(context, "in the sink when run returns", commands.make_numbers(count), sink.data)
            context.expect(
                not sink.has_overlap,
                expected="a write to be awaited before the next",
                observed="the next write came while one was awaited",
            )
            commands.expect_bytes(context, "in the result, since the sink has them", b"", result.stdout)


@clause(
    "IC-TRANSPORT-27",
    title="A slow sink slows the command down: run reads no more output until the sink has taken the last piece.",
    level=MUST,
    depends=("IC-TRANSPORT-03", "IC-TRANSPORT-05", "IC-TRANSPORT-18"),
    hint=(
        "A queue, or a task for each piece, between the reader and the sink. A client that reads ahead: bound its "
        "buffer. Without that, a copy of gigabytes to a slow disk lies in memory."
    ),
)
async def check_slow_sink(context: Context) -> None:
    """Let a sink block on its first piece.

    Measure over another connection how much of 32 MiB the command can write before the sink continues.
    """
    release = asyncio.Event()
    count = 0

    class Held(commands.RecordingSink):
        async def write(self, data: bytes) -> None:
            nonlocal count
            count += len(data)
            self.begun.set()
            await release.wait()

    sink = Held()
    async with (
        open_transport(context) as transport,
        open_transport(context) as other,
        commands.make_directory(other) as place,
    ):

        async def count_written() -> int:
            result = await other.run(commands.sh_argv('cat "$1/written"', place))
            return len(result.stdout.split()) << 20

        run = commands.begin_run(transport.run(commands.sh_argv(_WRITE_AND_TELL, place), stdout=sink, within=120))
        try:
            await commands.wait_unless_over(context, run, sink.begun.wait())
            most = await _wait_until_settled(count_written, lambda: _send_and_receive(other))
        finally:
            release.set()
        (await run).get()
    context.expect(
        most <= _IN_FLIGHT,
        expected=f"a command to wait with the rest of its {_HELD_BACK >> 20} MiB while the sink holds the first piece",
        observed=f"it could write {most >> 20} MiB",
    )
    context.expect(
        count == _HELD_BACK, expected=f"{_HELD_BACK} bytes in the sink afterwards", observed=f"{count} bytes"
    )


@clause(
    "IC-TRANSPORT-26",
    title="100 MB in and 100 MB out need only bounded memory.",
    level=MUST,
    depends=("IC-TRANSPORT-03", "IC-TRANSPORT-04", "IC-TRANSPORT-05"),
    hint=(
        "Data that is kept after it went by: a copy for sending it again, stdout collected although a sink takes "
        "it, a bytes object that grows by +=. A window that grows without bound."
    ),
    seconds=180,
)
async def check_memory(context: Context) -> None:
    """Send 100 MB through `cat` from a child process, and read the peak memory use of the child process."""
    pieces = str(len(commands.FILLER)), str(_HUNDRED // len(commands.FILLER))
    reported = await context.run_child(
        child_functions.send_through_cat, *pieces, what="sending 100 MB through `cat`", within=120
    )
    back, grown = cast("list[int]", reported)
    context.expect(back == _HUNDRED, expected=f"{_HUNDRED} bytes to come back", observed=f"{back}")
    context.expect(
        grown <= _GROWTH_MIB,
        expected=f"the process to need at most {_GROWTH_MIB} MiB more for {_HUNDRED >> 20} MiB in and as many out",
        observed=f"{grown} MiB more",
    )


@clause(
    "IC-TRANSPORT-25",
    title="A command that ends without reading its input is not an error, and the iterator is closed.",
    level=MUST,
    depends=("IC-TRANSPORT-02", "IC-TRANSPORT-04"),
    hint=(
        "BrokenPipeError and ConnectionResetError while writing: stop feeding, and report how the command ended. "
        "Waiting for the iterator after the command's end: it may be silent for ever, so cancel the feeder. If the "
        "iterator has aclose, close it with `async with contextlib.aclosing(...)`: it may hold a file open."
    ),
)
async def check_early_exit(context: Context) -> None:
    """Run commands that end before their stdin ends.

    The stdin is first an iterator that yields pieces for ever, and then an iterator that is silent after one piece.
    """
    for silent in (False, True):
        closed = False

        async def endless(*, silent: bool = silent) -> AsyncIterator[bytes]:
            nonlocal closed
            try:
                while True:
                    yield commands.FILLER
                    await asyncio.sleep(3600 if silent else 0)
            finally:
                closed = True

        source = endless()
        how = "an iterator that is silent after its first piece" if silent else "an endless iterator"
        async with open_transport(context) as transport:
            result = await transport.run(commands.sh_argv("head -c 10; exit 3"), stdin=source, within=10)
            context.expect(
                (result.returncode, result.stdout) == (3, commands.FILLER[:10]),
                expected=f"exit code 3 and 10 bytes from a command that reads 10 bytes of {how}",
                observed=f"{commands.describe_result(result)}, and {format_value(result.stdout)}",
            )
            context.expect(closed, expected=f"{how} to be closed when run returns", observed="it is still open")
