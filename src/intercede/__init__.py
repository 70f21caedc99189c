"""intercede: typed, async access to batch systems and Computing Elements, through plugins that a test kit checks.

    from intercede import SubmissionSpec, registry

    async with registry.backend({"transport": "local", "scheduler": "direct"}) as backend:
        submission = await backend.submit(SubmissionSpec(executable="hostname"), copies=10)

The public names of ``intercede.contract`` are here as well. Each is loaded at its first use.
"""

from intercede import contract as contract

TYPE_CHECKING = False  # importing typing would cost more than this whole module
if TYPE_CHECKING:
    from intercede import registry as registry
    from intercede.contract import *

__version__ = "0.1.0"

__all__ = ["__version__", "contract", "registry"]
__all__ += contract.__all__


def __getattr__(name: str) -> object:
    """Load a public name at its first use."""
    if name in contract.__all__:
        return getattr(contract, name)
    if name == "registry":
        import intercede.registry  # noqa: PLC0415 -- at its first use; importlib would cost as much again

        return intercede.registry
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return all public names, even those that are not loaded yet."""
    return sorted({*globals(), *__all__})
