"""Programs for child processes, in which ``make_backend``, ``make_plugin``, ``arguments`` and ``tell`` are defined."""

__all__ = ["COMPARE", "DRIVE", "NAME", "NEST", "WATCH"]

WATCH = """
import os, sys
import asyncio, socket, subprocess, tempfile, threading  # so that none of these is imported while we watch

NETWORK = {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo"}
PROCESS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "os.exec", "pty.spawn"}
FILES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "sqlite3.connect"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
seen, watching = [], False

def note(what):
    frame = sys._getframe()
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    if watching and frame is None:  # what an import does is not the constructor's doing
        seen.append(what)

def hook(event, arguments):
    written = event == "open" and arguments[0] != os.devnull and arguments[2] and arguments[2] & WRITING
    if watching and (written or event in NETWORK | PROCESS | FILES):
        note(f"{event} {arguments!r:.200}")

def start(thread, start=threading.Thread.start):  # not every Python has an audit event for threads
    note(f"start of the thread {thread.name}")
    start(thread)

sys.dont_write_bytecode = True
make = make_plugin if "plugin" in arguments else make_backend
make()
sys.addaudithook(hook)
threading.Thread.start = start
watching = True
second = make()
watching = False
tell(seen)
"""
"""Constructs a backend or the plugin itself twice, and reports what the second time did, by an audit hook."""

COMPARE = """
import asyncio, os, signal, sys
from pathlib import Path
from intercede.contract import SubmissionSpec, capabilities

def process():
    umask = os.umask(0o077)
    os.umask(umask)
    environment = {f"the environment variable {name}": value for name, value in os.environ.items()}
    handlers = {f"the handler of {each.name}": signal.getsignal(each) for each in signal.Signals}
    return {"the working directory": os.getcwd(), "the umask": umask, **environment, **handlers}

async def main():
    os.chdir(arguments[1])  # this process was made by one that the subject may have changed already
    os.umask(0o022)
    backend = make_backend()
    spec = SubmissionSpec(executable="sh", arguments=("-c", "exit 0"), tag=arguments[0])
    before = process()
    async with entered(lambda: backend):
        handles = list((await backend.submit(spec)).handles.values())
        await backend.status(handles)
        claimed = capabilities(backend)
        if "output" in claimed: await backend.fetch_output(handles, Path("dest"))
        if "kill" in claimed: await backend.kill(handles)
        if "find" in claimed: await backend.find(arguments[0])
        if "load" in claimed: await backend.counts()
        if "diagnostics" in claimed: await backend.diagnostics(handles)
        if "purge" in claimed: await backend.purge(handles)
    after = process()
    changed = [what for what in {**before, **after} if before.get(what) != after.get(what)]
    tell(changed)

asyncio.run(main())
"""
"""Uses every verb, and reports which parts of the process have changed: names only, values may be secret."""

DRIVE = """
import asyncio
from intercede.contract.job import JobHandle

async def main():
    handle = JobHandle.model_validate_json(arguments[0])
    async with entered(make_backend) as backend:
        status = (await backend.status([handle]))[handle]
        while not status.state.final and status.state != "UNKNOWN":
            await asyncio.sleep(0.05)
            status = (await backend.status([handle]))[handle]
    tell([status.state, status.exit_code, status.evidence])

asyncio.run(main())
"""
"""Polls a job that another process submitted until it has ended, and reports its state, exit code and evidence."""

NAME = """
import asyncio
from intercede.contract import SubmissionSpec

async def main():
    async with entered(make_backend) as backend:
        told = await backend.submit(SubmissionSpec(executable="sh", arguments=("-c", "exit 0"), tag=arguments[0]))
    tell(told.handles[0].model_dump())

asyncio.run(main())
"""
"""Submits a job, and reports its handle."""

NEST = """
import asyncio, json, os
from pathlib import Path
from intercede.contract import SubmissionSpec

os.environ.update(json.loads(Path(arguments[1]).read_bytes()))

async def main():
    async with entered(make_backend) as backend:
        told = await backend.submit(SubmissionSpec.model_validate_json(arguments[0]))
    tell(told.handles[0].model_dump())

asyncio.run(main())
"""
"""Submits a job with the variables of a file, as if from inside the job that has them; reports its handle."""
