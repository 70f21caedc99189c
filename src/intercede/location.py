"""The place where options are written, and the errors that name it."""

from dataclasses import dataclass
from typing import cast

from intercede.contract.errors import ConfigError

__all__ = ["Location", "hide_secret"]


@dataclass(frozen=True)
class Location:
    """The place where options are written: a table in a file, or an argument. Errors about the options name it."""

    source: str
    """The file and its table, or the argument, as errors name it."""
    prefix: str = ""
    """The text that errors write before the name of an option, such as ``transport.``."""
    unprefixed: frozenset[str] = frozenset()
    """The options that errors name without ``prefix``, because the user wrote these options in the backend's table."""

    def qualify(self, option: str) -> str:
        """Return the full name of an option. It begins with ``prefix``, unless the option is in ``unprefixed``."""
        return option if option in self.unprefixed else self.prefix + option

    def make_error(self, option: str, problem: str, *, value: object, expected: str, advice: str = "") -> ConfigError:
        """Return an error about one option.

        Args:
            option: The option, without the prefix.
            problem: What is wrong with it, such as ``is missing``.
            value: The given value. Parts of it that may be secret are hidden.
            expected: The values that are valid.
            advice: What to do, if the message needs more than ``expected``.
        """
        field = self.qualify(option)
        return ConfigError(
            f"{field or 'the table'} {problem} in {self.source}; {advice or f'expected {expected}'}",
            field=field or None,
            value=hide_secret(field, value),
            expected=expected,
            where=self.source,
        )

    def complete(self, error: ConfigError) -> ConfigError:
        """Return an error that a target raised about its options, with the location of the options added.

        An error that already names a location is returned unchanged.
        """
        if error.where is not None:
            return error
        field = self.prefix.rstrip(".") if error.field is None else self.qualify(error.field)
        value = hide_secret(field, error.value)
        shown = "" if value is None else f" = {value!r}"
        return ConfigError(
            f"{field or 'the table'}{shown} is invalid in {self.source}: {error}",
            field=field or None,
            value=value,
            expected=error.expected,
            where=self.source,
        )


def hide_secret(field: str, value: object) -> object:
    """Return the value of an option in a form that errors may show: secrets are hidden, and it has a ``repr``."""
    from intercede.redaction import redact  # noqa: PLC0415 -- loads pydantic, and only errors need it

    hidden = cast("dict[str, object]", redact({field: value}))[field]
    try:
        repr(hidden)
    except ValueError:  # an integer of more than 4300 digits, or a list that holds one
        return f"{type(value).__name__}, too long to show"
    return hidden
