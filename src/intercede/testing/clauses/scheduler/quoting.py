"""IC-SCHEDULER: a shell never interprets data. Fragments run in a sandbox with hostile text."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from intercede.batch.remote.api import Verb
from intercede.contract.job import Resources
from intercede.contract.scheduler import Scheduler
from intercede.testing.clauses import clause
from intercede.testing.clauses.support.probe import ALL_SECONDS, SECONDS, run_probe
from intercede.testing.clauses.support.sandbox import CANARY, GLOBBED, Sandbox
from intercede.testing.clauses.support.scheduler_questions import (
    SUBMISSION_ID,
    expect,
    get_api,
    get_script,
    make_batch,
    make_scheduler,
)
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import CheckFailed, Context, format_value

_PLAIN = "icplain"
_EVIL = (
    f"; {CANARY} ;", f"\n{CANARY}\n", f"$({CANARY})", f"`{CANARY}`", f"| {CANARY}", f"& {CANARY} &", f"&& {CANARY} #",
    f"' ; {CANARY} ; '", f'" ; {CANARY} ; "', f"'$({CANARY})'", f'"$({CANARY})"', f"'\"`{CANARY}`\"'", f"\\; {CANARY}",
    f"\\\n{CANARY}\n", f"> {CANARY}", f"\r{CANARY}", f"}}; {CANARY}; {{", f"'\n{CANARY}\n'", f"\\'; {CANARY} #",
    "two words", " ", "*", "x*", "~", "-x", "--", "#", "'", '"', "\\", "$HOME", "${IFS}", "$'", "%s", "%n", "{a,b}",
    "\t", "!", "é", "\N{SNOWMAN}", "(", ")", "<", "=", "\x1b[0m",
)  # fmt: skip
_IDS = (
    f"x;{CANARY}", f"x;{CANARY};x", f"@{CANARY}", f";{CANARY};", f"[x]{GLOBBED[1:]}", f"{GLOBBED[:-1]}[d]",
    "[", "x]", "-x", "--x", "..", ".x.y", "x[0-9]", "@x", "x-y_z",
)  # fmt: skip
_OF_IDS: tuple[Verb, ...] = ("status", "kill")
_LARGE = Resources(cpus=10**9, memory_mb=10**12, wall_time_s=10**10, gpus=10**6)
_SECONDS = 15.0
"""Time limit, in seconds, for trying combinations of hostile text."""


@clause(
    "IC-SCHEDULER-03",
    title="Native ids, submission ids, queues and carried names are data: a shell never interprets them.",
    level=MUST,
    seconds=ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-08",),
    hint=(
        "In sh: put double quotes around every variable, and never use eval. Instead of `for id in $(cat ...)` "
        'write `while read -r id; do ... </dev/null; done <"$IC_IDS"`: without `</dev/null`, a command that reads '
        "its stdin takes the other ids. In Python: use shlex.quote for all text that is not your own, once for each "
        "shell that reads it. Refuse a queue that you cannot quote with UnsupportedSpecError. Text in a "
        "here-document ends at its delimiter: quote that, or use printf."
    ),
)
async def check_data_is_data(context: Context) -> None:
    """Run the fragments with hostile text in a sandbox. Its commands are stubs, except for a few harmless tools."""
    await run_probe(context, probe_shell, within=2 * SECONDS)


def probe_shell(part: Callable[[], object], tmp: Path) -> None:
    """Try hostile text as the queue, as native ids, as submission ids, and as the names of staged files."""
    scheduler = make_scheduler(part)
    texts = {name: text for name, text in _list_fragments(scheduler) if text is not None}
    sandbox = Sandbox(tmp, texts.values(), get_api(scheduler))
    for name, text in texts.items():
        expect(not (said := sandbox.read(text)), f"{name} to return text that sh can parse", f"{said}\nin\n{text}")
    _try_ids(sandbox, texts)
    _try_submission_ids(sandbox, scheduler)
    heredocs = tuple(f"\n{word}\n{CANARY}\n" for word in re.findall(r"<<-?\s*['\"\\]?(\w+)", "\n".join(texts.values())))
    if _get_plain_script(scheduler) is not None:
        _try_queues(sandbox, scheduler, (*_EVIL, *heredocs))
    if scheduler.stages_own_files():
        _try_names(sandbox, scheduler)


def _list_fragments(scheduler: Scheduler) -> Iterator[tuple[str, str | None]]:
    yield "submit_script", get_script(scheduler, "submit_script", make_batch(3))
    yield "submit_script with a queue", _get_plain_script(scheduler)
    yield (
        "submit_script with large numbers",
        get_script(scheduler, "submit_script", make_batch(10**6).model_copy(update={"resources": _LARGE})),
    )
    yield "status_script", get_script(scheduler, "status_script")
    yield "kill_script", get_script(scheduler, "kill_script")
    yield "list_script", get_script(scheduler, "list_script", SUBMISSION_ID)


def _get_plain_script(scheduler: Scheduler) -> str | None:
    return get_script(scheduler, "submit_script", make_batch(3, queue=_PLAIN))


def _try_ids(sandbox: Sandbox, texts: dict[str, str]) -> None:
    for verb in _OF_IDS:
        what = f"{verb}_script: the ids {list(_IDS)} in $IC_IDS"
        _expect_harmless(sandbox, verb, texts[f"{verb}_script"], what, ids=_IDS)


def _try_submission_ids(sandbox: Sandbox, scheduler: Scheduler) -> None:
    for evil in _EVIL:
        try:
            text = scheduler.list_script(evil)
        except Exception:  # noqa: BLE001, S112 -- the id is invalid, so that refusing it is right
            continue
        _expect_harmless(sandbox, "list", text, f"list_script: the submission id {evil!r}")


def _try_queues(sandbox: Sandbox, scheduler: Scheduler, evil: Sequence[str]) -> None:
    from intercede.testing.clauses.support import fuzzing  # noqa: PLC0415 -- slow to load, and only child processes need it

    plain = _get_plain_script(scheduler) or ""
    usual, again = _count_arguments(sandbox.run("submit", plain)), _count_arguments(sandbox.run("submit", plain))

    def attempt(queue: str) -> None:
        text = get_script(scheduler, "submit_script", make_batch(3, queue=queue))
        if text is not None:
            calls = _expect_harmless(sandbox, "submit", text, f"submit_script: the queue {queue!r}")
            same = usual != again or _count_arguments(calls) == usual
            expected = f"the same commands with as many arguments as with the queue {_PLAIN!r}: {format_value(usual)}"
            expect(same, expected, f"with the queue {queue!r}: {format_value(calls)}")

    for each in evil:
        attempt(each)
        attempt(f"x{each}x")
    fuzzing.try_combinations(attempt, evil, _SECONDS)


def _count_arguments(calls: Sequence[Sequence[str]]) -> list[str]:
    """List the commands that were called, each with the number of its arguments."""
    return [f"{call[0]} with {len(call) - 1}" for call in calls]


def _try_names(sandbox: Sandbox, scheduler: Scheduler) -> None:
    for evil in (each for each in _EVIL if each.strip()):
        carried = {"carry_shared": (evil,), "carry_copy": (f"{evil}{{index}}",), "returns": (f"r{evil}",)}
        text = get_script(scheduler, "submit_script", make_batch(2).model_copy(update=carried))
        if text is not None:
            _expect_harmless(sandbox, "submit", text, f"submit_script: the carried name {evil!r}")


def _expect_harmless(
    sandbox: Sandbox, verb: Verb, text: object, what: str, *, ids: Sequence[str] = ()
) -> list[list[str]]:
    if not isinstance(text, str):
        raise CheckFailed("a fragment to be a string", format_value(text))
    said = sandbox.read(text)
    expect(not said, f"a fragment that sh can parse, with {what}", f"{said}\nin\n{text}")
    calls = sandbox.run(verb, text, ids)
    injection = sandbox.find_injection(calls)
    expect(not injection, f"{what} to be data for the fragment", f"{injection}; the fragment is\n{text}")
    return calls
