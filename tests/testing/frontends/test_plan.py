"""What a run is to do, from the words of a command line."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.contract.errors import IntercedeError, PluginNotFoundError
from intercede.testing.clauses import CLAUSES
from intercede.testing.frontends.options import Frontend, make_spell
from intercede.testing.frontends.plan import make_plan, node_id, selects
from intercede.testing.model.role import Role
from intercede.testing.subjects.resolve import resolve

LOCAL = json.dumps({"transport": "local", "scheduler": "direct"})


def backends(*words: str) -> list[tuple[Role, str]]:
    """Ask for backends, as the command line does."""
    return [("backend", each) for each in words]


@pytest.mark.parametrize(
    "words",
    [
        "-k submit",
        "-ksubmit",
        "-xk submit",
        "-m slow",
        "-qm slow",
        "--lf",
        "--last-failed",
        "--sw",
        "--stepwise",
        "--sw-skip",
        "--deselect x",
        "--deselect=x",
        "tests --lf",
    ],
)
def test_options_that_choose(words: str) -> None:
    """Whatever leaves tests out makes a run PARTIAL, in every spelling."""
    assert selects(words.split())


@pytest.mark.parametrize(
    "words",
    ["", "-q", "-x", "-rk", "-n 4", "-p no:mark", "-W error", "--nf", "--ff", "--maxfail=1", "tests/k", "--lfx"],
)
def test_options_that_do_not(words: str) -> None:
    """Order, verbosity and stopping are no choice."""
    assert not selects(words.split())


def test_a_composed_backend_is_named_by_its_parts() -> None:
    """The id is transport+scheduler, and the distribution is theirs."""
    plan = make_plan(backends(LOCAL))

    (facts,) = plan.facts
    assert facts.id == "local+direct"
    assert facts.distribution == "intercede"
    assert facts.refusal is None
    assert {"output", "kill", "purge"} <= facts.capabilities
    assert plan.wanted == {node_id(each, "local+direct") for each in CLAUSES.values() if each.role == "backend"}
    assert not plan.narrowed


def test_equal_subjects_fold_and_others_are_numbered() -> None:
    """The order of keys is no difference, an option is."""
    other = json.dumps({"scheduler": "direct", "transport": "local", "batch": {"max_files": 7}})
    swapped = json.dumps({"scheduler": "direct", "transport": "local"})

    assert [each.id for each in resolve(backends(LOCAL, swapped, other))] == ["local+direct", "local+direct#2"]


def test_a_table_comes_before_a_registered_name(tmp_path: Path) -> None:
    """Also the tables of transports and schedulers count, and what is in neither is told with both."""
    file = tmp_path / "sites.toml"
    file.write_text(
        '[backends.here]\ntransport = "near"\nscheduler = {type = "direct", slots = 3}\n'
        '[transports.near]\ntype = "local"\n'
    )
    (subject,) = resolve(backends("here"), str(file))

    assert subject.id == "here"
    assert subject.config == {"transport": "near", "scheduler": {"type": "direct", "slots": 3}}
    assert [each.name for each in subject.resolve_plugins()] == ["local", "direct"]
    with pytest.raises(PluginNotFoundError, match=r"tables of .*sites\.toml are: here"):
        resolve(backends("there"), str(file))


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (["{"], {}, "must be a configuration in JSON"),
        (['{"transport": "local"}'], {}, "scheduler"),
        (['{"transport": "local", "scheduler": "direct", "slotz": 1}'], {}, "slotz"),
        ([LOCAL], {"require": ["kill,outptu"]}, "'outptu' is no capability"),
        ([LOCAL], {"scale": 0.0}, "above 0"),
        ([LOCAL], {"file": "missing.toml"}, "missing.toml"),
        ([LOCAL], {"ids": ["intercede/submt"]}, "no check of intercede matches intercede/submt"),
    ],
)
def test_what_is_wrong_is_told(arguments: list[str], options: dict[str, object], words: str) -> None:
    """Each mistake is an error of the contract's own tree that says what there is."""
    with pytest.raises(IntercedeError, match=words.replace("+", r"\+")):
        make_plan(backends(*arguments), **options)  # type: ignore[arg-type]  # each case has the type of its option


@pytest.mark.parametrize(
    ("words", "areas"),
    [
        (["intercede/purge::IC-PURGE-01[local+direct]"], {"purge": 1}),
        (["intercede/purge::IC-PURGE-01", "intercede/kill::IC-KILL-02"], {"purge": 1, "kill": 1}),
        (["intercede/shape/"], {"shape": sum(each.area == "shape" for each in CLAUSES.values())}),
    ],
)
def test_node_ids_choose(words: list[str], areas: dict[str, int]) -> None:
    """By their whole, by a clause, or by an area."""
    plan = make_plan(backends(LOCAL), ids=words)

    assert Counter(each.partition("/")[2].partition("::")[0] for each in plan.wanted) == areas
    assert plan.narrowed


def test_the_core_is_what_needs_no_capability() -> None:
    """And an id that takes all in chooses nothing."""
    plan = make_plan(backends(LOCAL), profile="core", ids=["intercede"])

    core = {
        node_id(each, "local+direct") for each in CLAUSES.values() if each.capability is None and each.role == "backend"
    }
    assert plan.wanted == core
    assert not plan.narrowed


@given(st.text(max_size=40))
def test_no_word_is_worse_than_a_clean_error(word: str) -> None:
    """Whatever stands for a backend: it is one that is installed, or an error of ours tells."""
    outcome: object
    try:
        outcome = resolve(backends(word))[0].resolve_plugins()
    except IntercedeError as error:
        outcome = str(error)

    assert outcome


@pytest.mark.parametrize(
    "options",
    [
        {"jobs": 1},
        {"repeat": 0},
        {"scale": 0.0},
        {"scale": "slow"},
        {"update_known": True},
        {"require": [""]},
        {"require": ["x"]},
        {"require": ["kill"], "profile": "core"},
    ],
)
@pytest.mark.parametrize("frontend", ["check_backend", "check", "pytest"])
def test_an_error_names_the_option_as_the_asker_spells_it(options: dict[str, object], frontend: Frontend) -> None:
    """Each usage error names its option as the front end spells it, and no option of another front end."""
    with pytest.raises(IntercedeError) as caught:
        make_plan(backends(LOCAL), frontend=frontend, **options)  # type: ignore[arg-type]  # each case has the type of its option

    text = str(caught.value)
    assert any(make_spell(frontend)(each) in text for each in options)
    assert ("--intercede-" in text) == (frontend == "pytest")
    assert ("--" in text) == (frontend != "check_backend")


@pytest.mark.parametrize("frontend", ["check_backend", "check", "pytest"])
def test_an_error_about_a_subject_names_its_place(frontend: Frontend) -> None:
    """A configuration that is not JSON is reported under the name that the asker gave it."""
    with pytest.raises(IntercedeError, match=re.escape(make_spell(frontend)("backend"))):
        make_plan(backends("{"), frontend=frontend)
