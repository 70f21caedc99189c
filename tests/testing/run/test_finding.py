"""A red check shows the calls that matter, and not each of its polls."""

from intercede.testing.clauses import CLAUSES
from intercede.testing.model.calls import Call
from intercede.testing.model.verdict import State
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
