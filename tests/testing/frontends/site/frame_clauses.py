"""A few clauses for the tests of the front ends. Each is red if the subject says so."""

from intercede.contract.backend import Capability
from intercede.testing.model.clause import MUST, SHOULD, Clause, Level
from intercede.testing.run.context import Check, Context
from intercede.testing.run.driver import open_backend


def _check(clause_id: str) -> Check:
    async def check(context: Context) -> None:
        """Submit a job, and expect that the subject does not call the clause red."""
        async with open_backend(context) as backend:
            submission = await backend.submit(context.sh("exit 0"))
            await backend.wait_until_final(list(submission.handles.values()))
            if clause_id in getattr(backend.own, "red", ()):
                context.expect(condition=False, expected=f"{clause_id} to be green", observed="red as asked")

    return check


def _make_clause(
    clause_id: str, level: Level = MUST, capability: Capability | None = None, depends: tuple[str, ...] = ()
) -> Clause:
    return Clause(
        id=clause_id,
        title=f"The sentence of {clause_id}.",
        level=level,
        check=_check(clause_id),
        capability=capability,
        depends=depends,
        seconds=10,
        hint=f"the right place for {clause_id}",
    )


CLAUSES = {
    each.id: each
    for each in (
        _make_clause("IC-SHAPE-01"),
        _make_clause("IC-LIFE-11", SHOULD),
        _make_clause("IC-SUBMIT-01"),
        _make_clause("IC-SUBMIT-02", depends=("IC-SUBMIT-01",)),
        _make_clause("IC-STATUS-01", depends=("IC-SUBMIT-02",)),
        _make_clause("IC-OUTPUT-01", capability="output"),
    )
}
