"""Run long functions in a thread, so that they do not block the event loop."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["offload_if_large", "run_in_thread"]

P = ParamSpec("P")
T = TypeVar("T")
_FEW = 500


async def offload_if_large(count: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a thread if it has many items to process, else directly.

    The thread and the event loop take turns every few milliseconds (``sys.setswitchinterval``).

    Args:
        count: The number of items.
        function: The function to call.
        *args: The positional arguments of the function.
        **kwargs: The keyword arguments of the function.
    """
    return function(*args, **kwargs) if count < _FEW else await run_in_thread(function, *args, **kwargs)


async def run_in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function in a thread. A cancellation of the caller is raised only after the function has ended.

    If the cancellation were raised earlier, the caller might close files that the function still uses.
    """
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):  # a second cancellation changes nothing
                await asyncio.wait({work})
        raise
