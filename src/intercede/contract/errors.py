"""Every error that intercede and its plugins raise on purpose.

::

    IntercedeError
      ConfigError                    the data that names or configures something is wrong
      PluginError                    a name could not become a working object
        PluginNotFoundError            nothing bears that name
        PluginAmbiguousError           several distributions do, and nothing decides
        PluginPinError                 a pin names what is not there
        PluginDeniedError              policy refuses it
        PluginLoadError                importing or constructing it failed
        PluginContractError            it came up, and does not have the contract's shape
      InvalidSpecError               the request itself is wrong: nothing started
      UnsupportedSpecError           this backend cannot do that: nothing started
      NotOpenError                   a verb before entering or after leaving
      ResourceError                  the resource, or the way to it, failed; says whether to try again
        TransportError                 the way there: connection lost, command could not be started
        AuthenticationError            we were not let in
        SchedulerError                 the scheduler refused or could not answer
        LimitError                     the resource's own submission limit: try again later

One positional string, the rest as keywords, which become attributes: what the message tells a person, the
attributes tell a program. Every error survives pickling with its attributes.
"""

__all__ = [
    "AuthenticationError",
    "ConfigError",
    "IntercedeError",
    "InvalidSpecError",
    "LimitError",
    "NotOpenError",
    "PluginAmbiguousError",
    "PluginContractError",
    "PluginDeniedError",
    "PluginError",
    "PluginLoadError",
    "PluginNotFoundError",
    "PluginPinError",
    "ResourceError",
    "SchedulerError",
    "TransportError",
    "UnsupportedSpecError",
]


class IntercedeError(Exception):
    """The root: whatever intercede raises on purpose.

    Args:
        message: What was asked, what exists, what to do.
        attributes: The same for programs; each becomes an attribute.
    """

    def __init__(self, message: str = "", **attributes: object) -> None:
        super().__init__(message)
        self.__dict__.update(attributes)  # BaseException pickles args and __dict__, so both survive


class ConfigError(IntercedeError):
    """Data is wrong: an unknown option, a wrong type, both or neither of type and transport with scheduler."""

    field: str | None = None
    """The key that is wrong, dotted where it is nested."""
    value: object = None
    """What was given there."""
    expected: str | None = None
    """What would do."""
    where: str | None = None
    """The file or the argument that held it."""


class PluginError(IntercedeError):
    """A name could not become a working object."""

    group: str | None = None
    """``backends``, ``transports`` or ``schedulers``."""
    name: str | None = None
    """The name that was asked for."""
    distribution: str | None = None
    """The distribution that provides it, where one is known."""
    version: str | None = None
    """Its version."""
    target: str | None = None
    """Its entry point's value, ``module:attribute``."""


class PluginNotFoundError(PluginError):
    """Nothing bears that name. The message lists the names there are and the nearest."""

    available: tuple[str, ...] = ()
    """Every name of that group."""


class PluginAmbiguousError(PluginError):
    """Several distributions provide the name and no pin decides. The message lists each with its pin."""

    pins: tuple[str, ...] = ()
    """For each candidate, the ``INTERCEDE_PREFER`` entry that would choose it."""


class PluginPinError(PluginError):
    """A pin names a distribution that does not provide the name."""

    pin: str | None = None
    """The pin as it was written, and where."""


class PluginDeniedError(PluginError):
    """Policy refuses the plugin, or refuses to hand it credentials before it is pinned."""


class PluginLoadError(PluginError):
    """Importing or constructing the plugin failed, in whatever way. ``__cause__`` is what it raised."""


class PluginContractError(PluginError):
    """The object came up and does not have the contract's shape. All violations are listed at once."""

    violations: tuple[str, ...] = ()
    """One sentence each."""


class InvalidSpecError(IntercedeError):
    """The request itself is wrong, for any backend: ``copies`` < 1, a missing local input. Nothing started."""

    field: str | None = None
    """The part of the request that is wrong."""
    value: object = None
    """What was given there."""


class UnsupportedSpecError(IntercedeError):
    """This backend cannot do what the request asks for. Nothing started."""

    field: str | None = None
    """The part of the request that it cannot honour."""
    value: object = None
    """What was given there."""


class NotOpenError(IntercedeError):
    """A verb was awaited before entering the object or after leaving it."""


class ResourceError(IntercedeError):
    """The resource failed, or the way to it.

    ``retryable`` is True where the same call may succeed later with nothing changed on our side.
    """

    retryable: bool = False


class TransportError(ResourceError):
    """The way there failed: no connection, a lost connection, a command that could not be started."""

    retryable: bool = True


class AuthenticationError(ResourceError):
    """We were not let in. Trying again with the same credentials makes no sense."""


class SchedulerError(ResourceError):
    """The scheduler refused, or its answer cannot be understood. ``retryable`` is True for an outage."""

    refused: bool = False
    """True where a submission was refused as a whole, for certain: nothing of it can have started or will."""
    returncode: int | None = None
    """The exit code of its command."""
    stderr: str | None = None
    """The last lines that it wrote to stderr."""


class LimitError(ResourceError):
    """The resource's own limit on submissions is reached: wait for jobs to end, then try again."""

    retryable: bool = True
