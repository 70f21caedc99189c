"""A plan of a run is made of the options of a command line."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intercede.contract.errors import ConfigError, IntercedeError, PluginNotFoundError
from intercede.testing.clauses import CLAUSES
from intercede.testing.frontends.options import Frontend, make_spell
from intercede.testing.frontends.plan import has_selection, make_node_id, make_plan
from intercede.testing.model.role import Role
from intercede.testing.subjects.resolve import resolve

LOCAL = json.dumps({"transport": "local", "scheduler": "direct"})


def ask_for_backends(*words: str) -> list[tuple[Role, str]]:
    """Return names of backends as the command line passes them."""
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
def test_options_that_select_are_recognized(words: str) -> None:
    """An option that leaves tests out is recognized in each spelling."""
    assert has_selection(words.split())


@pytest.mark.parametrize(
    "words",
    ["", "-q", "-x", "-rk", "-n 4", "-p no:mark", "-W error", "--nf", "--ff", "--maxfail=1", "tests/k", "--lfx"],
)
def test_other_options_select_nothing(words: str) -> None:
    """Options about order, output and stopping are no selection."""
    assert not has_selection(words.split())


def test_a_composed_backend_is_named_by_its_parts() -> None:
    """The id of a composed backend is transport+scheduler, and it names their distributions."""
    plan = make_plan(ask_for_backends(LOCAL))

    (facts,) = plan.facts
    assert facts.id == "local+direct"
    assert facts.distribution == "intercede"
    assert facts.refusal is None
    assert {"output", "kill", "purge"} <= facts.capabilities
    assert plan.wanted == {make_node_id(each, "local+direct") for each in CLAUSES.values() if each.role == "backend"}
    assert not plan.is_partial


def test_equal_subjects_are_one_and_others_are_numbered() -> None:
    """Configurations that differ only in the order of keys are one subject. Others with the same id are numbered."""
    other = json.dumps({"scheduler": "direct", "transport": "local", "batch": {"max_files": 7}})
    swapped = json.dumps({"scheduler": "direct", "transport": "local"})

    assert [each.id for each in resolve(ask_for_backends(LOCAL, swapped, other))] == ["local+direct", "local+direct#2"]


def test_a_table_is_preferred_to_a_plugin_name(tmp_path: Path) -> None:
    """A name of a backend is looked up in the tables of the file first, and a missing name lists the tables."""
    file = tmp_path / "sites.toml"
    file.write_text(
        '[backends.here]\ntransport = "near"\nscheduler = {type = "direct", slots = 3}\n'
        '[transports.near]\ntype = "local"\n'
    )
    (subject,) = resolve(ask_for_backends("here"), str(file))

    assert subject.id == "here"
    assert subject.config == {"transport": "near", "scheduler": {"type": "direct", "slots": 3}}
    assert [each.name for each in subject.resolve_plugins()] == ["local", "direct"]
    with pytest.raises(PluginNotFoundError, match=r"tables of .*sites\.toml are: here"):
        resolve(ask_for_backends("there"), str(file))


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
def test_mistakes_in_a_plan_are_errors_of_the_contract(
    arguments: list[str], options: dict[str, object], words: str
) -> None:
    """A mistake in the options is an IntercedeError that says what is valid."""
    with pytest.raises(IntercedeError, match=words.replace("+", r"\+")):
        make_plan(ask_for_backends(*arguments), **options)  # type: ignore[arg-type]  # each case has the type of its option


@pytest.mark.parametrize(
    ("words", "areas"),
    [
        (["intercede/purge::IC-PURGE-01[local+direct]"], {"purge": 1}),
        (["intercede/purge::IC-PURGE-01", "intercede/kill::IC-KILL-02"], {"purge": 1, "kill": 1}),
        (["intercede/shape/"], {"shape": sum(each.area == "shape" for each in CLAUSES.values())}),
    ],
)
def test_node_ids_select_checks(words: list[str], areas: dict[str, int]) -> None:
    """A node id selects a check, the checks of a clause, or the checks of an area."""
    plan = make_plan(ask_for_backends(LOCAL), ids=words)

    assert Counter(each.partition("/")[2].partition("::")[0] for each in plan.wanted) == areas
    assert plan.is_partial


def test_the_core_profile_has_the_clauses_without_a_capability() -> None:
    """The core profile has each clause that needs no capability, and the id `intercede` selects all of them."""
    plan = make_plan(ask_for_backends(LOCAL), profile="core", ids=["intercede"])

    core = {
        make_node_id(each, "local+direct")
        for each in CLAUSES.values()
        if each.capability is None and each.role == "backend"
    }
    assert plan.wanted == core
    assert not plan.is_partial


@given(st.text(max_size=40))
def test_any_text_is_a_subject_or_a_clean_error(word: str) -> None:
    """Any text in the place of a backend is an installed backend or an IntercedeError."""
    outcome: object
    try:
        outcome = resolve(ask_for_backends(word))[0].resolve_plugins()
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
        {"profile": "Full"},
        {"profile": None},
        {"jobs": "500"},
        {"jobs": 500.5},
        {"repeat": 1.5},
        {"repeat": None},
        {"scale": None},
        {"scale": True},
        {"scale": b"3"},
        {"scale": 10**400},
        {"report": ""},
        {"known": ""},
        {"ids": []},
    ],
)
@pytest.mark.parametrize("frontend", ["check_backend", "check", "pytest"])
def test_an_error_spells_the_option_as_its_front_end(options: dict[str, object], frontend: Frontend) -> None:
    """A usage error spells its option as the front end does, and names no option of another front end."""
    with pytest.raises(IntercedeError) as caught:
        make_plan(ask_for_backends(LOCAL), frontend=frontend, **options)  # type: ignore[arg-type]  # each case has the type of its option

    text = str(caught.value)
    assert any(make_spell(frontend)(each) in text for each in options)
    assert ("--intercede-" in text) == (frontend == "pytest")
    assert ("--" in text) == (frontend != "check_backend")


@pytest.mark.parametrize("frontend", ["check_backend", "check", "pytest"])
def test_an_error_about_a_subject_spells_its_option(frontend: Frontend) -> None:
    """The error about a configuration that is not JSON spells the option as the front end does."""
    with pytest.raises(IntercedeError, match=re.escape(make_spell(frontend)("backend"))):
        make_plan(ask_for_backends("{"), frontend=frontend)


def test_the_directory_of_reports_is_prepared_before_jobs_are_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that cannot be written is refused before ``scale="auto"`` runs jobs to measure the scale."""
    measured: list[object] = []

    def measure(*given: object) -> tuple[float, str]:
        measured.append(given)
        return 1.0, ""

    monkeypatch.setattr("intercede.testing.frontends.plan.calibrate", measure)
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError):
        make_plan(ask_for_backends(LOCAL), scale="auto", report=str(tmp_path / "file" / "report"))
    assert not measured
    assert make_plan(ask_for_backends(LOCAL), scale="auto", report=str(tmp_path / "report")).scales
    assert measured


def test_a_text_in_the_place_of_a_list_is_one_item() -> None:
    """An id may be given as a text, and so may capabilities with commas between them."""
    plan = make_plan(ask_for_backends(LOCAL), ids="intercede/purge::IC-PURGE-01", require="find,purge")

    assert plan.wanted == {"intercede/purge::IC-PURGE-01[local+direct]"}
    assert plan.required == {"find", "purge"}
