"""The words of the documents: terms of the glossary, none of its words to avoid, and names that agree."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("findings/*.md"), *ROOT.glob("docs/**/*.md")])
HEADING = "## Words that these pages avoid"
OPENERS = "What|Where|Who|Whoever|Whatever|Nobody|Nothing"
ALLOWED = {
    "docs/reference/contract.md": {"stands", "tells"},  # "stands for", "tells apart"
}
"""Pages in which a word has its ordinary meaning."""


def read_prose(page: Path) -> str:
    """Return a page without code, comments, targets of links, and the list of words to avoid itself."""
    text = re.sub(r"^ *```.*?^ *```$|<!--.*?-->", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`]*`|\]\([^)]*\)", "`", text.split(f"\n{HEADING}\n")[0])


def list_avoided_words() -> list[str]:
    """Read the words and phrases in the glossary's table."""
    table = (ROOT / "docs/reference/glossary.md").read_text().split(HEADING)[1]
    cells = re.findall(r"^\| (?!avoid \|)(\w.*?) \|", table, re.MULTILINE)
    return [word.strip() for cell in cells for word in cell.split(",")]


AVOIDED = re.compile(
    r"(?<![\w-])(" + "|".join(list_avoided_words()).replace(" ", r"\s+") + r")(?![\w-])", re.IGNORECASE
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_has_no_word_to_avoid(page: Path) -> None:
    """The words in the last table of the glossary are in no sentence of any page."""
    found = {" ".join(word.split()).lower() for word in AVOIDED.findall(read_prose(page))}

    assert found - ALLOWED.get(page.relative_to(ROOT).as_posix(), set()) == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_sentence_begins_with_its_subject(page: Path) -> None:
    """No sentence and no heading begins with a word such as What, unless it is a question."""
    begins = rf"(?:\A\s*|\n\s*(?:[-*#]+|\d+\.) |[.!?]\**\s)\**({OPENERS})\b([^.?!|]*[.?!|]?)"
    blocks = read_prose(page).split("\n\n")
    found = [begin + rest for block in blocks for begin, rest in re.findall(begins, block)]

    assert [sentence for sentence in found if not sentence.endswith("?")] == []


def test_the_list_of_words_to_avoid_is_read() -> None:
    """The table has words, and the pattern finds them in a sentence that is folded."""
    assert {"told", "so many", "by itself"} <= set(list_avoided_words())
    assert AVOIDED.findall("It was told so\nmany times, in a stronghold.") == ["told", "so\nmany"]


@pytest.mark.parametrize("decision", sorted(ROOT.glob("docs/decisions/*.md")), ids=lambda path: path.stem)
def test_decisions_have_one_form(decision: Path) -> None:
    """A decision has its number and a title, then the context, the choice, and the events that would change it."""
    title, _, text = decision.read_text().partition("\n")

    assert re.fullmatch(rf"# {decision.name[:4]}: [A-Z`a-z].*[^.]", title)
    assert re.findall(r"^\*\*(Context\.|Choice\.|Revisit if)", text, re.MULTILINE) == [
        "Context.",
        "Choice.",
        "Revisit if",
    ]


@pytest.mark.parametrize("page", ["explanation/architecture.md", "how-to/add-a-clause.md", "how-to/run-the-daemons.md"])
def test_a_file_that_a_page_names_exists(page: str) -> None:
    """A page that says where something is names files that exist, but for placeholders in capital letters."""
    named = set(re.findall(r"`([a-z_./]+\.(?:py|sh|md|toml))`", (ROOT / "docs" / page).read_text()))
    folders = [ROOT / each for each in ("src", "tests", "docs", "fixtures")]
    files = [f"/{path.relative_to(ROOT).as_posix()}" for each in folders for path in each.rglob("*.*")]
    files += [f"/{path.name}" for path in ROOT.iterdir()]

    assert named
    assert {name for name in named if not any(path.endswith(f"/{name}") for path in files)} == set()


@pytest.mark.parametrize("document", ["Makefile", "CONTRIBUTING.md"])
def test_each_command_is_described(document: str) -> None:
    """The list at the top of the Makefile, and the contributor's page, have a line for each command."""
    makefile = (ROOT / "Makefile").read_text()
    commands = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)", makefile, re.MULTILINE)
    assert commands is not None
    described = re.findall(r"\bmake ([a-z-]+)", (ROOT / document).read_text())

    assert set(commands[1].replace("\\", " ").split()) - {*described} == set()


CONTINUES = "Also|And|As|But|By|Else|Even|However|Is|It|Its|Neither|Nor|Not|Of|Or|So|Than|That|Their|They|This|With"
"""Words that begin the rest of another sentence, or refer to one. A docstring is read alone."""


def list_docstrings(path: Path) -> list[str]:
    """Return the docstrings of a file, those of attributes included, without code in backquotes."""
    texts = re.findall(r'^ *r?"""(\S.*?)"""$', path.read_text(), re.DOTALL | re.MULTILINE)
    return [re.sub(r"``?[^`]*``?", "`", text) for text in texts]


def test_a_docstring_of_a_test_is_a_sentence_of_its_own() -> None:
    """A docstring in tests begins with its subject, refers to no sentence before it, and has no word to avoid."""
    begins = re.compile(rf"(?:{OPENERS}|{CONTINUES})\b")
    found = [
        f"{path.relative_to(ROOT)}: {text}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for text in list_docstrings(path)
        if begins.match(text) or AVOIDED.search(text)
    ]

    assert found == []


def test_the_name_of_a_test_begins_with_its_subject() -> None:
    """The name of a test begins with its subject, and has no word to avoid."""
    begins = re.compile(rf"(?:{OPENERS}|{CONTINUES})\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for name in re.findall(r"\bdef test_(\w+)\(", path.read_text())
        for words in [name.replace("_", " ")]
        if begins.match(words) or AVOIDED.search(words)
    ]

    assert found == []
