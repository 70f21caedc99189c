"""The time to find plugins, compared with other libraries: cold processes, interleaved, in one run.

    python benchmarks/discovery.py [--quick]

Each figure is the median of cold processes in which only N generated distributions are visible, 30 % of them with an
entry_points.txt and five of those with entries of intercede. One table has the whole process. The other is from before
the import of the scanner to after its first answer, without the start of the interpreter. The bare scan lists the
directory and reads the same files, but does not parse them.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from time import perf_counter

SOURCE = Path(__file__).parents[1] / "src"

HAND = "from intercede import registry; registry.plugins()"
BARE = """
import os
root = sys.path[0]
for name in sorted(name for name in os.listdir(root) if name.endswith(".dist-info")):
    try:
        file = os.open(f"{root}/{name}/entry_points.txt", os.O_RDONLY)
    except OSError:
        continue
    os.read(file, 65536)
    os.close(file)
"""
METADATA = "from importlib.metadata import entry_points; entry_points(group='intercede.transports')"
STEVEDORE = """
from stevedore import ExtensionManager
ExtensionManager("intercede.transports", on_load_failure_callback=lambda *_: None).list_entry_points()
"""
LIBRARIES = {"intercede": HAND, "bare scan": BARE, "importlib.metadata": METADATA, "stevedore, warm": STEVEDORE}

TIMED = "import os, sys, time; start = time.perf_counter(); exec({statement!r}); print(time.perf_counter() - start)"
LOADED = "import sys; before = set(sys.modules); import intercede; print(*sorted(set(sys.modules) - before))"
AFTERWARDS = """
import timeit
from intercede.registry import Registry
from intercede.registry.gate import find_violations
registry = Registry()
made = registry.transport("local")
count = 2000
print(min(timeit.repeat(lambda: registry.resolve("transports", "local"), number=count, repeat=5)) / count * 1e6)
print(min(timeit.repeat(lambda: find_violations(made, "transports"), number=count, repeat=5)) / count * 1e6)
"""


def make_distributions(root: Path, count: int) -> None:
    for index in range(count):
        metadata = root / f"package_{index}-1.{index % 10}.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: package-{index}\nVersion: 1.{index % 10}\n")
        if index % 10 < 3:
            ours = f"[intercede.transports]\nname{index} = json:loads\n" if index < 20 and index % 10 < 2 else ""
            ours = f"{ours}[intercede.schedulers]\nname{index} = json:loads\n" if index == 2 else ours
            (metadata / "entry_points.txt").write_text(f"[console_scripts]\ncommand{index} = package:main\n\n{ours}")


Seconds = tuple[float, float]


def run_cold(statement: str, environment: dict[str, str]) -> Seconds:
    """Return the seconds that a new process takes, and those that a statement takes in it."""
    command = [sys.executable, "-S", "-P", "-c", TIMED.format(statement=statement)]
    start = perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return perf_counter() - start, float(done.stdout)


def measure(count: int, runs: int, libraries: dict[str, str]) -> dict[str, Seconds]:
    """Return the median seconds of each library with ``count`` distributions: of the process, and within it."""
    with tempfile.TemporaryDirectory() as directory:
        site = Path(directory) / "site"
        make_distributions(site, count)
        for name in ("stevedore", "intercede"):  # the code without its metadata
            spec = find_spec(name)
            if spec and spec.submodule_search_locations:
                (site / name).symlink_to(Path(next(iter(spec.submodule_search_locations))).resolve())
        environment = {"PYTHONPATH": str(site), "HOME": directory, "PATH": os.environ["PATH"]}
        seconds: dict[str, list[Seconds]] = {name: [] for name in libraries}
        for run in range(runs + 2):  # the first two fill the caches of files, bytecode and stevedore
            for name, statement in libraries.items():
                taken = run_cold(statement, environment)
                if run >= 2:
                    seconds[name].append(taken)
    return {
        name: (median(whole for whole, _ in each), median(part for _, part in each)) for name, each in seconds.items()
    }


def measure_import(runs: int) -> tuple[float, list[str]]:
    """Return the median milliseconds of ``import intercede`` and the modules that it loads."""
    environment = {"PYTHONPATH": str(SOURCE), "PATH": os.environ["PATH"]}
    seconds = [run_cold("import intercede", environment)[1] for _ in range(runs + 2)][2:]
    loaded = subprocess.run(
        [sys.executable, "-S", "-P", "-c", LOADED], check=True, capture_output=True, text=True, env=environment
    )
    return median(seconds) * 1000, loaded.stdout.split()


def count_opened_files(count: int) -> dict[str, int] | None:
    """Return the number of files that each library opens or tries, or None if strace is not installed."""
    if shutil.which("strace") is None:
        return None
    counted: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as directory:
        site = Path(directory) / "site"
        make_distributions(site, count)
        (site / "intercede").symlink_to(SOURCE / "intercede")
        environment = {"PYTHONPATH": str(site), "PATH": os.environ["PATH"]}
        for name in ("intercede", "bare scan", "importlib.metadata"):
            trace = Path(directory) / "trace"
            command = ["strace", "-f", "-e", "trace=openat", "-o", str(trace), sys.executable, "-S", "-P", "-c"]
            subprocess.run([*command, f"import sys; {LIBRARIES[name]}"], check=True, env=environment)
            counted[name] = sum(str(site) in line and "dist-info" in line for line in trace.open())
    return counted


def main() -> None:
    parser = argparse.ArgumentParser(description="The time to find plugins, compared with other libraries.")
    parser.add_argument("--quick", action="store_true", help="fewer runs, no 2000 distributions")
    quick: bool = parser.parse_args().quick
    runs = 5 if quick else 21
    libraries = {name: code for name, code in LIBRARIES.items() if find_spec("stevedore") or "stevedore" not in name}
    taken = {count: measure(count, runs, libraries) for count in ((10, 100, 500) if quick else (10, 100, 500, 2000))}
    for part, title in enumerate(("Whole process", "From before the import to after the first answer")):
        print(f"{title}: ms, and the ratio to intercede (median of {runs})\n")
        print(f"{'distributions':>13}" + "".join(f"{name:>26}" for name in libraries))
        for count, each in taken.items():
            ours = each["intercede"][part]
            row = (f"{seconds[part] * 1000:>17.2f} ({seconds[part] / ours:>5.2f}x)" for seconds in each.values())
            print(f"{count:>13}" + "".join(row))
        print()
    milliseconds, loaded = measure_import(runs)
    print(f"import intercede: {milliseconds:.2f} ms, {len(loaded)} modules: {' '.join(loaded)}")
    done = subprocess.run([sys.executable, "-c", AFTERWARDS], check=True, capture_output=True, text=True)
    resolving, gating = map(float, done.stdout.split())
    print(f"after the first: resolve {resolving:.1f} us, gate {gating:.1f} us")
    for name, number in (count_opened_files(100) or {}).items():
        print(f"metadata files opened or tried among 100 distributions: {name} {number}")


if __name__ == "__main__":
    main()
