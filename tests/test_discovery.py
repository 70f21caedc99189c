"""Discovery: entries, paths and finders, and bad neighbours that do no harm."""

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.metadata import find_plugins, find_problems, write_metadata

import intercede
from intercede.discovery import read_entries, read_unknown_groups, scan
from intercede.plugin import canonicalize_name, is_name

HOME = Path(intercede.__file__).parents[1]


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,10}", fullmatch=True)


DOTTED = st.from_regex(r"[a-z_][a-z0-9_]{0,8}(\.[a-z_][a-z0-9_]{0,8}){0,2}", fullmatch=True)


def test_an_entry_becomes_a_candidate_with_its_distribution(tmp_path: Path) -> None:
    """A candidate has everything that is known of it in its fields, in basic types."""
    where = write_metadata(
        tmp_path, "Acme_Intercede-0.3.dist-info", "[intercede.transports]\nssh = acme.ssh:SSH [fast]\n"
    )

    assert [vars(each) for each in find_plugins(tmp_path)] == [
        {
            "group": "transports",
            "name": "ssh",
            "target": "acme.ssh:SSH",
            "distribution": "acme-intercede",
            "version": "0.3",
            "location": str(where),
            "builtin": False,
            "status": "active",
            "reason": "",
        }
    ]


def test_every_group_is_read_and_no_other(tmp_path: Path) -> None:
    """The three groups are read in one pass; console scripts and groups with a similar name are not."""
    write_metadata(
        tmp_path,
        "a-1.dist-info",
        "[console_scripts]\nx = m:X\n[intercede.backends]\nb = m:B\n[intercede.schedulers]\ns = m:S\n"
        "[intercede.transports]\nt = m:T\n[intercede.transports.more]\nz = m:Z\n[intercede.others]\ny = m:Y\n",
    )

    assert [(each.group, each.name) for each in find_plugins(tmp_path)] == [
        ("backends", "b"),
        ("schedulers", "s"),
        ("transports", "t"),
    ]


@pytest.mark.parametrize(
    ("heading", "says"),
    [
        ("intercede.transport", "; did you mean 'intercede.transports'?"),
        (" intercede.Schedulers ", "; did you mean 'intercede.schedulers'?"),
        ("intercede.plugins", "; the groups are intercede.backends, intercede.schedulers, intercede.transports"),
    ],
)
def test_an_entry_in_a_misspelt_group_is_a_problem(tmp_path: Path, heading: str, says: str) -> None:
    """An entry in a misspelt group is reported, and the entries in right groups are found."""
    write_metadata(
        tmp_path, "mist-0.1.dist-info", f"[{heading}]\nwrong = m:T\nwrong = m:U\n[intercede.transports]\nt = m:T\n"
    )
    write_metadata(tmp_path, "other-1.dist-info", "[other]\nx = intercede.transports:X\n[intercede]\ny = m:Y\n")

    assert [each.name for each in find_plugins(tmp_path)] == ["t"]
    assert find_problems(tmp_path) == [f"mist 0.1 declares wrong in {heading.strip()!r}, which is not a group{says}"]


@pytest.mark.parametrize(
    ("directory", "distribution", "version"),
    [
        ("a_b-1.0.dist-info", "a-b", "1.0"),
        ("a-b-1.0.dist-info", "a-b", "1.0"),
        ("A.B-1.0-py3.11.egg-info", "a-b", "1.0"),
        ("a_b.egg-info", "a-b", "7.1"),
        ("a_b.dist-info", "a-b", "7.1"),
        ("a_b-.dist-info", "a-b", "7.1"),
    ],
)
def test_names_and_versions_come_from_the_directory_or_the_metadata(
    tmp_path: Path, directory: str, distribution: str, version: str
) -> None:
    """Both kinds of metadata are read, with and without a version in the directory's name."""
    write_metadata(tmp_path, directory, metadata="Metadata-Version: 2.1\nName: a.b\nVersion: 7.1\n\nVersion: no\n")

    assert [(each.distribution, each.version) for each in find_plugins(tmp_path)] == [(distribution, version)]


def test_an_unknown_version_is_empty(tmp_path: Path) -> None:
    """A distribution without a version is shown by its name alone."""
    write_metadata(tmp_path, "a.dist-info", metadata="")
    write_metadata(tmp_path, "b.dist-info", metadata="Name: b\n\nVersion: 1\n")

    assert [(each.version, each.provider) for each in find_plugins(tmp_path)] == [("", "a"), ("", "b")]


def test_a_directory_that_cannot_be_listed_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that the user may not read is reported, and the rest is found."""
    write_metadata(tmp_path / "open", "a-1.dist-info")
    (tmp_path / "shut").mkdir()
    listdir = os.listdir

    def refused(path: str) -> list[str]:
        if path.endswith("shut"):
            raise PermissionError(13, "Permission denied")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refused)

    assert [each.distribution for each in find_plugins(tmp_path / "shut", tmp_path / "open")] == ["a"]
    assert find_problems(tmp_path / "shut") == [f"{tmp_path / 'shut'} cannot be listed: Permission denied"]


def test_a_plugin_is_read_only_and_compares_by_value(tmp_path: Path) -> None:
    """A candidate is data: equal to one with the same fields, hashable, and never changed in place."""
    write_metadata(tmp_path, "a-1.dist-info")
    (one,), (other,) = find_plugins(tmp_path), find_plugins(tmp_path)

    assert one == other
    assert len({one, other}) == 1
    assert one.with_status("denied", "because") != one
    assert "status='active'" in repr(one)
    with pytest.raises(AttributeError, match="read-only"):
        one.name = "x"


def test_one_directory_twice_on_the_path_is_read_once(tmp_path: Path) -> None:
    """A directory that is on the path twice, or through a link, is one directory."""
    write_metadata(tmp_path / "real", "a-1.dist-info")
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert len(find_plugins(tmp_path / "real", tmp_path / "link", tmp_path / "real")) == 1


def test_the_first_copy_of_a_distribution_is_used(tmp_path: Path) -> None:
    """The first copy on the path is used, as for imports, whatever the versions and the spelling."""
    write_metadata(tmp_path / "one", "A_b-1.0.dist-info", "[intercede.transports]\nt = m:Old\n")
    write_metadata(tmp_path / "two", "a.b-2.0.dist-info", "[intercede.transports]\nt = m:New\nmore = m:T\n")

    assert [each.target for each in find_plugins(tmp_path / "one", tmp_path / "two")] == ["m:Old"]
    assert [each.target for each in find_plugins(tmp_path / "two", tmp_path / "one")] == ["m:T", "m:New"]


def test_a_copy_without_our_entries_hides_a_later_one_with_them(tmp_path: Path) -> None:
    """If the first copy no longer has an entry, that of a later copy on the path is not used."""
    write_metadata(tmp_path / "one", "a-2.0.dist-info", "")
    write_metadata(tmp_path / "two", "a-1.0.dist-info")

    assert find_plugins(tmp_path / "one", tmp_path / "two") == []


def test_an_empty_leftover_hides_nothing(tmp_path: Path) -> None:
    """An empty directory that an interrupted upgrade left behind hides no complete copy."""
    write_metadata(tmp_path / "one", "a-1.0.dist-info", "", metadata="")
    write_metadata(tmp_path / "two", "a-1.1.dist-info", "", metadata="")
    write_metadata(tmp_path / "two", "a-2.0.dist-info")

    assert [each.version for each in find_plugins(tmp_path / "one", tmp_path / "two")] == ["2.0"]


def test_a_leftover_with_entries_is_used_only_if_it_is_alone(tmp_path: Path) -> None:
    """Entries without METADATA are used only if there is no complete copy."""
    write_metadata(tmp_path, "a-1.0.dist-info", metadata="")
    assert [each.version for each in find_plugins(tmp_path)] == ["1.0"]

    write_metadata(tmp_path, "a-2.0.dist-info")
    assert [each.version for each in find_plugins(tmp_path)] == ["2.0"]


def test_dist_info_goes_before_egg_info(tmp_path: Path) -> None:
    """If a distribution has a dist-info and an egg-info, the dist-info is used."""
    write_metadata(tmp_path, "a-1.0.egg-info", "[intercede.transports]\nt = m:Egg\n")
    write_metadata(tmp_path, "a-1.0.dist-info", "[intercede.transports]\nt = m:Dist\n")

    assert [each.target for each in find_plugins(tmp_path)] == ["m:Dist"]


def test_a_name_declared_twice_must_have_one_target(tmp_path: Path) -> None:
    """A line that is written twice is one entry, and two targets for one name are malformed."""
    write_metadata(tmp_path, "a-1.dist-info", "[intercede.transports]\nt = m:T\nt = m:T\nu = m:A\nu = m:B\n")

    assert [(each.name, each.status) for each in find_plugins(tmp_path)] == [
        ("t", "active"),
        ("u", "malformed"),
        ("u", "malformed"),
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("no equals sign", "has no '='"),
        ("bad name! = m:T", "'bad name!'"),
        ("-t = m:T", "'-t'"),
        ("t = not a path!!", "'not a path!!' is not MODULE:ATTRIBUTE"),
        ("t = ", "is not MODULE:ATTRIBUTE"),
        ("t = m..n:T", "is not MODULE:ATTRIBUTE"),
        ("t = m:T.", "is not MODULE:ATTRIBUTE"),
        ("t = 0m:T", "is not MODULE:ATTRIBUTE"),
    ],
)
def test_a_bad_line_affects_its_own_entry_only(tmp_path: Path, line: str, says: str) -> None:
    """A line that cannot be parsed is reported with the reason, and the next line is read."""
    write_metadata(tmp_path, "a-1.dist-info", f"[intercede.transports]\n{line}\ngood = m:T\n")

    bad, good = sorted(find_plugins(tmp_path), key=lambda each: each.name == "good")

    assert bad.status == "malformed"
    assert says in bad.reason
    assert (good.name, good.status) == ("good", "active")


def test_bytes_that_are_not_text_affect_their_line_only(tmp_path: Path) -> None:
    """A file that is not UTF-8 is read line by line."""
    write_metadata(
        tmp_path, "a-1.dist-info", b"[other]\nx\xff = \xfe\n[intercede.transports]\n\xff = m:T\ngood = m:T\n"
    )

    assert {(each.name, each.status) for each in find_plugins(tmp_path)} == {("\\xff", "malformed"), ("good", "active")}


def test_an_unrelated_malformed_file_does_no_harm(tmp_path: Path) -> None:
    """A file that makes importlib.metadata.entry_points() raise is not even a problem here."""
    write_metadata(tmp_path, "odd-1.dist-info", b"[other]\nfoo\n\xff\xfe")
    write_metadata(tmp_path, "a-1.dist-info")

    assert [each.distribution for each in find_plugins(tmp_path)] == ["a"]
    assert find_problems(tmp_path) == []


def test_unreadable_metadata_is_reported_and_the_rest_is_found(tmp_path: Path) -> None:
    """A directory in the place of the file and a file without an end are reported, and the others are read."""
    (write_metadata(tmp_path, "bad-1.dist-info", "") / "entry_points.txt").mkdir()
    (write_metadata(tmp_path, "endless-1.dist-info", "") / "entry_points.txt").symlink_to("/dev/zero")
    write_metadata(tmp_path, "a-1.dist-info")

    assert [each.distribution for each in find_plugins(tmp_path)] == ["a"]
    first, second = find_problems(tmp_path)
    assert "bad-1.dist-info/entry_points.txt cannot be read: Is a directory" in first
    assert "endless-1.dist-info/entry_points.txt cannot be read: it is larger than" in second


def test_a_fifo_does_not_block_the_scan(tmp_path: Path) -> None:
    """Opening a fifo does not wait for a writer."""
    os.mkfifo(write_metadata(tmp_path, "fifo-1.dist-info", "") / "entry_points.txt")
    write_metadata(tmp_path, "a-1.dist-info")

    assert [each.distribution for each in find_plugins(tmp_path)] == ["a"]


def test_path_entries_that_are_not_directories_are_skipped(tmp_path: Path) -> None:
    """Missing directories, objects that are not text and impossible names are skipped, as imports do."""
    write_metadata(tmp_path, "a-1.dist-info")
    (tmp_path / "file").write_text("")

    plugins, _ = scan([str(tmp_path / "nowhere"), tmp_path, b"x", "with\0nul", str(tmp_path / "file"), str(tmp_path)])

    assert [each.distribution for each in plugins] == ["a"]


def test_a_zip_file_is_read(tmp_path: Path) -> None:
    """Metadata in a zip file on the path is found, and a bad file in it does no harm."""
    archive = tmp_path / "bundle.zip"
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr("zipped-1.5.dist-info/METADATA", "Metadata-Version: 2.1\nName: Zipped\nVersion: 1.5\n")
        bundle.writestr("zipped-1.5.dist-info/entry_points.txt", "[intercede.backends]\nz = m:Z\n")
        bundle.writestr("bad-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: bad\nVersion: 1\n")
        bundle.writestr("bad-1.dist-info/entry_points.txt", b"\xff")

    assert [(each.name, each.distribution, each.version) for each in find_plugins(archive)] == [("z", "zipped", "1.5")]
    assert any("cannot be read: UnicodeDecodeError" in each for each in find_problems(archive))


class _Foreign(Distribution):
    """A distribution that only its own finder can find."""

    def __init__(self, metadata: str, entry_points: str = "[intercede.backends]\nf = m:F\n") -> None:
        self.text = {"METADATA": metadata, "entry_points.txt": entry_points}

    def read_text(self, filename: str) -> str | None:
        return self.text.get(filename)

    def locate_file(self, path: str | os.PathLike[str]) -> Path:
        return Path("/frozen") / path


class _Finder:
    """A finder with a good distribution and a bad one, which raises at the end."""

    def find_spec(self, *_: object) -> None:
        return None

    def find_distributions(self, _: object) -> Iterator[Distribution]:
        yield _Foreign("")
        yield _Foreign("Metadata-Version: 2.1\nName: frozen\nVersion: 3\n")
        raise RuntimeError("no more")


def test_errors_of_a_foreign_finder_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Finders of frozen applications are used, and their errors are reported without stopping the scan."""
    write_metadata(tmp_path, "a-1.dist-info")
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, _Finder()])

    assert [each.distribution for each in find_plugins(tmp_path)] == ["frozen", "a"]
    assert "a finder of distributions failed: RuntimeError: no more" in find_problems(tmp_path)
    assert len(find_problems(tmp_path)) == 2


def test_the_working_directory_adds_names_and_shadows_no_built_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Metadata in the working directory may add a name; with the name of a built-in it is ignored."""
    write_metadata(tmp_path, "here-1.dist-info", "[intercede.transports]\nlocal = evil:T\nfresh = mine:T\n")
    monkeypatch.chdir(tmp_path)

    for entry in ("", ".", str(tmp_path)):
        plugins = {each.name: each for each in scan([entry, *sys.path])[0] if each.distribution == "here"}
        assert plugins["fresh"].status == "active"
        assert plugins["local"].status == "ignored"
        assert "install here to use it" in plugins["local"].reason


def test_an_installed_plugin_is_not_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed plugin is not ignored because its source is the working directory."""
    write_metadata(tmp_path / "source", "both-1.egg-info", "[intercede.transports]\nlocal = here:T\n")
    write_metadata(tmp_path / "site", "both-1.dist-info", "[intercede.transports]\nlocal = there:T\n")
    monkeypatch.chdir(tmp_path / "source")

    (plugin,) = [each for each in scan(["", str(tmp_path / "site"), *sys.path])[0] if each.distribution == "both"]

    assert (plugin.target, plugin.status) == ("there:T", "active")


def test_site_packages_may_be_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the working directory is site-packages, its plugins are those of the environment."""
    write_metadata(tmp_path, "here-1.dist-info", "[intercede.transports]\nlocal = mine:T\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("site.getsitepackages", lambda: [str(tmp_path)])

    (plugin,) = [each for each in scan(["", *sys.path])[0] if each.distribution == "here"]

    assert plugin.status == "active"


def test_a_working_directory_that_was_removed_is_skipped(tmp_path: Path) -> None:
    """A process whose working directory was removed still finds its plugins."""
    write_metadata(tmp_path / "site", "a-1.dist-info")
    code = (
        "import os, sys; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone');"
        "from intercede.discovery import scan; print([p.name for p in scan(['', sys.argv[1]])[0]])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "site")], cwd=tmp_path, check=True, capture_output=True, text=True
    )

    assert done.stdout == "['t']\n"


def test_the_order_of_files_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result does not depend on the order in which the file system lists directories."""
    for letter in "cabed":
        write_metadata(tmp_path, f"{letter}-1.dist-info")
    forwards = scan([str(tmp_path)])
    names = sorted(os.listdir(tmp_path), reverse=True)  # noqa: PTH208 -- the function that is replaced

    def backwards(_: str) -> list[str]:
        return list(names)

    monkeypatch.setattr(os, "listdir", backwards)

    assert scan([str(tmp_path)]) == forwards


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_hash_seeds_do_not_matter(tmp_path: Path, seed: str) -> None:
    """Two interpreters with different hash seeds list the same candidates in the same order."""
    for letter in "cab":
        write_metadata(
            tmp_path,
            f"{letter}-1.dist-info",
            "[intercede.transports]\nt = m:T\nu = m:U\n[intercede.backends]\nb = m:B\n",
        )
    code = "import sys; from intercede.discovery import scan; print(*scan([sys.argv[1]])[0], sep='\\n')"

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )

    assert done.stdout.splitlines() == [repr(each) for each in scan([str(tmp_path)])[0]]


@pytest.mark.parametrize("module", ["discovery", "registry"])
def test_importing_a_module_loads_nothing_slow(module: str) -> None:
    """Importing discovery or the registry loads no module that takes milliseconds."""
    slow = "typing dataclasses importlib.metadata pydantic asyncio json inspect pathlib re collections"
    code = f"import sys; sys.path[:] = {sys.path!r}; import intercede.{module}; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True)

    assert set(done.stdout.split()) & set(slow.split()) == set()


@settings(deadline=None)  # a loaded machine is slow, not wrong
@given(st.binary(max_size=400))
def test_reading_entries_never_raises(data: bytes) -> None:
    """Any bytes in entry_points.txt are read or malformed, under one of our headings as well."""
    for text in (data, b"[intercede.transports]\n" + data):
        assert all(len(entry) == 4 for entry in read_entries(text))
    assert all(
        heading == "intercede.x" for heading, _ in read_unknown_groups(b"[intercede.x]\n" + data.replace(b"[", b""))
    )


@settings(deadline=None)  # a loaded machine is slow, not wrong
@given(st.dictionaries(NAMES, st.tuples(DOTTED, DOTTED), max_size=8))
def test_valid_entries_are_read_as_importlib_metadata_reads_them(declared: dict[str, tuple[str, str]]) -> None:
    """On a valid file both readers agree."""
    text = "[intercede.backends]\n" + "".join(
        f"{name} = {module}:{attr}\n" for name, (module, attr) in declared.items()
    )
    theirs = _Foreign("", text).entry_points

    assert [(name, target) for _, name, target, problem in read_entries(text.encode()) if not problem] == [
        (each.name, each.value) for each in theirs
    ]


@settings(deadline=None)  # a loaded machine is slow, not wrong
@given(st.text("aB1-_.", max_size=12))
def test_names_are_canonicalized_as_in_pep_503(name: str) -> None:
    """The function without regular expressions agrees with PEP 503, and a second call changes nothing."""
    assert canonicalize_name(name) == re.sub(r"[-_.]+", "-", name).lower()
    assert canonicalize_name(canonicalize_name(name)) == canonicalize_name(name)


@settings(deadline=None)  # a loaded machine is slow, not wrong
@given(st.text(max_size=6) | NAMES)
def test_valid_names_match_the_documented_pattern(text: str) -> None:
    """The function without regular expressions agrees with the documented pattern."""
    assert is_name(text) == bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text))
