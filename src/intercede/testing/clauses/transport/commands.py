"""IC-TRANSPORT: a command arrives unchanged, and its end is reported correctly."""

import asyncio
from collections.abc import Mapping

from intercede.contract.transport import CommandResult
from intercede.testing.clauses import clause
from intercede.testing.clauses.support import commands, payloads
from intercede.testing.isolation.timeouts import Outcome
from intercede.testing.model.clause import MUST, SHOULD
from intercede.testing.run.answers import expect_no_error
from intercede.testing.run.context import Context, format_value
from intercede.testing.run.driver import TransportDriver, open_transport

_IN_HEX = """for each; do printf %s "$each" | od -An -v -tx1 | tr -d ' \\n'; echo; done"""
_DISTINCTIVE = ("two  words ", "$HOME", "it's", "")
"""Arguments that show most mistakes in quoting."""
_SHOWN = 5
_ASKED = 80
_CODES = (0, 1, 2, 3, 10, 42, 64, 99, 100, 125, 126, 127, 128, 129, 130, 137, 143, 192, 200, 254)
_SIGNALS: Mapping[str, int] = {"KILL": 9, "ALRM": 14, "TERM": 15}
_AT_ONCE = 50


@clause(
    "IC-TRANSPORT-01",
    title="argv arrives byte for byte, without a shell in between.",
    level=MUST,
    depends=("IC-TRANSPORT-20",),
    hint=(
        "The place in your code that joins argv into one line. `sh -c` and ssh split a line into words again, and "
        "expand it: `shlex.join(argv)` quotes each word for that; `' '.join(argv)` does not, and loses empty ones. "
        "Quote a line twice if it goes through two shells. Never use `shell=True`."
    ),
)
async def check_argv(context: Context) -> None:
    """Pass awkward arguments to sh, and let it write each one in hexadecimal."""
    async with open_transport(context) as transport:
        result = await transport.run(commands.sh_argv(_IN_HEX, *payloads.AWKWARD))
        sent = "".join(f"{payloads.to_hex(each)}\n" for each in payloads.AWKWARD)
        if result.stdout.decode(errors="replace") == sent:
            return
        changed = await _list_changed(transport)
        context.expect(
            False,  # noqa: FBT003 -- the line before compares them
            expected=f"all of {len(payloads.AWKWARD)} arguments to arrive as they were sent",
            observed=f"{len(changed)} did not when sent one by one: {'; '.join(changed[:_SHOWN])}"
            if changed
            else f"they do one by one, but sent together to `sh -c`: {commands.describe_result(result)}, "
            f"and on stdout {format_value(result.stdout)}",
        )


async def _list_changed(transport: TransportDriver) -> list[str]:
    """Send each argument in a separate run, and describe the arguments that change."""
    changed: list[str] = []
    for each in (*_DISTINCTIVE, *(each for each in payloads.AWKWARD if each not in _DISTINCTIVE)):
        argv = ["printf", "[%s]", each, "end"]
        result = await transport.run(argv)
        if result.stdout != f"[{each}][end]".encode():
            wrote = format_value(result.stdout.decode(errors="backslashreplace")) if result.stdout else "nothing"
            why = f" ({commands.describe_result(result)})" if result.returncode else ""
            changed.append(f"{_cut_text(format_value(argv))} wrote {_cut_text(wrote)}{why}")
    return changed


def _cut_text(text: str) -> str:
    return text if len(text) <= _ASKED else f"{text[:_ASKED]}..."


@clause(
    "IC-TRANSPORT-02",
    title="Exit codes are reported unchanged, from 0 to 254; death by signal n is 128 + n.",
    level=MUST,
    depends=("IC-TRANSPORT-01",),
    hint=(
        "How the client tells the command's exit code from its own. Python's subprocess reports a signal as a "
        "negative code: return 128 - code. ssh reports a signal as 255, so the line that you send must end in a "
        "shell that reports 128 + n itself. A code that is reduced to a bool, or checked (`check=True`), is lost."
    ),
)
async def check_codes(context: Context) -> None:
    """Run commands that end with several exit codes and by signals."""
    ends = {f"exit {code}": code for code in _CODES}
    ends |= {f"kill -{name} $$": 128 + number for name, number in _SIGNALS.items()}
    async with open_transport(context) as transport:
        for script, code in ends.items():
            await _expect_code(context, transport, script, code)


async def _expect_code(context: Context, transport: TransportDriver, script: str, code: int) -> None:
    result = await transport.run(commands.sh_argv(script))
    context.expect(
        result.returncode == code, expected=f"{code} from `sh -c '{script}'`", observed=commands.describe_result(result)
    )


@clause(
    "IC-TRANSPORT-21",
    title="Exit code 255 is reported, too.",
    level=SHOULD,
    depends=("IC-TRANSPORT-02",),
    hint=(
        "ssh exits with 255 if the connection fails, and if the command exits with 255. If you can tell the two "
        "apart, by the messages or by a remote shell that reports the code, do not raise TransportError for the "
        "command's own 255."
    ),
)
async def check_255(context: Context) -> None:
    """Run a command that exits with 255."""
    async with open_transport(context) as transport:
        await _expect_code(context, transport, "exit 255", 255)


@clause(
    "IC-TRANSPORT-06",
    title="Fifty concurrent runs each get their own input, output and exit code.",
    level=MUST,
    depends=("IC-TRANSPORT-02", "IC-TRANSPORT-03", "IC-TRANSPORT-24"),
    hint=(
        "State that runs share: a buffer or a result on the instance instead of in the call, or one channel without "
        "a lock. A limit (the MaxSessions of sshd is 10; descriptors are 1024) that makes the eleventh run fail "
        "instead of wait: use asyncio.Semaphore."
    ),
    seconds=120,
)
async def check_fifty(context: Context) -> None:
    """Start fifty concurrent runs, each with one word as its argument and another word as its input."""
    words = [(context.make_token(), context.make_token()) for _ in range(_AT_ONCE)]
    async with open_transport(context) as transport:
        runs = (commands.begin_run(_run_one(transport, code, *pair)) for code, pair in enumerate(words))
        results = await asyncio.gather(*runs)
    wrong = [
        problem
        for code, each in enumerate(results)
        if (problem := _describe_wrong(each, code, "".join(words[code]).encode()))
    ]
    context.expect(
        not wrong,
        expected=f"{_AT_ONCE} runs at once each to write its own argument and input, and end with its own code",
        observed=f"{len(wrong)} did not: {'; '.join(wrong[:_SHOWN])}",
    )


async def _run_one(transport: TransportDriver, code: int, argument: str, text: str) -> CommandResult:
    script = 'printf %s "$1"; cat; echo "$1" >&2; exit "$2"'
    # A transport that runs the commands one after the other, each in a second, is slow but correct.
    return await transport.run(
        commands.sh_argv(script, argument, str(code)), stdin=commands.yield_pieces(text.encode()), within=2 * _AT_ONCE
    )


def _describe_wrong(ending: Outcome[CommandResult], code: int, written: bytes) -> str:
    result = ending.value
    if result is None:
        return f"number {code} raised {format_value(ending.raised)}"
    answer = result.returncode, result.stdout, result.stderr
    wanted = code, written, written[: len(written) // 2] + b"\n"
    return (
        "" if answer == wanted else f"number {code} should have ended with {wanted} and answered {format_value(answer)}"
    )


@clause(
    "IC-TRANSPORT-09",
    title="A command that does not exist gives a result with a code other than 0, not an exception.",
    level=MUST,
    depends=("IC-TRANSPORT-01",),
    hint=(
        "FileNotFoundError and PermissionError from starting the process: answer 127, or 126, as a shell does. "
        "TransportError is for a machine that cannot be reached. The name is a word like any other: if it is not "
        "quoted, a shell runs the text after `||` as a command."
    ),
)
async def check_missing(context: Context) -> None:
    """Run commands that do not exist: a name, a path, and a name with shell syntax in it."""
    word = context.make_token()
    async with open_transport(context) as transport:
        for name in (f"ic-{word}", f"/ic-{word}/{word}", f"ic-{word} || true"):
            with expect_no_error(f"a result for {name!r}, which does not exist", "run"):
                result = await transport.run([name, "argument"])
            expected = f"a code other than 0 for {name!r}, which does not exist"
            context.expect(result.returncode != 0, expected=expected, observed=commands.describe_result(result))
