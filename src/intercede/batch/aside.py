"""What takes long for many jobs is done aside, so that the event loop goes on."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["aside"]

P = ParamSpec("P")
T = TypeVar("T")
_FEW = 500


async def aside(many: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function that looks at so many things: for few it is done before a thread would have started.

    A thread and the loop take turns every few milliseconds (``sys.setswitchinterval``).
    """
    return function(*args, **kwargs) if many < _FEW else await asyncio.to_thread(function, *args, **kwargs)
