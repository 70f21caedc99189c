"""The page of a report."""

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import pytest
from tests.testing.report.reports import RUN, Page, make_red_report, make_report

from intercede.testing.clauses import CLAUSES
from intercede.testing.model.clause import MUST
from intercede.testing.model.verdict import Report, State
from intercede.testing.report import write_reports


@pytest.mark.parametrize("report", [make_report(), make_red_report()], ids=["lost", "broken"])
def test_a_screen_reader_can_read_the_page(report: Report, tmp_path: Path) -> None:
    """The page has landmarks, headings in order, header cells with a scope, unique ids, and links with targets."""
    text = next(path for path in write_reports([report], tmp_path, RUN) if path.suffix == ".html").read_text()
    page = Page(text)

    assert {"header", "nav", "main", "footer", "h1"} <= set(page.tags)
    levels = [int(tag[1]) for tag in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))
    assert len(page.values("scope")) == page.tags.count("th")
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {each[1:] for each in page.values("href")} <= set(ids)
    assert {word for each in page.values("aria-labelledby") for word in each.split()} <= set(ids)
    assert page.tags.count("details") >= sum(each.role == "backend" for each in CLAUSES.values())
    assert page.values("lang") == ["en"]
    assert page.attributes[page.attributes.index(("class", "skip")) + 1] == ("href", "#content")


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    """The page names no address, and its content security policy forbids to load or run anything else."""
    text = next(
        path for path in write_reports([make_red_report()], tmp_path, RUN) if path.suffix == ".html"
    ).read_text()

    assert re.findall(r"(?:https?:)?//[a-z]|url\(|@import|src=", text.partition("</style>")[0]) == []
    assert {"src", "style", "action"}.isdisjoint(name for name, _ in Page(text).attributes)
    assert "default-src 'none'" in text


def test_a_state_is_written_in_words(tmp_path: Path) -> None:
    """Each cell of the matrix names its clause and its state in words, and not by colour alone."""
    report = make_red_report()
    text = next(path for path in write_reports([report], tmp_path, RUN) if path.suffix == ".html").read_text()
    spoken = dict(re.findall(r'class="spoken">(IC-\S+) ([^<]+)</span></a>', text))

    assert set(spoken) == {each.id for each in CLAUSES.values() if each.role == "backend"}
    words = {(report.results[each].state, CLAUSES[each].level): word for each, word in spoken.items()}
    assert words[State.PASSED, MUST] == "passed"
    assert words[State.FAILED, MUST] == "failed"
    assert len({words[each, MUST] for each in State if (each, MUST) in words}) == len(
        {each for each, level in words if level is MUST}
    )


def _read_palettes() -> Iterator[Mapping[str, str]]:
    css = files("intercede.testing.report").joinpath("page.css").read_text()
    light = dict(re.findall(r"--([\w-]+): (#\w{6});", css.partition("@media")[0]))
    yield light
    yield light | dict(re.findall(r"--([\w-]+): (#\w{6});", css.partition("scheme: dark)")[2].partition("\n}\n")[0]))
    yield light | dict(re.findall(r"--([\w-]+): (#\w{6});", css.partition("@media print")[2]))


def _get_luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return sum(weight * each for weight, each in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def _get_contrast(one: str, other: str) -> float:
    darker, lighter = sorted(map(_get_luminance, (one, other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("palette", list(_read_palettes()), ids=["light", "dark", "print"])
def test_the_colours_of_the_page_have_enough_contrast(palette: Mapping[str, str]) -> None:
    """Text on the page has a contrast of at least 4.5 to 1, and other marks have at least 3 to 1."""
    tones = [(each, f"{each}-paper") for each in ("good", "bad", "warn", "dim")]
    texts = [(ink, paper) for ink in ("ink", "soft", "link") for paper in ("paper", "panel")] + tones
    marks = [("bar", "panel"), ("bad", "panel"), ("focus", "paper"), ("focus", "panel"), ("control", "paper")]

    assert {
        pair: _get_contrast(*(palette[each] for each in pair)) for pair in texts if _is_low(palette, pair, 4.5)
    } == {}
    assert {
        pair: _get_contrast(*(palette[each] for each in pair)) for pair in marks if _is_low(palette, pair, 3.0)
    } == {}


def _is_low(palette: Mapping[str, str], pair: tuple[str, str], least: float) -> bool:
    return _get_contrast(palette[pair[0]], palette[pair[1]]) < least
