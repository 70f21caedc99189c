"""Checks of transports report mistakes clearly, and leave no files."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import pytest

from intercede.contract import CommandResult, TransportError
from intercede.testing import gallery
from intercede.testing.clauses import CLAUSES
from intercede.testing.clauses.support import commands
from intercede.testing.frontends.check import run_checks
from intercede.testing.gallery.transports.right import Plain
from intercede.testing.model.clause import Clause
from intercede.testing.model.verdict import Report, State
from intercede.testing.run.context import CheckFailed, Context
from intercede.testing.subjects.subject import FactorySubject

OURS: Mapping[str, Clause] = {each: clause for each, clause in CLAUSES.items() if clause.role == "transport"}


@pytest.fixture(autouse=True)
def _use_own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the jobs of composed backends in a directory of the test."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def garbled(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return the report of a transport that garbles arguments, with the backend on top of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        return run_checks(gallery.load_wrong()["JoinsWithSpaces"], role="transport")


def test_a_quoting_mistake_shows_the_argument(garbled: Report) -> None:
    """A transport that garbles arguments is red in one clause, which shows the argument that was sent and received."""
    assert garbled.red == ("IC-TRANSPORT-01",)
    assert "'two  words ', 'end'] wrote '[two][words][end]'" in garbled.results["IC-TRANSPORT-01"].observed
    assert "shlex.join" in garbled.results["IC-TRANSPORT-01"].detail


def test_no_backend_check_runs_over_a_red_transport(garbled: Report) -> None:
    """The clauses of backends are blocked without a single call if the transport is red.

    Garbled scripts could do harm.
    """
    above = [garbled.results[each.id] for each in CLAUSES.values() if each.role == "backend"]
    assert garbled.red == ("IC-TRANSPORT-01",)
    assert {each.blocker for each in above} == {"IC-TRANSPORT-01"}
    assert {each.state for each in above} == {State.BLOCKED}
    assert not any(each.calls or each.seconds for each in above)


class RefusesToConnect(Plain):
    """A transport that cannot be entered, and whose error is not retryable."""

    async def __aenter__(self) -> Self:
        """Raise that there is no route."""
        raise TransportError("no route to host", retryable=False)


def test_a_transport_that_cannot_be_entered_is_one_finding() -> None:
    """A transport that cannot be entered is red in one clause, which blocks those that run commands."""
    report = run_checks(RefusesToConnect, role="transport", clauses=OURS)

    assert report.red == ("IC-TRANSPORT-12",)
    blocked = [each for each, result in report.results.items() if result.state is State.BLOCKED]
    assert "IC-TRANSPORT-01" in blocked
    assert "IC-TRANSPORT-29" in blocked


def test_checks_leave_no_remote_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks of a transport remove the remote directories that they made."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "far"))
    (tmp_path / "far").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    writing = {
        each: replace(OURS[each], depends=()) for each in ("IC-TRANSPORT-04", "IC-TRANSPORT-22", "IC-TRANSPORT-27")
    }

    report = run_checks(Plain, role="transport", clauses=writing)

    assert report.red == ()
    assert list((tmp_path / "far").iterdir()) == []


@pytest.mark.parametrize(
    ("expected", "observed", "said"),
    [
        (b"abc", b"abX", "expected 3 bytes on stdout, from 2 on b'c'; observed 3 bytes, from 2 on b'X'"),
        (b"abc", b"ab", "expected 3 bytes on stdout; observed the first 2 of them: the rest is missing"),
        (b"", b"a" * 100, f"expected 0 bytes on stdout, ending at 0; observed 100 bytes, from 0 on {b'a' * 40!r}"),
    ],
)
def test_the_first_different_byte_is_shown(expected: bytes, observed: bytes, said: str, tmp_path: Path) -> None:
    """A finding about bytes shows the length and the place of the first difference in one line."""
    context = Context(FactorySubject(Plain, "transport"), tmp_path)

    with pytest.raises(CheckFailed) as told:
        commands.expect_bytes(context, "on stdout", expected, observed)

    assert str(told.value) == said


def test_a_result_is_described_with_its_stderr() -> None:
    """The description of a command's result holds its exit code and its stderr."""
    result = CommandResult(returncode=2, stderr=b"sh: no such file\n")

    assert commands.describe_result(result) == "exit code 2, and on stderr 'sh: no such file'"


def test_the_kit_and_the_shell_count_alike() -> None:
    """The numbers that the kit expects are those that the remote script writes."""

    def written(last: int) -> Sequence[bytes]:
        return commands.make_numbers(last).splitlines()

    assert written(3) == [b"1", b"2", b"3"]
    assert written(0) == []
    assert commands.numbers_script(3) == "seq 1 3"
