"""Running long functions in a thread, so that the event loop goes on."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["offload_if_large", "run_in_thread"]

P = ParamSpec("P")
T = TypeVar("T")
_FEW = 500


async def offload_if_large(many: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function whose work grows with ``many``: in a thread if there are many, else at once.

    A thread and the loop take turns every few milliseconds (``sys.setswitchinterval``).
    """
    return function(*args, **kwargs) if many < _FEW else await run_in_thread(function, *args, **kwargs)


async def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call it in a thread. A cancelled caller waits for its end, because it may use what is closed right after."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):  # the caller is on the way out already
                await asyncio.wait({work})
        raise
