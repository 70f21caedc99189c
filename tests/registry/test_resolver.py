"""The resolver: names that are found or not, the snapshot of the environment, and its renewal."""

import os
import subprocess
import sys
import warnings

import pytest
from tests.registry.sites import TRANSPORT, Site, get_options

from intercede.contract.errors import (
    ConfigError,
    PluginError,
    PluginNotFoundError,
    PluginPinError,
)
from intercede.registry import Plugin, Registry


def test_a_qualified_name_means_that_distributions_entry(site: Site) -> None:
    """A qualified name means its distribution's entry, so that a plugin can wrap the one that it shadows."""
    site.install("acme", code=TRANSPORT, transports__local="Site")
    site.install("beta", code=TRANSPORT, transports__local="Site")
    registry = Registry()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert registry.resolve("transports", "intercede:local").builtin
        assert registry.resolve("transports", "ACME:local").distribution == "acme"
        made = registry.transport({"type": "beta:local", "host": "h"})
    assert get_options(made)["host"] == "h"
    assert "a qualified name means the entry of beta" in str(registry.explain("transports", "beta:local"))
    with pytest.raises(PluginNotFoundError, match="gamma does not provide transports:local; it is provided by acme"):
        registry.resolve("transports", "gamma:local")
    with pytest.raises(PluginNotFoundError, match="no other does; did you mean 'local'"):
        registry.resolve("transports", "intercede:lokal")


def test_the_error_for_an_unknown_name_lists_the_names(site: Site) -> None:
    """The error for an unknown name lists all names, suggests the nearest, and names other groups that have it."""
    site.install("acme", backends__grid="T", transports__only="T")
    registry = Registry()

    with pytest.raises(PluginNotFoundError) as caught:
        registry.resolve("transports", "lokal")
    assert "did you mean 'local'?" in str(caught.value)
    assert {"local", "only"} <= set(caught.value.available)
    with pytest.raises(PluginNotFoundError, match="the group transports has that name"):
        registry.resolve("backends", "only")
    with pytest.raises(ConfigError, match=r"no group 'transport'; the groups are .*; did you mean 'transports'"):
        registry.resolve("transport", "local")
    with pytest.raises(ConfigError):
        registry.plugins("nothing")


@pytest.mark.parametrize(
    ("group", "name", "says"),
    [
        (
            "backends",
            "nope",
            'a transport and a scheduler make a backend: {"transport": "local", "scheduler": "direct"}',
        ),
        ("backends", "", "no plugin provides backends:'' (the name is empty); the names are: "),
        ("transports", "", "no plugin provides transports:'' (the name is empty); the names are: local"),
        ("transports", "intercede:", "intercede does not provide transports:'' (the name is empty)"),
        ("backends", "rsh", 'has that name: write {"transport": "rsh", "scheduler": "direct"}'),
        ("transports", "direct", 'has that name: write {"transport": "local", "scheduler": "direct"}'),
        ("schedulers", "grid", 'the group backends has that name: write {"type": "grid"}'),
    ],
)
def test_the_error_for_an_unknown_name_says_what_to_write(site: Site, group: str, name: str, says: str) -> None:
    """The error for an unknown name has the configuration to write instead."""
    site.install("acme", transports__rsh="T", backends__grid="B")

    with pytest.raises(PluginNotFoundError) as caught:
        Registry().resolve(group, name)

    assert says in str(caught.value)


def test_dotted_paths_are_not_names(site: Site) -> None:
    """Data cannot choose code by its import path."""
    with pytest.raises(PluginNotFoundError):
        Registry().transport({"type": "intercede.transports.local:LocalTransport"})


def test_the_snapshot_lasts_until_refresh(site: Site) -> None:
    """refresh() finds what was installed or removed since, and keeps the pins."""
    registry = Registry()
    registry.prefer("transports", "rsh", "acme")
    registry.plugins()
    metadata = site.install("acme", transports__rsh="T")
    with pytest.raises(PluginError):
        registry.resolve("transports", "rsh")

    registry.refresh()
    assert registry.resolve("transports", "rsh").status == "pinned"

    (metadata / "entry_points.txt").unlink()
    assert registry.resolve("transports", "rsh").status == "pinned"
    registry.refresh()
    with pytest.raises(PluginPinError):
        registry.resolve("transports", "rsh")


def test_an_upgrade_under_a_running_process_needs_a_restart(site: Site) -> None:
    """After an upgrade the new version is listed, with a note that the code of the old one is still loaded."""
    metadata = site.install("acme", "1.0", code=TRANSPORT, transports__rsh="Site")
    registry = Registry()
    registry.transport("rsh")
    metadata.rename(site.path / "acme-2.0.dist-info")
    registry.refresh()

    (plugin,) = [each for each in registry.plugins("transports") if each.name == "rsh"]

    assert plugin.version == "2.0"
    assert plugin.reason.endswith("; restart needed: the code of 1.0 is loaded, 2.0 is installed")
    assert registry.resolve("transports", "rsh") == registry.explain("transports", "rsh").winner == plugin


def test_listing_imports_nothing(site: Site) -> None:
    """Listing, explaining and resolving import no plugin and no pydantic."""
    site.install("loud", code="raise SystemExit('imported')", transports__loud="T")
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; from intercede import registry; found = registry.plugins();"
        "registry.explain('transports', 'loud'); registry.resolve('transports', 'loud');"
        "print(any(p.name == 'loud' for p in found), 'mod_loud' in sys.modules, 'pydantic' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.split() == ["True", "False", "False"]


def test_problems_of_the_environment_are_reported(site: Site) -> None:
    """A file that cannot be read is a problem in one sentence, and the error for an unknown name has it, too."""
    metadata = site.install("acme", transports__rsh="T")
    (metadata / "entry_points.txt").unlink()
    (metadata / "entry_points.txt").mkdir()
    registry = Registry()

    (problem,) = registry.problems()

    assert "acme-1.0.dist-info/entry_points.txt cannot be read" in problem
    with pytest.raises(PluginNotFoundError, match="cannot be read"):
        registry.resolve("transports", "rsh")


@pytest.mark.parametrize("seed", ["1", "2"])
def test_hash_seeds_do_not_change_the_list(site: Site, seed: str) -> None:
    """Another interpreter lists the same candidates in the same order with the same reasons."""
    for letter in "cab":
        site.install(letter, transports__rsh="T", schedulers__direct="S", backends__same="common:B")
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; from intercede import registry; print(*registry.plugins(), sep='\\n')"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )

    assert done.stdout.splitlines() == [repr(each) for each in Registry().plugins()]


def test_the_module_is_one_registry(site: Site) -> None:
    """The functions of the module share one snapshot and one refresh."""
    from intercede import registry  # noqa: PLC0415 -- as users do

    site.install("acme", transports__fresh="T")
    registry.refresh()

    assert isinstance(registry.resolve("transports", "fresh"), Plugin)
    assert "fresh" in {each.name for each in registry.plugins("transports")}
    assert registry.problems() == ()
    assert registry.check(registry.resolve("transports", "local")) == ()
    site.path.rename(site.path.with_name("gone"))
    registry.refresh()
    assert "fresh" not in {each.name for each in registry.plugins("transports")}
