"""No secret is shown in a configuration or in a text about it."""

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

from intercede import redaction
from intercede.redaction import HIDDEN, make_scrubber, redact, redact_json

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
def test_no_secret_is_shown(config: dict[str, object], key: str) -> None:
    """The value of a telling key and the secrets in a URL are hidden at every depth."""
    secret = "hunter2"  # noqa: S105 -- no secret of anyone
    hidden = {**config, "deep": [{key: {"inner": secret}}], "url": f"https://me:{secret}@site.example/x"}

    text = json.dumps(redact(hidden))

    assert secret not in text
    assert "site.example/x" in text


@given(st.dictionaries(st.text("abcxyz", max_size=5), PLAIN, max_size=3))
def test_plain_data_is_unchanged(config: dict[str, object]) -> None:
    """A configuration without secrets is unchanged."""
    assert redact(config) == config


def test_an_object_is_shown_by_its_type() -> None:
    """An object that is not plain data is shown by its type, because its repr may have anything."""
    assert redact({"when": STARTED, "blob": b"x"}) == {"when": "<datetime>", "blob": "<bytes>"}


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
    """A report hides what may be secret by its key, its words or its place in a URL."""
    assert "hunter2" not in json.dumps(redact(config))


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
def test_secrets_by_name_or_form_are_hidden_everywhere(config: dict[str, object]) -> None:
    """The word after an option, the value beside a name and a token by its form are hidden, and removed from texts."""
    for told in (
        json.dumps(redact(config)),
        make_scrubber(config)(f"failed with {config}"),
        make_scrubber(config)(json.dumps(config)),
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
def test_the_name_of_a_plugin_is_shown(config: object) -> None:
    """The name of a plugin is shown even with a telling word, so that a command with it can be repeated."""
    assert redact(config) == config
    assert redact_json(json.dumps(config)) == json.dumps(config)
    assert make_scrubber(config)(f"a monkey, a token-ring, keyed, a secret: {config}") == (
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
def test_ordinary_words_stay_in_texts(config: object, text: str) -> None:
    """Ordinary words are not removed from a message."""
    assert make_scrubber(config)(text) == text


def test_a_path_is_shown() -> None:
    """A Path is shown as text, although it is not plain data."""
    assert redact({"root": Path("/scratch/me")}) == {"root": "/scratch/me"}


def test_a_name_in_a_command_is_not_redacted() -> None:
    """Text that is not JSON is a name, and is unchanged; so is a configuration without secrets."""
    assert redact_json("secret") == "secret"
    assert redact_json('{"type":  "x"}') == '{"type":  "x"}'
    assert redact_json('{"type": "x", "password": "hunter2"}') == '{"type": "x", "password": "***"}'


SECRETS = st.text(st.characters(min_codepoint=33), min_size=8, max_size=60).filter(
    lambda text: text.lower() not in redaction._list_ordinary_words()  # such a word, RESOURCES for one, is not hidden
) | st.sampled_from([PEM, "hunter2-\u00e9'x", 'hunter"2\\x', "hunter2hunter2", "a b\tc\nd e f g h i j k l m n o p"])
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
def test_no_part_of_a_secret_is_shown(secret: str, spell: Callable[[str], str], data: st.DataObject) -> None:
    """No eight consecutive characters of a secret are left: cut anywhere, on one line, or quoted for any language."""
    spelt = spell(secret)
    begin = data.draw(st.integers(0, len(spelt)))
    cut = spelt[begin : data.draw(st.integers(begin, len(spelt)))]

    told = make_scrubber({"password": secret})(f"login as <{cut}>: {spelt}")

    parts = (spelt[at : at + 8] for at in range(2, len(spelt) - 9))  # inside the quotes
    assert [each for each in parts if len(set(each)) > 3 and each in told] == []


@pytest.mark.parametrize("cut", ["hunt...", "hunter2-ab...", "'hunt' ... 'f-x9'", "x...9ab", "hunter...f-x9ab"])
def test_an_end_of_a_secret_after_a_cut_is_hidden(cut: str) -> None:
    """If a text was cut within a secret, the rest of it is hidden, even if it is short."""
    told = make_scrubber({"password": "hunter2-abcdef-x9ab"})(f"failed: {cut}")

    assert "hunt" not in told
    assert "9ab" not in told or cut.startswith("x")


@given(st.text(max_size=300))
def test_a_text_without_secrets_is_unchanged(text: str) -> None:
    """A text without secrets is unchanged."""
    assume("://" not in text)

    assert make_scrubber({"host": "login.example.org", "port": 22})(text) == text


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
def test_a_secret_within_a_longer_text_is_hidden(config: object, text: str) -> None:
    """A secret that is decoded from a URL, encoded for HTTP or after a telling word is hidden."""
    assert not re.search("[Hh]unter|aHVudGVy", make_scrubber(config)(text))


def test_a_hidden_secret_is_marked() -> None:
    """A hidden secret is marked, and the text around it is unchanged."""
    assert make_scrubber({"password": "hunter2-hunter2"})("a hunter2-hunter2 b") == f"a {HIDDEN} b"
    assert make_scrubber({"password": "hunter2-hunter2"})("hunter2-hunte") == HIDDEN
    assert make_scrubber({})("ftp://me:open@h/x") == f"ftp://{HIDDEN}@h/x"
