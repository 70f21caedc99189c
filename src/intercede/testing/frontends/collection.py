"""The clauses as pytest items: an area is a module that lies in no file, a check a genuinely parametrised function.

Paths to packaged files were tried and failed in eleven ways: the user's ``python_files`` and ``python_functions``, the
user's asyncio mode, node ids that depend on where the environment lies.
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

__all__ = ["SUBJECT", "Area", "areas"]

SUBJECT = "_intercede_subject"
"""The parameter of every check."""


class Area(pytest.Module):
    """The clauses of one area."""

    run: Callable[[Clause, str], None]
    clauses: dict[str, Clause]
    wanted: frozenset[str]
    multiplied = False
    """Whether somebody gave its checks further parameters. Such items are other ones, and none of them is wanted."""

    @classmethod
    def of(
        cls,
        session: pytest.Session,
        clauses: Iterable[Clause],
        wanted: frozenset[str],
        run: Callable[[Clause, str], None],
    ) -> "Area":
        """Make the area of some clauses.

        Args:
            session: The parent.
            clauses: All of one area.
            wanted: The node ids to collect.
            run: Runs the check of a clause on the subject of an id.
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
        # Plugins that run a test in several threads at once run this one in the main thread, where it can guard the process.
        return pytest.mark.thread_unsafe(reason="checks share an event loop")(marked(check))

    def istestfunction(self, obj: object, name: str) -> bool:  # noqa: ARG002 -- pytest's signature
        """Whatever the user's python_functions says."""
        return name in self.clauses

    def istestclass(self, obj: object, name: str) -> bool:  # noqa: ARG002 -- as above
        """There are none."""
        return False

    def collect(self) -> Iterator[pytest.Item]:
        """Collect the wanted checks, whose path is then the file that each really lies in: --nf asks for its age."""
        for item in super().collect():
            if isinstance(item, pytest.Function):
                self.multiplied |= item.callspec.params.keys() != {SUBJECT}
            if isinstance(item, pytest.Function) and item.nodeid in self.wanted:
                item.path = Path(inspect.getfile(self.clauses[item.originalname].check))
                yield item


def areas(session: pytest.Session, wanted: frozenset[str], run: Callable[[Clause, str], None]) -> Iterator[Area]:
    """Yield the areas that hold wanted checks, in the contract's order, what is below a backend first."""
    ordered = sorted(CLAUSES.values(), key=lambda each: each.role == "backend")
    for _, clauses in groupby(ordered, key=lambda each: each.area):
        some = list(clauses)
        if any(node.startswith(f"{ROOT}/{some[0].area}::") for node in wanted):
            yield Area.of(session, some, wanted, run)
