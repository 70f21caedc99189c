"""A simulated server that drops logins if many come at once, as sshd does (MaxStartups is 10 in OpenSSH 9.2)."""

import asyncio

from intercede.contract import TransportError

__all__ = ["BusyServer"]

_MOST = 3
"""How many logins may be going on at once."""
_SECONDS = 0.02
"""The seconds that a login takes."""


class BusyServer:
    """Drops the first login in each process, and any login while three others are going on."""

    def __init__(self) -> None:
        self._coming = 0
        self._has_dropped = False

    async def login(self) -> None:
        """Log in.

        Raises:
            TransportError: The login was dropped, and may be tried again.
        """
        if not self._has_dropped or self._coming == _MOST:
            self._has_dropped = True
            raise TransportError("the server dropped the connection", retryable=True)
        self._coming += 1
        try:
            await asyncio.sleep(_SECONDS)
        finally:
            self._coming -= 1
