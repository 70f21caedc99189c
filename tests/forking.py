"""A server with the imports of the tests' programs forks for each program, which saves a second of start.

It reads requests from the socket that is its stdin, one at a time. A request is a module, its arguments, variables and
a directory as JSON, with the descriptors of stdout and stderr. The answers are the process id, and how the process
ended.
"""

import gc
import json
import os
import runpy
import socket
import sys
from importlib import import_module

from _pytest.config import default_plugins

from intercede.testing.subjects.child import CHILDREN

PRELOADED = (
    *(f"_pytest.{each}" for each in default_plugins),
    "asyncio",
    "intercede.batch",
    "intercede.contract.credentials",
    "intercede.registry.loading",
    "intercede.testing.run.calibrate",  # no clauses, since a test has its own
    "intercede.testing.run.concurrent",
    "pdb",
    "pydantic",
    "rich.console",
    "tomllib",
    "typer",
)


def serve() -> str:
    """Fork for each request. The call returns in the new process, with the module to run."""
    asked = socket.socket(fileno=0)
    while True:
        request, streams, _, _ = socket.recv_fds(asked, 1 << 18, 2)
        if not request:
            sys.exit()
        pid = os.fork()
        if not pid:
            asked.detach()
            return become(streams, **json.loads(request))
        for stream in streams:
            os.close(stream)
        asked.send(b"%d" % pid)
        asked.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def become(streams: list[int], module: str, arguments: list[str], variables: dict[str, str], directory: str) -> str:
    """Make this process look as if it was started with the arguments of a request."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, stream in enumerate((nothing, *streams)):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv[1:] = arguments
    sys.path[:0] = filter(None, variables.get("PYTHONPATH", "").split(os.pathsep))
    return module


for each in PRELOADED:
    import_module(each)
CHILDREN.open()  # for all descriptors
gc.freeze()  # these objects are no garbage of the new process
runpy.run_module(serve(), run_name="__main__", alter_sys=True)
