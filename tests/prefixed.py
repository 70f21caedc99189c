"""The transport local behind a command that sets variables or enters a namespace or a host."""

from collections.abc import AsyncIterable, Mapping, Sequence

from intercede.contract.transport import ByteSink, CommandResult
from intercede.transports.local import LocalTransport


class Prefixed(LocalTransport):
    """A transport that puts words before each command, and keeps the commands."""

    def __init__(self, *prefix: str) -> None:
        super().__init__()
        self._prefix = prefix
        self.commands: list[Sequence[str]] = []

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run a command behind these words."""
        self.commands.append(argv)
        return await super().run([*self._prefix, *argv], stdin=stdin, stdout=stdout)


def set_variables(values: Mapping[str, str]) -> tuple[str, ...]:
    """Return words that give a command these variables."""
    return ("env", *(f"{name}={value}" for name, value in values.items()))
