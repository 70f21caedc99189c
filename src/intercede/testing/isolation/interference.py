"""Interference by other pytest plugins: a check says nothing about a subject if the clock or the sockets are faked."""

import socket
import time

__all__ = ["find_interference"]

_TOLERANCE = 5.0
"""Seconds by which Python's clock may differ from the system's: a busy machine may pause between two readings."""


def find_interference() -> str:
    """Return a text that says what keeps this process from checking subjects, and what to do.

    The text is empty if this process can check subjects.
    """
    return _find_false_clock() or _find_blocked_sockets()


def _find_false_clock() -> str:
    clocks = {"monotonic": time.CLOCK_MONOTONIC, "time": time.CLOCK_REALTIME}
    false = [
        name for name, clock in clocks.items() if abs(getattr(time, name)() - time.clock_gettime(clock)) > _TOLERANCE
    ]
    if not false:
        return ""
    return (
        f"a false clock: time.{false[0]}() differs from the system's clock, as under freezegun, so no timeout would "
        "work. Freeze time only in the tests that need it, not in all"
    )


def _find_blocked_sockets() -> str:
    try:
        for each in socket.socketpair():
            each.close()
    except Exception as error:  # noqa: BLE001 -- after any error here, no event loop can be made
        return (
            f"blocked sockets: {type(error).__name__}: {error} Every event loop needs a pair of sockets. With "
            "pytest-socket, add --allow-unix-socket, and --allow-hosts for the subject's hosts, or "
            "--force-enable-socket"
        )
    return ""
