"""Installed plugins are found by their metadata alone, on any path and in any order."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Candidate, Environment, MetadataWriter

RESOLVE = """
import json, sys
from intercede import registry
from intercede.contract import PluginError
try:
    told = registry.resolve(*sys.argv[1:]).distribution
except PluginError as error:
    told = type(error).__name__
print(json.dumps(told))
"""

JOB = """
import asyncio, json, pathlib
from intercede import registry
from intercede.contract import SubmissionSpec

async def main():
    async with registry.backend({"type": "fake", "state": "state"}) as backend:
        submission = await backend.submit(SubmissionSpec(executable="echo", arguments=("it ran",)))
        handles = submission.handles.values()
        async with asyncio.timeout(30):
            while not all(status.state.final for status in (await backend.status(handles)).values()):
                await asyncio.sleep(0.01)
        (output,) = (await backend.fetch_output(handles, pathlib.Path("dest"))).values()
        return output.stdout.read_text()

print(json.dumps(asyncio.run(main())))
"""

LAZY = """
import json, os, sys
from intercede import registry
from intercede.contract import PluginNotFoundError
registry.plugins()
registry.resolve("transports", "tracer")
registry.resolve("transports", "intercede-tracer:tracer")
str(registry.explain("transports", "tracer"))
try:
    registry.transport("trace")
except PluginNotFoundError:
    pass
before = os.path.exists(os.environ["INTERCEDE_TRACER"]), "intercede_tracer" in sys.modules
registry.transport("tracer")
print(json.dumps([*before, os.path.exists(os.environ["INTERCEDE_TRACER"])]))
"""

NEIGHBOUR = """
import json
from importlib.metadata import entry_points
from intercede import registry
try:
    entry_points(group="intercede.backends")
except Exception as error:
    standard = type(error).__name__
else:
    standard = "no error"
print(json.dumps([standard, registry.resolve("backends", "fake").distribution, len(registry.problems())]))
"""


def test_an_installed_plugin_is_found(plain: Environment) -> None:
    """The fake is listed with its distribution, version and path, as active and not built in."""
    told = plain.plugins()
    (fake,) = [each for each in told if each["name"] == "fake"]
    assert Path(fake["location"]).parent == plain.site_packages
    assert {**fake, "reason": "", "location": ""} == {
        "group": "backends",
        "name": "fake",
        "target": "intercede_fake:FakeBackend",
        "distribution": "intercede-fake",
        "version": "0.1",
        "location": "",
        "builtin": False,
        "status": "active",
        "reason": "",
    }


def test_the_built_ins_are_found_in_the_same_way(plain: Environment) -> None:
    """The built-ins are listed from the metadata of intercede's own wheel, and marked as built-in."""
    told = plain.plugins()
    builtins = {(each["group"], each["name"]) for each in told if each["builtin"]}
    assert {("transports", "local"), ("schedulers", "direct")} <= builtins
    assert {each["distribution"] for each in told if each["builtin"]} == {"intercede"}


def test_a_job_runs_through_a_plugins_name(plain: Environment) -> None:
    """A backend that is made from a name runs a job and fetches its output."""
    assert plain.read_json(JOB) == "it ran\n"


def test_no_plugin_is_imported_before_it_is_made(plain: Environment, tmp_path: Path) -> None:
    """Listing, resolving, explaining and unknown names import no plugin; making the object does."""
    assert plain.read_json(LAZY, INTERCEDE_TRACER=str(tmp_path / "trace")) == [False, False, True]


@pytest.mark.parametrize("flags", [["-P"], ["-I"], ["-O"], ["-OO"], ["-W", "error"]], ids=" ".join)
def test_flags_of_the_interpreter_change_nothing(plain: Environment, flags: list[str]) -> None:
    """The same plugins are found, and a job runs, under flags that narrow the path, drop asserts or raise warnings."""
    assert plain.plugins(*flags) == plain.plugins()
    assert plain.read_json(JOB, *flags) == "it ran\n"


def test_hash_seeds_change_nothing(rivals: Environment) -> None:
    """The list, ambiguities included, is the same for every hash seed."""
    told = [rivals.plugins(PYTHONHASHSEED=str(seed)) for seed in range(6)]
    assert all(each == told[0] for each in told)


def test_sixteen_cold_starts_at_once(plain: Environment, tmp_path: Path) -> None:
    """Sixteen processes that start at once, without compiled modules, find the same plugins."""
    caches = {"PYTHONPYCACHEPREFIX": str(tmp_path / "caches")}
    with ThreadPoolExecutor(16) as pool:
        started = [pool.submit(plain.plugins, **caches) for _ in range(16)]
    assert [each.result() for each in started] == [plain.plugins()] * 16


@pytest.mark.parametrize("filesystem", ["disk", "memory"])
def test_the_order_of_files_changes_nothing(
    plain: Environment,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    write_metadata: MetadataWriter,
    filesystem: str,
) -> None:
    """Two rivals and a third plugin give the same list in whatever order they were written, on any file system."""
    if filesystem == "memory" and not Path("/dev/shm").is_dir():  # noqa: S108 -- a file system with another order
        pytest.skip("there is no /dev/shm here")
    top = Path("/dev/shm") if filesystem == "memory" else tmp_path  # noqa: S108 -- as above
    site = top / f"intercede-{tmp_path_factory.getbasetemp().name}-{tmp_path.name}"
    names = ["acme", "zeta", "bystander", "middle"]
    told: list[list[Candidate]] = []
    try:
        for order in (names, names[::-1], [*names[2:], *names[:2]]):
            for name in order:
                write_metadata(site, name, "1.0", f"[intercede.schedulers]\nslurmish = {name}:Scheduler\n")
            told.append(plain.plugins(PYTHONPATH=str(site)))
            shutil.rmtree(site)
    finally:
        shutil.rmtree(site, ignore_errors=True)
    assert told[0] == told[1] == told[2]
    assert [each["status"] for each in told[0] if each["name"] == "slurmish"] == ["ambiguous"] * 4


def test_a_malformed_neighbour_does_no_harm(plain: Environment, tmp_path: Path, write_metadata: MetadataWriter) -> None:
    """Unreadable entry points of an unrelated distribution stop importlib.metadata, but not the registry."""
    write_metadata(tmp_path / "site", "neighbour", "1.0", b"\xff\xfe no section\n[console_scripts]\nno equals sign\n")
    told: list[object] = json.loads(plain.run("-c", NEIGHBOUR, PYTHONPATH=str(tmp_path / "site")).stdout)
    standard, found, problems = told
    assert standard != "no error"
    assert (found, problems) == ("intercede-fake", 0)


def test_an_empty_leftover_hides_nothing(plain: Environment, tmp_path: Path) -> None:
    """An empty dist-info that an upgrade left behind, earlier on the path, does not hide the complete one."""
    (tmp_path / "site" / "intercede_fake-0.0.9.dist-info").mkdir(parents=True)
    (tmp_path / "site" / "intercede-0.0.1.dist-info").mkdir()
    assert plain.plugins(PYTHONPATH=str(tmp_path / "site")) == plain.plugins()


def test_two_copies_of_one_distribution_are_one(plain: Environment, tmp_path: Path) -> None:
    """A distribution in two directories of the path is used once, from the first, without ambiguity."""
    site = tmp_path / "site"
    site.mkdir()
    for part in plain.site_packages.glob("intercede_fake*"):
        shutil.copytree(part, site / part.name)
    told = plain.plugins(PYTHONPATH=str(site))
    fakes = [each for each in told if each["name"] == "fake"]
    assert [(each["status"], Path(each["location"]).parent) for each in fakes] == [("active", site)]
    assert plain.read_json(JOB, PYTHONPATH=str(site)) == "it ran\n"


def test_one_directory_twice_on_the_path_is_one(plain: Environment, tmp_path: Path) -> None:
    """A link to site-packages on the path, and site-packages itself, give each candidate once."""
    (tmp_path / "again").symlink_to(plain.site_packages)
    told = plain.plugins(PYTHONPATH=f"{tmp_path / 'again'}:{plain.site_packages}")
    assert len([each for each in told if each["name"] == "fake"]) == 1
    assert len([each for each in told if each["name"] == "local"]) == 1


def test_a_plugin_in_a_zip_file_is_found_and_works(rivals: Environment, tmp_path: Path) -> None:
    """A wheel on the path is a zip file with metadata: its plugin is found, imported and made."""
    (wheel,) = rivals.wheelhouse.glob("intercede_tracer-*.whl")
    program = (
        "import json; from intercede import registry; print(json.dumps(type(registry.transport('tracer')).__name__))"
    )
    made = rivals.read_json(program, PYTHONPATH=str(wheel), INTERCEDE_TRACER=str(tmp_path / "trace"))
    assert (made, (tmp_path / "trace").read_text()) == ("LocalTransport", "imported\n")


# Metadata in the working directory


@pytest.fixture
def rogue(plain: Environment, tmp_path: Path, write_metadata: MetadataWriter) -> Environment:
    """Return the environment, used from a directory with metadata that shadows a built-in and adds a name."""
    entries = "[intercede.transports]\nlocal = rogue:Transport\nrogue = rogue:Transport\n"
    write_metadata(tmp_path / "here", "rogue", "6.6", entries)
    (tmp_path / "here" / "asked.py").write_text(RESOLVE)
    return plain.moved(tmp_path / "here")


HOW = {"command": ["-c", RESOLVE], "module": ["-m", "asked"], "script": ["asked.py"]}


@pytest.mark.parametrize("how", HOW)
def test_the_working_directory_may_add_a_name(rogue: Environment, how: str) -> None:
    """Metadata in the working directory only may add a name, with -c, -m and a script."""
    done = rogue.run(*HOW[how], "transports", "rogue")
    assert (json.loads(done.stdout), done.stderr) == ("rogue", "")


@pytest.mark.parametrize("how", HOW)
def test_the_working_directory_never_shadows_a_built_in(rogue: Environment, how: str) -> None:
    """Without a pin the built-in is used, and a pin for the plugin in the working directory matches nothing."""
    done = rogue.run(*HOW[how], "transports", "local")
    assert (json.loads(done.stdout), done.stderr) == ("intercede", "")
    pinned = rogue.run(*HOW[how], "transports", "local", INTERCEDE_PREFER="transports:local=rogue")
    assert json.loads(pinned.stdout) == "PluginPinError"


@pytest.mark.parametrize("flag", ["-P", "-I"])
def test_a_safe_path_leaves_the_working_directory_out(rogue: Environment, flag: str) -> None:
    """The options -P and -I take the working directory off the path, so its plugins are not found."""
    done = rogue.run(flag, "-c", RESOLVE, "transports", "rogue")
    assert json.loads(done.stdout) == "PluginNotFoundError"


def test_a_distribution_also_found_elsewhere_is_used_from_there(
    plain: Environment, tmp_path: Path, write_metadata: MetadataWriter
) -> None:
    """A distribution that is in the working directory and elsewhere is used from elsewhere, with its rights."""
    for place in ("here", "site"):
        write_metadata(tmp_path / place, "rogue", "6.6", "[intercede.transports]\nlocal = rogue:Transport\n")
    moved = plain.moved(tmp_path / "here")
    told = moved.run("-W", "ignore", "-c", RESOLVE, "transports", "local", PYTHONPATH=str(tmp_path / "site"))
    assert (json.loads(told.stdout), told.stderr) == ("rogue", "")
