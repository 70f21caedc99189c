"""Let TERM and HUP interrupt a run of the kit as Ctrl-C does, so that the kit ends the jobs of its checks."""

import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interrupt_on_end"]

_ENDING = (signal.SIGTERM, signal.SIGHUP)
"""The signals sent by a CI system that cancels a job, by timeout(1), and by a terminal that closes."""
_ONE_SIGNAL = 0.5
"""Seconds within which several signals count as one: timeout(1) signals the process, and then its group."""


@contextmanager
def interrupt_on_end() -> Generator[None]:
    """Treat TERM and HUP as Ctrl-C while this context is entered.

    A signal that is ignored, as HUP is under nohup(1), or that has a handler already, is left alone. Outside the main
    thread Python can set no handler, so nothing changes.
    """
    last = [-_ONE_SIGNAL]

    def interrupt(_number: int, frame: FrameType | None) -> None:
        if time.monotonic() - last[0] < _ONE_SIGNAL:
            return
        last[0] = time.monotonic()
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):  # INT is ignored, as in a process that a shell started with &
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)

    in_main = threading.current_thread() is threading.main_thread()
    ours = [each for each in _ENDING if in_main and signal.getsignal(each) is signal.SIG_DFL]
    for each in ours:
        signal.signal(each, interrupt)
    try:
        yield
    finally:
        for each in ours:
            if signal.getsignal(each) is interrupt:
                signal.signal(each, signal.SIG_DFL)
