"""A server that drops logins, as a default sshd does from ten at once on (MaxStartups, OpenSSH 9.2)."""

import asyncio

from intercede.contract import TransportError

__all__ = ["BusyServer"]

_MOST = 3
"""So many may be about to log in."""
_SECONDS = 0.02
"""How long one takes."""


class BusyServer:
    """Drops the first login of each process, and those that come while others are about to log in."""

    def __init__(self) -> None:
        self._coming = 0
        self._has_dropped = False

    async def login(self) -> None:
        """Log in.

        Raises:
            TransportError: It was dropped, and may be tried again.
        """
        if not self._has_dropped or self._coming == _MOST:
            self._has_dropped = True
            raise TransportError("the server dropped the connection", retryable=True)
        self._coming += 1
        try:
            await asyncio.sleep(_SECONDS)
        finally:
            self._coming -= 1
