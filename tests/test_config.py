"""``intercede.toml``: what it may hold, and what is said about anything else."""

from pathlib import Path

import pytest

from intercede.config import load
from intercede.contract.errors import ConfigError

GOOD = """
[backends.cern]
transport = {type = "ssh", host = "login.example.org"}
scheduler = "slurm"

[transports.login]
type = "ssh"
port = 22

[schedulers.lsf]
type = "acme:lsf"

[prefer]
transports.ssh = "acme-intercede"
"schedulers:slurm" = "intercede"
"""


def written(directory: Path, text: str | bytes) -> Path:
    """Write a configuration file."""
    file = directory / "intercede.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_tables_and_pins_are_read(tmp_path: Path) -> None:
    """Tables stay data; pins are read in both ways of writing them."""
    configuration = load(written(tmp_path, GOOD))

    assert configuration.path == tmp_path / "intercede.toml"
    assert configuration.tables("backends")["cern"] == {
        "transport": {"type": "ssh", "host": "login.example.org"},
        "scheduler": "slurm",
    }
    assert configuration.tables("transports")["login"] == {"type": "ssh", "port": 22}
    assert configuration.tables("schedulers")["lsf"] == {"type": "acme:lsf"}
    assert set(configuration.tables("schedulers")) == {"lsf"}
    assert configuration.prefer == {"transports:ssh": "acme-intercede", "schedulers:slurm": "intercede"}


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    """A file may be empty."""
    configuration = load(str(written(tmp_path, "")))

    assert (dict(configuration.backends), dict(configuration.prefer)) == ({}, {})


def test_what_was_read_cannot_be_changed(tmp_path: Path) -> None:
    """Two registries may share a configuration."""
    configuration = load(written(tmp_path, GOOD))

    with pytest.raises(TypeError):
        configuration.backends["cern"] = {}  # type: ignore[index]  # what must not work


@pytest.mark.parametrize(
    ("text", "field", "says"),
    [
        (
            "[backend.cern]\ntype = 'x'",
            "backend",
            "the sections are: backends, schedulers, transports, prefer; did you mean 'backends'?",
        ),
        ("transports = 3", "transports", "transports must be a table"),
        (
            "[transports]\nssh = 'x'",
            "transports.ssh",
            "; expected [transports.ssh]",
        ),
        (
            "[transports.'a:b']\ntype = 'x'",
            "transports.a:b",
            "transports.a:b is not a valid name in ",
        ),
        ("prefer = []", "prefer", "prefer must be a table"),
        ("[prefer]\ntransports = 'acme'", "prefer.transports", "must be a table"),
        ("[prefer]\ntransport.ssh = 'acme'", "prefer.transport", "; did you mean 'transports'?"),
        ("[prefer]\nssh = 'acme'", "prefer.ssh", "names no group"),
        ("[prefer]\n'transports:s h' = 'acme'", "prefer.transports:s h", "is not a valid name"),
        ("[prefer]\ntransports.'' = 'acme'", "prefer.transports:", "is not a valid name"),
        ("[prefer]\ntransports.ssh = 3", "prefer.transports:ssh", "must name a distribution"),
        ("[prefer]\n'transports:ssh' = ''", "prefer.transports:ssh", "must name a distribution"),
    ],
)
def test_an_error_names_the_file_and_the_key(tmp_path: Path, text: str, field: str, says: str) -> None:
    """The error names the key and the valid values for it."""
    file = written(tmp_path, text)

    with pytest.raises(ConfigError) as caught:
        load(file)

    assert f" in {file}; " in str(caught.value)
    assert says in str(caught.value)
    assert (caught.value.field, caught.value.where) == (field, str(file))
    assert caught.value.expected


@pytest.mark.parametrize(
    ("text", "says"),
    [("[backends\n", "is not TOML: "), (b"\xff", "is not TOML: "), ("a = 1\na = 2 2", "at line 2")],
)
def test_what_is_no_toml_is_refused_with_the_line(tmp_path: Path, text: str | bytes, says: str) -> None:
    """The parser's own words are passed on, with the file."""
    file = written(tmp_path, text)

    with pytest.raises(ConfigError, match=says) as caught:
        load(file)

    assert caught.value.where == str(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """No file is searched for elsewhere."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read: No such file"):
        load(tmp_path / "nowhere.toml")


def test_a_configuration_that_is_shown_holds_no_secret(tmp_path: Path) -> None:
    """A secret is no option, and stands there by mistake: neither repr nor an error about the file shows it."""
    file = tmp_path / "intercede.toml"
    file.write_text('[backends.x]\npassword = "Tr0ub4dor"\n')
    assert "Tr0ub4dor" not in repr(load(file))

    file.write_text('[backend.x]\npassword = "Tr0ub4dor"\n')
    with pytest.raises(ConfigError, match="backend is not a section") as caught:
        load(file)
    assert "Tr0ub4dor" not in f"{caught.value!r} {vars(caught.value)}"
