"""The door to the conformance kit: ``pytest --intercede-backend=NAME``.

Every pytest run in the environment imports this module, so it imports pytest and nothing else. All that the kit is
lies behind the hooks, and stays unloaded until one of its options is given.
"""
# ruff: noqa: PLC0415 -- the imports wait for their options

from __future__ import annotations

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from intercede.contract.backend import JobBackend
    from intercede.registry import Registry
    from intercede.testing.subjects.subject import RegistrySubject


def _with(role: str) -> Callable[[str], tuple[str, str]]:
    def subject(given: str) -> tuple[str, str]:
        return role, given

    return subject


def _scale(given: str) -> float | str:
    return given if given == "auto" else float(given)


def _require_this_one() -> None:
    """Refuse to go on with another project's intercede: the public index has one, without what these options need.

    Raises:
        pytest.UsageError: Python finds it before the one that this module came with.
    """
    from pathlib import Path

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
    add = parser.getgroup("intercede", "conformance to the intercede contract").addoption
    more = {"backend": "", "transport": ", and a backend of it and 'direct'", "scheduler": ""}
    for role, beside in more.items():
        add(
            f"--intercede-{role}",
            action="append",
            dest="intercede_subjects",
            type=_with(role),
            default=[],
            metavar="NAME|JSON",
            help=f"inspect this {role}{beside}: a table of the configuration file, a registered name, or a configuration "
            "as JSON. May be repeated. Alone, the suite alone runs; with paths, both do.",
        )
    add("--intercede-config", metavar="FILE", help="a configuration file with named subjects and [prefer]")
    add(
        "--intercede-profile",
        choices=("core", "full"),
        default="full",
        help="what the verdict is about: the essential verbs, or every claimed capability as well (default)",
    )
    add(
        "--intercede-require",
        action="append",
        default=[],
        metavar="CAPABILITY,...",
        help="capabilities that must be claimed for the verdict to be good; not with the core profile, which checks none",
    )
    add(
        "--intercede-known",
        metavar="FILE",
        help="known failures, strictly: passing, another symptom, an expired one and one that matches nothing are red",
    )
    add("--intercede-update-known", action="store_true", help="rewrite that file after the run")
    add(
        "--intercede-report",
        metavar="DIR",
        help="write conformance.json, .html, .md and badge.json there (conformance-<id>.json when several)",
    )
    add(
        "--intercede-timeout-scale",
        type=_scale,
        default=1.0,
        metavar="N|auto",
        help="multiply every bound in time, real resources are slow; auto: by what one small job takes",
    )
    add("--intercede-jobs", type=int, metavar="N", help="have at most N jobs of a subject out at once (default: 128)")
    add(
        "--intercede-repeat",
        type=int,
        default=1,
        metavar="N",
        help="do each check N times, to measure how often it is red; once is enough to be red",
    )
    add("--intercede-list", action="store_true", help="list the clauses of the contract and exit")
    add("--intercede-explain", metavar="CLAUSE", help="explain one clause and exit")


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
