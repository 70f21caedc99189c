"""Errors of options name the valid values, and numbers are checked."""

import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.contract.errors import ConfigError
from intercede.plugin_tools.options import check_number, option_error
from intercede.registry import Registry


def test_an_option_error_says_what_was_given_and_what_is_valid() -> None:
    """The message and the attributes name the option, its value and the valid values, also after pickling."""
    error: ConfigError = pickle.loads(pickle.dumps(option_error("queue", 3, "the name of a queue")))  # noqa: S301 -- our own

    assert str(error) == "queue must be the name of a queue, not 3"
    assert (error.field, error.value, error.expected, error.where) == ("queue", 3, "the name of a queue", None)


@given(st.integers(), st.integers(), st.integers())
def test_whole_numbers_within_the_bounds_are_returned(value: int, least: int, most: int) -> None:
    """A number from the smallest to the largest valid one is returned, and any other is an error that names both."""
    if least <= value <= most:
        assert check_number("slots", value, int, least=least, most=most) == value
    else:
        with pytest.raises(ConfigError, match=f"^slots must be a whole number from {least} to {most}, not {value}$"):
            check_number("slots", value, int, least=least, most=most)


@given(st.floats() | st.integers(-5, 5))
def test_numbers_above_a_bound_are_returned_as_floats(value: float) -> None:
    """A number above a limit is returned as a float, and the limit itself is not valid."""
    if math.isfinite(value) and value > 0:
        number = check_number("seconds", value, float, above=0)
        assert (number, type(number)) == (value, float)
    else:
        with pytest.raises(ConfigError, match=r"^seconds must be a number above 0, not "):
            check_number("seconds", value, float, above=0)


@pytest.mark.parametrize("kind", [int, float])
@pytest.mark.parametrize("value", [True, False, None, "3", b"3", [3], math.nan, math.inf, -math.inf, 1j])
def test_values_that_are_no_numbers_are_refused(kind: type[Any], value: object) -> None:
    """Text, booleans and numbers that are not finite are refused without any bound."""
    with pytest.raises(ConfigError) as caught:
        check_number("slots", value, kind)

    assert (caught.value.field, caught.value.value) == ("slots", value)


def test_a_whole_number_has_no_fraction() -> None:
    """The number 2.0 is refused if a whole number is expected."""
    with pytest.raises(ConfigError, match=r"^slots must be a whole number, not 2\.0$"):
        check_number("slots", 2.0, int)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({}, "a number"),
        ({"least": 1}, "a number of at least 1"),
        ({"most": 9}, "a number of at most 9"),
        ({"above": 0, "most": 9}, "a number above 0 and of at most 9"),
        ({"least": 1, "most": 9}, "a number from 1 to 9"),
    ],
)
def test_the_bounds_are_described(bounds: dict[str, float], words: str) -> None:
    """The attribute ``expected`` says in words which numbers are valid."""
    with pytest.raises(ConfigError) as caught:
        check_number("seconds", "x", float, **bounds)

    assert caught.value.expected == words


@given(st.integers(350, 6000))
def test_a_number_of_many_digits_is_a_number(digits: int) -> None:
    """A whole number has any number of digits. One that no float can hold is an error that can be shown."""
    number = 10**digits

    assert check_number("slots", number, int, least=1) == number
    with pytest.raises(ConfigError, match=r"^slots must be a whole number of at most 9, not ") as caught:
        check_number("slots", number, int, most=9)
    assert caught.value.value == number
    with pytest.raises(ConfigError, match=r"^seconds must be a number, not "):
        check_number("seconds", number, float)


@pytest.mark.parametrize("value", [10**5000, [10**5000]], ids=["whole number", "list"])
def test_a_value_that_is_too_long_to_show_is_named_by_its_type(value: object) -> None:
    """Python refuses to write an integer of more than 4300 digits: the error then names the type of the value."""
    error = option_error("queue", value, "the name of a queue")

    shown = f"this {type(value).__name__}, which is too long to show"
    assert str(error) == f"queue must be the name of a queue, not {shown}"
    assert error.value == value


def test_the_registry_makes_a_scheduler_with_a_large_number() -> None:
    """The registry passes on a whole number that no float can hold, and its error for such a number can be shown."""
    Registry().scheduler({"type": "direct", "slots": 10**400})
    with pytest.raises(ConfigError, match=r"slots must be a whole number of at least 1, not this int"):
        Registry().scheduler({"type": "direct", "slots": -(10**5000)})
