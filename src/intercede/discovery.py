"""What the environment offers: entry points read from metadata, nothing imported.

``importlib.metadata`` would do, at five times the cost, and one bad file of an unrelated distribution makes its
``entry_points()`` raise for everybody. So ordinary directories are scanned here by hand, each file on its own; zip
files and foreign finders still go through it, one distribution at a time.

What counts as a distribution is what pip counts: metadata under a name that a project may have. A directory of any
other name, one without METADATA beside a whole one, and a second one beside the first are told as problems.
"""
# ruff: noqa: PTH100, PTH112, PTH116, PTH118, PTH120, PTH208 -- pathlib costs more than the whole scan

from __future__ import annotations

import os
import sys

from intercede.plugin import GROUPS, OURS, Plugin, canonicalize_name, how_to_install, is_name, nearest

TYPE_CHECKING = False  # importing typing for it would cost more than the scan of a small environment
if not TYPE_CHECKING:
    from _collections_abc import Callable, Iterable, Iterator  # collections.abc loads collections

    Distribution = object  # for whoever evaluates annotations, as typing.get_type_hints does
else:  # typeguard takes the last import of a name for what it is, and knows generators by collections.abc only
    from collections.abc import Callable, Iterable, Iterator
    from importlib.metadata import Distribution

__all__ = ["entries", "scan", "strays"]

_PREFIX = b"intercede."
_METADATA = (".dist-info", ".egg-info")
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)  # what is really a fifo must not stop the scan
_CHUNK = 1 << 16
_LIMIT = 1 << 20


def scan(path: Iterable[object]) -> tuple[list[Plugin], list[str]]:
    """Read the candidates of every group from the metadata on ``path``, and from foreign finders.

    Raises nothing for what a distribution did wrong: a bad entry is a ``malformed`` candidate. The others are
    ``active`` as far as discovery can tell, or ``ignored``.

    Args:
        path: Directories and zip files, as in ``sys.path``.

    Returns:
        The candidates, sorted, and the problems, a sentence each: a file or a finder that could not be read, metadata
        that cannot be a distribution's or is there twice, an entry in what begins like a group of ours and is none, and
        an intercede that is not the running one.
    """
    problems: list[str] = []
    found: dict[str, list[_Metadata]] = {}
    for metadata in _every_metadata(path, problems):
        if metadata.is_named():
            found.setdefault(metadata.distribution, []).append(metadata)
        elif metadata.data:
            problems.append(_unnamed(metadata))
    own, foreign = _own(found.pop(OURS, []))
    plugins = _candidates(_counting(own, problems), builtin=True) if own else []
    problems += _not_this_one(own, foreign)
    covered = {(plugin.group, plugin.name) for plugin in plugins}
    for copies in found.values():
        counting = _counting(copies, problems)
        plugins += [_unless_covering(plugin, counting[0], covered) for plugin in _candidates(counting)]
        problems += [sentence for each in counting for sentence in each.strays()]
    for metadata in foreign:
        reason = f"calls itself intercede, but does not lie beside the running one in {_HOME}"
        plugins += [plugin.with_status("ignored", reason) for plugin in metadata.plugins()]
    return sorted(plugins, key=_order), sorted(dict.fromkeys(problems))


def _order(plugin: Plugin) -> tuple[str, str, str, str, str]:
    return plugin.group, plugin.name, plugin.distribution, plugin.target, plugin.location


def _unless_covering(plugin: Plugin, metadata: _Metadata, covered: set[tuple[str, str]]) -> Plugin:
    if plugin.status != "active" or not metadata.in_working_directory or (plugin.group, plugin.name) not in covered:
        return plugin
    return plugin.with_status(
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

    def is_named(self) -> bool:
        """Tell whether a distribution may have that name and version. While pip upgrades, ``polite`` is ``~olite``."""
        version = self.version.replace("+", ".").replace("!", ".")
        return is_name(self.distribution) and self.distribution[-1].isalnum() and (not version or is_name(version))

    def is_leftover(self) -> bool:
        """Tell whether what tells the name and version is missing or empty, as after an interrupted upgrade."""
        told = any(_is_filled(f"{self.location}/{name}") for name in ("METADATA", "PKG-INFO"))
        return not told and os.path.isdir(self.location)

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

    def described(self) -> str:
        """Name the distribution with its version, as people write it."""
        return f"{self.distribution} {self._version()}".rstrip()

    def strays(self) -> list[str]:
        """Say of each entry in a group that is none of ours, but is called as if it were."""
        return [
            f"{self.described()} declares {name} in {heading!r}, which is no group{_nearest_group(heading)}"
            for heading, name in strays(self.data)
        ]

    def _version(self) -> str:
        return self.version or _version_in(self.location)


def _is_filled(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return False


def _unnamed(metadata: _Metadata) -> str:
    return (
        f"{metadata.location} cannot be a distribution's: {metadata.described()!r} is no name and version of one, so what it "
        "declares does not count. Installers leave such directories when they are interrupted: remove it"
    )


def _counting(copies: list[_Metadata], problems: list[str]) -> list[_Metadata]:
    """Choose the copy that counts, the first on the path, and return it with its twins: copies in the same directory.

    A leftover never counts while there is a real one.
    """
    ranked = sorted(copies, key=lambda each: each.rank)
    leftovers = [each for each in ranked if each.is_leftover()]
    problems += map(_left_over, [each for each in leftovers if each.data])
    real = [each for each in ranked if each not in leftovers]
    live = next(iter(real or [each for each in ranked if each.data] or ranked))
    beside = [each for each in real if each.rank[1] == live.rank[1]]
    if len(beside) > 1:
        problems.append(_doubled(beside))
    return [each for each in beside if each.rank[:-1] == live.rank[:-1]] or [live]


def _left_over(metadata: _Metadata) -> str:
    return (
        f"{metadata.location} has no METADATA, so it is a leftover of an installation that was interrupted: "
        f"remove it, and install {metadata.distribution} again"
    )


def _doubled(copies: list[_Metadata]) -> str:
    return (
        f"{copies[0].distribution} has its metadata twice in one directory: "
        f"{' and '.join(each.location for each in copies)}. One is left over: remove it, or remove both and install "
        f"{copies[0].distribution} again"
    )


def _candidates(copies: list[_Metadata], *, builtin: bool = False) -> list[Plugin]:
    """Make a candidate of each entry. Of twins that counts on which they agree, for nothing tells which one is left over."""
    plugins = [plugin for each in copies for plugin in each.plugins(builtin=builtin)]
    if len(copies) == 1 or not plugins:
        return plugins
    declared = [{_entry_of(plugin) for plugin in each.plugins()} for each in copies]
    agreed = declared[0].intersection(*declared[1:])
    version = plugins[0].version if len({plugin.version for plugin in plugins}) == 1 else ""
    reason = f"its two directories of metadata differ about it. {_doubled(copies)}"
    return [
        plugin.with_status(plugin.status, plugin.reason, version)
        if entry in agreed
        else plugin.with_status("ignored", reason)
        for entry, plugin in {_entry_of(each): each for each in reversed(plugins)}.items()
    ]


def _entry_of(plugin: Plugin) -> tuple[str, str, str]:
    return plugin.group, plugin.name, plugin.target


def _own(copies: list[_Metadata]) -> tuple[list[_Metadata], list[_Metadata]]:
    """Tell our own metadata from that of other copies, and of others that bear our name."""
    ours = [each for each in copies if each.data]  # what declares no built-in is another project's
    own = [each for each in ours if _same(each.root, _HOME)] or [each for each in ours if _leads_home(each)]
    return own, [each for each in copies if each not in own]


def _not_this_one(own: list[_Metadata], foreign: list[_Metadata]) -> list[str]:
    """Say that our own metadata is missing, and which other ``intercede`` an installer takes for this one."""
    before = [each for each in foreign if not own or each.root == own[0].root or each.rank < own[0].rank]
    missing = f"the metadata of intercede was not found beside {_HOME}, so it has no built-ins; {_AGAIN}"
    return [missing] * (not own) + [_other(each) for each in before if not each.is_leftover()]


def _other(metadata: _Metadata) -> str:
    what = "another copy than" if metadata.data else "another project of that name, without a built-in, and not"
    return (
        f"{metadata.described()} in {metadata.location} is {what} the running one in {_HOME}. A package that depends on "
        f"'intercede' may have brought it in: 'intercede>=0.1' does not. Uninstall it, and {_AGAIN}"
    )


_AGAIN = f"install this one from where it came from, a path or a URL: {how_to_install()}"


_HOME = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _leads_home(metadata: _Metadata) -> bool:
    """Whether it is the editable install of the running package: a .pth file of its own names our directory."""
    try:
        record = _read(f"{metadata.location}/RECORD").decode("utf-8", "replace")
        names = [line.partition(",")[0] for line in record.splitlines() if ".pth," in line]
        lines = [line for name in names for line in _read(f"{metadata.root}/{name}").splitlines()]
    except (OSError, ValueError):  # the latter: a name that no file has, with a NUL
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


def _every_metadata(path: Iterable[object], problems: list[str]) -> Iterator[_Metadata]:
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
        if root.lower().endswith(".egg"):
            rest += _in_egg(root, (in_working_directory, index, True, "EGG-INFO"), problems)
    for index, finder in enumerate(_foreign_finders(), len(directories)):
        rest += _through_importlib(finder, index, problems)
    yield from _that_matter(listed, rest)


def _listed(root: str) -> list[str]:
    return sorted(name for name in os.listdir(root) if name.lower().endswith(_METADATA))


def _in_egg(root: str, rank: tuple[bool, int, bool, str], problems: list[str]) -> list[_Metadata]:
    """Read the metadata of an egg, a directory whose own name tells its distribution: ``polite-0.1-py3.11.egg``."""
    location = f"{root}/EGG-INFO"
    if not os.path.isdir(location):
        return []
    distribution, version = _split(root.rpartition("/")[2][:-4] + ".egg-info")
    data = _entry_points(location, problems)
    return [_Metadata(distribution=distribution, version=version, root=root, location=location, data=data, rank=rank)]


def _that_matter(listed: list[tuple[str, bool, int, str, bytes]], rest: list[_Metadata]) -> Iterator[_Metadata]:
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
                rank=(in_working_directory, index, name.lower().endswith(".egg-info"), name),
            )
    yield from (each for each in rest if each.distribution in wanted)


def _split(directory: str) -> tuple[str, str]:
    """Tell distribution and version from a directory's name."""
    stem, _, kind = directory.rpartition(".")
    if kind.lower() == "egg-info":  # name[-version[-python]]
        name, _, tail = stem.partition("-")
        return canonicalize_name(name), tail.partition("-")[0]
    name, dash, version = stem.rpartition("-")
    return (canonicalize_name(name), version) if dash else (canonicalize_name(version), "")


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


def _foreign_finders() -> Iterator[Iterable[Distribution]]:
    from _frozen_importlib_external import PathFinder  # noqa: PLC0415 -- loaded with the interpreter

    for finder in sys.meta_path:
        find = getattr(finder, "find_distributions", None)
        backport = type(finder).__module__.partition(".")[0] == "importlib_metadata"  # sees what we have scanned
        if callable(find) and finder is not PathFinder and not backport:
            yield _found_by(find)


def _found_by(find: Callable[..., object]) -> Iterator[Distribution]:
    from importlib.metadata import DistributionFinder  # noqa: PLC0415 -- 35 ms, for those who have such a finder
    from typing import cast  # noqa: PLC0415 -- as above

    found = find(DistributionFinder.Context())
    yield from cast("Iterable[Distribution]", found)


def _in_file(entry: str) -> Iterator[Distribution]:
    from importlib.metadata import distributions  # noqa: PLC0415 -- 35 ms, for those who have such a path

    yield from distributions(path=[entry])


def _through_importlib(distributions: Iterable[Distribution], index: int, problems: list[str]) -> list[_Metadata]:
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


def _from_importlib(distribution: Distribution, index: int) -> _Metadata:
    root = str(distribution.locate_file("")).rstrip("/")
    data = (distribution.read_text("entry_points.txt") or "").encode()
    name = distribution.metadata["Name"]
    if not name:
        raise ValueError("its metadata has no name")
    return _Metadata(
        distribution=canonicalize_name(name),
        version=distribution.version or "",
        root=root,
        location=str(getattr(distribution, "_path", root)).rstrip("/"),  # as pip asks for it: nothing public tells
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


def _lines(data: bytes) -> Iterator[tuple[bytes, bytes]]:
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
