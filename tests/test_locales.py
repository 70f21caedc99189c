"""Names and arguments are UTF-8 on each machine, whatever its locale."""

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
"""Python knows that the first is ASCII only. In the second each byte is a letter, so that mistakes raise no error."""
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

direct = {"transport": "local", "scheduler": "direct", "batch": {"root": "root"}}
backends = [FakeBackend(Path("fake")), registry.backend(direct)]
print(sys.getfilesystemencoding(), json.dumps([asyncio.run(carry(each)) for each in backends]))
"""


def make_environment(locale: str, place: Path) -> "Mapping[str, str]":
    """Return the variables of a process in a locale, which is made if the machine lacks it."""
    if locale == LATIN:
        made = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(place / LATIN)]
        subprocess.run(made, check=True, capture_output=True, timeout=60)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("INTERCEDE_")}
    its = {"LC_ALL": locale, "LOCPATH": str(place), "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    return ours | its | {"XDG_STATE_HOME": str(place / "state"), "HOME": str(place)}


def run_python(place: Path, locale: str, *arguments: str, seconds: float = 60) -> "subprocess.CompletedProcess[bytes]":
    """Run a new Python in a locale."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=place,
        env=make_environment(locale, place),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=seconds,
        check=False,
    )


@pytest.mark.parametrize("locale", LOCALES)
def test_names_and_arguments_are_the_same_bytes_in_every_locale(tmp_path: Path, locale: str) -> None:
    """An argument, an input, the file for stdout and an output keep their names in ASCII and Latin-1 locales."""
    done = run_python(tmp_path, locale, "-c", _CARRIES)

    encoding, _, told = done.stdout.decode().partition(" ")
    raw = WORDS.encode().hex()
    assert encoding == {"C": "ascii", LATIN: "iso8859-1"}[locale]
    assert json.loads(told) == [[0, True, "staged", {WORDS: [raw, raw]}]] * 2, done.stderr


def test_a_command_works_with_names_beyond_the_locale(tmp_path: Path) -> None:
    """The list of plugins and a payload's argument may have characters that the locale lacks."""
    metadata = tmp_path / "site" / "odd-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[intercede.backends]\n{WORDS} = odd:Odd\n", "utf-8")
    start = (
        f"import sys; sys.path.append({str(metadata.parent)!r}); from intercede.cli.app import main; sys.exit(main())"
    )

    listed = run_python(tmp_path, "C", "-c", start, "plugins", "backends")
    ran = run_python(tmp_path, "C", "-c", start, "run", "--", "printf", "%s", WORDS)

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
def test_a_right_backend_is_conformant_in_every_locale(tmp_path: Path, subject: str, locale: str) -> None:
    """A right backend is CONFORMANT in each locale."""
    options = ("-q", "-pno:cacheprovider", "--intercede-timeout-scale=2", f"--intercede-backend={subject}")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = run_python(tmp_path, locale, "-m", "pytest", *options, seconds=280)

    last = done.stdout.decode("latin-1").strip().splitlines()[-1]
    assert (done.returncode, " is CONFORMANT to contract " in last) == (0, True), done.stdout.decode("latin-1")


@pytest.mark.slow
def test_a_red_check_is_readable_in_an_ascii_locale(tmp_path: Path) -> None:
    """A red check is printed with escapes in an ASCII locale, by pytest and by the command."""
    metadata = tmp_path / "wrong-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong\nVersion: 1\n")
    wrong = "intercede.testing.gallery.backends"
    (metadata / "entry_points.txt").write_text(f"[intercede.backends]\nwrong = {wrong}.find:NamesFilesByTags\n")
    kit = f"import sys; sys.path.append({str(tmp_path)!r}); "
    options = "'-q', '-pno:cacheprovider', '--intercede-backend=wrong', 'intercede/find::IC-FIND-03'"
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    by_pytest = run_python(tmp_path, "C", "-c", f"{kit}import pytest; sys.exit(pytest.main([{options}]))")
    check = ("check", "wrong", "--only", "IC-FIND-03")
    by_command = run_python(tmp_path, "C", "-c", f"{kit}from intercede.cli.app import main; sys.exit(main())", *check)

    for done in (by_pytest, by_command):
        lines = done.stdout.decode("ascii").splitlines()
        assert done.returncode == 1, done
        assert any(line.startswith("expected: ") and "\\xe9\\u6f22\\U0001f642" in line for line in lines), lines
        assert any(line.startswith("hint: ") for line in lines), lines
        assert lines[-1].endswith("is NOT CONFORMANT: fix IC-FIND-03"), lines
