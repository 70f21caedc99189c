"""Secrets and hostile texts of a subject do no harm in a run of pytest."""

import json
from pathlib import Path

import pytest
from tests.testing.frontends.pytest_runs import Pytest

SECRETS = {
    "short": "hunter2-\u00e9'x",
    "long": "".join(f"{n:x}Zq" for n in range(300, 600)),
    "of several lines": "-----BEGIN KEY-----\n" + "\n".join(f"MIIEvQ{n}IBADANBgkqhkiG{n}" for n in range(40)) + "\n",
}


@pytest.mark.parametrize("options", [(), pytest.param(("-p", "xdist", "-n", "2"), marks=pytest.mark.slow)], ids=str)
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_no_secret_of_a_subject_is_printed(run: Pytest, tmp_path: Path, secret: str, options: tuple[str, ...]) -> None:
    """A secret of a subject is in no report, terminal or junit file, though the subject prints, logs and raises it."""
    subject = "--intercede-backend=" + json.dumps({"type": "talkative", "password": secret})

    junit = "--junitxml=report/junit.xml", "-o", "junit_logging=all"
    outcome = run(subject, "-rA", "--intercede-report=report", *junit, *options)

    assert outcome.code == 1, outcome
    assert '--intercede-backend={"type": "talkative", "password": "***"}' in outcome.text
    assert "put in what *** stands for" in outcome.text
    assert "printed and" in outcome.text
    assert "Captured log call" in outcome.text
    assert "UserWarning: warned of" in outcome.text
    told = {path.name: path.read_text() for path in (tmp_path / "report").iterdir()}
    assert sorted(told) == ["badge.json", "conformance.html", "conformance.json", "conformance.md", "junit.xml"]
    parts = {secret[at : at + 8] for at in range(len(secret) - 7)}
    for name, text in {**told, "the terminal": outcome.text}.items():
        assert [each for each in parts if each in text and len(set(each)) > 3] == [], name
        assert "open-sesame" not in text, name


def test_no_secret_of_a_named_transport_is_printed(run: Pytest, tmp_path: Path) -> None:
    """A secret in the table of a transport that a backend names is in no report."""
    file = tmp_path / "sites.toml"
    file.write_text(
        '[transports.login]\ntype = "chatty"\npassword = "hunter2-Sesame"\n'
        '[backends.site]\ntransport = "login"\nscheduler = "direct"\n'
    )

    outcome = run(
        f"--intercede-config={file}", "--intercede-backend=site", "--intercede-report=report", "-k", "LIFE-11"
    )

    assert outcome.code == 0, outcome  # it is a SHOULD
    told = (tmp_path / "report" / "conformance.json").read_text()
    assert "login failed with ***" in told
    assert "hunter2" not in told + outcome.text
    assert json.loads(told)["subject"]["config"]["transport"] == {"type": "chatty", "password": "***"}


def test_text_of_a_subject_gives_no_commands(run: Pytest) -> None:
    """A subject's text reaches neither the terminal as an escape sequence nor a forge as a workflow command."""
    outcome = run('--intercede-backend={"type": "tiny", "enter": "orders"}', "-q")

    assert outcome.code == 1, outcome
    assert "::error::pwned" in outcome.text
    assert not [line for line in outcome.text.splitlines() if line.lstrip().startswith("::")]
    assert "\x1b" not in outcome.text


def test_the_version_of_a_distribution_gives_no_commands(run: Pytest, tmp_path: Path) -> None:
    """An escape sequence in the version of a distribution does not reach the terminal."""
    loud = tmp_path / "installed" / "loud-1.dist-info"
    loud.mkdir(parents=True)
    (loud / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1\x1b[31m\n")
    (loud / "entry_points.txt").write_text("[intercede.backends]\nloud = frame_subjects:Tiny\n")

    outcome = run("--intercede-backend=loud", path=loud.parent)

    assert "(loud)" in outcome.last
    assert "\x1b" not in outcome.text
