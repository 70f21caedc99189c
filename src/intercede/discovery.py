"""What the environment offers: entry points read from metadata, nothing imported.

``importlib.metadata`` would do, at five times the cost, and one bad file of an unrelated distribution makes its
``entry_points()`` raise for everybody. So ordinary directories are scanned here by hand, each file on its own; zip
files and foreign finders still go through it, one distribution at a time.
"""
# ruff: noqa: PTH100, PTH110, PTH112, PTH116, PTH118, PTH120, PTH208 -- pathlib costs more than the whole scan

import os
import sys

from intercede.plugin import GROUPS, OURS, Plugin, fold, is_name, nearest

TYPE_CHECKING = False  # importing typing for it would cost more than the scan of a small environment
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from importlib.metadata import Distribution

__all__ = ["entries", "scan", "strays"]

_PREFIX = b"intercede."
_METADATA = (".dist-info", ".egg-info")
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)  # what is really a fifo must not stop the scan
_CHUNK = 1 << 16
_LIMIT = 1 << 20


def scan(path: "Iterable[object]") -> tuple[list[Plugin], list[str]]:
    """Read the candidates of every group from the metadata on ``path``, and from foreign finders.

    Raises nothing for what a distribution did wrong: a bad entry is a ``malformed`` candidate. The others are
    ``active`` as far as discovery can tell, or ``ignored``.

    Args:
        path: Directories and zip files, as in ``sys.path``.

    Returns:
        The candidates, sorted, and a sentence for each file or finder that could not be read, and for each entry in
        what begins like a group of ours and is none.
    """
    problems: list[str] = []
    found: dict[str, list[_Metadata]] = {}
    for metadata in _every_metadata(path, problems):
        found.setdefault(metadata.distribution, []).append(metadata)
    own, foreign = _own(found.pop(OURS, []))
    if own is None:
        problems.append(
            f"the metadata of intercede was not found beside {_HOME}, so it has no built-ins: install it with pip"
        )
    plugins = [] if own is None else own.plugins(builtin=True)
    covered = {(plugin.group, plugin.name) for plugin in plugins}
    for live in map(_live, found.values()):
        plugins += [_unless_covering(plugin, live, covered) for plugin in live.plugins()]
        problems += live.strays()
    for metadata in foreign:
        reason = f"calls itself intercede, but does not lie beside the running one in {_HOME}"
        plugins += [plugin.judged("ignored", reason) for plugin in metadata.plugins()]
    return sorted(plugins, key=_order), sorted(problems)


def _order(plugin: Plugin) -> tuple[str, str, str, str, str]:
    return plugin.group, plugin.name, plugin.distribution, plugin.target, plugin.location


def _unless_covering(plugin: Plugin, metadata: "_Metadata", covered: set[tuple[str, str]]) -> Plugin:
    if plugin.status != "active" or not metadata.in_working_directory or (plugin.group, plugin.name) not in covered:
        return plugin
    return plugin.judged(
        "ignored",
        "lies in the working directory only, and what lies there never covers a built-in: "
        f"install {plugin.distribution} to use it",
    )


# Metadata: one directory on the path may hold thousands of these, so only those that may matter become objects.


class _Metadata:
    """The metadata of one copy of one distribution."""

    def __init__(
        self,
        *,
        distribution: str,
        version: str,
        root: str,
        location: str,
        data: bytes,
        rank: tuple[bool, int, bool, str],
    ) -> None:
        self.distribution = distribution
        self.version = version
        self.root = root  # the directory or zip file on the path
        self.location = location
        self.data = data  # entry_points.txt, or nothing where it holds nothing of ours
        self.rank = rank  # in the working directory, index of the root, egg-info, name: the lowest counts
        self.in_working_directory = rank[0]

    def is_leftover(self) -> bool:
        """An interrupted upgrade leaves the directory behind without what tells the name and version."""
        return os.path.isdir(self.location) and not any(
            os.path.exists(f"{self.location}/{name}") for name in ("METADATA", "PKG-INFO")
        )

    def plugins(self, *, builtin: bool = False) -> list[Plugin]:
        """Make a candidate of each entry of ours."""
        version = self._version()
        return [
            Plugin(
                group=group,
                name=name,
                target=target,
                distribution=self.distribution,
                version=version,
                location=self.location,
                builtin=builtin,
                status="malformed" if problem else "active",
                reason=problem,
            )
            for group, name, target, problem in entries(self.data)
        ]

    def strays(self) -> list[str]:
        """Say of each entry in a group that is none of ours, but is called as if it were."""
        return [
            f"{self.distribution} {self._version()}".rstrip()
            + f" declares {name} in {heading!r}, which is no group{_nearest_group(heading)}"
            for heading, name in strays(self.data)
        ]

    def _version(self) -> str:
        return self.version or _version_in(self.location)


def _live(copies: list[_Metadata]) -> _Metadata:
    """Choose the copy that counts: the first on the path, never an empty leftover while there is a real one."""
    ranked = sorted(copies, key=lambda each: each.rank)
    if len(ranked) == 1:
        return ranked[0]
    real = [each for each in ranked if not each.is_leftover()]
    return next(iter(real or [each for each in ranked if each.data] or ranked))


def _own(copies: list[_Metadata]) -> tuple[_Metadata | None, list[_Metadata]]:
    """Tell our own metadata from that of other copies, and of others that bear our name."""
    beside = [each for each in copies if _same(each.root, _HOME)] or [each for each in copies if _leads_home(each)]
    foreign = [each for each in copies if each not in beside]
    return (_live(beside) if beside else None), foreign


_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _leads_home(metadata: _Metadata) -> bool:
    """Whether it is the editable install of the running package: a .pth file of its own names our directory."""
    try:
        record = _read(f"{metadata.location}/RECORD").decode("utf-8", "replace")
        names = [line.partition(",")[0] for line in record.splitlines() if ".pth," in line]
        lines = [line for name in names for line in _read(f"{metadata.root}/{name}").splitlines()]
    except OSError:
        return False
    return any(_same(os.path.join(metadata.root, os.fsdecode(line.strip())), _HOME) for line in lines if line.strip())


def _same(one: str, other: str) -> bool:
    try:
        return _identity(one) == _identity(other)
    except (OSError, ValueError):
        return False


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _version_in(location: str) -> str:
    """Read the version from the metadata itself, for a directory whose name has none."""
    for name in ("METADATA", "PKG-INFO"):
        try:
            head = _read(f"{location}/{name}").partition(b"\n\n")[0]
        except OSError:
            continue
        for line in head.decode("utf-8", "replace").splitlines():
            if line.startswith("Version:"):
                return line.partition(":")[2].strip()
    return ""


# The path


def _every_metadata(path: "Iterable[object]", problems: list[str]) -> "Iterator[_Metadata]":
    """Yield each metadata that holds entries of ours, and each other copy of those distributions."""
    listed: list[tuple[str, bool, int, str, bytes]] = []
    rest: list[_Metadata] = []
    here = _working_directory()
    seen: set[tuple[int, int]] = set()
    directories = [entry for entry in path if isinstance(entry, str)]  # what else lies there, imports skip as well
    for index, entry in enumerate(directories):
        try:
            root = os.path.abspath(entry)
            identity = _identity(root)
            names = [] if identity in seen else _listed(root)
        except (FileNotFoundError, ValueError):
            continue
        except NotADirectoryError:
            rest += _through_importlib(_in_file(entry), index, problems)
            continue
        except OSError as error:
            problems.append(f"{entry} cannot be listed: {error.strerror}")
            continue
        seen.add(identity)
        in_working_directory = identity == here and not _is_site(root)
        listed += [
            (root, in_working_directory, index, name, _entry_points(f"{root}/{name}", problems)) for name in names
        ]
    for index, finder in enumerate(_foreign_finders(), len(directories)):
        rest += _through_importlib(finder, index, problems)
    yield from _that_matter(listed, rest)


def _listed(root: str) -> list[str]:
    return sorted(name for name in os.listdir(root) if name.endswith(_METADATA))


def _that_matter(listed: list[tuple[str, bool, int, str, bytes]], rest: list[_Metadata]) -> "Iterator[_Metadata]":
    wanted = {_split(name)[0] for *_, name, data in listed if data} | {each.distribution for each in rest if each.data}
    wanted.add(OURS)
    beginnings = tuple({each.partition("-")[0] for each in wanted})  # a quick look spares most names the slow one
    for root, in_working_directory, index, name, data in listed:
        if name.lower().startswith(beginnings) and _split(name)[0] in wanted:
            distribution, version = _split(name)
            yield _Metadata(
                distribution=distribution,
                version=version,
                root=root,
                location=f"{root}/{name}",
                data=data,
                rank=(in_working_directory, index, name.endswith(".egg-info"), name),
            )
    yield from (each for each in rest if each.distribution in wanted)


def _split(directory: str) -> tuple[str, str]:
    """Tell distribution and version from a directory's name."""
    stem, _, kind = directory.rpartition(".")
    if kind == "egg-info":  # name[-version[-python]]
        name, _, tail = stem.partition("-")
        return fold(name), tail.partition("-")[0]
    name, _, version = stem.rpartition("-")
    return (fold(name), version) if name else (fold(version), "")


def _entry_points(directory: str, problems: list[str]) -> bytes:
    """Read one entry_points.txt; empty where there is none or where it holds nothing of ours."""
    try:
        data = _read(f"{directory}/entry_points.txt")
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        problems.append(f"{directory}/entry_points.txt cannot be read: {error.strerror or error}")
        return b""
    return data if _PREFIX in data else b""


def _read(path: str) -> bytes:
    """Read a small file, at a third of what open() costs."""
    descriptor = os.open(path, _FLAGS)
    try:
        data = chunk = os.read(descriptor, _CHUNK)
        while len(chunk) == _CHUNK:
            if len(data) >= _LIMIT:
                raise OSError(f"it is larger than {_LIMIT} bytes")
            chunk = os.read(descriptor, _CHUNK)
            data += chunk
        return data
    finally:
        os.close(descriptor)


def _working_directory() -> tuple[int, int] | None:
    try:
        return _identity(".")
    except OSError:  # removed under our feet
        return None


def _is_site(directory: str) -> bool:
    """Whether somebody merely stands in a directory where installers put things."""
    import site  # noqa: PLC0415 -- rarely asked

    return any(_same(directory, each) for each in (*site.getsitepackages(), site.getusersitepackages()))


# What only importlib.metadata can see


def _foreign_finders() -> "Iterator[Iterable[Distribution]]":
    from _frozen_importlib_external import PathFinder  # noqa: PLC0415 -- loaded with the interpreter

    for finder in sys.meta_path:
        find = getattr(finder, "find_distributions", None)
        backport = type(finder).__module__.partition(".")[0] == "importlib_metadata"  # sees what we have scanned
        if callable(find) and finder is not PathFinder and not backport:
            yield _found_by(find)


def _found_by(find: "Callable[..., object]") -> "Iterator[Distribution]":
    from importlib.metadata import DistributionFinder  # noqa: PLC0415 -- 35 ms, for those who have such a finder
    from typing import cast  # noqa: PLC0415 -- as above

    found = find(DistributionFinder.Context())
    yield from cast("Iterable[Distribution]", found)


def _in_file(entry: str) -> "Iterator[Distribution]":
    from importlib.metadata import distributions  # noqa: PLC0415 -- 35 ms, for those who have such a path

    yield from distributions(path=[entry])


def _through_importlib(distributions: "Iterable[Distribution]", index: int, problems: list[str]) -> list[_Metadata]:
    """Read distributions one at a time; what one of them raises is a problem of its own."""
    found: list[_Metadata] = []
    remaining = iter(distributions)
    while True:
        try:
            distribution = next(remaining, None)
            if distribution is None:
                return found
        except Exception as error:  # noqa: BLE001 -- foreign code: it spoils its own distributions only
            problems.append(f"a finder of distributions failed: {type(error).__name__}: {error}")
            return found
        try:
            found.append(_from_importlib(distribution, index))
        except Exception as error:  # noqa: BLE001 -- as above
            problems.append(f"{distribution!r} cannot be read: {type(error).__name__}: {error}")


def _from_importlib(distribution: "Distribution", index: int) -> _Metadata:
    root = str(distribution.locate_file("")).rstrip("/")
    data = (distribution.read_text("entry_points.txt") or "").encode()
    name = distribution.metadata["Name"]
    return _Metadata(
        distribution=fold(name),
        version=distribution.version,
        root=root,
        location=root,
        data=data if _PREFIX in data else b"",
        rank=(False, index, False, name),
    )


# entry_points.txt


def entries(data: bytes) -> list[tuple[str, str, str, str]]:
    """Read the entries of our groups: group, name, target, and what is wrong with it or an empty text.

    Lines are decoded one by one, so a bad line spoils its own entry and no other.
    """
    groups = {_PREFIX + group.encode(): group for group in GROUPS}
    read = [(groups[heading], *_entry(line)) for heading, line in _lines(data) if heading in groups]
    targets: dict[tuple[str, str], set[str]] = {}
    for group_, name, target, _ in read:
        targets.setdefault((group_, name), set()).add(target)
    return [
        (g, name, target, problem or ("declared twice, with different targets" if len(targets[g, name]) > 1 else ""))
        for g, name, target, problem in dict.fromkeys(read)
    ]


def strays(data: bytes) -> list[tuple[str, str]]:
    """Read what stands in groups that begin as ours and are none: group, as it is written, and name."""
    ours = {_PREFIX + group.encode() for group in GROUPS}
    found = [
        (heading.decode("utf-8", "backslashreplace"), _entry(line)[0])
        for heading, line in _lines(data)
        if heading.startswith(_PREFIX) and heading not in ours
    ]
    return list(dict.fromkeys(found))


def _lines(data: bytes) -> "Iterator[tuple[bytes, bytes]]":
    """Yield each line that may be an entry, behind the heading that it stands under."""
    heading = b""
    for raw in data.splitlines():
        line = raw.strip()
        if not line or line[:1] in {b"#", b";"}:
            continue
        if line[:1] == b"[" and line[-1:] == b"]":
            heading = line[1:-1].strip()
        else:
            yield heading, line


def _nearest_group(heading: str) -> str:
    """Compare what follows the common beginning, for with it everything is near."""
    begin = _PREFIX.decode()
    found = nearest(heading.removeprefix(begin), GROUPS).replace("'", f"'{begin}", 1)
    return found or f"; the groups are {', '.join(begin + group for group in GROUPS)}"


def _entry(line: bytes) -> tuple[str, str, str]:
    """Read ``name = module:attribute``: name, target, and what is wrong or an empty text."""
    text = line.decode("utf-8", "backslashreplace")
    name, equals, value = (part.strip() for part in text.partition("="))
    target = value.partition("[")[0].strip()  # extras are no longer recommended, and say nothing about the object
    module, _, attribute = (part.strip() for part in target.partition(":"))
    if not equals:
        return name, "", f"the line {text!r} has no '=': write NAME = MODULE:ATTRIBUTE"
    if not is_name(name):
        return name, target, f"the name {name!r} is not made of letters, digits, '.', '_' and '-'"
    if not _is_dotted(module) or (attribute and not _is_dotted(attribute)):
        return name, target, f"the target {value!r} is not MODULE:ATTRIBUTE"
    return name, f"{module}:{attribute}" if attribute else module, ""


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))
