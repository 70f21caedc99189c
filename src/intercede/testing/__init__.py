"""The conformance kit: it checks whether a plugin keeps the contract. ``pytest --intercede-backend=NAME`` runs it.

A program can run it as well::

    from intercede.testing import run_checks

    if __name__ == "__main__":  # some checks make the backend in a child process, which loads this file
        report = run_checks(MyBackend)
        print(report.line)  # intercede: MyBackend is CONFORMANT to contract 1.0, full: ...

Each name is imported when it is first used.
"""

TYPE_CHECKING = False  # importing this name from typing would take longer than importing this module
if TYPE_CHECKING:
    from intercede.testing.clauses import clause
    from intercede.testing.frontends.check import check_backend, check_scheduler, check_transport, run_checks
    from intercede.testing.model.clause import MUST, SHOULD, Clause, Level
    from intercede.testing.model.verdict import Report, Result, State, Verdict
    from intercede.testing.run.context import CheckFailed, Context

__all__ = [
    "MUST",
    "SHOULD",
    "CheckFailed",
    "Clause",
    "Context",
    "Level",
    "Report",
    "Result",
    "State",
    "Verdict",
    "check_backend",
    "check_scheduler",
    "check_transport",
    "clause",
    "run_checks",
]

_HOMES = (
    "model.clause",
    "model.verdict",
    "run.context",
    "clauses",
    "frontends.check",
)  # importing the last one imports every check


def __getattr__(name: str) -> object:
    """Import a public name when it is first used."""
    from importlib import import_module  # noqa: PLC0415 -- only if a name is used

    for home in _HOMES if name in __all__ else ():
        module = import_module(f"{__name__}.{home}")
        if name in module.__all__:
            value: object = getattr(module, name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return all names of this module, with the public ones that are not imported yet."""
    return sorted({*globals(), *__all__})
