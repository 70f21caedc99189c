"""Read ``intercede.toml``: named configurations, and pins.

::

    [backends.cern]
    transport = {type = "ssh", host = "login.example.org"}
    scheduler = "slurm"
    batch = {root = "/scratch/me/intercede"}

    [transports.login]
    type = "ssh"
    host = "login.example.org"

    [prefer]
    transports.ssh = "acme-intercede"

No file is searched for: an option, ``INTERCEDE_CONFIG`` or code names it.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import cast

from intercede.contract.errors import ConfigError
from intercede.location import Location
from intercede.plugin import GROUPS, is_name, suggest

__all__ = ["Configuration", "load", "parse_config_argument"]

Table = Mapping[str, object]

_SECTIONS = (*GROUPS, "prefer")
_EXAMPLE = '{"transport": "local", "scheduler": "direct"}'
_LETTERS = "letters, digits, '.', '_' and '-', the first a letter or a digit"


@dataclass(frozen=True)
class Configuration:
    """The contents of a configuration file. The options in a table are checked when a plugin is made from them.

    The repr shows no tables, because a table may contain a secret by mistake.
    """

    path: Path
    """The path of the configuration file."""
    backends: Mapping[str, Table] = field(repr=False)
    """Name -> ``{"type": ...}`` or ``{"transport": ..., "scheduler": ...}`` with options."""
    transports: Mapping[str, Table] = field(repr=False)
    """Name -> ``{"type": ...}`` with options."""
    schedulers: Mapping[str, Table] = field(repr=False)
    """Name -> ``{"type": ...}`` with options."""
    prefer: Mapping[str, str]
    """Pins: ``GROUP:NAME`` -> distribution."""

    def get_tables(self, group: str) -> Mapping[str, Table]:
        """Return the tables of a group."""
        return {"backends": self.backends, "transports": self.transports, "schedulers": self.schedulers}[group]


def parse_config_argument(text: str, option: str) -> str | Mapping[str, object]:
    """Return the configuration in a command-line argument: JSON if the text begins with a brace, otherwise a name.

    Args:
        text: The argument.
        option: The command-line option that has the argument.

    Raises:
        ConfigError: The text is not JSON. The message hides the text: it may contain a secret.
    """
    if not text.lstrip().startswith("{"):
        return text
    try:
        return cast("Mapping[str, object]", json.loads(text))  # JSON is an object if it begins with a brace
    except ValueError as error:
        raise ConfigError(
            f"{option} begins with a brace, so it must be a configuration in JSON: {error}",
            field=option,
            expected=_EXAMPLE,
            where=option,
        ) from None


def load(path: str | os.PathLike[str]) -> Configuration:
    """Read a configuration file.

    Raises:
        ConfigError: The file cannot be read, is not TOML, or has an unknown section or an invalid value. The message
            names the file and the key, and so do ``where`` and ``field``.
    """
    file = Path(path)
    location = Location(str(file))
    document = _read_document(file)
    for section, value in document.items():
        if section not in _SECTIONS:
            sections = ", ".join(_SECTIONS)
            advice = f"the sections are: {sections}{suggest(section, _SECTIONS)}"
            raise location.make_error(section, "is not a section", value=value, expected=sections, advice=advice)
    return Configuration(
        path=file,
        backends=_read_tables(location, "backends", document),
        transports=_read_tables(location, "transports", document),
        schedulers=_read_tables(location, "schedulers", document),
        prefer=_read_pins(location, document.get("prefer", {})),
    )


def _read_document(file: Path) -> Table:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}", where=str(file)) from error
    except ValueError as error:  # the file is not UTF-8 or not TOML; an error in TOML shows the line number
        raise ConfigError(f"{file} is not TOML: {error}", where=str(file)) from error


def _read_tables(location: Location, section: str, document: Table) -> Mapping[str, Table]:
    tables = _read_table(location, section, document.get(section, {}))
    for name, table in tables.items():
        if not is_name(name):
            raise location.make_error(f"{section}.{name}", "is not a valid name", value=table, expected=_LETTERS)
    return MappingProxyType({name: _read_table(location, f"{section}.{name}", table) for name, table in tables.items()})


def _read_pins(location: Location, value: object) -> Mapping[str, str]:
    """Return the pins in ``[prefer]``. Each is ``transports.ssh = "acme"`` or ``"transports:ssh" = "acme"``."""
    pins: dict[str, str] = {}
    for key, given in _read_table(location, "prefer", value).items():
        names = _read_table(location, f"prefer.{key}", given) if key in GROUPS else {key: given}
        for name, distribution in names.items():
            pin = f"{key}:{name}" if key in GROUPS else name
            group, colon, plain = pin.partition(":")
            if group not in GROUPS or not colon:
                expected = 'transports.NAME = "DISTRIBUTION"'
                advice = f"expected {expected}{suggest(pin, GROUPS)}"
                raise location.make_error(
                    f"prefer.{key}", "names no group", value=given, expected=expected, advice=advice
                )
            if not is_name(plain):
                raise location.make_error(f"prefer.{pin}", "is not a valid name", value=distribution, expected=_LETTERS)
            if not isinstance(distribution, str) or not is_name(distribution):
                expected = "a distribution's name, quoted"
                raise location.make_error(
                    f"prefer.{pin}", "must name a distribution", value=distribution, expected=expected
                )
            pins[pin] = distribution
    return MappingProxyType(pins)


def _read_table(location: Location, key: str, value: object) -> Table:
    if isinstance(value, dict):
        return MappingProxyType(cast("dict[str, object]", value))
    raise location.make_error(key, "must be a table", value=value, expected=f"[{key}]")
