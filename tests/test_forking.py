"""A forked process of a test is like a new one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import RunModule

SHOWN = """
import json, os, sys
from pathlib import Path
shown = {
    "name": __name__,
    "arguments": sys.argv,
    "variables": {name: value for name, value in os.environ.items() if name != "LC_CTYPE"},  # Python sets that itself
    "directory": os.getcwd(),
    "descriptors": sorted(each.name for each in Path("/proc/self/fd").iterdir()),
    "stdin": sys.stdin.read(),
    "terminal": [each.isatty() for each in (sys.stdin, sys.stdout, sys.stderr)],
    "encoding": sys.stdout.encoding,
    "flags": str(sys.flags),
    "path": sys.path,
    "modules": [name for name in sys.modules if name in ("seen", "forking", "intercede.cli")],
}
print(json.dumps(shown))
print("oops", file=sys.stderr)
sys.exit(7)
"""


def test_a_process_is_like_a_new_one(run_module: RunModule, tmp_path: Path) -> None:
    """A forked process has the same arguments, variables, directory, streams, descriptors and path as a new one."""
    (tmp_path / "shows.py").write_text(SHOWN)
    here = tmp_path / "here"
    here.mkdir()
    variables = os.environ | {"PYTHONPATH": str(tmp_path), "ODD": 'a\n"é"'}
    new = subprocess.run(
        [sys.executable, "-P", "-m", "shows", "a b", ""],
        cwd=here, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip

    forked = run_module("shows", "a b", "", directory=here, variables=variables)

    assert (forked.returncode, forked.stderr) == (new.returncode, new.stderr) == (7, "oops\n")
    as_forked, as_new = json.loads(forked.stdout), json.loads(new.stdout)
    assert len(as_forked.pop("descriptors")) == len(as_new.pop("descriptors")) + 1  # the socket of their fork server
    assert as_forked == as_new


@pytest.mark.parametrize(
    ("source", "code", "word"),
    [
        ("raise RuntimeError('mine')", 1, "RuntimeError: mine"),
        ("raise SystemExit('words')", 1, "words"),
        ("import os; os.kill(os.getpid(), 9)", -9, ""),
        ("import atexit; atexit.register(print, 'at the end')", 0, "at the end"),
    ],
)
def test_each_way_to_end_is_reported(run_module: RunModule, tmp_path: Path, source: str, code: int, word: str) -> None:
    """Every way to end is reported as by subprocess."""
    (tmp_path / "ends.py").write_text(source)

    ended = run_module("ends", directory=tmp_path, variables={"PYTHONPATH": str(tmp_path)})

    assert ended.returncode == code
    assert word in ended.stdout + ended.stderr


def test_a_process_does_not_see_another_s_changes(run_module: RunModule, tmp_path: Path) -> None:
    """A forked process sees neither modules nor variables of another."""
    (tmp_path / "does.py").write_text(
        "import os, intercede.contract\nprint(hasattr(intercede.contract, 'x'), 'X' in os.environ)\n"
        "intercede.contract.x = os.environ['X'] = 'x'\n"
    )

    for _ in range(2):
        ended = run_module("does", directory=tmp_path, variables={"PYTHONPATH": str(tmp_path)})
        assert ended.stdout == "False False\n", ended
