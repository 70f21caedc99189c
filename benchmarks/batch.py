"""The speed of BatchBackend with local and direct, compared with sh and tar, in one run.

    python benchmarks/batch.py [--quick]

Commands are counted exactly. The ratios matter, not the seconds. Both sides are measured alternately, and the best
result counts.
"""

import argparse
import asyncio
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TypeVar

from intercede.batch import BatchBackend
from intercede.contract.job import JobHandle, OutputMember, OutputSpec, SubmissionSpec
from intercede.contract.transport import ByteSink, CommandResult
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport

T = TypeVar("T")
SLOTS = 8

# The same directories and captured output, eight jobs at a time, with a shell for each job: a script written by hand.
BY_XARGS = """
cd "$1" && seq 0 $(($2 - 1)) | xargs -P 8 -I{} sh -c '
mkdir -p copies/{}/work && cd copies/{}/work && /bin/true >../stdout 2>../stderr; echo $? >../exit'
"""
# The baseline: eight loops, without a shell or a process group for a job, so no job can be killed or identified later.
BY_LOOPS = """
cd "$1" || exit
lane() {
    i=$1
    while [ "$i" -lt "$2" ]; do
        mkdir -p "copies/$i/work"
        (cd "copies/$i/work" && exec /bin/true >../stdout 2>../stderr)
        echo $? >"copies/$i/exit"
        i=$((i + 8))
    done
}
for k in 0 1 2 3 4 5 6 7; do lane "$k" "$2" & done
wait
"""


class CountingTransport(LocalTransport):
    """The transport local, with a count of its commands."""

    def __init__(self) -> None:
        super().__init__()
        self.commands = 0

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run a command, and count it."""
        self.commands += 1
        return await super().run(argv, stdin=stdin, stdout=stdout)


def open_backend(place: Path, transport: CountingTransport | None = None) -> AbstractAsyncContextManager[BatchBackend]:
    return BatchBackend(transport or CountingTransport(), DirectScheduler(SLOTS), root=str(place / "root"))


async def wait_until_finished(backend: BatchBackend, handles: Sequence[JobHandle], pause: float) -> None:
    while not all(status.state.final for status in (await backend.status(handles)).values()):  # noqa: ASYNC110 -- processes send no event
        await asyncio.sleep(pause)


async def run_jobs(backend: BatchBackend, spec: SubmissionSpec, copies: int) -> list[JobHandle]:
    handles = list((await backend.submit(spec, copies)).handles.values())
    await wait_until_finished(backend, handles, 0.25)
    return handles


async def measure_seconds(work: Awaitable[T]) -> tuple[float, T]:
    start = time.perf_counter()
    result = await work
    return time.perf_counter() - start, result


def run_script(script: str, *arguments: str) -> float:
    start = time.perf_counter()
    subprocess.run(["sh", "-c", script, "sh", *arguments], check=True)
    return time.perf_counter() - start


def run_in_new_directory(work: Callable[[Path], T]) -> T:
    place = Path(tempfile.mkdtemp(prefix="intercede-bench-"))
    try:
        return work(place)
    finally:
        shutil.rmtree(place)


def run_coroutine(work: Callable[[Path], Coroutine[object, object, T]], place: Path) -> T:
    return asyncio.run(work(place))


def print_row(what: str, ours: float, peers: dict[str, float]) -> None:
    print(
        f"{what:38}  ours {ours:7.3f} s",
        *(f"{name} {s:7.3f} s = {ours / s:4.2f}x" for name, s in peers.items()),
        sep="   ",
    )


async def count_commands(place: Path, copies: int) -> list[int]:
    transport = CountingTransport()
    spec = SubmissionSpec(executable="true", tag="t")
    async with open_backend(place, transport) as backend:
        handles = await run_jobs(backend, spec, copies)
        counts: list[int] = []
        for verb in (
            lambda: backend.submit(spec, copies),
            lambda: backend.status(handles),
            lambda: backend.fetch_output(handles, place / "dest"),
            lambda: backend.kill(handles),
            lambda: backend.purge(handles),
        ):
            before = transport.commands
            await verb()
            counts.append(transport.commands - before)
        await wait_until_finished(backend, await backend.find("t"), 0.25)
    return counts


async def measure_run(place: Path, copies: int) -> float:
    async with open_backend(place) as backend:
        seconds, _ = await measure_seconds(run_jobs(backend, SubmissionSpec(executable="true"), copies))
    return seconds


async def measure_fetch(place: Path, spec: SubmissionSpec, copies: int) -> tuple[float, float, int]:
    """Return the seconds of intercede, those of tar, and the growth of the process in bytes, at its largest."""
    async with open_backend(place) as backend:
        handles = await run_jobs(backend, spec, copies)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ours, outputs = await measure_seconds(backend.fetch_output(handles, place / "ours"))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if not all(output.ok for output in outputs.values()):
        raise SystemExit("fetch_output did not fetch everything")
    script = 'mkdir "$2" && cd "$1"/root/*/copies && tar -cf - */std* */work | tar -xf - -C "$2"'
    return ours, run_script(script, str(place), str(place / "theirs")), grown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    quick: bool = parser.parse_args().quick
    copies, size_mb, turns = (100, 100, 1) if quick else (1000, 1024, 3)

    for number in (1, copies):
        counts = run_in_new_directory(partial(run_coroutine, partial(count_commands, copies=number)))
        print(f"commands for {number:5} copies: submit, status, fetch_output, kill, purge = {counts}")
    ours: list[float] = []
    xargs: list[float] = []
    loops: list[float] = []
    for _ in range(turns):
        ours.append(run_in_new_directory(partial(run_coroutine, partial(measure_run, copies=copies))))
        xargs.append(run_in_new_directory(lambda place: run_script(BY_XARGS, str(place), str(copies))))
        loops.append(run_in_new_directory(lambda place: run_script(BY_LOOPS, str(place), str(copies))))
    print_row(
        f"{copies} x true, {SLOTS} slots, until final", min(ours), {"xargs": min(xargs), "bare loops": min(loops)}
    )

    small = SubmissionSpec(
        executable="sh",
        arguments=("-c", "echo out; echo data >f"),
        outputs=OutputSpec(members=(OutputMember(pattern="f"),)),
    )
    big = SubmissionSpec(
        executable="sh",
        arguments=("-c", f"dd if=/dev/zero of=f bs=1048576 count={size_mb} 2>/dev/null"),
        outputs=OutputSpec(members=(OutputMember(pattern="f"),)),
    )
    for what, spec, number in (
        (f"fetch_output of {copies} small jobs", small, copies),
        (f"fetch_output of {size_mb} MiB", big, 1),
    ):
        mine, theirs, grown = run_in_new_directory(
            partial(run_coroutine, partial(measure_fetch, spec=spec, copies=number))
        )
        print_row(what, mine, {"tar | tar": theirs})
        print(f"{'':38}  memory grew by {grown / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
