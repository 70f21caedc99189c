"""Scripts get their values, and a failed command becomes an error."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from intercede.contract.errors import SchedulerError
from intercede.contract.transport import CommandResult
from intercede.plugin_tools.scheduler import read_script, scheduler_error

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@pytest.fixture
def module(tmp_path: Path) -> str:
    """Return the path of a module, beside which a script lies that prints two variables."""
    (tmp_path / "show.sh").write_text('printf "%s|%s" "$first" "$second"\n')
    return str(tmp_path / "plugin.py")


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=TEXT, second=TEXT)
def test_values_reach_the_script_unchanged(module: str, first: str, second: str) -> None:
    """A script sees each value as it was given, whatever characters it has."""
    text = read_script(module, "show.sh", first=first, second=second)

    done = subprocess.run(["sh"], input=text.encode(), capture_output=True, check=True)

    assert done.stdout.decode() == f"{first}|{second}"


def test_a_number_is_written_in_digits_and_none_as_nothing(module: str) -> None:
    """A number is written in digits, and None as an empty value, which hides an older value of the variable."""
    assert read_script(module, "show.sh", first=5, second=None).startswith("first=5\nsecond=''\nprintf")


def test_a_script_without_values_is_its_text(module: str) -> None:
    """A script without values is the text of its file."""
    assert read_script(module, "show.sh") == Path(module).with_name("show.sh").read_text()


@pytest.mark.parametrize("name", ["", "1st", "a b", "a-b", "x;y", "é", "a\n", "ic_tool", "_ic_x", "IC_IDS", "_IC_x"])
def test_names_that_a_script_cannot_have_are_refused(module: str, name: str) -> None:
    """A variable's name must be valid in sh and must not belong to intercede."""
    with pytest.raises(ValueError, match="is not a valid name"):
        read_script(module, "show.sh", **{name: "x"})


def test_a_nul_is_refused(module: str) -> None:
    """A value with a NUL is refused, since no shell can hold it."""
    with pytest.raises(ValueError, match="first holds a NUL"):
        read_script(module, "show.sh", first="a\0b")


def test_a_script_that_does_not_exist_is_an_error(module: str) -> None:
    """The error about a missing script names its file."""
    with pytest.raises(FileNotFoundError, match=r"missing\.sh"):
        read_script(module, "missing.sh")


def test_a_scheduler_error_holds_the_end_of_stderr() -> None:
    """A SchedulerError holds the end of the command's stderr and its exit code."""
    error = scheduler_error("plainq failed", CommandResult(returncode=3, stderr=b"x" * 600 + b" no server\xff\n"))

    assert isinstance(error, SchedulerError)
    assert str(error) == f"plainq failed: {error.stderr}"
    assert error.stderr is not None
    assert error.stderr.endswith("x no server\ufffd")
    assert len(error.stderr) == 500
    assert (error.returncode, error.retryable, error.refused) == (3, False, False)


def test_a_command_that_wrote_nothing_has_its_exit_code_in_the_message() -> None:
    """The error about a command without stderr names its exit code."""
    assert str(scheduler_error("plainq failed", CommandResult(returncode=3))) == "plainq failed: exit code 3"


@pytest.mark.parametrize(("words", "retryable"), [(b"no server", True), (b"no such queue", False)])
def test_a_function_decides_whether_to_try_again(words: bytes, retryable: bool) -> None:
    """A function of the scheduler gets the stderr, and decides whether the error is retryable."""
    result = CommandResult(returncode=1, stderr=words)

    assert scheduler_error("failed", result, retryable=lambda stderr: stderr == "no server").retryable is retryable


def test_facts_that_are_known_are_passed_on() -> None:
    """The arguments ``retryable`` and ``refused`` become attributes of the error."""
    error = scheduler_error("failed", CommandResult(returncode=1), retryable=True, refused=True)

    assert (error.retryable, error.refused) == (True, True)
