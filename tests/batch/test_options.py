"""BatchBackend refuses invalid options and parts."""

import math

import pytest

from intercede.batch import BatchBackend
from intercede.contract.errors import ConfigError, PluginContractError
from intercede.schedulers.direct import DirectScheduler
from intercede.transports.local import LocalTransport

NUMBERS = ["max_bytes", "max_files", "max_seconds", "min_poll_interval", "commands_in_flight"]


class Narrow(LocalTransport):
    """A transport with a hint of how many commands may run at once."""

    def __init__(self, hint: object) -> None:
        super().__init__()
        self._hint = hint

    def commands_in_flight(self) -> object:
        """Return the hint."""
        return self._hint


class Patient(DirectScheduler):
    """A scheduler with a hint of the minimum poll interval."""

    def __init__(self, hint: float) -> None:
        super().__init__()
        self._hint = hint

    def min_poll_interval(self) -> float:
        """Return the hint."""
        return self._hint


class Staging(DirectScheduler):
    """A scheduler that stages files itself."""

    def stages_own_files(self) -> bool:
        """Return True."""
        return True


@pytest.mark.parametrize("value", [-1, math.inf, math.nan, True, "3", 2**60])
@pytest.mark.parametrize("field", NUMBERS)
def test_invalid_numbers_are_refused(field: str, value: object) -> None:
    """An invalid number in an option is a ConfigError that names the option."""
    options: dict[str, object] = {field: value}
    with pytest.raises(ConfigError) as caught:
        BatchBackend(LocalTransport(), DirectScheduler(), **options)  # type: ignore[arg-type]  # what a file may say
    assert caught.value.field == field


@pytest.mark.parametrize("hint", [0, -1, True, 1.5, math.inf, None])
def test_an_invalid_hint_of_a_transport_is_refused(hint: object) -> None:
    """An invalid hint of a transport is a PluginContractError, unless the option is given."""
    with pytest.raises(PluginContractError) as caught:
        BatchBackend(Narrow(hint), DirectScheduler())
    assert "commands_in_flight" in caught.value.violations[0]
    BatchBackend(Narrow(hint), DirectScheduler(), commands_in_flight=1)


def test_a_hint_that_is_no_method_is_refused() -> None:
    """A hint that is a number instead of a method is a PluginContractError that names the class."""

    class Numbered(LocalTransport):
        """Has a number where a method should be."""

        commands_in_flight = 8

    with pytest.raises(PluginContractError, match="commands_in_flight of Numbered must be a method") as caught:
        BatchBackend(Numbered(), DirectScheduler())
    assert "commands_in_flight" in caught.value.violations[0]


@pytest.mark.parametrize("hint", [-0.1, math.inf, math.nan])
def test_an_invalid_hint_of_a_scheduler_is_refused(hint: float) -> None:
    """A minimum poll interval that is negative or infinite is a PluginContractError."""
    with pytest.raises(PluginContractError) as caught:
        BatchBackend(LocalTransport(), Patient(hint))
    assert "min_poll_interval" in caught.value.violations[0]


def test_a_scheduler_that_stages_files_itself_is_refused() -> None:
    """A scheduler that stages files itself is a ConfigError that names it."""
    with pytest.raises(ConfigError, match="Staging") as caught:
        BatchBackend(LocalTransport(), Staging())
    assert caught.value.field == "scheduler"


@pytest.mark.parametrize("hint", [10**400, 10**5000], ids=["too large for a float", "too long for text"])
def test_a_hint_that_no_float_can_hold_is_refused(hint: int) -> None:
    """A hint of a plugin that is too large, for a float or for text, is a PluginContractError that names the method."""
    with pytest.raises(PluginContractError, match="the result of commands_in_flight of Narrow must be a whole number"):
        BatchBackend(Narrow(hint), DirectScheduler())
    with pytest.raises(PluginContractError, match="the result of min_poll_interval of Patient must be a number"):
        BatchBackend(LocalTransport(), Patient(hint))
