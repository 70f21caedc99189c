"""The targets, the measured values, and whether they are met."""

from collections.abc import Iterator, Sequence
from math import ceil, isnan, nan

from benchmarks.peers.results import Results

__all__ = ["HAND", "OURS", "list_targets", "round_trips"]

HAND, OURS = "by hand, over ssh", "intercede, over ssh"
JOB_BY_JOB = ("AiiDA's plugins, over ssh", "PSI/J, local", "Parsl's provider, local")
VERBS = ("submit", "status", "fetch", "kill")
MAX_ARRAY_SIZE = 1001
MANY, MOST, KNOWN, FAR = 1000, 5000, 10000, 100

Row = Sequence[str]


def list_targets(results: Results) -> Iterator[Row]:
    """Yield a row for each target."""
    yield from _near(results)
    yield from _far(results)
    yield from _counted(results)
    yield from _client(results)


def round_trips(results: Results, peer: str, copies: int, rtt: int, operation: str) -> float:
    """Return the number of round trips of an operation."""
    near, far = (results.seconds(peer, copies, distance, operation) for distance in (0, rtt))
    return (far - near) / rtt * 1e3


def _near(results: Results) -> Iterator[Row]:
    def seconds(peer: str, operation: str) -> float:
        return results.seconds(peer, MANY, 0, operation)

    submit, fetch = seconds(OURS, "submit"), seconds(OURS, "fetch")
    yield _at_most(f"submit {MANY}, compared with by hand", 3, submit / seconds(HAND, "submit"), "{:.2f}x")
    for peer in JOB_BY_JOB:
        yield _at_least(f"submit {MANY}: {peer}", 20, seconds(peer, "submit") / submit, "{:.0f}x as long")
    yield _at_most(f"fetch {MANY}, compared with tar through ssh", 2, fetch / seconds(HAND, "fetch"), "{:.2f}x")
    yield _at_least(f"fetch {MANY}: sftp, file by file", 1, seconds(HAND, "fetch by sftp") / fetch, "{:.1f}x as long")


def _far(results: Results) -> Iterator[Row]:
    for verb in VERBS:
        more = round_trips(results, OURS, MANY, FAR, verb) - round_trips(results, HAND, MANY, FAR, verb)
        yield _at_most(f"{verb} {MANY} at {FAR} ms: more round trips than by hand", 4, more, "{:.1f}")


def _counted(results: Results) -> Iterator[Row]:
    for verb in VERBS:
        execs = max((taken.counts.get("execs", 0) for taken in results.all(OURS, verb)), default=nan)
        yield _at_most(f"{verb}: commands over ssh, for any number of jobs", 1, execs, "{:.0f}")
    for copies in (MANY, MOST):
        taken = results.get(OURS, copies, 0, "submit")
        calls = taken.counts.get("sbatch", 0) if taken else nan
        yield _at_most(f"submit {copies}: calls of sbatch", ceil(copies / MAX_ARRAY_SIZE), calls, "{:.0f}")


def _client(results: Results) -> Iterator[Row]:
    asked, submitted = (results.get(OURS, KNOWN, 0, verb) for verb in ("status", "submit"))
    cpu, grown = asked.cpu * 1e3 if asked else nan, submitted.grown_mib if submitted else nan
    yield _at_most(f"status of {KNOWN} jobs: the client's CPU", 150, cpu, "{:.0f} ms")
    yield _at_most(f"{KNOWN} handles: the client's memory", 50, grown, "{:.0f} MiB")
    for verb in VERBS:
        mine = [taken for taken in results.all(OURS, verb) if taken.copies <= MOST]
        blocked = max((taken.blocked_ms for taken in mine), default=nan)
        yield _at_most(f"{verb} {MOST}: longest block of the event loop", 50, blocked, "{:.0f} ms")


def _at_most(what: str, target: float, measured: float, spelled: str) -> Row:
    return what, f"at most {spelled.format(target)}", *_measured(measured, spelled, met=measured <= target)


def _at_least(what: str, target: float, measured: float, spelled: str) -> Row:
    return what, f"at least {spelled.format(target)}", *_measured(measured, spelled, met=measured >= target)


def _measured(measured: float, spelled: str, *, met: bool) -> Row:
    return ("", "not measured") if isnan(measured) else (spelled.format(measured), "met" if met else "**missed**")
