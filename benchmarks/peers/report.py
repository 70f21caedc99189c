"""Raw numbers into tables and pictures. The prose of the page is written by hand, and stays."""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import ceil, isnan, nan
from pathlib import Path
from typing import cast

from benchmarks.peers.chart import Chart
from benchmarks.peers.plan import PEERS, reason_for
from benchmarks.peers.results import Results, Taken

__all__ = ["RAW", "write"]

EXPLANATION = Path(__file__).resolve().parents[2] / "docs" / "explanation"
PAGE, RAW, PICTURES = EXPLANATION / "benchmarks.md", EXPLANATION / "benchmarks.jsonl", EXPLANATION / "pictures"
HAND, OURS = "by hand, over ssh", "intercede, over ssh"
JOB_BY_JOB = ("AiiDA's plugins, over ssh", "PSI/J, there", "Parsl's provider, there")
VERBS = ("submit", "status", "fetch", "kill")
OPERATIONS = ("open", "submit", "end", "status", "status, all over", "fetch", "fetch by sftp", "kill")
MAX_ARRAY_SIZE = 1001
MANY, MOST, KNOWN, FAR = 1000, 5000, 10000, 100

Row = Sequence[str]
Lines = Sequence[Mapping[str, object]]


def write(lines: Lines) -> None:
    """Put the tables into the page, and the pictures beside it."""
    results = Results(lines)
    parts: dict[str, str] = {
        "about": _about(lines[0]),
        "reach": _table(("what", "target", "measured", ""), _reach(results)),
        "far": _far(results),
        **{operation: _near(results, operation) for operation in OPERATIONS},
    }
    page = PAGE.read_text()
    for name, text in parts.items():
        page = _replaced(page, name, text)
    PAGE.write_text(page)
    PICTURES.mkdir(exist_ok=True)
    for operation in ("submit", "fetch", "kill"):
        (PICTURES / f"benchmark-{operation}.svg").write_text(_chart(results, operation).svg())


def _replaced(page: str, name: str, text: str) -> str:
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    return re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{text}\n{end}", page, flags=re.DOTALL)


def _table(head: Row, rows: Iterator[Row]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _about(about: Mapping[str, object]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in cast("Mapping[str, str]", about["versions"]).items())
    return f"Taken on {about['date']} with {versions}; {about['machine']}."


def _near(results: Results, operation: str) -> str:
    """Seconds over the number of jobs, and what the largest number but one had started."""
    numbers = results.numbers(0)

    def rows() -> Iterator[Row]:
        for peer in PEERS:
            cells = [_seconds(results, peer, copies, 0, operation) for copies in numbers]
            if any(cell != "" for cell in cells):
                yield peer, *cells, _counts(results.get(peer, MANY, 0, operation))

    return _table(("seconds for", *map(str, numbers), f"started for {MANY}"), rows())


def _seconds(results: Results, peer: str, copies: int, rtt: int, operation: str) -> str:
    taken = results.get(peer, copies, rtt, operation)
    if taken is not None:
        return f"{taken.seconds:.3g}" if taken.seconds < 100 else f"{taken.seconds:.0f}"
    return results.why(peer, copies, rtt, operation) or reason_for(peer, copies, rtt)


def _counts(taken: Taken | None) -> str:
    return ", ".join(f"{number} {name}" for name, number in taken.counts.items()) if taken else ""


def _far(results: Results) -> str:
    """Seconds over the distance, and how many round trips that is."""
    distances = results.distances()

    def rows() -> Iterator[Row]:
        for peer, copies in results.runs(distances[-1]):
            for operation in OPERATIONS:
                far = results.get(peer, copies, distances[-1], operation)
                if far is not None and operation != "end":
                    cells = [_seconds(results, peer, copies, rtt, operation) for rtt in distances]
                    yield peer, str(copies), operation, *cells, f"{_round_trips(results, peer, copies, operation):.1f}"

    head = ("", "jobs", "verb", *(f"{rtt} ms" for rtt in distances), "round trips")
    return _table(head, rows())


def _round_trips(results: Results, peer: str, copies: int, operation: str) -> float:
    near, far = (results.get(peer, copies, rtt, operation) for rtt in (0, FAR))
    return (far.seconds - near.seconds) / FAR * 1e3 if near and far else nan


def _reach(results: Results) -> Iterator[Row]:
    """Each target, what was measured, and whether it is met."""

    def seconds(peer: str, operation: str) -> float:
        taken = results.get(peer, MANY, 0, operation)
        return taken.seconds if taken else nan

    def more_trips(verb: str) -> float:
        return _round_trips(results, OURS, MANY, verb) - _round_trips(results, HAND, MANY, verb)

    def most(verb: str, name: str) -> int:
        return max((taken.counts.get(name, 0) for taken in results.all(OURS) if taken.operation == verb), default=0)

    submit, fetch = seconds(OURS, "submit"), seconds(OURS, "fetch")
    yield _at_most(f"submit {MANY}, beside by hand", 3, submit / seconds(HAND, "submit"), "{:.2f}x")
    for peer in JOB_BY_JOB:
        yield _at_least(f"submit {MANY}: {peer}", 20, seconds(peer, "submit") / submit, "{:.0f}x as long")
    yield _at_most(f"fetch {MANY}, beside tar through ssh", 2, fetch / seconds(HAND, "fetch"), "{:.2f}x")
    yield _at_least(f"fetch {MANY}: sftp, file by file", 1, seconds(HAND, "fetch by sftp") / fetch, "{:.1f}x as long")
    for verb in VERBS:
        yield _at_most(f"{verb} {MANY} at {FAR} ms: round trips beyond by hand", 4, more_trips(verb), "{:.1f}")
    for verb in VERBS:
        yield _at_most(f"{verb}: execs, for whatever number of jobs", 1, most(verb, "execs"), "{:.0f}")
    for copies in (MANY, MOST):
        taken = results.get(OURS, copies, 0, "submit")
        called = taken.counts.get("sbatch", 0) if taken else nan
        yield _at_most(f"submit {copies}: calls of sbatch", ceil(copies / MAX_ARRAY_SIZE), called, "{:.0f}")
    blocked = max((taken.blocked_ms for taken in results.all(OURS)), default=nan)
    yield _at_most("the event loop blocked, at the longest", 50, blocked, "{:.0f} ms")
    known = results.get(OURS, KNOWN, 0, "status")
    yield _at_most(f"status of {KNOWN} known jobs: the client's CPU", 150, known.cpu * 1e3 if known else nan, "{:.0f} ms")
    taken = results.get(OURS, KNOWN, 0, "submit")
    yield _at_most(f"{KNOWN} handles: memory", 50, taken.grown_mib if taken else nan, "{:.0f} MiB")


def _at_most(what: str, target: float, measured: float, spelled: str) -> Row:
    return what, f"at most {spelled.format(target)}", spelled.format(measured), _verdict(measured <= target, measured)


def _at_least(what: str, target: float, measured: float, spelled: str) -> Row:
    return what, f"at least {spelled.format(target)}", spelled.format(measured), _verdict(measured >= target, measured)


def _verdict(holds: bool, measured: float) -> str:  # noqa: FBT001 -- the one thing it is about
    return "not measured" if isnan(measured) else "met" if holds else "**missed**"


def _chart(results: Results, operation: str) -> Chart:
    """Seconds over the number of jobs, of everybody who was measured with more than one number."""
    points = {peer: [(copies, taken.seconds) for copies in results.numbers(0) if (taken := results.get(peer, copies, 0, operation))] for peer in PEERS}
    return Chart(f"{operation}: seconds for so many jobs", "jobs", "s", {peer: each for peer, each in points.items() if len(each) > 1})
