"""Each code block of the documents runs in order, as a reader would run it.

Each page starts in an empty directory with an environment and a home of its own. A ``console`` block shows commands and
their output, where ``...`` is any text; ``python`` and ``sh`` blocks are programs; ``toml`` and ``json`` must parse.
The HTML comment before a block says otherwise: ``<!-- file: NAME -->`` makes it a file, and ``<!-- not run: REASON
-->`` leaves it out.
"""

import doctest
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from inspect import signature
from pathlib import Path

import pytest
from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser

from intercede.batch import BatchBackend
from intercede.contract import CAPABILITIES, errors, job
from intercede.schedulers.direct import DirectScheduler
from intercede.testing.frontends.options import list_options, make_spell
from intercede.testing.model.verdict import State, Verdict

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LANGUAGES = ("console", "python", "sh", "toml", "json", "yaml", "text")
REMARK = re.compile(r"<!-- (file|not run): (.+?) -->\s*\Z")
COMMAND = re.compile(r"^\$ (.*(?:\n> .*)*)\n?", re.MULTILINE)
NO_PLUGINS = (
    "cacheprovider",
    "hypothesispytest",
    "platformdirs",
    "randomly",
    "timeout",
    "venv",
    "xdist",
    "xdist.looponfail",
)
"""Plugins of pytest that no page needs, and for which each run would wait half a second."""
PLUGINS = {"anyio": "", "asyncio": "-o asyncio_default_fixture_loop_scope=function"}
"""Plugins that a page needs if it has the word, and their options."""
COMMANDS_ON_PATH = ("intercede", "pip", "pytest")


@dataclass
class Reader:
    """A person who follows one page, starting in an empty directory."""

    home: Path
    here: Path
    python: Path
    pytest_options: str = ""

    def follows(self, page: Path) -> None:
        """Enable the plugins of pytest that the page is about."""
        text = page.read_text()
        without = [*NO_PLUGINS, *(each for each in PLUGINS if each not in text)]
        options = [option for each, option in PLUGINS.items() if each in text]
        self.pytest_options = " ".join([*options, *(f"-p no:{each}" for each in without)])

    def run(self, *argv: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command in the reader's directory."""
        return subprocess.run(
            argv, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
            cwd=self.here, env=self.environment(), check=False,
        )  # fmt: skip

    def environment(self) -> dict[str, str]:
        """Return the reader's variables, without a package index and without variables of this process."""
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("INTERCEDE_", "PY", "COV"))}
        tools = Path(sys.executable).parent
        return ours | {
            "HOME": str(self.home),
            "PATH": os.pathsep.join([str(self.python.parent), str(tools), os.environ["PATH"]]),
            "COLUMNS": "120",
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip's spelling of "do not isolate"
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PYTEST_ADDOPTS": self.pytest_options,
        }

    def program(self, source: str) -> None:
        """Run a Python program, whose asserts are the test."""
        ended = self.run(self.python, "-c", source)
        assert ended.returncode == 0, ended.stdout

    def script(self, source: str) -> None:
        """Run a shell script that must succeed."""
        ended = self.run("bash", "-e", stdin=source)
        assert ended.returncode == 0, ended.stdout

    def transcript(self, shown: str) -> None:
        """Run the commands that a console block shows, and compare what each prints."""
        mark = "--- end of a command ---"
        commands = [command.replace("\n> ", "\n") for command in COMMAND.findall(shown)]
        wanted = COMMAND.split(shown)[2::2]
        steps = [f"{command}\n__code=$?; echo; echo '{mark}'; (exit $__code)\n" for command in commands]
        ended = self.run("bash", stdin="".join([*steps, f"pwd > '{self.home}/here'\n"]))
        self.here = Path((self.home / "here").read_text().strip())
        printed = ended.stdout.split(f"\n{mark}\n")
        for command, want, got in zip(commands, wanted, printed, strict=False):
            assert_shows(command, want.strip("\n"), got.strip("\n"))
        assert len(printed) == len(commands) + 1, ended.stdout


def assert_shows(command: str, want: str, got: str) -> None:
    """Compare a command's output with the page, in which ``...`` is any text."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if not doctest.OutputChecker().check_output(f"{want}\n", f"{got}\n", flags):
        pytest.fail(f"$ {command}\n--- the page shows\n{want}\n--- it printed\n{got}", pytrace=False)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """Return a reader whose environment has intercede, as this one has it, and pip."""
    environment, home, here = tmp_path / "environment", tmp_path / "home", tmp_path / "empty"
    venv.create(environment, symlinks=True)  # the pip of this environment
    python = environment / "bin" / "python"
    for library in environment.glob("lib/python*/site-packages"):
        ours = sysconfig.get_path("purelib")
        (library / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    for name in COMMANDS_ON_PATH:
        script = environment / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{python}" -m {name} "$@"\n')
        script.chmod(0o755)
    home.mkdir()
    here.mkdir()
    return Reader(home, here, python)


def parse(page: Path) -> Document:
    """Find the code blocks of a page."""
    return Document.parse(str(page), *(CodeBlockParser(language, lambda _: None) for language in LANGUAGES))


def has_blocks(page: Path) -> bool:
    """Say whether a page has blocks to run, since an environment takes time to make."""
    return any(True for _ in parse(page).examples())


def read_remark(example: Example) -> tuple[str, str] | None:
    """Return the text of the comment directly before a block."""
    said = REMARK.search(example.document.text[: example.start])
    return (said[1], said[2]) if said else None


def follow(reader: Reader, example: Example) -> None:
    """Run a block, or write its file, as the page says."""
    text = str(example.parsed)
    does: dict[str, Callable[[str], object]] = {
        "console": reader.transcript,
        "python": reader.program,
        "sh": reader.script,
        "toml": tomllib.loads,
        "json": json.loads,
    }
    match read_remark(example):
        case ("file", name):
            (reader.here / name).parent.mkdir(parents=True, exist_ok=True)
            (reader.here / name).write_text(text)
        case ("not run", _):
            pass
        case _:
            does[example.region.lexemes["arguments"]](text)


SLOW = {
    "write-a-backend.md",
    "write-a-scheduler.md",
    "write-a-transport.md",
    "shadow-a-built-in.md",
    "kit.md",
    "cli.md",
    "write-tests-of-your-own.md",
}
"""Pages that check whole plugins."""


@pytest.mark.parametrize(
    "page",
    [pytest.param(each, marks=[pytest.mark.slow] * (each.name in SLOW)) for each in PAGES if has_blocks(each)],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_every_block_of_a_page_runs_or_says_why_not(page: Path, reader: Reader) -> None:
    """Each block of a page runs with the output that the page shows, or its comment says why it does not run."""
    reader.follows(page)
    for example in parse(page).examples():
        try:
            follow(reader, example)
        except (AssertionError, pytest.fail.Exception, ValueError, KeyError) as error:
            pytest.fail(f"{page.relative_to(ROOT)}, line {example.line}: {error}", pytrace=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_a_page_is_recognized(page: Path) -> None:
    """Each block of a page has a language that the tests know."""
    fences = re.findall(r"^ *```+ *\S*", page.read_text(), re.MULTILINE)

    assert len(fences) == 2 * len(list(parse(page).examples()))


def list_links(page: Path) -> Iterator[str]:
    """Yield the links of a page to other files."""
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            yield target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    """Each relative link of a page leads to a file of the repository."""
    assert [target for target in list_links(page) if not (page.parent / target).exists()] == []


def test_every_page_is_reachable() -> None:
    """Each page can be reached by links from the README."""
    seen, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page not in seen and page.suffix == ".md":
            seen.add(page)
            ahead += [(page.parent / target).resolve() for target in list_links(page)]

    assert set(PAGES) <= seen


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_text_is_at_most_120_columns_wide(page: Path) -> None:
    """A line of text has at most 120 columns, except rows of tables, code and long words."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("|", "<!--"))]

    assert [line for line in lines if len(line) > 120 and " " in line.strip()[2:]] == []


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("errors.md", errors.__all__),
        ("types.md", job.__all__),
        ("types.md", CAPABILITIES),
        ("options.md", [name for name in signature(BatchBackend).parameters if name not in {"transport", "scheduler"}]),
        ("options.md", signature(DirectScheduler).parameters),
        ("kit.md", [make_spell("pytest")(each.name) for each in list_options("pytest")]),
        ("cli.md", [make_spell("check")(each.name) for each in list_options("check")]),
        ("kit.md", [state.value for state in State if state.value not in {"KNOWN", "UNEXPECTED_PASS"}]),
        ("kit.md", [verdict.value for verdict in Verdict]),
    ],
)
def test_a_reference_names_everything(page: str, names: Iterable[str]) -> None:
    """The reference names each error, type, verb, option, state and verdict."""
    text = (ROOT / "docs/reference" / page).read_text()

    assert [name for name in names if name not in text] == []


def test_no_requirement_is_the_bare_name() -> None:
    """A requirement of intercede names a version or a place, since another project has the name on the public index."""
    files = [*PAGES, *ROOT.glob("fixtures/*/pyproject.toml"), *ROOT.glob("src/**/*.py"), *ROOT.glob("src/**/*.html")]
    bare = re.compile(
        r"""^\s*(?:dependencies|requires)\s*=.*["']intercede(?:\[[\w,]*\])?["']
        | pip\ install[^`\n]*["'\ ]intercede(?:\[|["'\ ]|$)(?!.*\ @\ )""",
        re.MULTILINE | re.VERBOSE,
    )

    found = {str(each.relative_to(ROOT)): bare.findall(each.read_text()) for each in files}
    assert {name: lines for name, lines in found.items() if lines} == {}
