"""TERM and HUP interrupt a run of the kit as Ctrl-C does, so that the jobs of its checks are ended."""

import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interrupt_on_end"]

_ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Signals of a CI that cancels a job, of timeout(1), and of a terminal that is closed."""
_ONE_SIGNAL = 0.5
"""Seconds in which signals count as one: timeout(1) sends its own to the process, and then to its group."""


@contextmanager
def interrupt_on_end() -> Generator[None]:
    """Do what Ctrl-C does if this process gets one of the signals that would end it at once.

    A signal that is ignored, as HUP is under nohup(1), or handled already, is left alone. Outside of the main thread nothing
    can be handled, so nothing is.
    """
    last = [-_ONE_SIGNAL]

    def interrupt(_number: int, frame: FrameType | None) -> None:
        if time.monotonic() - last[0] < _ONE_SIGNAL:
            return
        last[0] = time.monotonic()
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):  # a shell has what it starts with & ignore INT
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
