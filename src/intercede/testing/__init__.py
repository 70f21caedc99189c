"""The inspector: does a backend keep the contract? ``pytest --intercede-backend=NAME`` asks it, and so may a program.

::

    from intercede.testing import run_checks

    if __name__ == "__main__":  # some checks make the backend in a child process, which loads this file
        report = run_checks(MyBackend)
        print(report.line)  # intercede: MyBackend is CONFORMANT to contract 1.0, full: ...

The names are loaded when they are first asked for.
"""

TYPE_CHECKING = False  # importing typing for it would cost more than this module
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

_HOMES = ("model.clause", "model.verdict", "run.context", "clauses", "frontends.check")  # the last loads every check


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for."""
    from importlib import import_module  # noqa: PLC0415 -- not before a name is asked for

    for home in _HOMES if name in __all__ else ():
        module = import_module(f"{__name__}.{home}")
        if name in module.__all__:
            value: object = getattr(module, name)
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the names that are loaded when they are first asked for, too."""
    return sorted({*globals(), *__all__})
