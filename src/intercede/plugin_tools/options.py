"""Helpers for every plugin: make errors about options, and check the options that are numbers."""

import contextlib
import math
from typing import TypeVar

from intercede.contract.errors import ConfigError

__all__ = ["check_number", "option_error"]

N = TypeVar("N", int, float)


def option_error(field: str, value: object, expected: str) -> ConfigError:
    """Return the error for an option with an invalid value. The registry adds the place where the option is written.

    ::

        raise option_error("queue", queue, "the name of a queue")

    Args:
        field: The name of the option, as the user writes it.
        value: Its value. The error shows it, so it must not be a secret.
        expected: The valid values, to complete the sentence "queue must be ...".
    """
    try:
        shown = repr(value)
    except ValueError:  # an integer of more than 4300 digits, or a list that holds one
        shown = f"this {type(value).__name__}, which is too long to show"
    return ConfigError(f"{field} must be {expected}, not {shown}", field=field, value=value, expected=expected)


def check_number(
    field: str,
    value: object,
    kind: type[N],
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
) -> N:
    """Return the value of an option that must be a number, as an int or a float.

    ::

        self._slots = check_number("slots", slots, int, least=1)

    Args:
        field: The name of the option, as the user writes it.
        value: Its value.
        kind: ``int`` for a whole number, ``float`` for any finite number.
        least: The smallest valid number.
        above: A number that is too small, if there is no smallest valid one. Give ``least`` or ``above``, not both.
        most: The largest valid number.

    Raises:
        ConfigError: The value is not such a number, or out of bounds. True and False are not numbers.
    """
    if (
        isinstance(value, int | kind)
        and not isinstance(value, bool)
        and -math.inf < value < math.inf  # math.isfinite would raise OverflowError for an integer of 400 digits
        and (least is None or value >= least)
        and (above is None or value > above)
        and (most is None or value <= most)
    ):
        with contextlib.suppress(OverflowError):  # raised by float() if the integer is too large
            return kind(value)
    raise option_error(field, value, _describe(kind, least, above, most))


def _describe(kind: type[float], least: float | None, above: float | None, most: float | None) -> str:
    noun = "a whole number" if kind is int else "a number"
    if least is not None and most is not None:
        return f"{noun} from {least} to {most}"
    bounds = [
        f"{words} {bound}"
        for words, bound in (("of at least", least), ("above", above), ("of at most", most))
        if bound is not None
    ]
    return " ".join([noun, " and ".join(bounds)]).strip()
