"""The cost of the pytest plugin in every pytest run of an environment: modules, milliseconds, and a whole run.

    python benchmarks/pytest_plugin.py

All are measured alternately in one run, and the best of each counts.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1] / "src"
ROUNDS = 15

IMPORT = f"""
import sys
sys.path.insert(0, {str(SOURCES)!r})
import pytest, time
before = set(sys.modules)
began = time.perf_counter()
import intercede_pytest
print(len(set(sys.modules) - before), (time.perf_counter() - began) * 1e3)
"""

RUN = f"""
import os, sys
sys.path.insert(0, {str(SOURCES)!r})
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
import pytest
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def run_python(source: str, *arguments: str) -> tuple[str, float]:
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", source, *arguments], capture_output=True, text=True, check=True)
    return done.stdout, (time.perf_counter() - began) * 1e3


def main() -> None:
    run_python(IMPORT)  # writes the bytecode, as an installer does
    modules, milliseconds = zip(*(run_python(IMPORT)[0].split() for _ in range(ROUNDS)), strict=True)
    print(f"modules besides pytest's own: {max(map(int, modules))}")
    print(f"import of the plugin:         {min(map(float, milliseconds)):.2f} ms (best of {ROUNDS})")
    with tempfile.TemporaryDirectory() as directory:
        own = Path(directory) / "test_own.py"
        own.write_text("def test_own(): pass\n")
        with_plugin, without = (
            min(times)
            for times in zip(
                *(
                    (run_python(RUN, "-p", "intercede_pytest", str(own))[1], run_python(RUN, str(own))[1])
                    for _ in range(ROUNDS)
                ),
                strict=True,
            )
        )
    print(
        f"a run of one empty test:      {with_plugin:.0f} ms with the plugin, {without:.0f} ms without "
        f"(best of {ROUNDS})"
    )


if __name__ == "__main__":
    main()
