"""``Plugin``, a candidate for a name, and the rules for names.

This module imports nothing slow, and no other module of intercede.
"""

from _collections_abc import Iterable  # importing collections.abc would load all of collections

TYPE_CHECKING = False  # importing typing would cost more than scanning a small environment
if TYPE_CHECKING:
    from typing import Literal, Never

    Status = Literal["active", "pinned", "shadowed", "ambiguous", "denied", "ignored", "malformed"]
else:
    # typing.get_type_hints can evaluate the annotations only if the names in them exist at run time.
    Status, Never = str, None

__all__ = ["GROUPS", "OURS", "Plugin", "canonicalize_name", "how_to_install", "is_name", "suggest"]

GROUPS = ("backends", "schedulers", "transports")
"""The groups of plugins. The entry-point group of each is ``intercede.<group>``."""
OURS = "intercede"
"""The name of the distribution that provides the built-ins."""


class Plugin:
    """A candidate for a name: an entry point, its distribution, and its status. A ``Plugin`` is read-only.

    ``vars(plugin)`` has exactly the fields below, all of basic types.
    """

    group: str
    """``backends``, ``transports`` or ``schedulers``."""
    name: str
    """The entry point's name."""
    target: str
    """The entry point's value, ``module:attribute``."""
    distribution: str
    """The distribution that provides the candidate, in the form of PEP 503."""
    version: str
    """The version in the metadata, or an empty text if there is none."""
    location: str
    """The path of the distribution's metadata."""
    builtin: bool
    """True if the candidate is a built-in of the running intercede."""
    status: "Status"
    """``active``, ``pinned``, ``shadowed``, ``ambiguous``, ``denied``, ``ignored`` or ``malformed``."""
    reason: str
    """The reason for the status, as one sentence."""

    def __init__(
        self,
        *,
        group: str,
        name: str,
        target: str,
        distribution: str,
        version: str,
        location: str,
        builtin: bool,
        status: "Status" = "active",
        reason: str = "",
    ) -> None:
        self.__dict__.update(
            group=group,
            name=name,
            target=target,
            distribution=distribution,
            version=version,
            location=location,
            builtin=builtin,
            status=status,
            reason=reason,
        )

    def with_status(self, status: "Status", reason: str, version: str | None = None) -> "Plugin":
        """Return a copy with another status and the reason for it, and another version if one is given."""
        copy = Plugin.__new__(Plugin)
        version = self.version if version is None else version
        copy.__dict__.update(vars(self), status=status, reason=reason, version=version)
        return copy

    @property
    def provider(self) -> str:
        """The name and version of the distribution."""
        return f"{self.distribution} {self.version}".rstrip()

    @property
    def pin(self) -> str:
        """The setting of ``INTERCEDE_PREFER`` that pins this candidate, as text for a shell."""
        return f"INTERCEDE_PREFER={self.group}:{self.name}={self.distribution}"

    @property
    def error_attributes(self) -> dict[str, str]:
        """The facts about this candidate that an error has as its attributes, such as distribution and version."""
        return {
            "group": self.group,
            "name": self.name,
            "distribution": self.distribution,
            "version": self.version,
            "target": self.target,
        }

    def __setattr__(self, name: str, value: object) -> "Never":
        raise AttributeError(f"a Plugin is read-only: {name} cannot be set")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plugin) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def __repr__(self) -> str:
        return f"Plugin({', '.join(f'{field}={value!r}' for field, value in vars(self).items())})"


def canonicalize_name(name: str) -> str:
    """Return a distribution's name in the form of PEP 503: ``My._Plug`` becomes ``my-plug``."""
    name = name.lower().replace("_", "-").replace(".", "-")
    while "--" in name:
        name = name.replace("--", "-")
    return name


def how_to_install(extra: str = "") -> str:
    """Return a command that installs intercede from a path, because another project has the name intercede on PyPI."""
    return f'pip install "intercede{f"[{extra}]" if extra else ""} @ file:///path/to/intercede"'


def is_name(text: str) -> bool:
    """Return whether a text is a valid name of a plugin: ``[A-Za-z0-9][A-Za-z0-9._-]*``."""
    return text.isascii() and text[:1].isalnum() and text.replace(".", "").replace("_", "").replace("-", "").isalnum()


def suggest(word: str, words: "Iterable[str]") -> str:
    """Return ``; did you mean 'x'?`` with the most similar word, or an empty string if none is similar."""
    from difflib import get_close_matches  # noqa: PLC0415 -- it loads re and collections, and only errors need it

    found = get_close_matches(word, list(words), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""
