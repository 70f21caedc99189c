"""The door to the conformance kit: ``pytest --intercede-backend=NAME``.

Every pytest run in the environment imports this module, so it imports pytest and nothing else. All that the kit is
lies behind the hooks, and stays unloaded until one of its options is given.
"""
# ruff: noqa: PLC0415 -- the imports wait for their options

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
    """Return a function that adds the role to the value of a subject's option."""

    def parse(given: str) -> tuple[str, str]:
        return role, given

    return parse


def _load_options() -> tuple[Option, ...]:
    """Load the table of options from its file. An import could find another project's intercede, and load more."""
    file = Path(__file__).parent / "intercede" / "testing" / "frontends" / "options.py"
    spec = spec_from_file_location("intercede_options", file)
    assert spec is not None  # noqa: S101 -- a Python file has one
    assert spec.loader is not None  # noqa: S101 -- as above
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    options: tuple[Option, ...] = module.OPTIONS
    return options


def _require_this_one() -> None:
    """Refuse to go on with another project's intercede: the public index has one, without what these options need.

    Raises:
        pytest.UsageError: Python finds it before the one that this module came with.
    """
    import intercede

    found, here = str(getattr(intercede, "__file__", None) or "nowhere"), Path(__file__).parent
    if not Path(found).is_file() or not Path(found).parents[1].samefile(here):
        raise pytest.UsageError(
            f"the 'intercede' that Python finds, {found}, is not the one that these options came with, which lies in {here}. "
            "On the public index that name is another project's: a package that depends on 'intercede' may have brought it "
            "in, 'intercede>=0.1' does not. Uninstall it, and install this one again from where it came from, a path or a "
            'URL: pip install "intercede[testing] @ file:///path/to/intercede"'
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
"""What pytest's own options set, whose exit code is 0 whatever a session says, and how they are written."""


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Answer what needs no backend."""
    look = next((each for each in _FIXTURES if getattr(config.option, each[0], False)), None)
    if look and config.option.intercede_subjects and not {*look[1:]} & {*config.invocation_params.args}:
        raise pytest.UsageError(
            f"{look[1]} runs nothing, pytest calls that a success, and it stands in addopts: it would be no gate"
        )
    if not (config.option.intercede_list or config.option.intercede_explain):
        return None
    asked = any(each.startswith(("--intercede-list", "--intercede-explain")) for each in config.invocation_params.args)
    if config.option.intercede_subjects and not asked:
        raise pytest.UsageError("--intercede-list and --intercede-explain check nothing, and addopts holds one of them")
    _require_this_one()
    from intercede.testing.frontends.pytest_plugin import answer

    return answer(config)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; and the kit, where a backend is to be inspected."""
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
                "a subject is to be inspected, and -p no:intercede-suite keeps the suite out: leave one out"
            )
    elif config.option.intercede_require or config.option.intercede_report or config.option.intercede_known:
        raise pytest.UsageError(
            "--intercede-require, --intercede-known and --intercede-report need a subject: --intercede-backend=NAME"
        )


@pytest.fixture
def intercede_registry(pytestconfig: pytest.Config) -> Registry:
    """A fresh registry over the running environment, with the pins of --intercede-config."""
    from intercede.testing.subjects.subject import make_registry

    return make_registry(pytestconfig.option.intercede_config)


@pytest.fixture
def intercede_backend(request: pytest.FixtureRequest) -> Callable[[], JobBackend]:
    """What makes a fresh backend of the inspected subject, to be entered by the test on a loop of its own."""
    if not hasattr(request, "param"):
        pytest.skip("needs a backend: pytest --intercede-backend=NAME")
    subject: RegistrySubject = request.param
    return subject.make_backend
