"""Makes tables and pictures from the raw numbers. The text around them is written by hand and is not changed."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isnan
from pathlib import Path
from textwrap import fill
from typing import cast

from benchmarks.peers.chart import Chart
from benchmarks.peers.plan import PEERS
from benchmarks.peers.results import Results, Taken
from benchmarks.peers.targets import MANY, list_targets, round_trips

__all__ = ["RAW", "write"]

EXPLANATION = Path(__file__).resolve().parents[2] / "docs" / "explanation"
PAGE, RAW, PICTURES = EXPLANATION / "benchmarks.md", EXPLANATION / "benchmarks.jsonl", EXPLANATION / "pictures"
OPERATIONS = ("open", "submit", "end", "status", "status, all over", "fetch", "fetch by sftp", "kill")
AFAR = tuple(operation for operation in OPERATIONS if operation != "end")
DRAWN = ("submit", "fetch", "kill")
MINUTES = 100.0

Row = Sequence[str]


def write(about: Mapping[str, object], lines: Iterable[Mapping[str, object]]) -> None:
    """Write the tables into the page, and the pictures into their folder."""
    results = Results(lines)
    page = PAGE.read_text()
    for name, text in _parts(about, results).items():
        page = _replaced(page, name, text)
    PAGE.write_text(page)
    PICTURES.mkdir(exist_ok=True)
    for operation in DRAWN:
        (PICTURES / f"benchmark-{operation}.svg").write_text(_chart(results, operation).svg())


def _parts(about: Mapping[str, object], results: Results) -> Mapping[str, str]:
    return {
        "about": _about(about),
        "targets": _table(("what", "target", "measured", ""), list_targets(results)),
        "far": _far(results),
        **{operation: _near(results, operation) for operation in OPERATIONS},
    }


def _replaced(page: str, name: str, text: str) -> str:
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    return re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{text}\n{end}", page, flags=re.DOTALL)


def _table(head: Row, rows: Iterable[Row]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _about(about: Mapping[str, object]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in cast("Mapping[str, str]", about["versions"]).items())
    quiet = f"a load average of {about['load']} before it began"
    return fill(f"Taken on {about['date']}, on {about['machine']}, {quiet}, with {versions}.", 120)


def _near(results: Results, operation: str) -> str:
    """Make a table of seconds by number of jobs, and of the processes that were started."""
    numbers = results.numbers(0)

    def rows() -> Iterator[Row]:
        for peer in PEERS:
            if any(results.get(peer, copies, 0, operation) for copies in numbers):
                cells = (_cell(results, peer, copies, 0, operation) for copies in numbers)
                yield peer, *cells, _started(results.get(peer, MANY, 0, operation))

    return _table(("seconds for", *map(str, numbers), f"started for {MANY}"), rows())


def _cell(results: Results, peer: str, copies: int, rtt: int, operation: str) -> str:
    taken = results.get(peer, copies, rtt, operation)
    if taken is None:
        return results.why(peer, copies, rtt, operation)
    early = f" ({taken.still_there} were not)" if taken.still_there else ""
    return _seconds(taken.seconds) + early


def _seconds(seconds: float) -> str:
    return "" if isnan(seconds) else f"{seconds:.0f}" if seconds > MINUTES else f"{seconds:.3g}"


def _started(taken: Taken | None) -> str:
    return ", ".join(f"{number} {name}" for name, number in taken.counts.items()) if taken else ""


def _far(results: Results) -> str:
    """Make a table for each delay."""
    tables = (f"At {rtt} ms:\n\n{_at(results, rtt)}" for rtt in results.distances() if rtt)
    return "\n\n".join(tables)


def _at(results: Results, rtt: int) -> str:
    """Make a table of seconds, and of the round trips that the delay added."""
    runs = sorted(results.runs(rtt), key=lambda run: list(PEERS).index(run[0]))

    def rows() -> Iterator[Row]:
        for peer, copies in runs:
            yield peer, str(copies), *(_way(results, peer, copies, rtt, operation) for operation in AFAR)

    return _table(("seconds (round trips)", "jobs", *AFAR), rows())


def _way(results: Results, peer: str, copies: int, rtt: int, operation: str) -> str:
    trips = round_trips(results, peer, copies, rtt, operation)
    return _cell(results, peer, copies, rtt, operation) + ("" if isnan(trips) else f" ({trips:.1f})")


def _chart(results: Results, operation: str) -> Chart:
    """Draw seconds by number of jobs, for each program that was measured with several numbers."""
    lines = {peer: list(_points(results, peer, operation)) for peer in PEERS}
    series = {peer: points for peer, points in lines.items() if len(points) > 1}
    return Chart(f"{operation}: seconds for a number of jobs", "jobs", "s", series)


def _points(results: Results, peer: str, operation: str) -> Iterator[tuple[float, float]]:
    for copies in results.numbers(0):
        taken = results.get(peer, copies, 0, operation)
        if taken is not None and taken.seconds:
            yield copies, taken.seconds
