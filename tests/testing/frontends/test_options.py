"""The table of options, and the errors of every front end about its own options."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from tests.testing.frontends.pytest_runs import Pytest

from intercede.contract.errors import IntercedeError
from intercede.testing import check_backend, run_checks
from intercede.testing.frontends.options import (
    OPTIONS,
    Frontend,
    Option,
    Options,
    collect_options,
    list_options,
    make_spell,
)
from intercede.testing.gallery.fake import FakeBackend

if TYPE_CHECKING:
    from tests.conftest import RunModule

Check = Callable[..., str]
MISTAKES: dict[str, dict[str, object]] = {
    "too few jobs": {"jobs": 1},
    "no repetition": {"repeat": 0},
    "scale of zero": {"scale": 0},
    "scale in words": {"scale": "soon"},
    "nothing to update": {"update_known": True},
    "no capability": {"require": " "},
    "unknown capability": {"require": "flight"},
    "core with a capability": {"profile": "core", "require": "kill"},
    "a report below a file": {"report": "file/report"},
}
UNNAMED: dict[str, dict[str, object]] = {
    "no file of known failures": {"known": "nowhere.toml"},
    "no configuration": {"file": "nowhere.toml"},
}
"""Mistakes whose error names the file, which says enough."""


def spell_all(frontend: Frontend, options: Mapping[str, object]) -> list[str]:
    """Return options as arguments of a command."""
    rows = {each.name: each for each in OPTIONS}
    words = [
        [make_spell(frontend)(name)] if rows[name].kind == "flag" else [make_spell(frontend)(name), str(value)]
        for name, value in options.items()
    ]
    return ["=".join(each) for each in words] if frontend == "pytest" else [word for each in words for word in each]


def find_foreign_options(frontend: Frontend, text: str) -> list[str]:
    """Return the options of a command in a text that the front end does not have."""
    own = {make_spell(frontend)(each.name) for each in list_options(frontend)}
    return [each for each in re.findall(r"(?<![\w-])--[a-z][a-z-]*", text) if each not in own]


@pytest.fixture
def check(tmp_path: Path, site: Path, run_module: "RunModule") -> Check:
    """Run ``intercede check``, which is wrong usage, and return the error."""

    def run(*arguments: str) -> str:
        variables = {**os.environ, "PYTHONPATH": str(site)}
        ended = run_module("intercede", "check", *arguments, directory=tmp_path, variables=variables)
        assert ended.returncode == 2, ended
        return ended.stderr

    return run


@pytest.mark.parametrize("options", [*MISTAKES.values(), *UNNAMED.values()], ids=[*MISTAKES, *UNNAMED])
@pytest.mark.asyncio
async def test_a_usage_error_names_the_options_of_its_asker(
    options: dict[str, object], run: Pytest, check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every mistake is refused by pytest, by the command and by a program, each in its own spelling and in no other."""
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    texts: dict[Frontend, str] = {}

    ended = run("--intercede-backend=rich", *spell_all("pytest", options))
    assert ended.code == 4, ended
    texts["pytest"] = ended.text
    texts["check"] = check("fake", *spell_all("check", options))
    keywords = {name: [value] if name == "require" else value for name, value in options.items()}
    with pytest.raises(IntercedeError) as caught:
        await check_backend("fake", **cast("Options", keywords))
    texts["check_backend"] = str(caught.value)
    if options.keys() == {"scale"}:
        with pytest.raises(IntercedeError) as caught:
            run_checks(FakeBackend, scale=cast("float", options["scale"]))
        texts["run_checks"] = str(caught.value)

    for frontend, text in texts.items():
        assert find_foreign_options(frontend, text) == [], text
        assert options in UNNAMED.values() or make_spell(frontend)(next(iter(options))) in text


@pytest.mark.asyncio
async def test_an_error_about_the_subject_names_its_place(run: Pytest, check: Check) -> None:
    """A configuration that is no JSON is reported with the option, the argument or the parameter that holds it."""
    with pytest.raises(IntercedeError) as caught:
        await check_backend("{")
    texts: dict[Frontend, str] = {
        "pytest": run("--intercede-backend={").text,
        "check": check("{"),
        "check_backend": str(caught.value),
    }

    for frontend, text in texts.items():
        assert find_foreign_options(frontend, text) == []
        assert make_spell(frontend)("backend") in text


def test_the_table_and_the_keywords_agree() -> None:
    """Each keyword of ``check_backend`` has a row, each row for programs is a keyword, and no name occurs twice."""
    names = [each.name for each in OPTIONS]

    assert len(names) == len(set(names))
    assert {each.name for each in list_options("check_backend")} == set(Options.__annotations__)


@pytest.mark.parametrize("frontend", ["pytest", "check"])
def test_a_command_that_is_given_nothing_leaves_the_defaults(frontend: Frontend) -> None:
    """The options of a plan are those that both a command and a program have, with the value that was read."""
    read = collect_options(frontend, {each.name: each.default for each in OPTIONS})

    assert (read.get("profile"), read.get("repeat")) == ("full", 1)
    assert read.keys() <= set(Options.__annotations__)
    assert "ids" not in read


@pytest.mark.parametrize("option", OPTIONS, ids=lambda each: cast("Option", each).name)
def test_the_help_of_an_option_is_sentences(option: Option) -> None:
    """Help texts begin with a capital and end with a full stop, and a value has a name."""
    assert re.fullmatch(r"[A-Z].*\.", option.help)
    assert option.value or option.kind == "flag" or option.name == "ids"
