"""Discovery: what counts as installed, after interrupted and doubled installations."""

import json
import os
import subprocess
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.metadata import found, install, problems

import intercede
from intercede import discovery
from intercede.discovery import scan
from intercede.plugin import canonicalize_name, how_to_install
from intercede.registry.precedence import parse_pins

HOME = Path(intercede.__file__).parents[1]


def test_what_lies_beside_the_package_is_built_in() -> None:
    """The running intercede is recognised, installed or editable."""
    own = [each for each in scan(sys.path)[0] if each.builtin]

    assert {(each.group, each.name) for each in own} >= {("transports", "local"), ("schedulers", "direct")}
    assert {each.distribution for each in own} == {"intercede"}


def test_what_merely_calls_itself_intercede_is_not_built_in(tmp_path: Path) -> None:
    """A rival that bears our name, first on the path, is ignored and hides nothing of ours."""
    install(tmp_path, "Intercede-99.dist-info", "[intercede.transports]\nlocal = evil:T\nmine = evil:M\n")

    plugins, _ = scan([str(tmp_path), *sys.path])

    assert [(e.builtin, e.status) for e in plugins if e.name == "local"] == [(False, "ignored"), (True, "active")]
    rival = next(each for each in plugins if each.name == "mine")
    assert rival.status == "ignored"
    assert "is not beside the running one" in rival.reason


def test_an_editable_install_is_recognised_by_its_own_pth_file(tmp_path: Path) -> None:
    """Its metadata lies elsewhere; a .pth file in its RECORD leads to the running package."""
    where = install(tmp_path, "intercede-1.dist-info")
    (tmp_path / "_editable.pth").write_text(f"import other\n\n{os.path.relpath(HOME, tmp_path)}\n")
    assert [each.status for each in scan([str(tmp_path)])[0]] == ["ignored"]

    (where / "RECORD").write_text("intercede-1.dist-info/METADATA,,\n_editable.pth,sha256=x,14\n")
    assert [(each.builtin, each.status) for each in scan([str(tmp_path)])[0]] == [(True, "active")]


@pytest.mark.parametrize("record", [b"a\0.pth,,\n", b"\xff.pth,,\n", b"../../x.pth,,\n", b".pth,,"])
def test_a_record_that_names_no_file(tmp_path: Path, record: bytes) -> None:
    """Spoils nothing but its own claim to be the running intercede."""
    (install(tmp_path, "intercede-1.dist-info") / "RECORD").write_bytes(record)
    assert [each.status for each in scan([str(tmp_path)])[0]] == ["ignored"]


def test_without_our_metadata_it_says_so(tmp_path: Path) -> None:
    """Run from a bare copy of the source, intercede has no built-ins and says what to do."""
    plugins, told = scan([str(tmp_path)])

    assert plugins == []
    (problem,) = told
    assert problem.startswith(f"the metadata of intercede was not found beside {HOME}, so it has no built-ins; ")
    assert problem.endswith(how_to_install())


@pytest.mark.parametrize(
    "leftover",
    [
        "~ccess-0.1.dist-info",
        "~-cess-0.1.dist-info",
        "~~cess-0.1.dist-info",
        "~access-0.1.dist-info",
        "~ccess.egg-info",
    ],
)
def test_what_pip_left_behind_counts_for_nothing_and_is_a_problem(tmp_path: Path, leftover: str) -> None:
    """Until it is done, pip keeps what it replaces under such a name (AdjacentTempDirectory); a kill leaves it there.

    pip says of it "Ignoring incompletely removed distribution".
    """
    install(tmp_path, "access-0.2.dist-info")
    where = install(tmp_path, leftover, "[intercede.transports]\nt = m:Old\nlocal = m:Old\n")

    assert [(each.distribution, each.target, each.status) for each in found(tmp_path)] == [("access", "m:T", "active")]
    (problem,) = problems(tmp_path)
    assert problem.startswith(f"{where} cannot be a distribution's: ")
    assert problem.endswith("remove it")


@pytest.mark.parametrize(
    "directory",
    [
        ".dist-info",
        "-1.0.dist-info",
        "_a-1.0.dist-info",
        "a_-1.0.dist-info",
        "a b-1.0.dist-info",
        "caf\xe9-1.0.dist-info",
        "a-1.0 2.dist-info",
        "a-1.0 (copy).dist-info",
        ".egg-info",
        "a b.egg-info",
    ],
)
def test_a_name_that_no_distribution_has_counts_for_nothing_and_is_a_problem(tmp_path: Path, directory: str) -> None:
    """Names are letters, digits and single marks between them (PEP 508); services that sync files add words to versions."""
    where = install(tmp_path, directory)

    assert found(tmp_path) == []
    assert [each.partition(" cannot be a distribution's")[0] for each in problems(tmp_path)] == [str(where)]


def test_an_impossible_name_without_entries_of_ours_is_nobodys_problem(tmp_path: Path) -> None:
    """What pip left of an unrelated distribution is pip's to tell."""
    install(tmp_path, "~andas-2.0.dist-info", "[console_scripts]\nx = m:X\n")

    assert problems(tmp_path) == []


@given(st.text("~-_. aA0\xe9+!", max_size=8), st.sampled_from(["dist-info", "egg-info", "DIST-INFO"]))
@settings(max_examples=60)
def test_each_pin_that_is_offered_is_taken(stem: str, kind: str) -> None:
    """Whatever a directory is called, a candidate in it can be pinned as its pin says, or it is none."""
    with TemporaryDirectory() as directory:
        install(Path(directory), f"{stem}.{kind}")
        plugins, told = found(directory), problems(directory)

    assert len(plugins) + len(told) == 1
    for each in plugins:
        entry = each.pin.removeprefix("INTERCEDE_PREFER=")
        assert parse_pins(entry)["transports", "t"].distribution == each.distribution


def test_what_counts_is_what_pip_counts(tmp_path: Path) -> None:
    """The list that pip prints of a directory is the reference."""
    # From Python 3.15 on importlib.metadata raises MetadataNotFound for these, and pip 26.3 prints no list at all.
    without_metadata = ("no_metadata-1.0.dist-info", "empty-1.0.dist-info") if sys.version_info < (3, 15) else ()
    for directory in (
        *("plain-1.0.dist-info", "Old_Egg-1.0-py3.11.egg-info", "UPPER-1.0.dist-info", "~lain-0.9.dist-info"),
        *("_under-1.0.dist-info", "end_-1.0.dist-info", *without_metadata),
        *("two-1.0.dist-info", "Two-2.0.dist-info", "bl ank-1.0.dist-info"),
    ):
        name = directory.partition("-")[0]
        kept = "" if name in {"no_metadata", "empty"} else f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        install(tmp_path, directory, f"[intercede.transports]\n{len(name)}{name[-1]} = m:T\n", kept)
    if without_metadata:
        (tmp_path / "empty-1.0.dist-info" / "METADATA").touch()
    listing = [sys.executable, "-m", "pip", "list", "--path", str(tmp_path), "--format", "json"]
    listed = subprocess.run(
        [*listing, "--disable-pip-version-check"], check=True, capture_output=True, text=True, timeout=60
    )

    assert sorted({each.distribution for each in found(tmp_path)}) == sorted(
        canonicalize_name(each["name"]) for each in json.loads(listed.stdout)
    )


@pytest.mark.parametrize("empty", [True, False])
def test_metadata_that_is_missing_or_empty_is_a_problem(tmp_path: Path, empty: bool) -> None:
    """Alone it counts, as for pip and importlib.metadata; beside a whole one, before it on the path too, it does not."""
    left = install(tmp_path / "one", "a-1.0.dist-info", metadata="")
    if empty:
        (left / "METADATA").touch()
    assert [each.version for each in found(tmp_path / "one")] == ["1.0"]

    install(tmp_path / "two", "a-2.0.dist-info")
    assert [each.version for each in found(tmp_path / "one", tmp_path / "two")] == ["2.0"]
    assert problems(tmp_path / "one", tmp_path / "two") == problems(tmp_path / "one")
    assert problems(tmp_path / "one")[0].startswith(f"{left} has no METADATA")


@pytest.mark.parametrize("other", ["a_b-2.0.dist-info", "A.B-1.0.dist-info", "a.b-1.0.dist-info", "a_b-1.0.DIST-INFO"])
def test_two_of_one_in_a_directory_are_a_problem_that_names_both(tmp_path: Path, other: str) -> None:
    """Neither letters nor versions choose: what both declare counts, and that on which they differ does not."""
    one = install(tmp_path, "a_b-1.0.dist-info", "[intercede.transports]\nsame = m:S\nmoved = m:Old\nfirst = m:F\n")
    two = install(tmp_path, other, "[intercede.transports]\nsame = m:S\nmoved = m:New\n")

    assert {(each.name, each.target, each.status) for each in found(tmp_path)} == {
        ("same", "m:S", "active"),
        ("moved", "m:Old", "ignored"),
        ("moved", "m:New", "ignored"),
        ("first", "m:F", "ignored"),
    }
    assert {each.version for each in found(tmp_path) if each.name == "same"} == {"" if "2.0" in other else "1.0"}
    assert all(str(one) in each.reason and str(two) in each.reason for each in found(tmp_path) if each.reason)
    (problem,) = problems(tmp_path)
    assert problem.startswith("a-b has its metadata twice in one directory: ")
    assert str(one) in problem
    assert str(two) in problem


def test_an_egg_info_beside_a_dist_info_is_a_problem_too(tmp_path: Path) -> None:
    """The dist-info counts, whole: installers have written nothing else for years."""
    install(tmp_path, "a-1.0.egg-info", "[intercede.transports]\nt = m:Egg\n")
    install(tmp_path, "a-2.0.dist-info", "[intercede.transports]\nt = m:Dist\n")

    assert [(each.target, each.version, each.status) for each in found(tmp_path)] == [("m:Dist", "2.0", "active")]
    assert len(problems(tmp_path)) == 1


def test_copies_in_different_directories_are_no_problem(tmp_path: Path) -> None:
    """A user's own directory before the system's is ordinary."""
    install(tmp_path / "one", "a-1.0.dist-info")
    install(tmp_path / "two", "a-2.0.dist-info")

    assert problems(tmp_path / "one", tmp_path / "two") == []


def test_an_egg_is_seen(tmp_path: Path) -> None:
    """A directory on the path that is itself an egg, as ``setup.py install`` made them, tells its name by its own."""
    egg = tmp_path / "Old_Plug-1.5-py3.11.egg"
    install(egg, "EGG-INFO")

    (plugin,) = found(tmp_path, egg)
    assert (plugin.distribution, plugin.version, plugin.location) == ("old-plug", "1.5", f"{egg}/EGG-INFO")
    assert found(tmp_path) == []  # Python does not look into it either, unless it is on the path
    assert [each.name for one in distributions(path=[str(egg)]) for each in one.entry_points] == ["t"]


def test_a_zipped_egg_is_seen(tmp_path: Path) -> None:
    """The same as a file, from which Python imports as well."""
    egg = tmp_path / "zipped-1.5-py3.11.egg"
    with zipfile.ZipFile(egg, "w") as bundle:
        bundle.writestr("EGG-INFO/PKG-INFO", "Metadata-Version: 2.1\nName: Zipped\nVersion: 1.5\n")
        bundle.writestr("EGG-INFO/entry_points.txt", "[intercede.transports]\nt = m:T\n")

    assert [(each.name, each.distribution, each.version) for each in found(egg)] == [("t", "zipped", "1.5")]


def test_a_zip_file_is_held_to_the_same_rule(tmp_path: Path) -> None:
    """A name that cannot be, none at all, and two of one: told from a zip file as from a directory."""
    archive = tmp_path / "bundle.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        for directory, head in {"~a-1": "Name: ~a\n", "b-1": "", "c-1": "Name: c\n", "C-2": "Name: C\n"}.items():
            bundle.writestr(f"{directory}.dist-info/METADATA", f"Metadata-Version: 2.1\n{head}Version: 1\n")
            bundle.writestr(f"{directory}.dist-info/entry_points.txt", "[intercede.transports]\nt = m:T\n")

    assert [each.distribution for each in found(archive)] == ["c"]
    told = problems(archive)
    assert len(told) == 3
    assert any("~a-1.dist-info cannot be a distribution's" in each for each in told)
    assert any("c-1.dist-info" in each and "C-2.dist-info" in each for each in told)


def test_an_egg_link_alone_is_nothing(tmp_path: Path) -> None:
    """It tells installers where the source lies; Python finds that on the path, and so does the scan."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.egg-link").write_text(f"{tmp_path / 'source'}\n.")
    install(tmp_path / "source", "a.egg-info")

    assert found(tmp_path / "site") == []
    assert [each.distribution for each in found(tmp_path / "site", tmp_path / "source")] == ["a"]


def test_an_egg_info_that_is_a_file_declares_nothing(tmp_path: Path) -> None:
    """Distutils wrote one file, without entry points; beside a dist-info with some it is one too many."""
    (tmp_path / "a-1.0.egg-info").write_text("Name: a\nVersion: 1.0\n")
    assert found(tmp_path) == []
    assert problems(tmp_path) == []

    install(tmp_path, "a-2.0.dist-info")
    assert [each.version for each in found(tmp_path)] == ["2.0"]
    assert len(problems(tmp_path)) == 1


def test_another_project_of_our_name_is_a_problem(tmp_path: Path) -> None:
    """The public index has one, 0.0.1a1 without entries of ours: a plugin that depends on ``intercede`` brings it in."""
    where = install(tmp_path, "intercede-0.0.1a1.dist-info", "", "Metadata-Version: 2.4\nName: intercede\n")

    told = scan([str(tmp_path), *sys.path])[1]
    assert any(each.startswith(f"intercede 0.0.1a1 in {where} is another project of that name, ") for each in told)
    assert any("'intercede>=0.1'" in each for each in told)

    assert scan([*sys.path, str(tmp_path)])[1] == []  # behind ours it is nobody's

    both = scan([str(tmp_path)])[1]
    assert [each.partition(" ")[0] for each in both] == ["intercede", "the"]


def test_an_unfinished_upgrade_of_ours_shadows_no_built_in(tmp_path: Path) -> None:
    """``~ntercede`` declares what we declare; it is no rival of the built-ins."""
    install(tmp_path, "~ntercede-0.1.0.dist-info", "[intercede.transports]\nlocal = intercede.old:Local\n")

    plugins, told = scan([str(tmp_path), *sys.path])

    assert [each.builtin for each in plugins if each.name == "local"] == [True]
    assert len(told) == 1


def test_another_project_in_the_same_directory_takes_no_built_in_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two installers that know nothing of each other put both there; the built-ins are those of who declares them."""
    monkeypatch.setattr(discovery, "_RUNNING_FROM", str(tmp_path))
    install(tmp_path, "intercede-0.0.1a1.dist-info", "")
    install(tmp_path, "intercede-0.1.0.dist-info")

    plugins, told = scan([str(tmp_path)])

    assert [(each.version, each.builtin, each.status) for each in plugins] == [("0.1.0", True, "active")]
    assert len(told) == 1
    assert "another project" in told[0]
