"""intercede compared with other libraries, on a real Slurm and a real sshd: the counts and the times of every verb.

    python -m benchmarks.peers [--quick] [--peer NAME]... [--copies N]... [--rtt MS]...

Needs root, on Debian: it starts its own daemons with the scripts in `tests/daemons`. The raw numbers go to
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

from benchmarks.peers.host import Host
from benchmarks.peers.plan import PEERS, PLAN, QUICK, Run
from benchmarks.peers.report import RAW, write

LONGEST = 600.0
"""The time limit of the jobs, in seconds."""


def lines(host: Host, run: Run) -> Iterator[Mapping[str, object]]:
    """Run one program, and yield the lines that it prints."""
    about = {"peer": run.peer, "copies": run.copies, "rtt_ms": run.rtt}
    host.reset()
    process = subprocess.Popen(host.command(run, LONGEST), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    with process:
        for text in process.stdout or ():
            line = cast("dict[str, object]", json.loads(text))
            if line["operation"] == "end":
                line["still_there"] = host.still_there()
            yield about | line
    host.drain()


def chosen() -> tuple[Sequence[Run], bool]:
    """Read the command line. Return the runs, and whether these are all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few jobs, to test the benchmark itself")
    parser.add_argument("--peer", action="append", help="only this one", choices=PEERS)
    parser.add_argument("--copies", action="append", help="only this number of jobs", type=int)
    parser.add_argument("--rtt", action="append", help="only this round trip, in milliseconds", type=int)
    options = parser.parse_args()
    plan = [
        run
        for run in (QUICK if options.quick else PLAN)
        if run.peer in (options.peer or PEERS)
        and run.copies in (options.copies or [run.copies])
        and run.rtt in (options.rtt or [run.rtt])
    ]
    return plan, not (options.quick or options.peer or options.copies or options.rtt)


def about(host: Host) -> Mapping[str, object]:
    """Return the date, the machine, its load and the versions."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]}",
        "load": round(os.getloadavg()[0], 1),
        "versions": host.versions(),
    }


def measure(host: Host, plan: Iterable[Run]) -> Iterator[Mapping[str, object]]:
    """Make all runs, those without a delay first."""
    distance = attrgetter("rtt")
    for rtt, runs in groupby(sorted(plan, key=distance), key=distance):
        with host.sshd(rtt):
            for run in runs:
                yield from lines(host, run)


def main() -> None:
    """Measure, and write the page."""
    plan, everything = chosen()
    host = Host()
    host.prepare()
    where = about(host)
    taken: list[Mapping[str, object]] = []
    for line in measure(host, plan):
        print(json.dumps(line), flush=True)
        taken.append(line)
    if everything:
        RAW.write_text("".join(f"{json.dumps(line)}\n" for line in (where, *taken)))
        write(where, taken)


if __name__ == "__main__":
    main()
