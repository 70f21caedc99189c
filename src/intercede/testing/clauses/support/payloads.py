"""Payloads in POSIX sh that report by their exit code what they received, and values that are hard to transport."""

from collections.abc import Iterable, Sequence

from intercede.testing.run.context import Context

__all__ = [
    "AWKWARD",
    "DEAF",
    "HANDLER",
    "HEX",
    "LEAVERS",
    "READY",
    "check_arguments_script",
    "check_file_script",
    "check_variables_script",
    "growing_durations",
    "sleep_script",
    "to_hex",
]

_TRIES = (0.2, 1, 8, 30)

AWKWARD: tuple[str, ...] = (
    "",
    " ",
    "two  words ",
    "it's",
    'say "so"',
    "$HOME",
    "${PATH}",
    "$(id)",
    "`id`",
    "*",
    "?",
    "[a-z]*",
    "~",
    "{a,b}",
    "a;b&c|d<e>f(g)#h!",
    "back\\slash\\n",
    "\\",
    "%s%d",
    "line\nline",
    "trailing newline\n",
    "\n",
    "tab\tand\rreturn",
    "-n",
    "--",
    "-rf",
    "a=b",
    "ünïcødé 漢字 🙂",
    "\x01\x1b\x7f",
    "long " * 2000,
)
"""Texts that change if they are quoted wrongly, split, expanded, trimmed or re-encoded."""

READY = "intercede: ready"
"""The line that HANDLER and DEAF print when they have set their signal handlers."""

_SIGNALS = "HUP INT QUIT USR1 USR2 TERM XCPU"
_COUNT = """\
count() { ic_n=0; while [ "$ic_n" -lt "$1" ]; do sleep 1; ic_n=$((ic_n + 1)); done; }
"""

HANDLER = f"""\
ending() {{ [ -z "$IC_SECONDS" ] || {{ trap '' {_SIGNALS}; sleep "$IC_SECONDS"; }}; exit "$IC_CODE"; }}
[ -z "$IC_CODE" ] || trap ending {_SIGNALS}
echo '{READY}'
{_COUNT}"""
"""The beginning of a script that, after a signal, waits for ``$IC_SECONDS`` and then exits with ``$IC_CODE``.

Without ``$IC_CODE``, signals are not handled. ``count N`` sleeps for N seconds.
"""

DEAF = f"""\
trap '' {_SIGNALS}
echo '{READY}'
{_COUNT}"""
"""The beginning of a script that ignores signals. ``count N`` sleeps for N seconds.

The child processes of the script ignore signals, too.
"""

LEAVERS = """\
! command -v timeout >/dev/null || timeout 30 sh -c 'sleep 30; :' "$1" &
! command -v setsid >/dev/null || setsid sh -c 'sleep 30; :' "$1" &
"""
"""The beginning of a script that starts a child in a new process group and another child in a new session.

The first child is started only if the machine has the command ``timeout``, and the second only if it has ``setsid``.

Each child has the first argument of the script among its own arguments, so that a search can find the child.
"""

HEX = "hex() { od -An -v -tx1 | tr -d ' \\n'; }\n"
"""A function of sh that writes its stdin in hexadecimal, so that any bytes can be compared as text."""


def growing_durations(context: Context) -> list[float]:
    """Return the duration of the payload for each attempt of a check that needs a job to be seen running."""
    return [round(seconds * context.scale, 3) for seconds in _TRIES]


def sleep_script(seconds: float) -> str:
    """Return a command that sleeps for a number of seconds, or for 1 second if `sleep` takes only whole numbers."""
    return f"{{ sleep {seconds} || sleep 1; }} 2>/dev/null"


def to_hex(value: str | bytes) -> str:
    """Write bytes in hexadecimal, as the function ``hex`` of HEX does."""
    return (value.encode() if isinstance(value, str) else value).hex()


def check_arguments_script(values: Sequence[str]) -> str:
    """Return a script that exits with 9 for a wrong number of arguments, and with 10 + i if argument i differs."""
    lines = [f"[ $# -eq {len(values)} ] || exit 9"]
    for index, value in enumerate(values):
        lines.append(f'[ "$(printf %s "$1" | hex)" = "{to_hex(value)}" ] || exit {10 + index}')
        lines.append("shift")
    return HEX + "\n".join(lines)


def check_variables_script(names: Iterable[str], values: Iterable[str]) -> str:
    """Return a script that exits with 10 + i if variable i is unset or differs."""
    lines = [
        f'[ "${{{name}+set}}$(printf %s "${name}" | hex)" = "set{to_hex(value)}" ] || exit {10 + index}'
        for index, (name, value) in enumerate(zip(names, values, strict=True))
    ]
    return HEX + "\n".join(lines)


def check_file_script(name: str, content: bytes, otherwise: int) -> str:
    """Return a line for a script that begins with HEX. The line ends the script if a file has the wrong content."""
    return f'[ "$(hex < \'{name}\')" = "{to_hex(content)}" ] || exit {otherwise}\n'
