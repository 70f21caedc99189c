"""The console command ``intercede``, also ``python -m intercede``. Without the extra ``cli`` it says what to install."""

import sys

_EXTRA = ("typer", "rich")


def main() -> int:
    """Run the command line and return its exit code; 2 where the extra ``cli`` is not installed."""
    try:
        from intercede.cli.app import main as run  # noqa: PLC0415 -- it needs the extra
    except ModuleNotFoundError as missing:
        library = str(missing.name).partition(".")[0]
        if library not in _EXTRA:
            raise
        print(
            f"intercede: the command line needs {library}, which is not installed. Install the extra 'cli' from "
            'where this intercede came from, a path or a URL: pip install "intercede[cli] @ file:///path/to/intercede"',
            file=sys.stderr,
        )
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
