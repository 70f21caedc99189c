"""The functions of the kit that call a subject: an exception that comes straight out of a call is the subject's."""

import ast
import asyncio
from collections.abc import Awaitable
from pathlib import Path

import pytest

from intercede import testing
from intercede.testing import State, run_checks
from intercede.testing.gallery.fake import FakeBackend
from intercede.testing.run import finding

KIT = Path(testing.__file__).parent
STAGES = ("isolation", "subjects", "run", "clauses")


def list_functions() -> set[str]:
    """Return the names of all functions of the stages that may call a subject."""
    trees = [ast.parse(path.read_text()) for stage in STAGES for path in (KIT / stage).rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_the_callers_of_a_subject_are_functions_of_the_kit() -> None:
    """If a function is renamed, the list that says who calls a subject names it still, unless this test is red."""
    callers = finding._CALLERS

    assert callers - list_functions() == {"<lambda>"}


class RaisesInTheCall(FakeBackend):
    """Calls a builtin for a verb, whose exception has no frame of the subject's."""

    submit = staticmethod(int)  # type: ignore[assignment]  # the mistake


class AnswersWithAFailure(FakeBackend):
    """Answers with a future that has failed, so that the exception is raised where the kit awaits it."""

    def submit(self, *_: object, **__: object) -> Awaitable[None]:  # type: ignore[override]  # the mistake
        """Return a failed future."""
        answer = asyncio.get_running_loop().create_future()
        answer.set_exception(ConnectionError("closed"))
        return answer


@pytest.mark.parametrize("subject", [RaisesInTheCall, AnswersWithAFailure])
def test_an_exception_without_a_frame_of_the_subject_is_its_own(subject: type[FakeBackend]) -> None:
    """The check has failed, and is no error of the kit."""
    result = run_checks(subject, ["IC-SUBMIT-01"]).results["IC-SUBMIT-01"]

    assert (result.state, result.expected) == (State.FAILED, "no exception")
