"""The transport local, whose commands other commands run: with other variables, in another namespace, on a pretend host."""

from collections.abc import AsyncIterable, Mapping, Sequence

from intercede.contract.transport import ByteSink, CommandResult
from intercede.transports.local import LocalTransport


class Prefixed(LocalTransport):
    """Puts these words before each command, and keeps the commands."""

    def __init__(self, *prefix: str) -> None:
        super().__init__()
        self._prefix = prefix
        self.commands: list[Sequence[str]] = []

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run it behind them."""
        self.commands.append(argv)
        return await super().run([*self._prefix, *argv], stdin=stdin, stdout=stdout)


def variables(values: Mapping[str, str]) -> tuple[str, ...]:
    """Return the words that give a command an environment with these."""
    return ("env", *(f"{name}={value}" for name, value in values.items()))
