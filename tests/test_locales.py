"""What the locale of a process cannot write is no other thing for that: names and arguments are UTF-8 on every machine."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

LATIN = "en_US.ISO-8859-1"
LOCALES = ["C", pytest.param(LATIN, marks=pytest.mark.needs("localedef"))]
"""Of one Python knows that it has ASCII only; the other takes each byte for a letter, so that what is wrong is not seen."""
DIRECT = '{"transport": "local", "scheduler": "direct"}'
WORDS = "\u00fcn\u00ef \u6f22"

_CARRIES = """
import asyncio, json, os, sys
from pathlib import Path
from intercede import FileRef, OutputMember, OutputSpec, SubmissionSpec, registry
from intercede.testing.gallery.fake import FakeBackend

words = "\\u00fcn\\u00ef \\u6f22"
script = 'printf %s "$1" >"$1" && cat "in/$1" && [ -e "out/$1" ]'
Path("source").write_bytes(b"staged")
spec = SubmissionSpec(
    executable="sh", arguments=("-c", script, "sh", words), inputs=(FileRef(name=f"in/{words}", source="source"),),
    outputs=OutputSpec(members=(OutputMember(pattern="\\u00fc*"),)), stdout=f"out/{words}",
)

async def carry(backend):
    async with backend:
        handles = list((await backend.submit(spec)).handles.values())
        while not (status := (await backend.status(handles))[handles[0]]).state.final:
            await asyncio.sleep(0.02)
        output = (await backend.fetch_output(handles, Path("fetched")))[handles[0]]
    files = {name: [os.fsencode(path.name).hex(), path.read_bytes().hex()] for name, path in output.files.items()}
    return [status.exit_code, output.ok, output.stdout and output.stdout.read_text(), files]

backends = [FakeBackend(Path("fake")), registry.backend({"transport": "local", "scheduler": "direct", "batch": {"root": "root"}})]
print(sys.getfilesystemencoding(), json.dumps([asyncio.run(carry(each)) for each in backends]))
"""


def surroundings(locale: str, place: Path) -> "Mapping[str, str]":
    """Return the variables of a process in a locale, which is made if the machine has it not."""
    if locale == LATIN:
        made = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(place / LATIN)]
        subprocess.run(made, check=True, capture_output=True, timeout=60)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("INTERCEDE_")}
    its = {"LC_ALL": locale, "LOCPATH": str(place), "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    return ours | its | {"XDG_STATE_HOME": str(place / "state"), "HOME": str(place)}


def run(place: Path, locale: str, *arguments: str, seconds: float = 60) -> "subprocess.CompletedProcess[bytes]":
    """Run a Python of its own in a locale: what an interpreter reads once is for a new one only."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=place,
        env=surroundings(locale, place),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=seconds,
        check=False,
    )


@pytest.mark.parametrize("locale", LOCALES)
def test_names_and_arguments_are_the_same_bytes_in_every_locale(tmp_path: Path, locale: str) -> None:
    """An argument, an input, the file for stdout and an output arrive under their names, both ways; Latin-1 took them for others."""
    done = run(tmp_path, locale, "-c", _CARRIES)

    encoding, _, told = done.stdout.decode().partition(" ")
    raw = WORDS.encode().hex()
    assert encoding == {"C": "ascii", LATIN: "iso8859-1"}[locale]
    assert json.loads(told) == [[0, True, "staged", {WORDS: [raw, raw]}]] * 2, done.stderr


def test_a_command_writes_what_the_locale_cannot(tmp_path: Path) -> None:
    """A plugin's name beyond ASCII ended `intercede plugins`, and a payload's argument was refused."""
    metadata = tmp_path / "site" / "odd-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[intercede.backends]\n{WORDS} = odd:Odd\n", "utf-8")
    start = (
        f"import sys; sys.path.append({str(metadata.parent)!r}); from intercede.cli.app import main; sys.exit(main())"
    )

    listed = run(tmp_path, "C", "-c", start, "plugins", "backends")
    ran = run(tmp_path, "C", "-c", start, "run", "--", "printf", "%s", WORDS)

    assert (listed.returncode, b"the name '\\xfcn\\xef \\u6f22' may have letters" in listed.stdout) == (0, True), listed
    assert (ran.returncode, ran.stdout) == (0, WORDS.encode()), ran


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subject", "locale"),
    [
        pytest.param("fake", "C", id="fake-ascii"),
        pytest.param("fake", LATIN, id="fake-latin", marks=pytest.mark.needs("localedef")),
        pytest.param(DIRECT, LATIN, id="local+direct-latin", marks=pytest.mark.needs("localedef")),
    ],
)
def test_what_is_right_is_conformant_in_every_locale(tmp_path: Path, subject: str, locale: str) -> None:
    """The whole kit: neither it nor what it inspects goes by the locale."""
    options = ("-q", "-pno:cacheprovider", "--intercede-timeout-scale=2", f"--intercede-backend={subject}")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = run(tmp_path, locale, "-m", "pytest", *options, seconds=280)

    last = done.stdout.decode("latin-1").strip().splitlines()[-1]
    assert (done.returncode, " is CONFORMANT to contract " in last) == (0, True), done.stdout.decode("latin-1")


@pytest.mark.slow
def test_a_red_check_is_readable_in_an_ascii_locale(tmp_path: Path) -> None:
    """Letters beyond ASCII are escapes, and lines stay lines, from pytest as from the command."""
    metadata = tmp_path / "wrong-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong\nVersion: 1\n")
    wrong = "intercede.testing.gallery.backends"
    (metadata / "entry_points.txt").write_text(f"[intercede.backends]\nwrong = {wrong}.find:NamesFilesByTags\n")
    kit = f"import sys; sys.path.append({str(tmp_path)!r}); "
    options = "'-q', '-pno:cacheprovider', '--intercede-backend=wrong', 'intercede/find::IC-FIND-03'"
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    by_pytest = run(tmp_path, "C", "-c", f"{kit}import pytest; sys.exit(pytest.main([{options}]))")
    check = ("check", "wrong", "--only", "IC-FIND-03")
    by_command = run(tmp_path, "C", "-c", f"{kit}from intercede.cli.app import main; sys.exit(main())", *check)

    for done in (by_pytest, by_command):
        lines = done.stdout.decode("ascii").splitlines()
        assert done.returncode == 1, done
        assert any(line.startswith("expected: ") and "\\xe9\\u6f22\\U0001f642" in line for line in lines), lines
        assert any(line.startswith("hint: ") for line in lines), lines
        assert lines[-1].endswith("is NOT CONFORMANT: fix IC-FIND-03"), lines
