"""A directory on the path for the distributions of a test."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.registry.sites import Site

from intercede.registry import resolver


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Return a directory at the front of the path, in a process without warnings so far and without settings."""
    for variable in ("INTERCEDE_PREFER", "INTERCEDE_PLUGINS", "INTERCEDE_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(resolver, "_warned", set[tuple[str, str]]())
    monkeypatch.setattr(resolver, "_running", dict[tuple[str, str], str]())
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    before = set(sys.modules)
    yield Site(tmp_path / "site")
    for module in set(sys.modules) - before:
        if module.startswith("mod_"):
            del sys.modules[module]
