"""The clauses of the contract, each with the check that shows whether a subject keeps it.

::

    @clause("IC-STATUS-02", title="None asked, none answered.", level=MUST, hint="an early return for no handles")
    async def check_nothing(context: Context) -> None:
        async with open_backend(context) as backend:
            statuses = await backend.get_statuses([])
            context.expect(not statuses, expected="an empty mapping", observed=statuses)
"""

import re
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from intercede.contract.backend import Capability
from intercede.testing.model.clause import Clause, Level
from intercede.testing.run.context import Check

__all__ = ["CLAUSES", "clause"]

CLAUSES: Mapping[str, Clause]
"""Every clause by its id, in the order of the contract. The checks are imported when CLAUSES is first used."""

_BACKEND = ("SHAPE", "LIFE", "SUBMIT", "HANDLE", "STATUS", "OUTPUT", "KILL", "PURGE", "LOAD", "FIND", "DIAG")
_AREAS = (*_BACKEND, "TRANSPORT", "SCHEDULER")
_ROLES = ("backend", "transport", "scheduler")
"""The packages that hold the checks, one package for each role. Each module holds one group of clauses."""
_ID = re.compile(rf"IC-({'|'.join(_AREAS)})-\d\d")
_registered: dict[str, Clause] = {}


def clause(
    clause_id: str,
    *,
    title: str,
    level: Level,
    capability: Capability | None = None,
    also_needs: Iterable[Capability] = (),
    depends: Iterable[str] = (),
    exclusive: bool = False,
    hint: str = "",
    since: str = "1.0",
    seconds: float = 60,
    jobs: int = 4,
) -> Callable[[Check], Check]:
    """Register a coroutine function as the check of one clause.

    The clause applies to a subject that claims ``capability`` and each of ``also_needs``.

    Raises:
        ValueError: The id is invalid, or another check has it.
    """
    if not _ID.fullmatch(clause_id) or clause_id in _registered:
        raise ValueError(f"{clause_id!r} must match {_ID.pattern} and have one check only")

    def register(check: Check) -> Check:
        _registered[clause_id] = Clause(
            id=clause_id,
            title=title,
            level=level,
            check=check,
            capability=capability,
            also_needs=tuple(also_needs),
            depends=tuple(depends),
            exclusive=exclusive,
            hint=hint,
            since=since,
            seconds=seconds,
            jobs=jobs,
        )
        return check

    return register


def __getattr__(name: str) -> object:
    """Import the checks when CLAUSES is first used."""
    if name != "CLAUSES":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for role in _ROLES:
        package = import_module(f"{__name__}.{role}")
        for module in iter_modules(package.__path__):
            import_module(f"{package.__name__}.{module.name}")
    ordered = sorted(_registered.values(), key=lambda each: (_AREAS.index(each.area.upper()), each.id))
    globals()["CLAUSES"] = loaded = MappingProxyType({each.id: each for each in ordered})
    return loaded
