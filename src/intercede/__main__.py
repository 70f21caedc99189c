"""The console command ``intercede``, and ``python -m intercede``. It reports how to install a missing extra."""

import sys

_EXTRA = ("typer", "rich")
_INTERRUPTED = 130


def main() -> int:
    """Run the command line, and return its exit code: 2 if the extra ``cli`` is not installed, 130 after Ctrl-C."""
    try:
        return _run()
    except KeyboardInterrupt:  # the user pressed Ctrl-C during the first second, while libraries were loading
        return _INTERRUPTED


def _run() -> int:
    try:
        from intercede.cli.app import main as run  # noqa: PLC0415 -- it needs the extra
    except ModuleNotFoundError as missing:
        library = str(missing.name).partition(".")[0]
        if library not in _EXTRA:
            raise
        from intercede.plugin import how_to_install  # noqa: PLC0415 -- imports come after main() can catch Ctrl-C

        print(
            f"intercede: the command line needs {library}, which is not installed. Install the extra 'cli' from the "
            f"path or the URL of this intercede: {how_to_install('cli')}",
            file=sys.stderr,
        )
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
