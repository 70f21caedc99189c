"""Tools that some tests need and a bare machine lacks. One mark names them: ``@pytest.mark.needs("busybox")``."""

import os
import shutil
import subprocess
from functools import cache

import pytest

PACKAGES = {
    "bsdtar": "libarchive-tools",
    "busybox": "busybox",
    "csh": "tcsh",
    "dropbear": "dropbear-bin",
    "fish": "fish",
    "ksh": "ksh93u+m",
    "localedef": "locales",
    "mksh": "mksh",
    "mount": "mount",
    "posh": "posh",
    "ssh": "openssh-client",
    "ssh-agent": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "strace": "strace",
    "tcsh": "tcsh",
    "tinysshd": "tinysshd",
    "toybox": "toybox",
    "unshare": "util-linux",
    "yash": "yash",
    "zsh": "zsh",
}
"""Each tool, and the Debian package that has it. Essential tools of Debian, such as dash and tar, need no mark."""

RESTRICTED = {
    "localedef": ("test", "-e", "/usr/share/i18n/locales/en_US"),
    "unshare": ("unshare", "--pid", "--fork", "--mount-proc", "true"),
}
"""Commands that say whether a tool can be used, if not each user can use it. A useless tool counts as missing."""

ALL = "INTERCEDE_ALL_TOOLS"
"""The variable that turns a missing tool from a skip into a failure: set in CI, which installs every package."""


def each_tool(*commands: str) -> "list[pytest.ParameterSet]":
    """Return a parameter for each command, as its words. A missing tool is skipped by name."""
    return [pytest.param(tuple(command.split()), id=command, marks=marks(command.split()[0])) for command in commands]


def marks(tool: str) -> tuple[pytest.MarkDecorator, ...]:
    """Return the mark for a tool, or none for an essential one."""
    return (pytest.mark.needs(tool),) if tool in PACKAGES else ()


def skip_what_lacks_its_tools(item: pytest.Item) -> None:
    """Skip a test whose tools are not all installed, and name those that are missing."""
    needed = {tool: None for mark in item.iter_markers("needs") for tool in mark.args}
    if unknown := [tool for tool in needed if tool not in PACKAGES]:
        raise pytest.UsageError(f"{item.nodeid}: tests/tools.py does not say which package brings {', '.join(unknown)}")
    missing = [tool for tool in needed if not is_installed(tool)]
    if not missing:
        return
    reason = f"needs {', '.join(missing)}: apt install {' '.join(sorted({PACKAGES[tool] for tool in missing}))}"
    if os.environ.get(ALL):
        raise pytest.UsageError(f"{item.nodeid} {reason}; {ALL} says that every tool is installed")
    item.add_marker(pytest.mark.skip(reason=reason))


@cache
def is_installed(tool: str) -> bool:
    """Return whether a tool is on PATH and can be used."""
    if shutil.which(tool) is None:
        return False
    return tool not in RESTRICTED or subprocess.run(RESTRICTED[tool], capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    print(*sorted(set(PACKAGES.values())))  # noqa: T201 -- for apt-get install
