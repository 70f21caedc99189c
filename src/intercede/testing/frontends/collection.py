"""The clauses as pytest items. Each area is a pytest module that has no file. Each check is a parametrized function.

Files inside the package were tried first. The files failed in eleven ways, such as by the user's ``python_files`` and
``python_functions``, by the user's asyncio mode, and by node ids that depend on the path of the environment.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from types import ModuleType

import pytest

from intercede.testing.clauses import CLAUSES
from intercede.testing.frontends.plan import ROOT
from intercede.testing.model.clause import Clause

__all__ = ["SUBJECT", "Area", "collect_areas"]

SUBJECT = "_intercede_subject"
"""The name of the parameter that each check has: the id of the subject."""


class Area(pytest.Module):
    """The clauses of one area, as a module of pytest."""

    run: Callable[[Clause, str], None]
    clauses: dict[str, Clause]
    wanted: frozenset[str]
    has_parameters = False
    """Whether another pytest plugin has added parameters to the checks.

    If so, the node ids of the checks differ from the node ids in the plan.
    """

    @classmethod
    def from_clauses(
        cls,
        session: pytest.Session,
        clauses: Iterable[Clause],
        wanted: frozenset[str],
        run: Callable[[Clause, str], None],
    ) -> "Area":
        """Make the area of clauses.

        Args:
            session: The parent of the area.
            clauses: The clauses, all of one area.
            wanted: The node ids of the checks to collect.
            run: Runs the check of a clause on the subject with an id.
        """
        some = {each.id: each for each in clauses}
        name = next(iter(some.values())).area
        path = session.config.rootpath / ROOT / name
        area = cls.from_parent(session, path=path)  # pyright: ignore[reportUnknownMemberType] -- pytest leaves its parent untyped
        area.clauses, area.wanted, area.run = some, wanted, run
        return area

    def _getobj(self) -> ModuleType:
        module = ModuleType(self.name, "Clauses of the intercede contract.")
        for clause in self.clauses.values():
            setattr(module, clause.id, self._function(clause))
        return module

    def _function(self, clause: Clause) -> Callable[[str], None]:
        def check(_intercede_subject: str) -> None:
            self.run(clause, _intercede_subject)

        check.__doc__ = clause.title
        marked = pytest.mark.intercede(level=clause.level.value, area=clause.area, capability=clause.capability)
        # Plugins that run tests in several threads run a test with the mark ``thread_unsafe`` in the main thread.
        return pytest.mark.thread_unsafe(reason="checks share an event loop")(marked(check))

    def istestfunction(self, obj: object, name: str) -> bool:  # noqa: ARG002 -- pytest's signature
        """Return whether a function is a check. The user's setting ``python_functions`` is ignored."""
        return name in self.clauses

    def istestclass(self, obj: object, name: str) -> bool:  # noqa: ARG002 -- as above
        """Return False, since an area has no classes."""
        return False

    def collect(self) -> Iterator[pytest.Item]:
        """Yield the wanted checks as items.

        The path of each item is the source file of its check, because ``--nf`` sorts the items by the age of the file.
        """
        for item in super().collect():
            if isinstance(item, pytest.Function):
                self.has_parameters |= item.callspec.params.keys() != {SUBJECT}
            if isinstance(item, pytest.Function) and item.nodeid in self.wanted:
                item.path = Path(inspect.getfile(self.clauses[item.originalname].check))
                yield item


def collect_areas(
    session: pytest.Session, wanted: frozenset[str], run: Callable[[Clause, str], None]
) -> Iterator[Area]:
    """Yield the areas that have wanted checks, in the contract's order. Areas of backends come last."""
    ordered = sorted(CLAUSES.values(), key=lambda each: each.role == "backend")
    for _, clauses in groupby(ordered, key=lambda each: each.area):
        some = list(clauses)
        if any(node.startswith(f"{ROOT}/{some[0].area}::") for node in wanted):
            yield Area.from_clauses(session, some, wanted, run)
