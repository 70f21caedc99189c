"""A red check shows the calls that matter, and not each of its polls."""

from typing import Self

from tests.testing.memory import Memory, make_clauses

from intercede.testing.clauses import CLAUSES
from intercede.testing.frontends.check import run_checks
from intercede.testing.model.calls import Call
from intercede.testing.model.verdict import State
from intercede.testing.run.context import Context
from intercede.testing.run.driver import open_backend
from intercede.testing.run.finding import Finding, format_failure

FOUND = Finding(State.FAILED, "a", "b")


def _list_lines(calls: list[Call]) -> list[str]:
    text = format_failure(CLAUSES["IC-KILL-10"], FOUND, calls=calls)
    return [line.strip() for line in text.partition("the calls it made:\n")[2].partition("hint:")[0].splitlines()]


def test_polls_in_a_row_take_one_line() -> None:
    """Equal polls in a row are one line with their number, and a different answer has its own line."""
    polls = [Call("status", "[1]", start=1 + n, seconds=0.5, outcome="RUNNING") for n in range(50)]
    lines = _list_lines(
        [Call("submit", "payload", start=0.0, outcome="[1]"), *polls, Call("status", "[1]", 60.0, outcome="DONE")]
    )

    assert lines == [
        "0.000 s  submit(payload): [1]",
        "1.000 s  status([1]): RUNNING after 0.500 s (50 times in a row)",
        "60.000 s  status([1]): DONE",
    ]


def test_the_first_and_last_of_many_calls_are_shown() -> None:
    """A long list of calls shows the first and the last ones, and says how many are left out."""
    lines = _list_lines([Call("submit", f"{number}", start=0.0, outcome="ok") for number in range(100)])

    assert lines[0] == "0.000 s  submit(0): ok"
    assert lines[10] == "... 60 others"
    assert lines[-1] == "0.000 s  submit(99): ok"
    assert len(lines) == 41


class LosesAVerb(Memory):
    """A backend that has ``kill`` when it is loaded, and no longer when it is open."""

    is_open = False

    async def __aenter__(self) -> Self:
        """Lose the verb."""
        self.is_open = True
        return self

    def __getattribute__(self, name: str) -> object:
        """Look an attribute up."""
        if name == "kill" and super().__getattribute__("is_open"):
            raise AttributeError(name)
        value: object = super().__getattribute__(name)
        return value


def test_a_verb_that_a_subject_loses_is_the_fault_of_the_subject() -> None:
    """If a subject has no longer a verb that it claims, the check is FAILED. An ERROR would blame the kit."""

    async def kills(context: Context) -> None:
        async with open_backend(context) as backend:
            await backend.kill([await backend.submit_job(context.sh("exit 0"))])

    (result,) = run_checks(LosesAVerb, clauses=make_clauses(kills=kills)).results.values()

    assert result.state is State.FAILED
    assert "raised AttributeError: kill" in result.observed
