"""``intercede.toml`` is read, and invalid contents are errors."""

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


def write_config(directory: Path, text: str | bytes) -> Path:
    """Write a configuration file."""
    file = directory / "intercede.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_tables_and_pins_are_read(tmp_path: Path) -> None:
    """Tables stay data, and pins are read in both forms."""
    configuration = load(write_config(tmp_path, GOOD))

    assert configuration.path == tmp_path / "intercede.toml"
    assert configuration.get_tables("backends")["cern"] == {
        "transport": {"type": "ssh", "host": "login.example.org"},
        "scheduler": "slurm",
    }
    assert configuration.get_tables("transports")["login"] == {"type": "ssh", "port": 22}
    assert configuration.get_tables("schedulers")["lsf"] == {"type": "acme:lsf"}
    assert set(configuration.get_tables("schedulers")) == {"lsf"}
    assert configuration.prefer == {"transports:ssh": "acme-intercede", "schedulers:slurm": "intercede"}


def test_an_empty_file_is_valid(tmp_path: Path) -> None:
    """An empty file has no tables and no pins."""
    configuration = load(str(write_config(tmp_path, "")))

    assert (dict(configuration.backends), dict(configuration.prefer)) == ({}, {})


def test_a_configuration_is_read_only(tmp_path: Path) -> None:
    """A configuration cannot be changed, because two registries may share it."""
    configuration = load(write_config(tmp_path, GOOD))

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
    """An error names the file, the key and its valid values."""
    file = write_config(tmp_path, text)

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
def test_a_file_that_is_not_toml_is_refused_with_the_line(tmp_path: Path, text: str | bytes, says: str) -> None:
    """A file that is not TOML is an error with the parser's message and the file."""
    file = write_config(tmp_path, text)

    with pytest.raises(ConfigError, match=says) as caught:
        load(file)

    assert caught.value.where == str(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A missing file is an error, and no other place is searched."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read: No such file"):
        load(tmp_path / "nowhere.toml")


def test_no_secret_of_a_configuration_is_shown(tmp_path: Path) -> None:
    """A secret that is in the file by mistake is in no repr and no error about the file."""
    file = tmp_path / "intercede.toml"
    file.write_text('[backends.x]\npassword = "Tr0ub4dor"\n')
    assert "Tr0ub4dor" not in repr(load(file))

    file.write_text('[backend.x]\npassword = "Tr0ub4dor"\n')
    with pytest.raises(ConfigError, match="backend is not a section") as caught:
        load(file)
    assert "Tr0ub4dor" not in f"{caught.value!r} {vars(caught.value)}"
