"""The time of the conformance suite from an empty directory, with the start of the process.

python benchmarks/suite.py [--quick]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

SUBJECTS = {
    "fake": ("fake", 8.0),
    "local x direct": ('{"transport": "local", "scheduler": "direct"}', 25.0),
}


def run(backend: str) -> tuple[float, str]:
    """Return the seconds and the verdict of one run in a new home directory."""
    with tempfile.TemporaryDirectory(prefix="intercede-bench-") as home:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--intercede-backend={backend}"]
        start = time.perf_counter()
        done = subprocess.run(
            command, cwd=home, env={**os.environ, "HOME": home}, capture_output=True, text=True, check=False
        )
        return time.perf_counter() - start, done.stdout.strip().splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run each instead of three")
    turns = 1 if parser.parse_args().quick else 3
    for name, (backend, target) in SUBJECTS.items():
        runs = [run(backend) for _ in range(turns)]
        seconds = sorted(each for each, _ in runs)
        print(f"{name:15} {seconds[0]:5.1f} to {seconds[-1]:5.1f} s, target: under {target:g} s   {runs[-1][1]}")


if __name__ == "__main__":
    main()
