"""intercede compared with other libraries, on a real Slurm and a real sshd: the counts and the times of every verb.

    python -m benchmarks.peers [--quick] [--peer NAME]... [--copies N]... [--rtt MS]...

Needs root, on Debian: it starts its own daemons, with what is in `tests/daemons`. The raw numbers go to
docs/explanation/benchmarks.jsonl, and from there into the tables and pictures of docs/explanation/benchmarks.md. With
any option, no file is written: lines go to stdout.
"""

import argparse
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from typing import cast

from benchmarks.peers.ground import Ground
from benchmarks.peers.plan import PEERS, PLAN, QUICK, Run
from benchmarks.peers.report import RAW, write

LONGEST = 600.0
"""Seconds that jobs may take."""


def lines(ground: Ground, run: Run) -> Iterator[Mapping[str, object]]:
    """Run one peer, and give what it prints."""
    about = {"peer": run.peer, "copies": run.copies, "rtt_ms": run.rtt}
    ground.reset()
    process = subprocess.Popen(
        ground.command(run, LONGEST), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    with process:
        for text in process.stdout or ():
            line = cast("dict[str, object]", json.loads(text))
            if line["operation"] == "end":
                line["still_there"] = ground.still_there()
            yield about | line
    ground.drain()


def chosen() -> tuple[Sequence[Run], bool]:
    """Read the command line: what to run, and whether it is all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few jobs, to see whether all of it works")
    parser.add_argument("--peer", action="append", help="only this one", choices=PEERS)
    parser.add_argument("--copies", action="append", help="only with so many", type=int)
    parser.add_argument("--rtt", action="append", help="only so far away", type=int)
    options = parser.parse_args()
    plan = [
        run
        for run in (QUICK if options.quick else PLAN)
        if run.peer in (options.peer or PEERS)
        and run.copies in (options.copies or [run.copies])
        and run.rtt in (options.rtt or [run.rtt])
    ]
    return plan, not (options.quick or options.peer or options.copies or options.rtt)


def about(ground: Ground) -> Mapping[str, object]:
    """Tell where and when the numbers were taken, and of what."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]}",
        "load": round(os.getloadavg()[0], 1),
        "versions": ground.versions(),
    }


def measure(ground: Ground, plan: Iterable[Run]) -> Iterator[Mapping[str, object]]:
    """Run all of it, the near before the far."""
    distance = attrgetter("rtt")
    for rtt, runs in groupby(sorted(plan, key=distance), key=distance):
        with ground.sshd(rtt):
            for run in runs:
                yield from lines(ground, run)


def main() -> None:
    """Measure, and write it down."""
    plan, everything = chosen()
    ground = Ground()
    ground.prepare()
    where = about(ground)
    taken: list[Mapping[str, object]] = []
    for line in measure(ground, plan):
        print(json.dumps(line), flush=True)
        taken.append(line)
    if everything:
        RAW.write_text("".join(f"{json.dumps(line)}\n" for line in (where, *taken)))
        write(where, taken)


if __name__ == "__main__":
    main()
