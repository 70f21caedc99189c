"""Loading: what a plugin raises or returns becomes an error of its own name, and of no other."""

import pytest
from tests.registry.sites import BACKEND, TRANSPORT, Site, get_options

from intercede.contract.errors import (
    PluginContractError,
    PluginLoadError,
)
from intercede.registry import PluginShadowWarning, Registry


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import no_such_module_at_all", ModuleNotFoundError),
        ("raise SystemExit(3)", SystemExit),
        ("class Own(BaseException): pass\nraise Own('x')", BaseException),
        ("x = 1", AttributeError),
        ("T = 42", TypeError),
        ("def T(): raise SystemExit(3)", SystemExit),
        ("def T(): raise ValueError('x')", ValueError),
    ],
)
def test_a_broken_plugin_breaks_its_own_name_only(site: Site, code: str, cause: type[BaseException]) -> None:
    """Any exception becomes one error with the distribution, version, target and cause; other names work."""
    site.install("bad", "0.9", code=code, transports__bad="T")
    registry = Registry()

    with pytest.raises(PluginLoadError) as caught:
        registry.transport("bad")

    error = caught.value
    assert (error.group, error.name, error.distribution, error.version, error.target) == (
        "transports",
        "bad",
        "bad",
        "0.9",
        "mod_bad:T",
    )
    assert isinstance(error.__cause__, cause)
    assert type(error.__cause__).__name__ in str(error)
    assert "repair or uninstall bad" in str(error)
    registry.transport("local")


def test_ctrl_c_is_not_a_failure_of_the_plugin(site: Site) -> None:
    """An interruption by the user is not reported as a broken plugin."""
    site.install("slow", code="raise KeyboardInterrupt", transports__slow="T")
    site.install("late", code="def T(): raise KeyboardInterrupt", transports__late="T")

    for name in ("slow", "late"):
        with pytest.raises(KeyboardInterrupt):
            Registry().transport(name)


def test_a_failed_import_is_remembered_until_refresh(site: Site) -> None:
    """An import that failed is not tried again before refresh(), because the module may be half imported."""
    site.install("bad", code="raise OSError('broken')", transports__bad="Site")
    registry = Registry()
    with pytest.raises(PluginLoadError):
        registry.transport("bad")
    (site.path / "mod_bad.py").write_text(TRANSPORT + "# repaired")

    with pytest.raises(PluginLoadError, match="OSError: broken"):
        registry.transport("bad")
    registry.refresh()
    assert get_options(registry.transport("bad"))["host"] == "here"


def test_a_broken_winner_never_falls_back(site: Site) -> None:
    """If the winner is broken, nothing else is chosen: the error names the pin that restores the built-in."""
    site.install("bad", code="raise OSError", transports__local="T")

    with pytest.warns(PluginShadowWarning), pytest.raises(PluginLoadError) as caught:
        Registry().transport("local")

    assert str(caught.value).endswith("choose another: INTERCEDE_PREFER=transports:local=intercede")


def test_the_gate_reports_all_violations(site: Site) -> None:
    """The gate's error has the distribution, the version, the target and all violations."""
    site.install("half", "2.1", code=BACKEND, backends__half="Mute", transports__half="Mute")

    with pytest.raises(PluginContractError) as caught:
        Registry().backend("half")
    error = caught.value
    assert error.violations == ("status is missing: the contract has async def status(self, handles)",)
    assert (error.distribution, error.version, error.target) == ("half", "2.1", "mod_half:Mute")
    assert "half 2.1 in " in str(error)
    assert error.violations[0] in str(error)
    with pytest.raises(PluginContractError, match="run is missing"):
        Registry().transport("half")


def test_the_gate_reports_an_abstract_class(site: Site) -> None:
    """A class that inherits the protocol and lacks a verb is reported by the gate, not by Python's TypeError."""
    code = "from intercede.contract import Transport\nclass T(Transport):\n    async def run(self, argv): ..."
    site.install("abstract", code=code, transports__abstract="T")

    with pytest.raises(PluginContractError) as caught:
        Registry().transport("abstract")

    assert [each.split()[0] for each in caught.value.violations] == ["__aenter__", "__aexit__", "run(argv)"]
