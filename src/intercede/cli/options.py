"""Converts the kit's table of options into Typer's options for ``intercede check``."""

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Annotated, Literal, Optional

import typer

from intercede.testing.frontends.options import Option, list_options

__all__ = ["make_check_command"]

_NAME = Annotated[str, typer.Argument(metavar="NAME|JSON", help="The subject: what to inspect.")]


def make_check_command(check: Callable[[str, Mapping[str, object]], None]) -> Callable[..., None]:
    """Return a command for Typer with the options of ``intercede check``.

    Args:
        check: The function to run. It gets the subject and the value of each option, by its name in the table.
    """

    def command(name: str, **given: object) -> None:
        check(name, given)

    parameters = [
        Parameter("name", Parameter.KEYWORD_ONLY, annotation=_NAME),
        *map(_make_parameter, list_options("check")),
    ]
    setattr(command, "__signature__", Signature(parameters))  # noqa: B010 -- Typer reads it; mypy knows no such attribute
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__doc__ = check.__doc__
    return command


def _make_parameter(option: Option) -> Parameter:
    info = typer.Option(f"--{option.flag}", metavar=option.metavar or None, help=option.help)
    default = False if option.kind == "flag" else option.default
    return Parameter(
        option.name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[_get_type(option), info]
    )


def _get_type(option: Option) -> object:
    """Return the type to which Typer converts the value of an option."""
    if option.choices:
        return Literal[option.choices]
    kinds: dict[str, object] = {"flag": bool, "number": int, "list": list[str]}
    return Optional[kinds.get(option.kind, str)]  # noqa: UP045 -- a type checker does not know the type
