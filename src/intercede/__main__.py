"""The console command ``intercede``, also ``python -m intercede``. Without the extra ``cli`` it says what to install."""

import sys

_EXTRA = ("typer", "rich")
_INTERRUPTED = 130


def main() -> int:
    """Run the command line and return its exit code; 2 if the extra ``cli`` is not installed, 130 after Ctrl-C."""
    try:
        return _run()
    except KeyboardInterrupt:  # in the first second, while libraries are loaded
        return _INTERRUPTED


def _run() -> int:
    try:
        from intercede.cli.app import main as run  # noqa: PLC0415 -- it needs the extra
    except ModuleNotFoundError as missing:
        library = str(missing.name).partition(".")[0]
        if library not in _EXTRA:
            raise
        from intercede.plugin import how_to_install  # noqa: PLC0415 -- Ctrl-C is ours from main() on: nothing before it

        print(
            f"intercede: the command line needs {library}, which is not installed. Install the extra 'cli' from where this "
            f"intercede came from, a path or a URL: {how_to_install('cli')}",
            file=sys.stderr,
        )
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
