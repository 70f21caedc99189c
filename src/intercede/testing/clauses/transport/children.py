"""Programs for child processes that check transports; ``make_plugin`` makes a transport."""

__all__ = ["INHERIT", "PUMP"]

INHERIT = """
import asyncio, os

reading, writing = os.pipe()
os.write(writing, b"this process's own input")
os.dup2(reading, 0)

async def main():
    async with entered(make_plugin) as transport:
        run = asyncio.ensure_future(transport.run(["cat"]))
        await asyncio.wait({run}, timeout=float(arguments[0]))
        found = [run.result().stdout.decode() if run.done() else None]
        tell(found)
        os.close(writing)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if not run.done():
            os._exit(0)  # nothing can end it for sure

asyncio.run(main())
"""
"""Runs `cat` in a process whose own stdin never ends, and reports what it read; None if it hangs."""

PUMP = """
import asyncio, resource, sys
from pathlib import Path

def peak():
    status = Path("/proc/self/status")
    lines = status.read_text("utf-8").splitlines() if status.exists() else []
    told = [line.split()[1] for line in lines if line.startswith("VmHWM")]
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(told[0]) >> 10 if told else most >> (20 if sys.platform == "darwin" else 10)

class Count:
    count = 0
    async def write(self, data):
        self.count += len(data)

async def source(size, times):
    piece = bytes(range(256)) * (size // 256)
    for _ in range(times):
        yield bytes(bytearray(piece))  # a new object each time, so that what is kept counts

async def main():
    sink = Count()
    async with entered(make_plugin) as transport:
        await transport.run(["cat"], stdin=source(1024, 1), stdout=Count())
        before = peak()
        await transport.run(["cat"], stdin=source(*map(int, arguments)), stdout=sink)
    tell([sink.count, peak() - before])

asyncio.run(main())
"""
"""Sends pieces of a size through `cat`; reports how many bytes came back, and the growth at the peak in MiB."""
