"""``intercede.toml``: tables that name what is configured, and pins.

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

No file is searched for: one is named by an option, by ``INTERCEDE_CONFIG``, or in code.
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
from intercede.plugin import GROUPS, is_name, suggest

__all__ = ["Configuration", "as_given", "load"]

Table = Mapping[str, object]

_SECTIONS = (*GROUPS, "prefer")
_EXAMPLE = '{"transport": "local", "scheduler": "direct"}'
_LETTERS = "letters, digits, '.', '_' and '-', the first a letter or a digit"


@dataclass(frozen=True)
class Configuration:
    """What a configuration file says. What a table's options must be, its plugin tells when it is made.

    Its repr shows no table: a secret may stand there by mistake.
    """

    path: Path
    """The file."""
    backends: Mapping[str, Table] = field(repr=False)
    """Name -> ``{"type": ...}`` or ``{"transport": ..., "scheduler": ...}`` with options."""
    transports: Mapping[str, Table] = field(repr=False)
    """Name -> ``{"type": ...}`` with options."""
    schedulers: Mapping[str, Table] = field(repr=False)
    """Name -> ``{"type": ...}`` with options."""
    prefer: Mapping[str, str]
    """Pins: ``GROUP:NAME`` -> distribution."""

    def tables(self, group: str) -> Mapping[str, Table]:
        """Return the tables of a group."""
        return {"backends": self.backends, "transports": self.transports, "schedulers": self.schedulers}[group]


def as_given(text: str, where: str) -> str | Mapping[str, object]:
    """Read what a command line has in place of a configuration: a name stays one, what begins with a brace is JSON.

    Args:
        text: What was given.
        where: The option that it was given to.

    Raises:
        ConfigError: It is not. The message does not repeat it: a secret may have come in by mistake.
    """
    if not text.lstrip().startswith("{"):
        return text
    try:
        return cast("Mapping[str, object]", json.loads(text))  # what opens with a brace is an object
    except ValueError as error:
        raise ConfigError(
            f"{where}: what begins with a brace is a configuration in JSON, and this one is not JSON: {error}",
            field=where,
            expected=_EXAMPLE,
            where=where,
        ) from None


def load(path: str | os.PathLike[str]) -> Configuration:
    """Read a configuration file.

    Raises:
        ConfigError: It cannot be read, is not TOML, or holds a section or a value that does not belong there. The
            message names the file and the key, as do ``where`` and ``field``.
    """
    file = Path(path)
    document = _document(file)
    for section, value in document.items():
        if section not in _SECTIONS:
            raise _wrong(
                file,
                section,
                value,
                f"is no section{suggest(section, _SECTIONS)}",
                ", ".join(_SECTIONS),
                "the sections are",
            )
    return Configuration(
        path=file,
        backends=_tables(file, "backends", document),
        transports=_tables(file, "transports", document),
        schedulers=_tables(file, "schedulers", document),
        prefer=_prefer(file, document.get("prefer", {})),
    )


def _document(file: Path) -> Table:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}", where=str(file)) from error
    except ValueError as error:  # no UTF-8, or no TOML: that error names the line
        raise ConfigError(f"{file}: is not TOML: {error}", where=str(file)) from error


def _tables(file: Path, section: str, document: Table) -> Mapping[str, Table]:
    tables = _mapping(file, section, document.get(section, {}))
    for name in tables:
        if not is_name(name):
            raise _wrong(file, f"{section}.{name}", tables[name], "has a name that nothing can have", _LETTERS)
    return MappingProxyType({name: _mapping(file, f"{section}.{name}", table) for name, table in tables.items()})


def _prefer(file: Path, value: object) -> Mapping[str, str]:
    """Read both ``transports.ssh = "acme"`` and ``"transports:ssh" = "acme"``."""
    pins: dict[str, str] = {}
    for key, given in _mapping(file, "prefer", value).items():
        names = _mapping(file, f"prefer.{key}", given) if key in GROUPS else {key: given}
        for name, distribution in names.items():
            pin = f"{key}:{name}" if key in GROUPS else name
            if pin.partition(":")[0] not in GROUPS or ":" not in pin:
                raise _wrong(
                    file,
                    f"prefer.{key}",
                    given,
                    f"names no group{suggest(pin, _SECTIONS)}",
                    'transports.NAME = "DISTRIBUTION"',
                )
            if not is_name(pin.partition(":")[2]):
                raise _wrong(file, f"prefer.{pin}", distribution, "has a name that nothing can have", _LETTERS)
            if not isinstance(distribution, str) or not is_name(distribution):
                raise _wrong(
                    file, f"prefer.{pin}", distribution, "must name a distribution", "a distribution's name, quoted"
                )
            pins[pin] = distribution
    return MappingProxyType(pins)


def _mapping(file: Path, key: str, value: object) -> Table:
    if isinstance(value, dict):
        return MappingProxyType(cast("dict[str, object]", value))
    raise _wrong(file, key, value, "must be a table", f"[{key}]")


def _wrong(  # noqa: PLR0917 -- each is a part of one sentence
    file: Path, key: str, value: object, what: str, expected: str, lead: str = "what would do:"
) -> ConfigError:
    from intercede.redaction import redacted  # noqa: PLC0415 -- for errors only

    return ConfigError(
        f"{file}: {key} {what}; {lead} {expected}",
        field=key,
        value=cast("dict[str, object]", redacted({key: value}))[key],
        expected=expected,
        where=str(file),
    )
