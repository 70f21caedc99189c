"""The commands, their options and exit codes. An error prints one message on stderr, and the exit code is 2."""

import asyncio
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer

import intercede
from intercede import registry
from intercede.cli import plugins as listing
from intercede.cli.options import make_check_command
from intercede.cli.run import build_spec, write_kill_command
from intercede.cli.run import run as run_copies
from intercede.cli.terminal import print_answer, print_message
from intercede.config import load, parse_config_argument
from intercede.contract.backend import JobBackend
from intercede.contract.errors import ConfigError, IntercedeError

_EMBEDDED = '{"transport": "local", "scheduler": "direct"}'

app = typer.Typer(
    name="intercede",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> int:
    """Run the command line and return its exit code."""
    warnings.showwarning = _show_warning
    # Other code may have replaced stdout with an object that has no ``reconfigure``.
    reconfigure: Callable[..., None] | None = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:  # stdout then escapes characters that the locale cannot encode, as stderr does
        reconfigure(errors="backslashreplace")
    try:
        app()
    except (IntercedeError, OSError) as error:
        print_message(str(error))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 2


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print_message(f"warning: {message}")


def _print_version(asked: bool) -> None:  # noqa: FBT001 -- typer passes a bool to the callback
    if asked:
        print(f"intercede {intercede.__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Run jobs through plugins, and list and check plugins."""


@app.command()
def plugins(
    group: Annotated[
        str | None, typer.Argument(metavar="[GROUP]", help="backends, transports or schedulers; default: all.")
    ] = None,
    *,
    make_document: Annotated[bool, typer.Option("--json", help="Print a list of objects.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Load each in a child process; exit 1 on any problem.")
    ] = False,
    why: Annotated[
        tuple[str, str] | None, typer.Option(metavar="GROUP NAME", help="Explain the choice for one name.")
    ] = None,
) -> None:
    """List the candidates for each name, and show which candidate is chosen."""
    asked = why is not None
    _refuse_combinations(
        {"GROUP": asked and group is not None, "--json": make_document, "--check": check, "--why": asked}
    )
    if why is not None:
        print_answer(listing.explain_name(*why))
        return
    found = registry.plugins(group)
    if check:
        problems = listing.find_problems(found)
        print_answer("\n".join(problems) or "no problems")
        raise typer.Exit(1 if problems else 0)
    for problem in registry.problems():
        print_message(f"warning: {problem}")
    if make_document:
        print(listing.format_json(found))
    else:
        print_answer(listing.format_table(found))


@app.command(short_help="Run copies of a command as jobs.", context_settings={"allow_interspersed_args": False})
def run(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND ARGS...", help="The command to run.")],
    *,
    config_file: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="A file with named backends and pins.")
    ] = None,
    backend: Annotated[str, typer.Option(metavar="NAME|JSON", help="The backend to run it on.")] = _EMBEDDED,
    copies: Annotated[int, typer.Option(min=1, metavar="N", help="The number of jobs.")] = 1,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Keep the jobs' output in this directory.")
    ] = None,
) -> None:
    """Run copies of a command as jobs, and exit with the exit code of the payload."""
    spec = build_spec(command, output)
    opened = _make_backend(backend, config_file)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)  # an error with the directory is reported before any job starts
    how_to_end = write_kill_command(parse_config_argument(backend, "--backend"), config_file, str(spec.tag))
    raise typer.Exit(asyncio.run(run_copies(opened, spec, copies, output, how_to_end)))


def _check(name: str, given: Mapping[str, object]) -> None:
    """Check whether a plugin keeps the contract. The exit code is 0 if the plugin keeps the contract, and 1 if not."""
    from intercede.cli.check import check  # noqa: PLC0415 -- the other commands do not need the clauses
    from intercede.testing.isolation.signals import interrupt_on_end  # noqa: PLC0415 -- as above

    with interrupt_on_end():
        raise typer.Exit(check(name, given))


app.command("check", short_help="Check whether a plugin keeps the contract.")(make_check_command(_check))


def _refuse_combinations(options: Mapping[str, bool]) -> None:
    given = [option for option, is_given in options.items() if is_given]
    if len(given) > 1:
        one = " or ".join(given)
        raise ConfigError(
            f"{' and '.join(given)} do not go together: give {one}", field=given[0], value=True, expected=one
        )


def _make_backend(chosen: str, file: Path | None) -> JobBackend:
    names = registry.Registry(None if file is None else load(file))
    return names.backend(parse_config_argument(chosen, "--backend"))
