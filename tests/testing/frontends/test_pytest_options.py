"""The options of the kit in pytest are checked before anything runs."""

import json
from pathlib import Path

import pytest
from tests.testing.frontends.pytest_runs import GREEN, TINY, Pytest


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--intercede-backend=tyny"], "'tiny'"),
        (['--intercede-backend={"type": "tiny", "blue": 1}'], "blue"),
        ([TINY, "intercede/submit::IC-SUBMIT-20[tiny]"], "did you mean intercede/submit::IC-SUBMIT-02[tiny]"),
        (["--intercede-require=kill"], "--intercede-backend=NAME"),
        (["--intercede-explain=IC-SUBMIT-2"], "did you mean IC-SUBMIT-02?"),
        ([TINY, "--intercede-report="], "--intercede-report must be the path of a directory, not ''"),
    ],
    ids=["name", "option", "node id", "no backend", "clause", "no directory"],
)
def test_usage_errors_are_clean(run: Pytest, arguments: list[str], words: str) -> None:
    """A usage error ends pytest with exit code 4 and one line that names what is valid, without a traceback."""
    outcome = run(*arguments)

    assert outcome.code == 4, outcome
    assert words in outcome.text
    assert "Traceback" not in outcome.text


def test_a_mistake_in_a_table_is_located(run: Pytest, tmp_path: Path) -> None:
    """The error about an option in a configuration file names the file and the table.

    An unknown table lists those in the file.
    """
    (tmp_path / "sites.toml").write_text('[backends.cern]\ntype = "tiny"\nblue = 1\n')

    mistaken = run("--intercede-backend=cern", "--intercede-config=sites.toml")
    missing = run("--intercede-backend=cernn", "--intercede-config=sites.toml")

    assert (mistaken.code, missing.code) == (4, 4)
    assert f"blue is not an option in {tmp_path}/sites.toml [backends.cern]" in mistaken.text
    assert missing.text.count(f"tables of {tmp_path}/sites.toml") == 1


def test_a_required_capability_must_be_claimed(run: Pytest) -> None:
    """A subject that does not claim a required capability is NOT CONFORMANT."""
    outcome = run(TINY, "-q", "--intercede-require=output")

    assert outcome.code == 1, outcome
    assert outcome.last == "intercede: tiny 1.5 (frame) is NOT CONFORMANT: it must claim output, and does not"


def test_the_core_profile_leaves_out_capabilities(run: Pytest) -> None:
    """The core profile runs no clause of a capability."""
    outcome = run("--intercede-backend=rich", "-q", "--intercede-profile=core")

    assert outcome.code == 0, outcome
    assert outcome.last == "intercede: rich 1.5 (frame) is CONFORMANT to contract 1.0, core: 4/4 MUST, 1/1 SHOULD"


def test_clauses_are_listed_without_a_run(run: Pytest) -> None:
    """Clauses are listed and explained without a backend, and --collect-only prints their node ids and runs none."""
    listed, explained = run("--intercede-list"), run("--intercede-explain=IC-SUBMIT-02")
    collected = run(TINY, "--co", "-q")

    assert (listed.code, explained.code, collected.code) == (0, 0, 0)
    assert [line.split()[0] for line in listed.lines][:2] == ["IC-SHAPE-01", "IC-LIFE-11"]
    assert "depends on: IC-SUBMIT-01" in explained.lines
    assert "intercede/submit::IC-SUBMIT-02[tiny]" in collected.lines
    assert collected.last == "intercede: tiny: PARTIAL, 0 of 4 MUST ran"


def test_collecting_writes_no_report(run: Pytest, tmp_path: Path) -> None:
    """The options --collect-only and --intercede-explain leave the report of an earlier run as it is."""
    run(TINY, "--intercede-report=report")
    before = (tmp_path / "report" / "conformance.json").read_text()
    made = json.loads(before)["run"]
    assert (made["pytest"], made["repeat"], made["jobs"]) == (pytest.__version__, 1, 128)

    run(TINY, "--co", "--intercede-report=report")
    explained = run("--intercede-explain=IC-SUBMIT-02", "-o", f"addopts={TINY}")

    assert (tmp_path / "report" / "conformance.json").read_text() == before
    assert explained.code == 0, explained


def test_collecting_in_addopts_is_incomplete(run: Pytest) -> None:
    """The option --collect-only in addopts makes a run INCOMPLETE.

    To list the clauses of a subject is a usage error.
    """
    collected = run(TINY, "-q", "-o", "addopts=--collect-only")
    listed = run(TINY, "-o", "addopts=--intercede-list")

    assert collected.code == 1, collected
    assert collected.last.endswith("(lost to --collect-only in addopts)")
    assert listed.code == 4, listed
    assert "check nothing" in listed.text


def test_disabling_the_suite_is_a_usage_error(run: Pytest, tmp_path: Path) -> None:
    """The options that name a subject are a usage error if -p no: keeps the suite out."""
    (tmp_path / "test_own.py").write_text("def test_own(): pass\n")

    outcome = run(TINY, "-p", "no:intercede-suite", "test_own.py")

    assert outcome.code == 4, outcome
    assert "keeps the suite out" in outcome.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--intercede-jobs=0",), "is too few"),
        (("--intercede-repeat=0",), "must be at least 1"),
        (("--intercede-timeout-scale=soon",), "--intercede-timeout-scale"),
        (("--intercede-known=nowhere.toml",), "nowhere.toml"),
        (("--intercede-update-known",), "--intercede-known"),
        (("--intercede-require=",), "--intercede-require= names no capability; there are output, kill"),
        (("--intercede-require=kill,", "--intercede-require= ,"), "--intercede-require= , names no capability"),
        (
            ("--intercede-require=output", "--intercede-profile=core"),
            "--intercede-require=output would prove what is claimed",
        ),
    ],
    ids=str,
)
def test_invalid_numbers_and_files_are_usage_errors(run: Pytest, options: tuple[str, ...], words: str) -> None:
    """An invalid option ends pytest with exit code 4 before anything starts, and the error names the option."""
    outcome = run(TINY, *options)

    assert outcome.code == 4, outcome
    assert words in outcome.text


@pytest.mark.parametrize(
    "look", ["--co", "--setup-only", "--setup-plan", "--fixtures", "--fixtures-per-test", "--cache-show"]
)
def test_options_that_only_list_replace_no_report(run: Pytest, tmp_path: Path, look: str) -> None:
    """An option that only lists, such as --setup-plan, writes no report, and is no green run in addopts."""
    report = tmp_path / "report" / "conformance.json"
    report.parent.mkdir()
    report.write_text("of an earlier run")

    outcome = run(TINY, look, "--intercede-report=report")
    gate = run(TINY, "-o", f"addopts={look}", "--intercede-report=report")

    assert outcome.code == 0, outcome
    assert outcome.last == "intercede: tiny: PARTIAL, 0 of 4 MUST ran"
    assert gate.code == (4 if look in {"--fixtures", "--fixtures-per-test"} else 1), gate
    assert "in addopts" in gate.text
    assert report.read_text() == "of an earlier run"


def test_a_report_that_cannot_be_written_is_a_usage_error(run: Pytest, tmp_path: Path) -> None:
    """A directory or file in the place of a report is a usage error before anything starts."""
    (tmp_path / "report" / "conformance.json").mkdir(parents=True)
    (tmp_path / "file").touch()

    for directory in ("report", "file"):
        outcome = run(TINY, f"--intercede-report={directory}")

        assert outcome.code == 4, outcome
        assert "--intercede-report: " in outcome.text


def test_a_report_that_cannot_be_written_at_the_end_is_red(run: Pytest) -> None:
    """A run whose report cannot be written at its end is red, says so, and still prints its verdict."""
    removing = "import shutil\ndef pytest_sessionfinish(): shutil.rmtree('report')\n"
    outcome = run(TINY, "-q", "--intercede-report=report", conftest=removing)

    assert outcome.code == 1, outcome
    assert "a report or the file of known failures could not be written" in outcome.lines[-2]
    assert outcome.last == GREEN
