"""What BatchBackend refuses to be made of."""

import math

import pytest

from intercede.batch import BatchBackend
from intercede.contract.errors import ConfigError, PluginContractError
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport

NUMBERS = ["max_bytes", "max_files", "max_seconds", "min_poll_interval", "commands_in_flight"]


class Narrow(LocalTransport):
    """Has an opinion of how many commands may be out."""

    def __init__(self, hint: object) -> None:
        super().__init__()
        self._hint = hint

    def commands_in_flight(self) -> object:
        """Say it."""
        return self._hint


class Patient(DirectScheduler):
    """Has an opinion of how often to look."""

    def __init__(self, hint: float) -> None:
        super().__init__()
        self._hint = hint

    def min_poll_interval(self) -> float:
        """Say it."""
        return self._hint


class Staging(DirectScheduler):
    """Carries files itself."""

    def stages_own_files(self) -> bool:
        """Say so."""
        return True


@pytest.mark.parametrize("value", [-1, math.inf, math.nan, True, "3", 2**60])
@pytest.mark.parametrize("field", NUMBERS)
def test_numbers_without_sense_are_refused(field: str, value: object) -> None:
    """With the option's name; nothing that only breaks later, in a shell or an event loop, is taken."""
    options: dict[str, object] = {field: value}
    with pytest.raises(ConfigError) as caught:
        BatchBackend(LocalTransport(), DirectScheduler(), **options)  # type: ignore[arg-type]  # what a file may say
    assert caught.value.field == field


@pytest.mark.parametrize("hint", [0, -1, True, 1.5, math.inf, None])
def test_a_transports_hint_without_sense_is_refused(hint: object) -> None:
    """0 would let no command out, ever; what is given counts instead of a hint."""
    with pytest.raises(PluginContractError) as caught:
        BatchBackend(Narrow(hint), DirectScheduler())
    assert "commands_in_flight" in caught.value.violations[0]
    BatchBackend(Narrow(hint), DirectScheduler(), commands_in_flight=1)


def test_a_hint_that_is_no_method_is_refused() -> None:
    """With the words of what it should be, and whose it is."""

    class Numbered(LocalTransport):
        """Has a number where a method should be."""

        commands_in_flight = 8

    with pytest.raises(PluginContractError, match="commands_in_flight of Numbered must be a method") as caught:
        BatchBackend(Numbered(), DirectScheduler())
    assert "commands_in_flight" in caught.value.violations[0]


@pytest.mark.parametrize("hint", [-0.1, math.inf, math.nan])
def test_a_schedulers_hint_without_sense_is_refused(hint: float) -> None:
    """An infinite minimum interval is refused: status would only ever look once."""
    with pytest.raises(PluginContractError) as caught:
        BatchBackend(LocalTransport(), Patient(hint))
    assert "min_poll_interval" in caught.value.violations[0]


def test_a_scheduler_that_stages_files_itself_is_refused() -> None:
    """Nobody tells it what to carry, so its jobs could not run."""
    with pytest.raises(ConfigError, match="Staging") as caught:
        BatchBackend(LocalTransport(), Staging())
    assert caught.value.field == "scheduler"
