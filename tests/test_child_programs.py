"""Python that runs in child processes is in modules, where the type checkers and the linter read it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
MOST_LINES = 3
"""The most lines of a program in a string: enough to import a module and to call a function of it."""
STATEMENTS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.Call)


def list_strings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield each string that is not a docstring, with its line. Values in f-strings are written as names."""
    documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (each.value if isinstance(each, ast.Constant) else "value" for each in node.values)
            yield node.lineno, "".join(map(str, parts))


def is_long_program(text: str) -> bool:
    """Return whether a text is a Python program of more lines than a string may hold."""
    if len([line for line in text.splitlines() if line.strip()]) <= MOST_LINES:
        return False
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    return any(isinstance(node, STATEMENTS) for node in ast.walk(tree))


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=lambda path: str(path.relative_to(SRC)))
def test_no_string_holds_a_long_program(path: Path) -> None:
    """A program of more than three lines is a function of a module, and is called by its name."""
    assert [line for line, text in list_strings(ast.parse(path.read_text())) if is_long_program(text)] == []


def test_a_long_program_in_a_string_is_found() -> None:
    """A plain string and an f-string are found; a docstring, a short program and a script of sh are not."""
    long = "import os\nimport sys\nx = {0}\nprint(x)\n"
    code = f'"""{long}"""\nA = """{long}"""\nB = f"""{long}"""\nC = "import os"\n'
    code += 'D = """for i; do\\necho\\ndone\\n:\\n"""\n'

    assert [line for line, text in list_strings(ast.parse(code)) if is_long_program(text)] == [6, 11]
