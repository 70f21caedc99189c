"""Which files come back: what patterns mean, and that the far side never sends too little."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.tools import each_tool

from intercede.batch.selection import Plan, matches

CASES: dict[str, tuple[list[str], list[str]]] = {
    "*.txt": (["a.txt", "é.txt", "a\nb.txt", "a.txt/below"], ["a/b.txt", ".txt", "a.txtx"]),
    "?": (["a", "é", "\n"], [".", "ab", "/"]),
    "[a-c]x": (["ax", "cx"], ["dx", "-x"]),
    "[!a]x": (["bx", "éx"], ["ax", ".x", "/x"]),
    "[]a]": (["]", "a"], ["[", "b"]),
    "[": (["["], ["]"]),
    "**": (["a", "a/b/c"], [".a"]),
    "**/c": (["c", "a/c", "a/b/c", "c/d"], [".a/c", "a/.b/c", "bc"]),
    "a/**": (["a/b", "a/b/c"], ["b", "a"]),
    "logs": (["logs", "logs/a", "logs/.b", "logs/a/b"], ["log", "logs2", "x/logs"]),
    ".*": ([".a"], ["a"]),
    "d/.h": (["d/.h", "d/.h/x"], ["d/h"]),
    "a\\*": (["a\\", "a\\b"], ["a*"]),
    "./x/": (["x", "x/y"], ["y"]),
    "[z-a]": ([], ["z", "a", "-"]),
}


@pytest.mark.parametrize("pattern", CASES)
def test_what_a_pattern_takes(pattern: str) -> None:
    """No wildcard but ** crosses a slash, a leading dot is spelt out, a directory takes all below."""
    taken, left = CASES[pattern]
    assert [name for name in taken if not matches(pattern, name)] == []
    assert [name for name in left if matches(pattern, name)] == []


def test_what_is_hidden_comes_only_where_it_is_named() -> None:
    """Inputs, stdout and stderr are no unlisted files; the copy's own secrets never come, whatever the patterns are."""
    plan = Plan(include_unlisted=True, stdout="o", inputs=("d/in", "in"), secrets={1: ("key",)}, patterns=("in", "ke*"))
    assert [name for name in ("o", "d/in", "in", "key", "x") if plan.wants(1, name)] == ["in", "x"]
    assert plan.wants(0, "key")
    assert plan.list_unsent_inputs("s") == "0 .//s/inputs/d/in\n"
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert Plan(patterns=("a*", "b")).find_unmatched(["ax"]) == ("b",)


def test_an_expression_is_as_long_for_many_inputs_as_for_none() -> None:
    """So no number of inputs is too much for a command line."""
    many = Plan(include_unlisted=True, inputs=tuple(f"{index}" for index in range(1000)))
    assert many.write_expression("s", 9) == Plan(include_unlisted=True).write_expression("s", 9)


part = st.text("ab.-[]!*?\\ é\n'", min_size=1, max_size=4).filter(lambda text: text not in {".", ".."})
name = st.lists(part, min_size=1, max_size=3).map("/".join)


@pytest.mark.parametrize("find", each_tool("find", "busybox find"))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.sets(name, min_size=1, max_size=6), patterns=st.lists(name, min_size=1, max_size=4), unlisted=st.booleans()
)
def test_find_takes_at_least_what_is_wanted(
    tmp_path_factory: pytest.TempPathFactory,
    find: tuple[str, ...],
    names: set[str],
    patterns: list[str],
    unlisted: bool,
) -> None:
    """Every file that the patterns take is in what the far side's expression takes."""
    root, work = tmp_path_factory.mktemp("root"), Path("s/copies/0/work")
    kept = [each for each in names if not any(other.startswith(f"{each}/") for other in names)]
    for each in kept:
        (root / work / each).parent.mkdir(parents=True, exist_ok=True)
        (root / work / each).touch()
    plan = Plan(patterns=tuple(patterns), include_unlisted=unlisted, inputs=tuple(kept[:1]))
    assert len(plan.write_expression("s", 12).splitlines()) == 1
    command = f"{' '.join(find)} .//s/copies/0/work -type f '(' {plan.write_expression('s', 12)} ')' -exec printf '%s\\0' {{}} +"
    result = subprocess.run(
        ["sh", "-c", command], cwd=root, capture_output=True, check=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}
    )
    found = {text.removeprefix(f".//{work}/") for text in result.stdout.decode().split("\0")}
    assert {each for each in kept if plan.wants(0, each)} <= found


def test_no_name_takes_long() -> None:
    """A pattern of many runs is told apart from a hostile name without trying every way to split it."""
    pattern, name = "*-" * 12 + "*.root", "-" * 250

    assert not matches(pattern, name)
    assert matches(pattern, f"{name}.root")
