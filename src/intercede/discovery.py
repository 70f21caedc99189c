"""Find the plugins in the environment. Entry points are read from metadata, and nothing is imported.

``importlib.metadata`` takes five times as long, and its ``entry_points()`` raises if one file of an unrelated
distribution is bad. So this module scans ordinary directories itself, each file separately. It reads zip files and
the finders of other projects through ``importlib.metadata``, one distribution at a time.

As for pip, a metadata directory is a distribution if its name is valid for a project. Three states are reported as
problems: a directory with an invalid name, a directory without METADATA beside a complete directory, and two
directories of one distribution in one place.
"""
# ruff: noqa: PTH100, PTH112, PTH116, PTH118, PTH120, PTH208 -- pathlib costs more than the whole scan

from __future__ import annotations

import os
import sys
from _frozen_importlib_external import PathFinder  # importing PathFinder from importlib.machinery is slow

from intercede.plugin import GROUPS, OURS, Plugin, canonicalize_name, how_to_install, is_name, suggest

TYPE_CHECKING = False  # importing typing would cost more than scanning a small environment
if not TYPE_CHECKING:
    from _collections_abc import Callable, Iterable, Iterator  # collections.abc would load all of collections

    # typing.get_type_hints can evaluate the annotations only if the names in them exist at run time.
    Distribution = object
else:
    # These imports are last because typeguard uses the last import of a name. typeguard recognizes the type of a
    # generator only if the name comes from collections.abc.
    from collections.abc import Callable, Iterable, Iterator
    from importlib.metadata import Distribution

__all__ = ["read_entries", "read_unknown_groups", "scan"]

_GROUP_PREFIX = b"intercede."
_METADATA_SUFFIXES = (".dist-info", ".egg-info")
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)  # opening a fifo must not block the scan
_CHUNK = 1 << 16
_LIMIT = 1 << 20


def scan(path: Iterable[object]) -> tuple[list[Plugin], list[str]]:
    """Return the candidates of all groups, and the problems in the environment.

    Candidates are read from the metadata on ``path``, and from the import finders that other projects have installed.
    An error in a distribution raises nothing: a bad entry becomes a ``malformed`` candidate. The other candidates are
    ``active``, as far as discovery can decide it, or ``ignored``.

    Args:
        path: Directories and zip files, as in ``sys.path``.

    Returns:
        The candidates, sorted, and the problems, one sentence each: a file or a finder that could not be read,
        metadata that is duplicated or has a name that no distribution can have, an entry in an unknown group
        ``intercede.*``, and an intercede that is not the running one.
    """
    problems: list[str] = []
    found: dict[str, list[_Metadata]] = {}
    for metadata in _find_metadata(path, problems):
        if metadata.has_valid_name():
            found.setdefault(metadata.distribution, []).append(metadata)
        elif metadata.data:
            problems.append(_describe_bad_name(metadata))
    own, foreign = _separate_own(found.pop(OURS, []))
    plugins = _make_plugins(_select_copies(own, problems), builtin=True) if own else []
    problems += _describe_impostors(own, foreign)
    builtins = {(plugin.group, plugin.name) for plugin in plugins}
    for copies in found.values():
        selected = _select_copies(copies, problems)
        plugins += [_refuse_shadowing(plugin, selected[0], builtins) for plugin in _make_plugins(selected)]
        problems += [sentence for each in selected for sentence in each.describe_unknown_groups()]
    for metadata in foreign:
        reason = f"is named intercede, but is not beside the running one in {_RUNNING_FROM}"
        plugins += [plugin.with_status("ignored", reason) for plugin in metadata.make_plugins()]
    return sorted(plugins, key=_get_sort_key), sorted(dict.fromkeys(problems))


def _get_sort_key(plugin: Plugin) -> tuple[str, str, str, str, str]:
    return plugin.group, plugin.name, plugin.distribution, plugin.target, plugin.location


def _refuse_shadowing(plugin: Plugin, metadata: _Metadata, builtins: set[tuple[str, str]]) -> Plugin:
    """Return a candidate, changed to ``ignored`` if it is in the working directory and has the name of a built-in."""
    if plugin.status != "active" or not metadata.in_working_directory or (plugin.group, plugin.name) not in builtins:
        return plugin
    return plugin.with_status(
        "ignored",
        "found in the working directory only, where no plugin shadows a built-in: "
        f"install {plugin.distribution} to use it",
    )


# Metadata. A directory on the path may hold thousands of distributions, so a ``_Metadata`` is made only for
# the relevant distributions.


class _Metadata:
    """The metadata of a distribution in one directory. A distribution may be installed in several directories."""

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
        self.data = data  # entry_points.txt, or empty if it has no group of intercede
        # The metadata with the lowest rank is chosen. The fields of a rank are: whether the metadata is in the working
        # directory, the index of the root on the path, whether the metadata is an egg-info, and the directory's name.
        self.rank = rank
        self.in_working_directory = rank[0]

    def has_valid_name(self) -> bool:
        """Return whether this name and version are valid for a distribution.

        While pip upgrades ``polite``, the old directory is named ``~olite``.
        """
        version = self.version.replace("+", ".").replace("!", ".")
        return is_name(self.distribution) and self.distribution[-1].isalnum() and (not version or is_name(version))

    def is_leftover(self) -> bool:
        """Return whether METADATA is missing or empty. An interrupted upgrade leaves a directory in that state."""
        is_complete = any(_has_content(f"{self.location}/{name}") for name in ("METADATA", "PKG-INFO"))
        return not is_complete and os.path.isdir(self.location)

    def make_plugins(self, *, builtin: bool = False) -> list[Plugin]:
        """Make a candidate from each entry in the groups of intercede."""
        version = self._find_version()
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
            for group, name, target, problem in read_entries(self.data)
        ]

    def describe(self) -> str:
        """Return the name and version of the distribution."""
        return f"{self.distribution} {self._find_version()}".rstrip()

    def describe_unknown_groups(self) -> list[str]:
        """Return one sentence for each entry in an unknown group: a group ``intercede.*`` that does not exist."""
        return [
            f"{self.describe()} declares {name} in {heading!r}, which is not a group{_suggest_group(heading)}"
            for heading, name in read_unknown_groups(self.data)
        ]

    def _find_version(self) -> str:
        return self.version or _read_version(self.location)


def _has_content(path: str) -> bool:
    try:
        return os.stat(path).st_size > 0
    except OSError:
        return False


def _describe_bad_name(metadata: _Metadata) -> str:
    return (
        f"{metadata.location} is not a distribution: {metadata.describe()!r} is not a valid name and "
        "version, so its entries are ignored. An interrupted installer leaves such directories behind: remove it"
    )


def _select_copies(copies: list[_Metadata], problems: list[str]) -> list[_Metadata]:
    """Choose among the installations of one distribution, and return the installation that is first on the path.

    If the directory of that installation has several installations of the distribution, all of them are returned. An
    installation without METADATA is returned only if no installation is complete.
    """
    ranked = sorted(copies, key=lambda each: each.rank)
    leftovers = [each for each in ranked if each.is_leftover()]
    problems += map(_describe_leftover, [each for each in leftovers if each.data])
    complete = [each for each in ranked if each not in leftovers]
    first = next(iter(complete or [each for each in ranked if each.data] or ranked))
    beside = [each for each in complete if each.rank[1] == first.rank[1]]
    if len(beside) > 1:
        problems.append(_describe_duplicates(beside))
    return [each for each in beside if each.rank[:-1] == first.rank[:-1]] or [first]


def _describe_leftover(metadata: _Metadata) -> str:
    return (
        f"{metadata.location} has no METADATA, so an interrupted installation left it behind: "
        f"remove it, and install {metadata.distribution} again"
    )


def _describe_duplicates(copies: list[_Metadata]) -> str:
    return (
        f"{copies[0].distribution} has its metadata twice in one directory: "
        f"{' and '.join(each.location for each in copies)}. Remove the one that is out of date, or remove both "
        f"and install {copies[0].distribution} again"
    )


def _make_plugins(copies: list[_Metadata], *, builtin: bool = False) -> list[Plugin]:
    """Make a candidate from each entry in the metadata of a distribution.

    If the distribution has two metadata directories in one place, entries in only one of them are ignored, because
    nothing shows which directory is the valid one.
    """
    plugins = [plugin for each in copies for plugin in each.make_plugins(builtin=builtin)]
    if len(copies) == 1 or not plugins:
        return plugins
    declared = [{_get_entry(plugin) for plugin in each.make_plugins()} for each in copies]
    agreed = declared[0].intersection(*declared[1:])
    version = plugins[0].version if len({plugin.version for plugin in plugins}) == 1 else ""
    reason = f"its two metadata directories disagree about it. {_describe_duplicates(copies)}"
    return [
        plugin.with_status(plugin.status, plugin.reason, version)
        if entry in agreed
        else plugin.with_status("ignored", reason)
        for entry, plugin in {_get_entry(each): each for each in reversed(plugins)}.items()
    ]


def _get_entry(plugin: Plugin) -> tuple[str, str, str]:
    return plugin.group, plugin.name, plugin.target


def _separate_own(copies: list[_Metadata]) -> tuple[list[_Metadata], list[_Metadata]]:
    """Return the metadata of the running intercede, and the metadata of other distributions with that name."""
    ours = [each for each in copies if each.data]  # another project named intercede has no entries for built-ins
    beside = [each for each in ours if _is_same_file(each.root, _RUNNING_FROM)]
    own = beside or [each for each in ours if _is_editable_install(each)]
    return own, [each for each in copies if each not in own]


def _describe_impostors(own: list[_Metadata], foreign: list[_Metadata]) -> list[str]:
    """Return one sentence for each distribution that an installer mistakes for the running intercede.

    If the running intercede has no metadata, the first sentence says so.
    """
    before = [each for each in foreign if not own or each.root == own[0].root or each.rank < own[0].rank]
    missing = f"the metadata of intercede was not found beside {_RUNNING_FROM}, so it has no built-ins; {_REINSTALL}"
    return [missing] * (not own) + [_describe_impostor(each) for each in before if not each.is_leftover()]


def _describe_impostor(metadata: _Metadata) -> str:
    what = "another copy than" if metadata.data else "another project of that name, without a built-in, and not"
    return (
        f"{metadata.describe()} in {metadata.location} is {what} the running one in {_RUNNING_FROM}. A package that "
        f"depends on 'intercede' may have installed it; 'intercede>=0.1' does not. Uninstall it, and {_REINSTALL}"
    )


_REINSTALL = f"install this one from where it came from, a path or a URL: {how_to_install()}"


_RUNNING_FROM = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _is_editable_install(metadata: _Metadata) -> bool:
    """Return whether metadata belongs to an editable install of this package.

    In an editable install, a .pth file names the directory that contains this package.
    """
    try:
        record = _read_file(f"{metadata.location}/RECORD").decode("utf-8", "replace")
        names = [line.partition(",")[0] for line in record.splitlines() if ".pth," in line]
        lines = [line for name in names for line in _read_file(f"{metadata.root}/{name}").splitlines()]
    except (OSError, ValueError):  # a file name that contains a NUL raises ValueError
        return False
    paths = [os.path.join(metadata.root, os.fsdecode(line.strip())) for line in lines if line.strip()]
    return any(_is_same_file(path, _RUNNING_FROM) for path in paths)


def _is_same_file(one: str, other: str) -> bool:
    try:
        return _get_identity(one) == _get_identity(other)
    except (OSError, ValueError):
        return False


def _get_identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _read_version(location: str) -> str:
    """Return the version in METADATA or PKG-INFO, for a metadata directory whose name contains no version."""
    for name in ("METADATA", "PKG-INFO"):
        try:
            head = _read_file(f"{location}/{name}").partition(b"\n\n")[0]
        except OSError:
            continue
        for line in head.decode("utf-8", "replace").splitlines():
            if line.startswith("Version:"):
                return line.partition(":")[2].strip()
    return ""


# Directories and zip files on the path


def _find_metadata(path: Iterable[object], problems: list[str]) -> Iterator[_Metadata]:
    """Search all directories, and yield the metadata of every distribution with entries in the groups of intercede."""
    listed: list[tuple[str, bool, int, str, bytes]] = []
    rest: list[_Metadata] = []
    here = _identify_working_directory()
    seen: set[tuple[int, int]] = set()
    # The import system skips the entries of ``sys.path`` that are not strings, so the scan skips such entries as well.
    directories = [entry for entry in path if isinstance(entry, str)]
    for index, entry in enumerate(directories):
        try:
            root = os.path.abspath(entry)
            identity = _get_identity(root)
            names = [] if identity in seen else _list_metadata(root)
        except (FileNotFoundError, ValueError):
            continue
        except NotADirectoryError:
            rest += _read_distributions(_find_distributions(None, entry), index, problems)
            continue
        except OSError as error:
            problems.append(f"{entry} cannot be listed: {error.strerror}")
            continue
        seen.add(identity)
        in_working_directory = identity == here and not _is_site_directory(root)
        listed += [
            (root, in_working_directory, index, name, _read_entry_points(f"{root}/{name}", problems)) for name in names
        ]
        if root.lower().endswith(".egg"):
            rest += _read_egg(root, (in_working_directory, index, True, "EGG-INFO"), problems)
    for index, finder in enumerate(_list_foreign_finders(), len(directories)):
        rest += _read_distributions(finder, index, problems)
    yield from _select_relevant(listed, rest)


def _list_metadata(root: str) -> list[str]:
    return sorted(name for name in os.listdir(root) if name.lower().endswith(_METADATA_SUFFIXES))


def _read_egg(root: str, rank: tuple[bool, int, bool, str], problems: list[str]) -> list[_Metadata]:
    """Read the metadata of an egg: a directory such as ``polite-0.1-py3.11.egg``, named after its distribution."""
    location = f"{root}/EGG-INFO"
    if not os.path.isdir(location):
        return []
    distribution, version = _parse_directory_name(root.rpartition("/")[2][:-4] + ".egg-info")
    data = _read_entry_points(location, problems)
    return [_Metadata(distribution=distribution, version=version, root=root, location=location, data=data, rank=rank)]


def _select_relevant(listed: list[tuple[str, bool, int, str, bytes]], rest: list[_Metadata]) -> Iterator[_Metadata]:
    wanted = {OURS}
    wanted |= {_parse_directory_name(name)[0] for *_, name, data in listed if data}
    wanted |= {each.distribution for each in rest if each.data}
    # Only directory names with one of these beginnings are parsed, because parsing every name would be slow.
    beginnings = tuple({each.partition("-")[0] for each in wanted})
    for root, in_working_directory, index, name, data in listed:
        if name.lower().startswith(beginnings) and _parse_directory_name(name)[0] in wanted:
            distribution, version = _parse_directory_name(name)
            yield _Metadata(
                distribution=distribution,
                version=version,
                root=root,
                location=f"{root}/{name}",
                data=data,
                rank=(in_working_directory, index, name.lower().endswith(".egg-info"), name),
            )
    yield from (each for each in rest if each.distribution in wanted)


def _parse_directory_name(directory: str) -> tuple[str, str]:
    """Return the distribution and the version in the name of a metadata directory."""
    stem, _, kind = directory.rpartition(".")
    if kind.lower() == "egg-info":  # name[-version[-python]]
        name, _, tail = stem.partition("-")
        return canonicalize_name(name), tail.partition("-")[0]
    name, dash, version = stem.rpartition("-")
    return (canonicalize_name(name), version) if dash else (canonicalize_name(version), "")


def _read_entry_points(directory: str, problems: list[str]) -> bytes:
    """Return the contents of entry_points.txt, or empty bytes if the file is missing or has no group of intercede."""
    try:
        data = _read_file(f"{directory}/entry_points.txt")
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        problems.append(f"{directory}/entry_points.txt cannot be read: {error.strerror or error}")
        return b""
    return data if _GROUP_PREFIX in data else b""


def _read_file(path: str) -> bytes:
    """Read a small file. This takes a third of the time that open() takes."""
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


def _identify_working_directory() -> tuple[int, int] | None:
    try:
        return _get_identity(".")
    except OSError:  # a working directory that was removed has no identity
        return None


def _is_site_directory(directory: str) -> bool:
    """Return whether a directory is one into which installers put packages."""
    import site  # noqa: PLC0415 -- rarely needed

    return any(_is_same_file(directory, each) for each in (*site.getsitepackages(), site.getusersitepackages()))


# The functions below read the distributions that only importlib.metadata can find.


def _list_foreign_finders() -> Iterator[Iterable[Distribution]]:
    for finder in sys.meta_path:
        find: Callable[..., Iterable[Distribution]] | None = getattr(finder, "find_distributions", None)
        # The finder of the backport ``importlib_metadata`` finds the same distributions as this module, so skip it.
        backport = type(finder).__module__.partition(".")[0] == "importlib_metadata"
        if callable(find) and finder is not PathFinder and not backport:
            yield _find_distributions(find)


def _find_distributions(find: Callable[..., Iterable[Distribution]] | None, *path: str) -> Iterator[Distribution]:
    """Yield the distributions that a finder returns. If no finder is given, yield the distributions on a path."""
    from importlib.metadata import Distribution, DistributionFinder  # noqa: PLC0415 -- 35 ms, and rarely needed

    yield from find(DistributionFinder.Context()) if find else Distribution.discover(path=list(path))


def _read_distributions(distributions: Iterable[Distribution], index: int, problems: list[str]) -> list[_Metadata]:
    """Read distributions one at a time, and return their metadata.

    If a distribution cannot be read, the error is added to the problems, and the next distribution is read.
    """
    found: list[_Metadata] = []
    remaining = iter(distributions)
    while True:
        try:
            distribution = next(remaining, None)
            if distribution is None:
                return found
        except Exception as error:  # noqa: BLE001 -- foreign code: its errors must affect its own distributions only
            problems.append(f"a finder of distributions failed: {type(error).__name__}: {error}")
            return found
        try:
            found.append(_read_distribution(distribution, index))
        except Exception as error:  # noqa: BLE001 -- as above
            problems.append(f"{distribution!r} cannot be read: {type(error).__name__}: {error}")


def _read_distribution(distribution: Distribution, index: int) -> _Metadata:
    root = str(distribution.locate_file("")).rstrip("/")
    data = (distribution.read_text("entry_points.txt") or "").encode()
    name = distribution.metadata["Name"]
    if not name:
        raise ValueError("its metadata has no name")
    return _Metadata(
        distribution=canonicalize_name(name),
        version=distribution.version or "",
        root=root,
        # pip also uses the private attribute ``_path``, because no public attribute has the path.
        location=str(getattr(distribution, "_path", root)).rstrip("/"),
        data=data if _GROUP_PREFIX in data else b"",
        rank=(False, index, False, name),
    )


# entry_points.txt


def read_entries(data: bytes) -> list[tuple[str, str, str, str]]:
    """Return the group, name, target and problem of each entry in the groups of intercede.

    The problem of a valid entry is empty.

    Lines are decoded one at a time, so that a bad line affects its own entry only.
    """
    groups = {_GROUP_PREFIX + group.encode(): group for group in GROUPS}
    read = [(groups[heading], *_parse_entry(line)) for heading, line in _split_lines(data) if heading in groups]
    targets: dict[tuple[str, str], set[str]] = {}
    for group_, name, target, _ in read:
        targets.setdefault((group_, name), set()).add(target)
    return [
        (g, name, target, problem or ("declared twice, with different targets" if len(targets[g, name]) > 1 else ""))
        for g, name, target, problem in dict.fromkeys(read)
    ]


def read_unknown_groups(data: bytes) -> list[tuple[str, str]]:
    """Return the group and the name of each entry in a group ``intercede.*`` that does not exist."""
    ours = {_GROUP_PREFIX + group.encode() for group in GROUPS}
    found = [
        (heading.decode("utf-8", "backslashreplace"), _parse_entry(line)[0])
        for heading, line in _split_lines(data)
        if heading.startswith(_GROUP_PREFIX) and heading not in ours
    ]
    return list(dict.fromkeys(found))


def _split_lines(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each line that may be an entry, together with the heading of the line's section."""
    heading = b""
    for raw in data.splitlines():
        line = raw.strip()
        if not line or line[:1] in {b"#", b";"}:
            continue
        if line[:1] == b"[" and line[-1:] == b"]":
            heading = line[1:-1].strip()
        else:
            yield heading, line


def _suggest_group(heading: str) -> str:
    """Return a suggestion of the group that is most similar to an unknown group.

    The prefix ``intercede.`` is not compared, because the prefix would make all groups similar.
    """
    begin = _GROUP_PREFIX.decode()
    found = suggest(heading.removeprefix(begin), GROUPS).replace("'", f"'{begin}", 1)
    return found or f"; the groups are {', '.join(begin + group for group in GROUPS)}"


def _parse_entry(line: bytes) -> tuple[str, str, str]:
    """Return the name, the target and the problem of an entry ``name = module:attribute``.

    The problem of a valid entry is empty.
    """
    text = line.decode("utf-8", "backslashreplace")
    name, equals, value = (part.strip() for part in text.partition("="))
    target = value.partition("[")[0].strip()  # extras are left out, because extras are deprecated
    module, _, attribute = (part.strip() for part in target.partition(":"))
    if not equals:
        return name, "", f"the line {text!r} has no '=': write NAME = MODULE:ATTRIBUTE"
    if not is_name(name):
        return name, target, f"the name {name!r} may have letters, digits, '.', '_' and '-' only"
    if not _is_dotted(module) or (attribute and not _is_dotted(attribute)):
        return name, target, f"the target {value!r} is not MODULE:ATTRIBUTE"
    return name, f"{module}:{attribute}" if attribute else module, ""


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))
