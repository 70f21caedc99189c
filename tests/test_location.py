"""A location is the place of options, and errors name it."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.contract.errors import ConfigError
from intercede.location import Location, hide_secret

FILE = Location("site.toml [backends.x]", "transport.", frozenset({"host"}))


@pytest.mark.parametrize(("option", "qualified"), [("port", "transport.port"), ("host", "host")])
def test_an_option_is_named_as_it_is_written(option: str, qualified: str) -> None:
    """An option has the prefix of its table, unless it was written beside the table."""
    assert FILE.qualify(option) == qualified


def test_an_error_has_the_problem_the_place_and_the_valid_values() -> None:
    """The message and the attributes of an error say the same."""
    error = FILE.make_error("port", "must be a number", value="x", expected="a whole number")

    assert str(error) == "transport.port must be a number in site.toml [backends.x]; expected a whole number"
    assert (error.field, error.value, error.expected, error.where) == (
        "transport.port",
        "x",
        "a whole number",
        "site.toml [backends.x]",
    )
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)  # noqa: S301 -- our own bytes


def test_advice_takes_the_place_of_the_valid_values() -> None:
    """If an error has advice, the message ends with it."""
    error = FILE.make_error("host", "is missing", value=None, expected="a value", advice="Site needs it")

    assert str(error) == "host is missing in site.toml [backends.x]; Site needs it"
    assert error.expected == "a value"


def test_an_error_of_a_target_gets_its_place_once() -> None:
    """complete() adds the place to an error that has none, and returns any other unchanged."""
    error = FILE.complete(ConfigError("port must be positive", field="port", value=0, expected="above 0"))

    assert str(error) == "transport.port = 0 is invalid in site.toml [backends.x]: port must be positive"
    assert (error.field, error.value, error.expected) == ("transport.port", 0, "above 0")
    assert Location("elsewhere").complete(error) is error


@pytest.mark.parametrize(
    ("location", "says", "field"),
    [(FILE, "transport is invalid in", "transport"), (Location("a.toml"), "the table is invalid in a.toml: ", None)],
)
def test_an_error_without_a_field_is_about_the_table(location: Location, says: str, field: str | None) -> None:
    """An error about several options names their table."""
    error = location.complete(ConfigError("host or alias is needed"))

    assert str(error).startswith(says)
    assert error.field == field


@given(st.text(min_size=8, alphabet="abcdefghij0123456789"))
def test_no_secret_is_an_attribute(secret: str) -> None:
    """The value of an option with a telling name is hidden in every error."""
    made = FILE.make_error("password", "is not an option", value=secret, expected="none")
    completed = FILE.complete(ConfigError("it is too short", field="password", value=secret))

    assert secret not in f"{vars(made)} {vars(completed)} {completed}"
    assert hide_secret("host", "login.example.org") == "login.example.org"


def test_a_value_that_is_too_long_to_show_is_replaced() -> None:
    """Python refuses to write an integer of more than 4300 digits: the error of an option has its type instead."""
    error = FILE.complete(ConfigError("slots must be less", field="slots", value=10**5000))

    assert str(error).startswith("transport.slots = 'int, too long to show' is invalid in site.toml")
    assert error.value == "int, too long to show"
