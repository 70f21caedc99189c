"""Distributions that tests of the registry install, and the code in them."""

from importlib import invalidate_caches
from pathlib import Path
from typing import cast

from intercede.registry import Registry

TRANSPORT = '''
import typing

class Site:
    """A transport that keeps what it was made with."""

    def __init__(self, host="here", port: int = 22, *, user: "str | None" = None, strict: bool = True,
                 names: typing.Sequence[str] = (), odd: "NoSuchType" = None):
        self.given = {"host": host, "port": port, "user": user, "strict": strict, "names": names, "odd": odd}

    async def __aenter__(self): return self
    async def __aexit__(self, *_): return None
    async def run(self, argv, *, stdin=None, stdout=None): raise NotImplementedError

class Keyed(Site):
    def __init__(self, credentials=None): self.credentials = credentials

class Demanding(Site):
    def __init__(self, credentials): self.credentials = credentials

class Greedy(Site):
    def __init__(self, **options): self.given = options

class Named(Site):
    def __init__(self, host: str): self.host = host
'''


SCHEDULER = """
class Queue:
    def __init__(self, partition: str = "all", user="nobody", **more):
        self.given = {"partition": partition, "user": user, **more}

    def stages_own_files(self): return False
    def submit_script(self, batch): return ""
    def parse_submit(self, batch, result): return None
    def status_script(self): return ""
    def parse_status(self, ids, result): return {}
    def kill_script(self): return ""
    def parse_kill(self, ids, result): return {}
    def list_script(self, submission_id): return ""
    def parse_list(self, result): return {}
"""


BACKEND = """
class Grid:
    def __init__(self, endpoint: str = "nowhere"): self.endpoint = endpoint
    async def __aenter__(self): return self
    async def __aexit__(self, *_): return None
    async def submit(self, spec, copies=1): raise NotImplementedError
    async def status(self, handles): return {}

class Mute(Grid):
    status = None
"""


class Site:
    """A directory on the path in which tests install distributions."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def install(self, distribution: str, version: str = "1.0", /, code: str = "", **entries: str) -> Path:
        """Install a distribution whose module has its name; ``entries``: ``group__name`` -> attribute or target."""
        stem = distribution.replace("-", "_")
        module = f"mod_{stem}"
        metadata = self.path / f"{stem}-{version}.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines: list[str] = []
        for key, target in entries.items():
            group, _, name = key.partition("__")
            lines.append(f"[intercede.{group}]\n{name} = {target if ':' in target else f'{module}:{target}'}\n")
        (metadata / "entry_points.txt").write_text("".join(lines))
        (self.path / f"{module}.py").write_text(code)
        invalidate_caches()  # otherwise a second change within one tick of the clock is missed
        return metadata


def list_statuses(registry: Registry, group: str, name: str) -> dict[str, str]:
    """Return the status of each candidate of a name, by distribution."""
    return {each.distribution: each.status for each in registry.plugins(group) if each.name == name}


def get_options(made: object) -> dict[str, object]:
    """Return the options that a double was made with."""
    return cast("dict[str, object]", vars(made)["given"])
