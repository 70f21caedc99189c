"""What may be secret is not told: not in a configuration, and not in what anybody says of it."""

import json
import re
import shlex
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from intercede.redaction import HIDDEN, redacted, redacted_json, scrubber

STARTED = datetime(2026, 5, 4, tzinfo=UTC)
PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\n-----END KEY-----\n"

SECRET_KEYS = st.sampled_from(
    ["password", "Passphrase", "api_key", "AUTH", "access-token", "client_secret", "credentials", "private", "pin"]
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abcxyz/ ?@", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz", max_size=5), inner, max_size=3),
)


@given(st.dictionaries(st.text("abcxyz", max_size=5), PLAIN, max_size=3), SECRET_KEYS)
def test_no_secret_is_written(config: dict[str, object], key: str) -> None:
    """What a key or a URL gives away is hidden at every depth."""
    secret = "hunter2"  # noqa: S105 -- that is what it is for
    hidden = {**config, "deep": [{key: {"inner": secret}}], "url": f"https://me:{secret}@site.example/x"}

    text = json.dumps(redacted(hidden))

    assert secret not in text
    assert "site.example/x" in text


@given(st.dictionaries(st.text("abcxyz", max_size=5), PLAIN, max_size=3))
def test_plain_data_stays(config: dict[str, object]) -> None:
    """A configuration without secrets is written as it is."""
    assert redacted(config) == config


def test_what_is_not_plain_is_named_by_its_type() -> None:
    """An object may hold anything, so its repr is not written."""
    assert redacted({"when": STARTED, "blob": b"x"}) == {"when": "<datetime>", "blob": "<bytes>"}


@pytest.mark.parametrize(
    "config",
    [
        {"password": "hunter2"},
        {"pwd": "hunter2"},
        {"options": {"api_key": "hunter2"}},
        {"submit_arguments": ["--password=hunter2"]},
        {"endpoint": "https://h/x?sig=hunter2"},
        {"url": "https://user:p/hunter2@h/"},
        {"header": "Bearer hunter2"},
        {"thing": b"hunter2"},
    ],
)
def test_a_report_shows_no_secret_of_the_configuration(config: dict[str, object]) -> None:
    """What may be secret by its key, its words or its place in a URL is not written."""
    assert "hunter2" not in json.dumps(redacted(config))


@pytest.mark.parametrize(
    "config",
    [
        {"submit_arguments": ["--password", "hunter2"]},
        {"command": ["sshpass", "-p", "hunter2", "ssh"]},
        {"env": [{"name": "SITE_PASSWORD", "value": "hunter2"}]},
        {"jwt": "hunter2"},
        {"options": {"session": ["hunter2"]}},
        {"passwords": {"hunter2": True}},
        {"password": "-hunter2"},
        {"curl": ["curl", "-u", "me:hunter2", "--user", "me:hunter2"]},
        {"login": "me:hunter2@login.example.org"},
        {"dsn": "host=h user=u password=hunter2"},
        {"signature": "hunter2", "user_pw1": "hunter2", "pw_": "hunter2"},
        {"opaque": "eyJhbGciOiJub25lIn0.hunter2.x"},
        {"opaque": f"{PEM}hunter2"},
        {"opaque": "aB3dE5fG7hI9jK1lM3nO5hunter2"},
        {"password": 4147200},
    ],
)
def test_what_a_name_or_the_looks_give_away_is_hidden_wherever_it_stands(config: dict[str, object]) -> None:
    """The word after an option, the value beside a name, a token by its form; and none of it comes back in a text."""
    for told in (
        json.dumps(redacted(config)),
        scrubber(config)(f"failed with {config}"),
        scrubber(config)(json.dumps(config)),
    ):
        assert "hunter2" not in told
        assert "41472" not in told


@pytest.mark.parametrize(
    "config",
    [
        "secret",
        {"type": "monkey", "host": "login.example.org", "port": 22},
        {"transport": "secret", "scheduler": {"type": "token-ring", "submit_arguments": ["--account", "physics"]}},
        {
            "transport": {"type": "ssh", "host": "login.example.org"},
            "scheduler": "keyed",
            "batch": {"root": "/scratch/me"},
        },
    ],
)
def test_the_name_of_a_plugin_is_no_secret(config: object) -> None:
    """Whatever word it is made of: a command with it can be run again."""
    assert redacted(config) == config
    assert redacted_json(json.dumps(config)) == json.dumps(config)
    assert scrubber(config)(f"a monkey, a token-ring, keyed, a secret: {config}") == (
        f"a monkey, a token-ring, keyed, a secret: {config}"
    )


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (
            {"submit_arguments": ["-p", "long", "-w", "node1", "-P", "physics"]},
            "too long: partition long is full, node1",
        ),
        ({"auth": {"type": "basic", "user": "alice-b", "password": "hunter2"}}, "3 of type int, user limit, password"),
        ({"key_file": "/home/me/.ssh/id"}, "/home/me/work is no directory"),
        ({"batch": {"root": "/scratch/monkey/intercede"}}, "intercede.testing at /scratch/monkey/intercede/x"),
        ({"name": "monkey", "host": "turkey.example.org", "root": "/x"}, "monkey: turkey.example.org is not there"),
        ({"token_lifetime": 3600, "auth_timeout": 30.0}, "did not answer within 30.0 s, nor 3600"),
        ({"account": "keynote", "partition": "bypass"}, "keynote has no access to bypass"),
        ({"ports": {1: "x"}}, "x"),
    ],
)
def test_what_is_no_secret_is_not_taken_out_of_texts(config: object, text: str) -> None:
    """A message that lost its ordinary words helps nobody."""
    assert scrubber(config)(text) == text


def test_a_path_is_written_as_one() -> None:
    """It is plain, though it is no plain data."""
    assert redacted({"root": Path("/scratch/me")}) == {"root": "/scratch/me"}


def test_a_configuration_in_a_command_is_redacted_and_a_name_is_not() -> None:
    """What is no JSON is a name, and stays to the letter, as does a configuration that holds nothing secret."""
    assert redacted_json("secret") == "secret"
    assert redacted_json('{"type":  "x"}') == '{"type":  "x"}'
    assert redacted_json('{"type": "x", "password": "hunter2"}') == '{"type": "x", "password": "***"}'


SECRETS = st.text(st.characters(min_codepoint=33), min_size=8, max_size=60) | st.sampled_from(
    [PEM, "hunter2-\u00e9'x", 'hunter"2\\x', "hunter2hunter2", "a b\tc\nd e f g h i j k l m n o p"]
)
SPELLINGS: tuple[Callable[[str], str], ...] = (
    str,
    repr,
    ascii,
    json.dumps,
    shlex.quote,
    lambda text: repr(text.encode("utf-8", "replace")),
    lambda text: quote(text, safe="", errors="replace"),
    lambda text: re.sub("%..", lambda each: each[0].lower(), quote(text, safe="/", errors="replace")),
    lambda text: " ".join(text.split()),
    lambda text: b64encode(text.encode("utf-8", "surrogatepass")).decode(),
    lambda text: shlex.quote(json.dumps(text)),
)


@given(SECRETS, st.sampled_from(SPELLINGS), st.data())
def test_no_part_of_a_secret_is_told(secret: str, spell: Callable[[str], str], data: st.DataObject) -> None:
    """Whole, cut anywhere, in one line, as Python, JSON, a shell or a URL has it: no eight characters in a row are left."""
    spelt = spell(secret)
    begin = data.draw(st.integers(0, len(spelt)))
    cut = spelt[begin : data.draw(st.integers(begin, len(spelt)))]

    told = scrubber({"password": secret})(f"login as <{cut}>: {spelt}")

    parts = (spelt[at : at + 8] for at in range(2, len(spelt) - 9))  # within the quotes
    assert [each for each in parts if len(set(each)) > 3 and each in told] == []


@pytest.mark.parametrize("cut", ["hunt...", "hunter2-ab...", "'hunt' ... 'f-x9'", "x...9ab", "hunter...f-x9ab"])
def test_an_end_that_was_left_by_a_cut_is_hidden(cut: str) -> None:
    """Where a long text was cut, the secret may have been cut with it, to fewer characters than are told by themselves."""
    told = scrubber({"password": "hunter2-abcdef-x9ab"})(f"failed: {cut}")

    assert "hunt" not in told
    assert "9ab" not in told or cut.startswith("x")


@given(st.text(max_size=300))
def test_a_text_without_secrets_stays(text: str) -> None:
    """Where there is nothing to hide, nothing is changed."""
    assume("://" not in text)

    assert scrubber({"host": "login.example.org", "port": 22})(text) == text


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"url": "https://me:hunter%402Sesame%21@h.example/"}, "401 for hunter@2Sesame!"),
        ({"url": "https://me:hunter2Sesame@h.example/"}, "Basic bWU6aHVudGVyMlNlc2FtZQ=="),
        ({"command": "sshpass -p hunter2 ssh host"}, "with hunter2"),
        ({"dsn": "host=h user=u password=hunter2"}, "with hunter2"),
        ({"header": "Authorization: Bearer hunter2"}, "with hunter2"),
        ({"submit_arguments": ["--export=SITE_TOKEN=hunter2"]}, "with hunter2"),
    ],
)
def test_a_secret_within_a_longer_text_is_one_by_itself(config: object, text: str) -> None:
    """Decoded from a URL, encoded for HTTP, behind a word that tells."""
    assert not re.search("[Hh]unter|aHVudGVy", scrubber(config)(text))


def test_what_is_hidden_says_so() -> None:
    """And what stands around it stays."""
    assert scrubber({"password": "hunter2-hunter2"})("a hunter2-hunter2 b") == f"a {HIDDEN} b"
    assert scrubber({"password": "hunter2-hunter2"})("hunter2-hunte") == HIDDEN
    assert scrubber({})("ftp://me:open@h/x") == f"ftp://{HIDDEN}@h/x"
