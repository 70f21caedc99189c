"""The errors that intercede and its plugins raise on purpose.

::

    IntercedeError
      ConfigError                    the data that names or configures an object is wrong
      PluginError                    no working object could be made from the name of a plugin
        PluginNotFoundError            no plugin has that name
        PluginAmbiguousError           several distributions provide it, and no pin decides
        PluginPinError                 a pin names a distribution that does not provide the name
        PluginDeniedError              policy refuses the plugin
        PluginLoadError                importing or constructing the plugin failed
        PluginContractError            the object does not have the shape that the contract requires
      InvalidSpecError               the request itself is wrong: no job was started
      UnsupportedSpecError           this backend cannot do that: no job was started
      NotOpenError                   a verb was called before entering or after leaving
      ResourceError                  the resource failed or the connection to it failed; says whether to try again
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
        self.__dict__.update(attributes)  # BaseException pickles args and __dict__, so an error keeps its attributes


class ConfigError(IntercedeError):
    """A configuration is invalid.

    For example, an option is unknown or has a wrong type, or a table has neither ``type`` nor ``transport`` and
    ``scheduler``.
    """

    field: str | None = None
    """The invalid key. A key of an inner table is written with dots."""
    value: object = None
    """The value of the invalid key."""
    expected: str | None = None
    """A description of valid values."""
    where: str | None = None
    """The file or the argument that has the invalid key."""


class PluginError(IntercedeError):
    """No working object could be made from the name of a plugin."""

    group: str | None = None
    """``backends``, ``transports`` or ``schedulers``."""
    name: str | None = None
    """The name of the plugin that was requested."""
    distribution: str | None = None
    """The distribution that provides the plugin, if it is known."""
    version: str | None = None
    """The version of the distribution."""
    target: str | None = None
    """The value of the entry point, ``module:attribute``."""


class PluginNotFoundError(PluginError):
    """No plugin has the requested name. The message lists the existing names and the most similar ones."""

    available: tuple[str, ...] = ()
    """All names in the group."""


class PluginAmbiguousError(PluginError):
    """Several distributions provide the name, and no pin chooses one. The message lists a pin for each."""

    pins: tuple[str, ...] = ()
    """For each candidate, the ``INTERCEDE_PREFER`` entry that chooses it."""


class PluginPinError(PluginError):
    """A pin names a distribution that does not provide the name."""

    pin: str | None = None
    """The pin as the user wrote it, and the place where it is written."""


class PluginDeniedError(PluginError):
    """The policy does not allow the plugin, or the plugin is not pinned and so does not get credentials."""


class PluginLoadError(PluginError):
    """Importing or constructing the plugin failed, for any reason. ``__cause__`` is the exception that it raised."""


class PluginContractError(PluginError):
    """The object of a plugin does not have the methods that the contract requires. The message lists all violations."""

    violations: tuple[str, ...] = ()
    """The violations of the contract, one sentence each."""


class InvalidSpecError(IntercedeError):
    """The request is invalid for any backend, such as ``copies`` < 1 or a missing local input. No job was started."""

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
    """A verb was called before the object was entered, or after it was left."""


class ResourceError(IntercedeError):
    """The resource failed, or the connection to it failed.

    ``retryable`` is True if the same call may succeed later without any change on our side.
    """

    retryable: bool = False


class TransportError(ResourceError):
    """The connection to a machine could not be made or was lost, or a command could not be started."""

    retryable: bool = True


class AuthenticationError(ResourceError):
    """The login was refused. Trying again with the same credentials does not help."""


class SchedulerError(ResourceError):
    """The scheduler refused a request, or its answer cannot be parsed. ``retryable`` is True for an outage."""

    refused: bool = False
    """True if the scheduler certainly refused the whole submission, so that no job has started or will start."""
    returncode: int | None = None
    """The exit code of the scheduler's command."""
    stderr: str | None = None
    """The last lines that the scheduler's command wrote to stderr."""


class LimitError(ResourceError):
    """The resource's own submission limit is reached: wait for jobs to end, then try again."""

    retryable: bool = True
