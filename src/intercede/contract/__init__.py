"""The contract, version 1.0: the types and protocols that plugins implement and programs use.

A plugin needs no other module of intercede: ``from intercede.contract import JobHandle, Submission, ...``. The package
``intercede.plugin_tools`` has functions that many plugins use.

Each name is loaded when it is first used, so that reading metadata or raising an error does not load pydantic.
"""

TYPE_CHECKING = False  # an import of typing would take longer than all of this module
if TYPE_CHECKING:
    from intercede.contract.backend import *
    from intercede.contract.credentials import *
    from intercede.contract.errors import *
    from intercede.contract.job import *
    from intercede.contract.scheduler import *
    from intercede.contract.transport import *

VERSION = "1.0"
"""The version of the contract. Each verdict of the conformance kit applies to one version of the contract."""

__all__ = [
    "CAPABILITIES",
    "VERSION",
    "AuthenticationError",
    "Batch",
    "ByteSink",
    "Cancellable",
    "Capability",
    "Certificate",
    "CommandResult",
    "ConfigError",
    "ContainerSpec",
    "CopyFailure",
    "CopyVars",
    "Credential",
    "CredentialKind",
    "CredentialNeed",
    "CredentialProvider",
    "CredentialSet",
    "Diagnostics",
    "FileRef",
    "Findable",
    "FreshCredentials",
    "IntercedeError",
    "InvalidSpecError",
    "JobBackend",
    "JobCounts",
    "JobHandle",
    "JobOutput",
    "JobState",
    "JobStatus",
    "LimitError",
    "LiveDiagnostics",
    "LoadReporter",
    "Monitor",
    "NotOpenError",
    "OpOutcome",
    "OutputMember",
    "OutputRetriever",
    "OutputSpec",
    "Password",
    "PluginAmbiguousError",
    "PluginContractError",
    "PluginDeniedError",
    "PluginError",
    "PluginLoadError",
    "PluginNotFoundError",
    "PluginPinError",
    "PrivateKey",
    "Purgeable",
    "Queued",
    "ResourceError",
    "Resources",
    "Scheduler",
    "SchedulerError",
    "Submission",
    "SubmissionSpec",
    "Submitter",
    "Token",
    "ToolEnvironment",
    "Transport",
    "TransportError",
    "UnsupportedSpecError",
    "capabilities",
    "each_copy",
    "each_handle",
]

# Each module imports only modules that are before it in this tuple.
_MODULES = ("errors", "job", "credentials", "transport", "scheduler", "backend")


def __getattr__(name: str) -> object:
    """Load a name of the contract when the name is first used, and return its value."""
    from importlib import import_module  # noqa: PLC0415 -- not before a name is used

    for noun in _MODULES if name in __all__ else ():
        module = import_module(f"{__name__}.{noun}")
        if name in module.__all__:
            value: object = getattr(module, name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return all names of this module, including the names that are not loaded yet."""
    return sorted({*globals(), *__all__})
