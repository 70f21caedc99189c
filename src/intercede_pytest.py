"""The pytest plugin of the conformance kit: ``pytest --intercede-backend=NAME``.

Every run of pytest in the environment imports this module. So it imports pytest and nothing else of weight, and its
hooks import the kit only if one of the kit's options is given.
"""
# ruff: noqa: PLC0415 -- hooks import the kit if an option asks for it

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from intercede.contract.backend import JobBackend
    from intercede.registry import Registry
    from intercede.testing.frontends.options import Option
    from intercede.testing.subjects.subject import RegistrySubject


def _make_parser(role: str) -> Callable[[str], tuple[str, str]]:
    """Return a function that makes a pair of the role and the value of an option that names a subject."""

    def parse(given: str) -> tuple[str, str]:
        return role, given

    return parse


def _load_options() -> tuple[Option, ...]:
    """Return the table of options, loaded from its file. An import could find another project's ``intercede``."""
    file = Path(__file__).parent / "intercede" / "testing" / "frontends" / "options.py"
    spec = spec_from_file_location("intercede_options", file)
    assert spec is not None  # noqa: S101 -- a Python file has one
    assert spec.loader is not None  # noqa: S101 -- as above
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    options: tuple[Option, ...] = module.OPTIONS
    return options


def _require_this_one() -> None:
    """Check that Python finds the ``intercede`` that this module belongs to. The public index has another project's.

    Raises:
        pytest.UsageError: Python finds another one.
    """
    import intercede

    found, here = str(getattr(intercede, "__file__", None) or "nowhere"), Path(__file__).parent
    if not Path(found).is_file() or not Path(found).parents[1].samefile(here):
        raise pytest.UsageError(
            f"the 'intercede' that Python finds, {found}, is not the one that these options came with, which lies in "
            f"{here}. On the public index that name is another project's: a package that depends on 'intercede' may "
            "have brought it in, 'intercede>=0.1' does not. Uninstall it, and install this one again from where it "
            'came from, a path or a URL: pip install "intercede[testing] @ file:///path/to/intercede"'
        )


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the kit's options, in one group."""
    group = parser.getgroup("intercede", "conformance to the intercede contract")
    for each in _load_options():
        if "pytest" in each.frontends:
            _add_option(group.addoption, each)


def _add_option(add: Callable[..., None], option: Option) -> None:
    name, text, value = f"--intercede-{option.flag}", option.help, option.metavar or None
    if option.kind == "flag":
        add(name, action="store_true", help=text)
    elif option.kind == "subject":
        dest, parse = "intercede_subjects", _make_parser(option.name)
        add(name, action="append", dest=dest, type=parse, default=[], metavar=value, help=text)
    elif option.kind == "list":
        add(name, action="append", default=[], metavar=value, help=text)
    else:
        default = "" if option.default is None else f" Default: {option.default}."
        kind, choices = int if option.kind == "number" else str, option.choices or None
        add(name, type=kind, choices=choices, default=option.default, metavar=value, help=text + default)


_FIXTURES = (
    ("showfixtures", "--fixtures", "--funcargs"),
    ("show_fixtures_per_test", "--fixtures-per-test"),
)
"""Options of pytest with which its exit code is always 0: their destinations, and their spellings."""


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Print the clauses if an option asks for that, and refuse options that run no check if they are in addopts."""
    idle = next((each for each in _FIXTURES if getattr(config.option, each[0], False)), None)
    if idle and config.option.intercede_subjects and not {*idle[1:]} & {*config.invocation_params.args}:
        raise pytest.UsageError(
            f"{idle[1]} runs nothing, pytest calls that a success, and it is in addopts: the run would check nothing "
            "and pass"
        )
    if not (config.option.intercede_list or config.option.intercede_explain):
        return None
    asked = any(each.startswith(("--intercede-list", "--intercede-explain")) for each in config.invocation_params.args)
    if config.option.intercede_subjects and not asked:
        raise pytest.UsageError("--intercede-list and --intercede-explain check nothing, and one of them is in addopts")
    _require_this_one()
    from intercede.testing.frontends.pytest_plugin import print_clauses

    return print_clauses(config)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the conformance suite if a subject is given."""
    config.addinivalue_line("markers", "intercede(level, area, capability): a check of the conformance suite")
    if config.option.intercede_subjects:
        _require_this_one()
        config.addinivalue_line("markers", "thread_unsafe(reason): not to be run in several threads at once")
        from contextlib import ExitStack

        from intercede.testing.frontends.pytest_plugin import Suite
        from intercede.testing.isolation.signals import interrupt_on_end

        listening = ExitStack()
        listening.enter_context(interrupt_on_end())
        config.add_cleanup(listening.close)
        if config.pluginmanager.register(Suite(config), "intercede-suite") is None:
            raise pytest.UsageError(
                "an option names a subject, and -p no:intercede-suite keeps the suite out: remove one of them"
            )
    elif config.option.intercede_require or config.option.intercede_report or config.option.intercede_known:
        raise pytest.UsageError(
            "--intercede-require, --intercede-known and --intercede-report need a subject: --intercede-backend=NAME"
        )


@pytest.fixture
def intercede_registry(pytestconfig: pytest.Config) -> Registry:
    """Return a new registry of the running environment, with the pins of --intercede-config."""
    from intercede.testing.subjects.subject import make_registry

    return make_registry(pytestconfig.option.intercede_config)


@pytest.fixture
def intercede_backend(request: pytest.FixtureRequest) -> Callable[[], JobBackend]:
    """Return a function that makes a new backend of the subject. The test enters it on its own event loop."""
    if not hasattr(request, "param"):
        pytest.skip("needs a backend: pytest --intercede-backend=NAME")
    subject: RegistrySubject = request.param
    return subject.make_backend
