"""Functions that checks call in child processes."""

import asyncio
import json
import os
import resource
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import cast

from intercede.contract.backend import (
    Cancellable,
    Findable,
    JobBackend,
    LiveDiagnostics,
    LoadReporter,
    OutputRetriever,
    Purgeable,
    capabilities,
)
from intercede.contract.job import JobHandle, JobState, SubmissionSpec
from intercede.contract.transport import Transport
from intercede.testing.subjects.child import ChildContext
from intercede.testing.subjects.entering import open_plugin

__all__ = [
    "find_jobs",
    "poll_job",
    "read_inherited_stdin",
    "report_changes",
    "send_through_cat",
    "submit_job",
    "submit_with_variables",
    "watch_backend",
    "watch_plugin",
]

# These modules are imported here, before the construction of a subject is watched.
for _name in ("socket", "subprocess", "tempfile"):
    import_module(_name)

_NETWORK = {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo"}
_PROCESSES = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "os.exec", "pty.spawn"}
_FILES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "sqlite3.connect"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def watch_backend(child: ChildContext) -> None:
    """Construct a backend twice, and report which I/O the second construction did."""
    _watch_construction(child, child.subject.make_backend)


def watch_plugin(child: ChildContext) -> None:
    """Construct the subject twice, and report which I/O the second construction did."""
    _watch_construction(child, child.subject.make_plugin)


def _watch_construction(child: ChildContext, make: Callable[[], object]) -> None:
    sys.dont_write_bytecode = True
    make()
    watch = _ConstructionWatch()
    watch.is_on = True
    second = make()
    watch.is_on = False
    child.report(watch.seen)
    del second  # it is deleted only after the watch, because the deletion is not part of the construction


class _ConstructionWatch:
    """Detects I/O with audit events, and new threads with a patch: not every Python has an audit event for threads."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.is_on = False
        sys.addaudithook(self._hook)
        threading.Thread.start = self._watch_start(threading.Thread.start)  # type: ignore[method-assign, assignment]  # the patch

    def _watch_start(self, start: Callable[[threading.Thread], None]) -> Callable[[threading.Thread], None]:
        def start_watched(thread: threading.Thread) -> None:
            self._note(f"start of the thread {thread.name}")
            start(thread)

        return start_watched

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.is_on and (event in _NETWORK | _PROCESSES | _FILES or (event == "open" and _is_writing(arguments))):
            self._note(f"{event} {arguments!r:.200}")

    def _note(self, what: str) -> None:
        frame: FrameType | None = sys._getframe()  # noqa: SLF001 -- the only way to see what is being imported
        while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
            frame = frame.f_back
        if self.is_on and frame is None:  # the constructor is not responsible for an import
            self.seen.append(what)


def _is_writing(arguments: tuple[object, ...]) -> bool:
    path, _, flags = arguments
    return path != os.devnull and isinstance(flags, int) and bool(flags & _WRITING)


async def report_changes(child: ChildContext) -> None:
    """Use every verb, and report the names of the parts of the process that have changed.

    Values are not reported, since they may be secret.

    The arguments are the tag of the job, and a directory.
    """
    tag, directory = child.arguments
    # This process sets its own directory and umask first, because it inherited them from its parent process. The
    # subject may have changed them in the parent process.
    os.chdir(directory)
    os.umask(0o022)
    backend = child.subject.make_backend()
    before = _describe_process()
    async with open_plugin(lambda: backend):
        await _use_every_verb(backend, tag)
    after = _describe_process()
    child.report([part for part in {**before, **after} if before.get(part) != after.get(part)])


def _describe_process() -> Mapping[str, object]:
    mask = os.umask(0o077)
    os.umask(mask)
    environment = {f"the environment variable {name}": value for name, value in os.environ.items()}
    handlers = {f"the handler of {each.name}": signal.getsignal(each) for each in signal.Signals}
    return {"the working directory": os.getcwd(), "the umask": mask, **environment, **handlers}  # noqa: PTH109 -- the path is compared as text


async def _use_every_verb(backend: JobBackend, tag: str) -> None:
    handles = list((await backend.submit(_make_spec(tag))).handles.values())
    await backend.status(handles)
    claimed = capabilities(backend)
    if "output" in claimed:
        await cast("OutputRetriever", backend).fetch_output(handles, Path("dest"))
    if "kill" in claimed:
        await cast("Cancellable", backend).kill(handles)
    if "find" in claimed:
        await cast("Findable", backend).find(tag)
    if "load" in claimed:
        await cast("LoadReporter", backend).counts()
    if "diagnostics" in claimed:
        await cast("LiveDiagnostics", backend).diagnostics(handles)
    if "purge" in claimed:
        await cast("Purgeable", backend).purge(handles)


def _make_spec(tag: str) -> SubmissionSpec:
    return SubmissionSpec(executable="sh", arguments=("-c", "exit 0"), tag=tag)


async def poll_job(child: ChildContext) -> None:
    """Poll the job of a handle until it has ended or is UNKNOWN, and report its state, exit code and evidence."""
    handle = JobHandle.model_validate_json(child.arguments[0])
    async with open_plugin(child.subject.make_backend) as backend:
        status = (await backend.status([handle]))[handle]
        while not status.state.final and status.state is not JobState.UNKNOWN:
            await asyncio.sleep(0.05)
            status = (await backend.status([handle]))[handle]
    child.report([status.state, status.exit_code, status.evidence])


async def submit_job(child: ChildContext) -> None:
    """Submit a job with a tag, and report its handle."""
    async with open_plugin(child.subject.make_backend) as backend:
        submission = await backend.submit(_make_spec(child.arguments[0]))
    child.report(submission.handles[0].model_dump())


async def submit_with_variables(child: ChildContext) -> None:
    """Submit a job as if from inside another job, and report its handle.

    The arguments are the specification as JSON, and a file with the variables of that other job.
    """
    spec, file = child.arguments
    os.environ.update(json.loads(Path(file).read_bytes()))  # noqa: ASYNC240 -- nothing else runs in this process
    async with open_plugin(child.subject.make_backend) as backend:
        submission = await backend.submit(SubmissionSpec.model_validate_json(spec))
    child.report(submission.handles[0].model_dump())


async def find_jobs(child: ChildContext) -> None:
    """Find the jobs of a tag, and report their handles."""
    async with open_plugin(child.subject.make_backend) as backend:
        found = await cast("Findable", backend).find(child.arguments[0])
    child.report([handle.model_dump() for handle in found])


async def read_inherited_stdin(child: ChildContext) -> None:
    """Run `cat` while this process's own stdin holds a line and never ends, and report what `cat` read.

    The report is None if `cat` does not end within the seconds of the argument.
    """
    reading, writing = os.pipe()
    os.write(writing, b"this process's own input")
    os.dup2(reading, 0)
    async with open_plugin(lambda: cast("Transport", child.subject.make_plugin())) as transport:
        run = asyncio.ensure_future(transport.run(["cat"]))
        await asyncio.wait({run}, timeout=float(child.arguments[0]))
        child.report([run.result().stdout.decode() if run.done() else None])
        os.close(writing)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if not run.done():
            os._exit(0)  # neither cancelling the run nor leaving the transport is sure to end `cat`


async def send_through_cat(child: ChildContext) -> None:
    """Send pieces through `cat`. Report how many bytes came back, and by how many MiB the peak memory use grew.

    The arguments are the size of a piece and the number of pieces.
    """
    size, count = map(int, child.arguments)
    sink = _CountingSink()
    async with open_plugin(lambda: cast("Transport", child.subject.make_plugin())) as transport:
        await transport.run(["cat"], stdin=_yield_pieces(1024, 1), stdout=_CountingSink())
        before = _read_peak_mib()
        await transport.run(["cat"], stdin=_yield_pieces(size, count), stdout=sink)
    child.report([sink.count, _read_peak_mib() - before])


class _CountingSink:
    def __init__(self) -> None:
        self.count = 0

    async def write(self, data: bytes) -> None:
        self.count += len(data)


async def _yield_pieces(size: int, count: int) -> AsyncIterator[bytes]:
    piece = bytes(range(256)) * (size // 256)
    for _ in range(count):
        yield bytes(bytearray(piece))  # each piece is a new object, so that pieces that are kept use memory


def _read_peak_mib() -> int:
    status = Path("/proc/self/status")
    lines = status.read_text("utf-8").splitlines() if status.exists() else []
    peaks = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peaks[0]) >> 10 if peaks else most >> (20 if sys.platform == "darwin" else 10)
