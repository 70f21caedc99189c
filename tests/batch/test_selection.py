"""Patterns select the files to fetch, and the remote machine sends at least these."""

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
def test_a_pattern_matches_paths(pattern: str) -> None:
    """A wildcard other than ** crosses no slash, matches no leading dot, and a directory matches all below it."""
    taken, left = CASES[pattern]
    assert [name for name in taken if not matches(pattern, name)] == []
    assert [name for name in left if matches(pattern, name)] == []


def test_inputs_are_fetched_only_by_name_and_secrets_never() -> None:
    """Inputs, stdout and stderr are no unlisted files, and the secrets of a copy are never fetched."""
    plan = Plan(include_unlisted=True, stdout="o", inputs=("d/in", "in"), secrets={1: ("key",)}, patterns=("in", "ke*"))
    assert [name for name in ("o", "d/in", "in", "key", "x") if plan.wants(1, name)] == ["in", "x"]
    assert plan.wants(0, "key")
    assert plan.list_unsent_inputs("s") == "0 .//s/inputs/d/in\n"
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
    assert Plan(patterns=("a*", "b")).find_unmatched(["ax"]) == ("b",)


def test_the_find_expression_does_not_grow_with_inputs() -> None:
    """The expression for find is as long for a thousand inputs as for none."""
    many = Plan(include_unlisted=True, inputs=tuple(f"{index}" for index in range(1000)))
    assert many.write_expression("s", 9) == Plan(include_unlisted=True).write_expression("s", 9)


part = st.text("ab.-[]!*?\\ é\n'", min_size=1, max_size=4).filter(lambda text: text not in {".", ".."})
name = st.lists(part, min_size=1, max_size=3).map("/".join)


@pytest.mark.parametrize("find", each_tool("find", "busybox find"))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.sets(name, min_size=1, max_size=6), patterns=st.lists(name, min_size=1, max_size=4), unlisted=st.booleans()
)
def test_find_selects_at_least_the_wanted_files(
    tmp_path_factory: pytest.TempPathFactory,
    find: tuple[str, ...],
    names: set[str],
    patterns: list[str],
    unlisted: bool,
) -> None:
    """The remote find selects at least the files that the patterns match."""
    root, work = tmp_path_factory.mktemp("root"), Path("s/copies/0/work")
    kept = [each for each in names if not any(other.startswith(f"{each}/") for other in names)]
    for each in kept:
        (root / work / each).parent.mkdir(parents=True, exist_ok=True)
        (root / work / each).touch()
    plan = Plan(patterns=tuple(patterns), include_unlisted=unlisted, inputs=tuple(kept[:1]))
    assert len(plan.write_expression("s", 12).splitlines()) == 1
    expression = plan.write_expression("s", 12)
    command = f"{' '.join(find)} .//s/copies/0/work -type f '(' {expression} ')' -exec printf '%s\\0' {{}} +"
    result = subprocess.run(
        ["sh", "-c", command], cwd=root, capture_output=True, check=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}
    )
    found = {text.removeprefix(f".//{work}/") for text in result.stdout.decode().split("\0")}
    assert {each for each in kept if plan.wants(0, each)} <= found


def test_a_hostile_name_is_matched_quickly() -> None:
    """A pattern of many runs is matched against a hostile name without exponential time."""
    pattern, name = "*-" * 12 + "*.root", "-" * 250

    assert not matches(pattern, name)
    assert matches(pattern, f"{name}.root")
