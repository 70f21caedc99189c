"""Interference from other plugins: without true clocks and sockets, a check says nothing about a subject."""

import socket
import time

__all__ = ["find_disturbance"]

_APART = 5.0
"""Seconds by which Python's clock may differ from the system's: a busy machine may pause between readings."""


def find_disturbance() -> str:
    """Tell what keeps this process from checking anything, and what to do; empty: nothing does."""
    return _false_clock() or _no_sockets()


def _false_clock() -> str:
    clocks = {"monotonic": time.CLOCK_MONOTONIC, "time": time.CLOCK_REALTIME}
    false = [name for name, clock in clocks.items() if abs(getattr(time, name)() - time.clock_gettime(clock)) > _APART]
    if not false:
        return ""
    return (
        f"a false clock: time.{false[0]}() is another time than the system's, as freezegun makes it, and no bound in time "
        "would hold. Freeze time in the tests that ask for it, and not for all"
    )


def _no_sockets() -> str:
    try:
        for each in socket.socketpair():
            each.close()
    except Exception as error:  # noqa: BLE001 -- whatever it is, no event loop can be made
        return (
            f"blocked sockets: {type(error).__name__}: {error} No event loop works without a pair of them. With pytest-socket: "
            "--allow-unix-socket, and --allow-hosts for what the subject talks to; or --force-enable-socket"
        )
    return ""
