"""Every error that intercede and its plugins raise on purpose.

::

    IntercedeError
      ConfigError                    the data that names or configures an object is wrong
      PluginError                    a name did not lead to a working object
        PluginNotFoundError            no plugin has that name
        PluginAmbiguousError           several distributions provide it, and no pin decides
        PluginPinError                 a pin names a distribution that does not provide the name
        PluginDeniedError              policy refuses the plugin
        PluginLoadError                importing or constructing the plugin failed
        PluginContractError            the object does not have the shape that the contract requires
      InvalidSpecError               the request itself is wrong: no job was started
      UnsupportedSpecError           this backend cannot do that: no job was started
      NotOpenError                   a verb was called before entering or after leaving
      ResourceError                  the resource or the connection to it failed; says whether to try again
        TransportError                 the connection failed, or a command could not be started
        AuthenticationError            the login was refused
        SchedulerError                 the scheduler refused, or its answer is unusable
        LimitError                     the resource's own submission limit is reached: try again later

An error takes one positional string, for people, and keywords, which become attributes with the same facts for
programs. Every error survives pickling with its attributes.
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
    """The root of all errors that intercede raises on purpose.

    Args:
        message: The request, the facts, and what to do.
        attributes: The same facts for programs; each becomes an attribute.
    """

    def __init__(self, message: str = "", **attributes: object) -> None:
        super().__init__(message)
        self.__dict__.update(attributes)  # BaseException pickles args and __dict__, so both survive


class ConfigError(IntercedeError):
    """Data is wrong: an unknown option, a wrong type, both or neither of type and transport with scheduler."""

    field: str | None = None
    """The invalid key. A key of an inner table is written with dots."""
    value: object = None
    """The value of the invalid key."""
    expected: str | None = None
    """A description of valid values."""
    where: str | None = None
    """The file or the argument that has the invalid key."""


class PluginError(IntercedeError):
    """A name did not lead to a working object."""

    group: str | None = None
    """``backends``, ``transports`` or ``schedulers``."""
    name: str | None = None
    """The requested name."""
    distribution: str | None = None
    """The distribution that provides the plugin, if it is known."""
    version: str | None = None
    """The version of the distribution."""
    target: str | None = None
    """The value of the entry point, ``module:attribute``."""


class PluginNotFoundError(PluginError):
    """No plugin has that name. The message lists the existing names and the most similar ones."""

    available: tuple[str, ...] = ()
    """All names in the group."""


class PluginAmbiguousError(PluginError):
    """Several distributions provide the name and no pin decides. The message lists each with its pin."""

    pins: tuple[str, ...] = ()
    """For each candidate, the ``INTERCEDE_PREFER`` entry that chooses it."""


class PluginPinError(PluginError):
    """A pin names a distribution that does not provide the name."""

    pin: str | None = None
    """The pin in its original form, and its source."""


class PluginDeniedError(PluginError):
    """Policy refuses the plugin, or refuses to pass credentials to it before it is pinned."""


class PluginLoadError(PluginError):
    """Importing or constructing the plugin failed, for any reason. ``__cause__`` is the exception that it raised."""


class PluginContractError(PluginError):
    """The object does not have the shape that the contract requires. All violations are listed at once."""

    violations: tuple[str, ...] = ()
    """The violations of the contract, one sentence each."""


class InvalidSpecError(IntercedeError):
    """The request itself is wrong, for any backend: ``copies`` < 1, a missing local input. No job was started."""

    field: str | None = None
    """The field of the request that is invalid."""
    value: object = None
    """The value of the invalid field."""


class UnsupportedSpecError(IntercedeError):
    """This backend cannot do what the request asks for. No job was started."""

    field: str | None = None
    """The field of the request that the backend does not support."""
    value: object = None
    """The value of the unsupported field."""


class NotOpenError(IntercedeError):
    """A verb was awaited before entering the object or after leaving it."""


class ResourceError(IntercedeError):
    """The resource failed, or the connection to it.

    ``retryable`` is True if the same call may succeed later without any change on our side.
    """

    retryable: bool = False


class TransportError(ResourceError):
    """The connection failed: none could be made, it was lost, or a command could not be started."""

    retryable: bool = True


class AuthenticationError(ResourceError):
    """The login was refused. Trying again with the same credentials does not help."""


class SchedulerError(ResourceError):
    """The scheduler refused, or its answer is unusable. ``retryable`` is True for an outage."""

    refused: bool = False
    """True if the scheduler has certainly refused the submission as a whole: no job has started or will start."""
    returncode: int | None = None
    """The exit code of the scheduler's command."""
    stderr: str | None = None
    """The last lines that the command wrote to stderr."""


class LimitError(ResourceError):
    """The resource's own submission limit is reached: wait for jobs to end, then try again."""

    retryable: bool = True
