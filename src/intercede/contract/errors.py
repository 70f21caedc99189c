"""The errors that intercede and its plugins raise on purpose.

::

    IntercedeError
      ConfigError                    the data that names or configures an object is wrong
      PluginError                    no plugin could be made for a name
        PluginNotFoundError            no plugin has that name
        PluginAmbiguousError           several distributions provide the name, and no pin chooses one
        PluginPinError                 a pin chooses a distribution that does not provide the name
        PluginDeniedError              the policy refuses the plugin, or credentials for the plugin
        PluginLoadError                importing or constructing the plugin failed
        PluginContractError            the object does not have the shape that the contract requires
      InvalidSpecError               the request itself is wrong: no job was started
      UnsupportedSpecError           this backend cannot do what the request asks for: no job was started
      NotOpenError                   a method was called outside the object's ``async with`` block
      ResourceError                  the resource or its connection failed; ``retryable`` says whether to try again
        TransportError                 the connection failed, or a command could not be started
        AuthenticationError            the login was refused
        SchedulerError                 the scheduler refused, or its answer is unusable
        LimitError                     the resource's own submission limit is reached: try again later

An error takes one positional string, which is the message for people. An error takes keywords as well, which become
attributes with the same facts for programs. Every error keeps its attributes when it is pickled.
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
        message: A text for people: the request, the facts, and what to do.
        attributes: The same facts for programs; each becomes an attribute.
    """

    def __init__(self, message: str = "", **attributes: object) -> None:
        super().__init__(message)
        # An error keeps its attributes when it is pickled, because BaseException pickles args and __dict__.
        self.__dict__.update(attributes)


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
    """No plugin could be made for the requested name."""

    group: str | None = None
    """The group of the plugin: ``backends``, ``transports`` or ``schedulers``."""
    name: str | None = None
    """The name of the plugin that was requested."""
    distribution: str | None = None
    """The distribution that provides the plugin, if it is known."""
    version: str | None = None
    """The version of ``distribution``."""
    target: str | None = None
    """The value of the plugin's entry point: ``module:attribute``."""


class PluginNotFoundError(PluginError):
    """No plugin has the requested name. The message lists the existing names and the most similar ones."""

    available: tuple[str, ...] = ()
    """The names of all plugins in ``group``."""


class PluginAmbiguousError(PluginError):
    """Several distributions provide the requested name, and no pin chooses one of them.

    The message lists, for each distribution, the pin that chooses the distribution.
    """

    pins: tuple[str, ...] = ()
    """For each candidate, the ``INTERCEDE_PREFER`` entry that chooses it."""


class PluginPinError(PluginError):
    """A pin chooses a distribution that does not provide the pinned name."""

    pin: str | None = None
    """The pin as the user wrote it, and the place where it is written."""


class PluginDeniedError(PluginError):
    """The policy does not allow the plugin, or the plugin may not receive credentials.

    A plugin that shadows a built-in may receive credentials only if the user has pinned the plugin.
    """


class PluginLoadError(PluginError):
    """Importing or constructing the plugin failed, for any reason. ``__cause__`` is the exception that was raised."""


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
    """A method was called outside the object's ``async with`` block."""


class ResourceError(IntercedeError):
    """The resource failed, or the connection to it failed.

    ``retryable`` is True if the same call may succeed later without any change by the caller.
    """

    retryable: bool = False


class TransportError(ResourceError):
    """The connection to a machine could not be made or was lost, or a command could not be started."""

    retryable: bool = True


class AuthenticationError(ResourceError):
    """The login was refused. Trying again with the same credentials does not help."""


class SchedulerError(ResourceError):
    """The scheduler refused a request, or its answer cannot be parsed. ``retryable`` is True in an outage."""

    refused: bool = False
    """True if the scheduler certainly refused the whole submission, so that no job has started or will start."""
    returncode: int | None = None
    """The exit code of the scheduler's command."""
    stderr: str | None = None
    """The last lines that the scheduler's command wrote to stderr."""


class LimitError(ResourceError):
    """The resource's own submission limit is reached: wait for jobs to end, then try again."""

    retryable: bool = True
