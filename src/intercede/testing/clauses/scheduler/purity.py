"""IC-SCHEDULER: the answers of a scheduler depend on its arguments only."""

import asyncio
import os
import re
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from inspect import getfile
from pathlib import Path
from types import FrameType
from typing import cast

from pydantic import BaseModel

from intercede.contract.scheduler import Scheduler
from intercede.testing.clauses import clause
from intercede.testing.clauses.support.probe import ALL_SECONDS, run_probe
from intercede.testing.clauses.support.recordings import KillRecording, StatusRecording, load_recordings
from intercede.testing.clauses.support.scheduler_questions import (
    SUBMISSION_ID,
    call_method,
    expect,
    get_question,
    list_questions,
    make_batch,
    make_result,
    make_scheduler,
)
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import CheckFailed, Context, format_value

_SEEDS = ("1", "2", "3")
"""The seeds of the string hashes in three processes."""
_CLOCKS = re.compile("(time|monotonic|perf_counter|process_time|clock_gettime)(_ns)?|sleep")
_READ_CLOCK: Mapping[str, int] = {"localtime": 0, "gmtime": 0, "ctime": 0, "asctime": 0, "strftime": 1}
"""Maps a function to a number of arguments. With this number or fewer, the function reads the clock."""
_SYSTEM = re.compile(
    "access|getcwdb?|gete?[ug]id|getloadavg|getlogin|getp?pid|getrandom|listdir|l?stat|readlink|scandir|"
    "sched_getaffinity|times|uname|urandom"
)
"""Functions that read the state of the machine. Most of them raise no audit event."""
_AUDITED = ("os.", "socket.", "subprocess.", "shutil.", "glob.", "tempfile.", "pty.", "sqlite3.", "urllib.")
_LIBRARY = (
    "<frozen importlib",
    str(Path(os.__file__).with_name("importlib")),
    str(Path(os.__file__).with_name("logging")),
)
"""Files of library code that may do I/O: imports and logging, which do not influence answers."""
_ENVIRONMENT = {type(os.environ).__getitem__.__code__, type(os.environ).__iter__.__code__}


@clause(
    "IC-SCHEDULER-01",
    title="A scheduler is pure: no I/O and no clock, and the same answer to the same question, in every process.",
    level=MUST,
    seconds=ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-08",),
    hint=(
        "A method that opens a file, reads os.environ, the clock or the host's name, or starts a command: leave "
        "such questions to a fragment, which asks them on the remote side, in sh. Text made by looping over a set "
        "has another order in each process: sort it. State that one call leaves to the next. You may read files "
        "beside the scheduler's own code."
    ),
)
async def check_purity(context: Context) -> None:
    """Call every method twice in each of three processes with different hash seeds, and watch for I/O."""
    first, *others = await asyncio.gather(*(run_probe(context, probe_purity, seed) for seed in _SEEDS))
    for other in others:
        pairs = zip(cast("list[list[str]]", first), cast("list[list[str]]", other), strict=True)
        for (asked, one), (_, another) in pairs:
            observed = f"{format_value(one)} in one and {format_value(another)} in another"
            context.expect(one == another, expected=f"the same answer from {asked} in every process", observed=observed)


def probe_purity(part: Callable[[], object], _tmp: Path) -> object:
    """Call every method twice, and watch the first call for I/O.

    Return all answers, so that they can be compared with the answers in other processes.
    """
    watch = _Watch()
    scheduler = make_scheduler(part)
    watch.own = tuple(_list_homes(scheduler))
    asked = list(_list_all_questions(scheduler))
    with watch.on():
        answers = [_call_method(scheduler, method, *arguments) for method, arguments in asked]
    first = [_write_answer(each) for each in answers]
    expect(not watch.seen, "no I/O and no clock: text in, text out", f"{'; '.join(dict.fromkeys(watch.seen))}")
    for (method, arguments), one in zip(asked, first, strict=True):
        another = _write_answer(_call_method(scheduler, method, *arguments))
        expect(
            one == another,
            f"the same answer from {method}, asked again",
            f"{format_value(one)}, then {format_value(another)}",
        )
    return [[method, one] for (method, _), one in zip(asked, first, strict=True)]


def _list_homes(scheduler: Scheduler) -> Iterator[str]:
    """Yield the directories that hold the scheduler's code. The scheduler may read the files in these directories."""
    for each in type(scheduler).__mro__[:-1]:
        try:
            yield str(Path(getfile(each)).parent)
        except (TypeError, OSError):  # the class is a built-in
            continue


def _list_all_questions(scheduler: Scheduler) -> Iterator[tuple[str, tuple[object, ...]]]:
    yield from ((method, ()) for method in ("stages_own_files", "status_script", "kill_script"))
    if getattr(scheduler, "tool_environment", None) is not None:
        yield "tool_environment", ()
    yield "list_script", (SUBMISSION_ID,)
    for each in (
        make_batch(1),
        make_batch(3),
        make_batch(1200, cpus=4, memory_mb=3000, wall_time_s=90061, gpus=1),
        make_batch(2, queue="q"),
    ):
        yield "submit_script", (each,)
    for said in (
        make_result(),
        make_result(b"", 1, b"no\n"),
        make_result(b"0 17\nJOBID ST\n17 R\n"),
        make_result(b"\xff\n"),
    ):
        yield from list_questions(("17", "a.0"), said, 3)
    listings = [each for each in load_recordings(scheduler) if isinstance(each, StatusRecording | KillRecording)]
    # All calls are made twice. Before the second time, the scheduler parses recorded answers about the jobs of these
    # calls. A scheduler that remembers such an answer then returns another result.
    yield from ((f"parse_{each.verb}", (each.ids, make_result())) for each in listings)
    yield from map(get_question, load_recordings(scheduler))


def _call_method(scheduler: Scheduler, method: str, *arguments: object) -> object:
    """Call a method, and return its answer or its error. Other clauses check whether the contract allows the error."""
    try:
        return call_method(scheduler, method, *arguments)
    except CheckFailed as failed:
        return failed


def _write_answer(value: object) -> str:
    """Write an answer as text, so that equal answers give equal texts."""
    try:
        return _write_value(value)
    except Exception as error:  # noqa: BLE001 -- IC-SCHEDULER-06 checks answers that cannot be read
        return f"{type(error).__name__} when it was read"


def _write_value(value: object) -> str:
    """Write a value as text. Mappings with the same items give the same text, whatever their order."""
    if isinstance(value, BaseModel):
        return f"{type(value).__name__}({_write_value(dict(value))})"
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return f"{{{', '.join(sorted(f'{_write_value(key)}: {_write_value(said)}' for key, said in pairs))}}}"
    return f"{type(value).__name__}: {value}" if isinstance(value, Exception) else repr(value)


class _Watch:
    """Detects calls to C functions with a profiler, and other I/O with the audit events of the interpreter."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.own: tuple[str, ...] = ()
        self._watching = False
        sys.addaudithook(self._hook)
        for name, fewest in _READ_CLOCK.items():
            setattr(time, name, self._watch_clock(getattr(time, name), fewest))

    @contextmanager
    def on(self) -> Generator[None]:
        self._watching = True
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(None)
            self._watching = False

    def _note(self, what: str, frame: FrameType | None) -> None:
        while frame is not None and not frame.f_code.co_filename.startswith(_LIBRARY):
            frame = frame.f_back
        if self._watching and frame is None:
            self.seen.append(what)

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if self._watching and (event == "open" or event.startswith(_AUDITED)):
            path = os.fsdecode(arguments[0]) if arguments and isinstance(arguments[0], str | bytes) else ""
            if not path.startswith(self.own):
                self._note(f"{event} {path or repr(arguments)[:100]}", sys._getframe(1))  # noqa: SLF001 -- the frame of the caller

    def _profile(self, frame: FrameType, event: str, function: object) -> None:
        name, owner = getattr(function, "__name__", ""), getattr(function, "__self__", None)
        module = getattr(function, "__module__", None)
        if event == "call" and frame.f_code in _ENVIRONMENT:
            self._note("a look at os.environ", frame)
        elif event == "c_call" and (
            (module == "time" and _CLOCKS.fullmatch(name))
            or (module == "posix" and _SYSTEM.fullmatch(name))
            or (isinstance(owner, type) and issubclass(owner, date) and name in {"now", "utcnow", "today"})
        ):
            self._note(f"a call of {module or getattr(owner, '__name__', '')}.{name}", frame)

    def _watch_clock(self, function: Callable[..., object], fewest: int) -> Callable[..., object]:
        def call_watched(*arguments: object) -> object:
            if len(arguments) <= fewest:
                self._note(f"a call of time.{function.__name__}", sys._getframe(1))  # noqa: SLF001 -- the frame of the caller
            return function(*arguments)

        return call_watched
