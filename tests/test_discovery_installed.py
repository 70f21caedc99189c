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
from tests.metadata import find_plugins, find_problems, write_metadata

import intercede
from intercede import discovery
from intercede.discovery import scan
from intercede.plugin import canonicalize_name, how_to_install
from intercede.registry.precedence import parse_pins

HOME = Path(intercede.__file__).parents[1]


def test_metadata_beside_the_package_is_built_in() -> None:
    """The metadata of the running intercede is recognized, installed or editable."""
    own = [each for each in scan(sys.path)[0] if each.builtin]

    assert {(each.group, each.name) for each in own} >= {("transports", "local"), ("schedulers", "direct")}
    assert {each.distribution for each in own} == {"intercede"}


def test_another_distribution_named_intercede_is_not_built_in(tmp_path: Path) -> None:
    """A distribution with our name, first on the path, is ignored and hides no built-in."""
    write_metadata(tmp_path, "Intercede-99.dist-info", "[intercede.transports]\nlocal = evil:T\nmine = evil:M\n")

    plugins, _ = scan([str(tmp_path), *sys.path])

    assert [(e.builtin, e.status) for e in plugins if e.name == "local"] == [(False, "ignored"), (True, "active")]
    rival = next(each for each in plugins if each.name == "mine")
    assert rival.status == "ignored"
    assert "is not beside the running one" in rival.reason


def test_an_editable_install_is_recognised_by_its_own_pth_file(tmp_path: Path) -> None:
    """The metadata of an editable install is elsewhere; a .pth file in its RECORD leads to the running package."""
    where = write_metadata(tmp_path, "intercede-1.dist-info")
    (tmp_path / "_editable.pth").write_text(f"import other\n\n{os.path.relpath(HOME, tmp_path)}\n")
    assert [each.status for each in scan([str(tmp_path)])[0]] == ["ignored"]

    (where / "RECORD").write_text("intercede-1.dist-info/METADATA,,\n_editable.pth,sha256=x,14\n")
    assert [(each.builtin, each.status) for each in scan([str(tmp_path)])[0]] == [(True, "active")]


@pytest.mark.parametrize("record", [b"a\0.pth,,\n", b"\xff.pth,,\n", b"../../x.pth,,\n", b".pth,,"])
def test_a_record_without_valid_names_is_not_that_of_intercede(tmp_path: Path, record: bytes) -> None:
    """A RECORD with impossible names is not that of the running intercede, and raises nothing."""
    (write_metadata(tmp_path, "intercede-1.dist-info") / "RECORD").write_bytes(record)
    assert [each.status for each in scan([str(tmp_path)])[0]] == ["ignored"]


def test_missing_metadata_of_intercede_is_reported(tmp_path: Path) -> None:
    """A bare copy of the source has no built-ins, and a problem says what to do."""
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
def test_a_leftover_of_pip_is_ignored_and_reported(tmp_path: Path, leftover: str) -> None:
    """A killed pip leaves a directory with such a name (AdjacentTempDirectory), which is ignored and reported.

    pip says of it "Ignoring incompletely removed distribution".
    """
    write_metadata(tmp_path, "access-0.2.dist-info")
    where = write_metadata(tmp_path, leftover, "[intercede.transports]\nt = m:Old\nlocal = m:Old\n")

    assert [(each.distribution, each.target, each.status) for each in find_plugins(tmp_path)] == [
        ("access", "m:T", "active")
    ]
    (problem,) = find_problems(tmp_path)
    assert problem.startswith(f"{where} is not a distribution: ")
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
def test_metadata_with_an_impossible_name_is_ignored_and_reported(tmp_path: Path, directory: str) -> None:
    """A name has letters, digits and single marks between them (PEP 508), but file synchronization may add words."""
    where = write_metadata(tmp_path, directory)

    assert find_plugins(tmp_path) == []
    assert [each.partition(" is not a distribution")[0] for each in find_problems(tmp_path)] == [str(where)]


def test_an_impossible_name_without_our_entries_is_not_reported(tmp_path: Path) -> None:
    """A leftover of an unrelated distribution is reported by pip, not by us."""
    write_metadata(tmp_path, "~andas-2.0.dist-info", "[console_scripts]\nx = m:X\n")

    assert find_problems(tmp_path) == []


@given(st.text("~-_. aA0\xe9+!", max_size=8), st.sampled_from(["dist-info", "egg-info", "DIST-INFO"]))
@settings(max_examples=60)
def test_every_offered_pin_is_valid(stem: str, kind: str) -> None:
    """The pin of each candidate is valid, whatever the name of its directory."""
    with TemporaryDirectory() as directory:
        write_metadata(Path(directory), f"{stem}.{kind}")
        plugins, told = find_plugins(directory), find_problems(directory)

    assert len(plugins) + len(told) == 1
    for each in plugins:
        entry = each.pin.removeprefix("INTERCEDE_PREFER=")
        assert parse_pins(entry)["transports", "t"].distribution == each.distribution


def test_the_same_metadata_is_used_as_by_pip(tmp_path: Path) -> None:
    """The list that pip prints for a directory is the reference."""
    # From Python 3.15 on importlib.metadata raises MetadataNotFound for these, and pip 26.3 prints no list at all.
    without_metadata = ("no_metadata-1.0.dist-info", "empty-1.0.dist-info") if sys.version_info < (3, 15) else ()
    for directory in (
        *("plain-1.0.dist-info", "Old_Egg-1.0-py3.11.egg-info", "UPPER-1.0.dist-info", "~lain-0.9.dist-info"),
        *("_under-1.0.dist-info", "end_-1.0.dist-info", *without_metadata),
        *("two-1.0.dist-info", "Two-2.0.dist-info", "bl ank-1.0.dist-info"),
    ):
        name = directory.partition("-")[0]
        kept = "" if name in {"no_metadata", "empty"} else f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
        write_metadata(tmp_path, directory, f"[intercede.transports]\n{len(name)}{name[-1]} = m:T\n", kept)
    if without_metadata:
        (tmp_path / "empty-1.0.dist-info" / "METADATA").touch()
    listing = [sys.executable, "-m", "pip", "list", "--path", str(tmp_path), "--format", "json"]
    listed = subprocess.run(
        [*listing, "--disable-pip-version-check"], check=True, capture_output=True, text=True, timeout=60
    )

    assert sorted({each.distribution for each in find_plugins(tmp_path)}) == sorted(
        canonicalize_name(each["name"]) for each in json.loads(listed.stdout)
    )


@pytest.mark.parametrize("empty", [True, False])
def test_metadata_that_is_missing_or_empty_is_a_problem(tmp_path: Path, empty: bool) -> None:
    """Metadata without METADATA is used if it is alone, as by pip, and not if there is a complete copy."""
    left = write_metadata(tmp_path / "one", "a-1.0.dist-info", metadata="")
    if empty:
        (left / "METADATA").touch()
    assert [each.version for each in find_plugins(tmp_path / "one")] == ["1.0"]

    write_metadata(tmp_path / "two", "a-2.0.dist-info")
    assert [each.version for each in find_plugins(tmp_path / "one", tmp_path / "two")] == ["2.0"]
    assert find_problems(tmp_path / "one", tmp_path / "two") == find_problems(tmp_path / "one")
    assert find_problems(tmp_path / "one")[0].startswith(f"{left} has no METADATA")


@pytest.mark.parametrize("other", ["a_b-2.0.dist-info", "A.B-1.0.dist-info", "a.b-1.0.dist-info", "a_b-1.0.DIST-INFO"])
def test_duplicate_metadata_in_a_directory_is_reported_with_both_paths(tmp_path: Path, other: str) -> None:
    """Entries that both copies have are used, and entries that differ are ignored; no order chooses one."""
    one = write_metadata(
        tmp_path, "a_b-1.0.dist-info", "[intercede.transports]\nsame = m:S\nmoved = m:Old\nfirst = m:F\n"
    )
    two = write_metadata(tmp_path, other, "[intercede.transports]\nsame = m:S\nmoved = m:New\n")

    assert {(each.name, each.target, each.status) for each in find_plugins(tmp_path)} == {
        ("same", "m:S", "active"),
        ("moved", "m:Old", "ignored"),
        ("moved", "m:New", "ignored"),
        ("first", "m:F", "ignored"),
    }
    assert {each.version for each in find_plugins(tmp_path) if each.name == "same"} == {"" if "2.0" in other else "1.0"}
    assert all(str(one) in each.reason and str(two) in each.reason for each in find_plugins(tmp_path) if each.reason)
    (problem,) = find_problems(tmp_path)
    assert problem.startswith("a-b has its metadata twice in one directory: ")
    assert str(one) in problem
    assert str(two) in problem


def test_an_egg_info_beside_a_dist_info_is_reported(tmp_path: Path) -> None:
    """All entries of the dist-info are used: installers have written nothing else for years."""
    write_metadata(tmp_path, "a-1.0.egg-info", "[intercede.transports]\nt = m:Egg\n")
    write_metadata(tmp_path, "a-2.0.dist-info", "[intercede.transports]\nt = m:Dist\n")

    assert [(each.target, each.version, each.status) for each in find_plugins(tmp_path)] == [
        ("m:Dist", "2.0", "active")
    ]
    assert len(find_problems(tmp_path)) == 1


def test_copies_in_different_directories_are_not_reported(tmp_path: Path) -> None:
    """A user's own directory before the system's is ordinary."""
    write_metadata(tmp_path / "one", "a-1.0.dist-info")
    write_metadata(tmp_path / "two", "a-2.0.dist-info")

    assert find_problems(tmp_path / "one", tmp_path / "two") == []


def test_an_egg_is_read(tmp_path: Path) -> None:
    """A directory on the path that is an egg, as from ``setup.py install``, has the distribution in its own name."""
    egg = tmp_path / "Old_Plug-1.5-py3.11.egg"
    write_metadata(egg, "EGG-INFO")

    (plugin,) = find_plugins(tmp_path, egg)
    assert (plugin.distribution, plugin.version, plugin.location) == ("old-plug", "1.5", f"{egg}/EGG-INFO")
    assert find_plugins(tmp_path) == []  # Python does not look into it either, unless it is on the path
    assert [each.name for one in distributions(path=[str(egg)]) for each in one.entry_points] == ["t"]


def test_a_zipped_egg_is_read(tmp_path: Path) -> None:
    """An egg that is a zip file is read as well, as Python imports from it."""
    egg = tmp_path / "zipped-1.5-py3.11.egg"
    with zipfile.ZipFile(egg, "w") as bundle:
        bundle.writestr("EGG-INFO/PKG-INFO", "Metadata-Version: 2.1\nName: Zipped\nVersion: 1.5\n")
        bundle.writestr("EGG-INFO/entry_points.txt", "[intercede.transports]\nt = m:T\n")

    assert [(each.name, each.distribution, each.version) for each in find_plugins(egg)] == [("t", "zipped", "1.5")]


def test_a_zip_file_has_the_same_rules(tmp_path: Path) -> None:
    """Impossible names, missing names and duplicates are reported for a zip file as for a directory."""
    archive = tmp_path / "bundle.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        for directory, head in {"~a-1": "Name: ~a\n", "b-1": "", "c-1": "Name: c\n", "C-2": "Name: C\n"}.items():
            bundle.writestr(f"{directory}.dist-info/METADATA", f"Metadata-Version: 2.1\n{head}Version: 1\n")
            bundle.writestr(f"{directory}.dist-info/entry_points.txt", "[intercede.transports]\nt = m:T\n")

    assert [each.distribution for each in find_plugins(archive)] == ["c"]
    told = find_problems(archive)
    assert len(told) == 3
    assert any("~a-1.dist-info is not a distribution" in each for each in told)
    assert any("c-1.dist-info" in each and "C-2.dist-info" in each for each in told)


def test_an_egg_link_alone_is_skipped(tmp_path: Path) -> None:
    """An egg-link is for installers; Python finds the source on the path, and so does the scan."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.egg-link").write_text(f"{tmp_path / 'source'}\n.")
    write_metadata(tmp_path / "source", "a.egg-info")

    assert find_plugins(tmp_path / "site") == []
    assert [each.distribution for each in find_plugins(tmp_path / "site", tmp_path / "source")] == ["a"]


def test_an_egg_info_file_has_no_entries(tmp_path: Path) -> None:
    """Distutils wrote one file without entry points; beside a dist-info with entries it is reported as a duplicate."""
    (tmp_path / "a-1.0.egg-info").write_text("Name: a\nVersion: 1.0\n")
    assert find_plugins(tmp_path) == []
    assert find_problems(tmp_path) == []

    write_metadata(tmp_path, "a-2.0.dist-info")
    assert [each.version for each in find_plugins(tmp_path)] == ["2.0"]
    assert len(find_problems(tmp_path)) == 1


def test_another_project_of_our_name_is_reported(tmp_path: Path) -> None:
    """A plugin that depends on ``intercede`` may install another project from the public index, 0.0.1a1."""
    where = write_metadata(tmp_path, "intercede-0.0.1a1.dist-info", "", "Metadata-Version: 2.4\nName: intercede\n")

    told = scan([str(tmp_path), *sys.path])[1]
    assert any(each.startswith(f"intercede 0.0.1a1 in {where} is another project of that name, ") for each in told)
    assert any("'intercede>=0.1'" in each for each in told)

    assert scan([*sys.path, str(tmp_path)])[1] == []  # behind intercede's own it counts for nothing

    both = scan([str(tmp_path)])[1]
    assert [each.partition(" ")[0] for each in both] == ["intercede", "the"]


def test_an_unfinished_upgrade_of_intercede_shadows_no_built_in(tmp_path: Path) -> None:
    """A leftover ``~ntercede`` has the same entries as we have, and is not a rival of the built-ins."""
    write_metadata(tmp_path, "~ntercede-0.1.0.dist-info", "[intercede.transports]\nlocal = intercede.old:Local\n")

    plugins, told = scan([str(tmp_path), *sys.path])

    assert [each.builtin for each in plugins if each.name == "local"] == [True]
    assert len(told) == 1


def test_another_project_in_the_same_directory_hides_no_built_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If two installers put both projects into one directory, the built-ins are those of the one with entries."""
    monkeypatch.setattr(discovery, "_RUNNING_FROM", str(tmp_path))
    write_metadata(tmp_path, "intercede-0.0.1a1.dist-info", "")
    write_metadata(tmp_path, "intercede-0.1.0.dist-info")

    plugins, told = scan([str(tmp_path)])

    assert [(each.version, each.builtin, each.status) for each in plugins] == [("0.1.0", True, "active")]
    assert len(told) == 1
    assert "another project" in told[0]
