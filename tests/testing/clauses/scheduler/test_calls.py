"""Clause IC-SCHEDULER-13: fragments call documented functions, which work in each verb."""

from pathlib import Path

import pytest
from tests.built_in import ENTRY_POINTS, load_scheduler

from intercede.batch.remote import api
from intercede.contract.scheduler import Scheduler
from intercede.testing.clauses.scheduler import fragment_functions
from intercede.testing.clauses.support import sandbox
from intercede.testing.gallery.schedulers.right import PlainQueue
from intercede.testing.run.context import CheckFailed


@pytest.mark.parametrize("made", [*map(load_scheduler, ENTRY_POINTS), PlainQueue])
def test_built_in_schedulers_call_documented_functions(made: type[Scheduler], tmp_path: Path) -> None:
    """The fragments of the built-in schedulers call only documented functions."""
    fragment_functions.probe_calls(made, tmp_path)


@pytest.mark.parametrize("verb", ["submit", "status", "kill", "list"])
def test_a_function_that_fails_in_one_verb_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: api.Verb
) -> None:
    """The probe finds a documented function that another one hides in the fragments of one verb."""

    def write_program(asked: api.Verb, text: str, fragment: str, copies: int = 1) -> str:
        hidden = "ic_tool() { :; }\n" if asked == verb else ""
        run = api.write_fragment_call(asked, fragment, copies)
        return f"{api.write_preamble(text, *api.SCRIPTS[asked])}\n{hidden}{run}\n"

    monkeypatch.setattr(sandbox, "write_program", write_program)

    with pytest.raises(CheckFailed, match=f"each function to work in a fragment of {verb}"):
        fragment_functions.probe_calls(PlainQueue, tmp_path)


class Commented(PlainQueue):
    """A scheduler that names private functions in comments, and has functions with similar names."""

    def status_script(self) -> str:
        """Return a fragment with such comments and names."""
        return "# not _ic_frame, nor copies/0/exit\nplainq list --name=basic_tool --copies=3 # _ic_print\nmy_ic_tool=1"


def test_comments_and_similar_names_are_allowed(tmp_path: Path) -> None:
    """Comments and names that only resemble private functions are no finding."""
    fragment_functions.probe_calls(Commented, tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "cat ./submitted",
        'read -r code <"./$id/submitted"',
        "echo 0 >submitted",
        "[ ! -e payload ] || exit",
        "test -s queuer",
        "rm -f ./*/spared",
        "sh payload",
        ". ./secrets",
        'cat "$dir"/copies/0/exit',
        "plainq list | tee natives",
    ],
)
def test_a_private_file_in_a_script_is_found(tmp_path: Path, line: str) -> None:
    """Each private file of batch is found in a fragment that reads or writes it in any way."""

    class Reads(PlainQueue):
        """Touches the file."""

        def status_script(self) -> str:
            """List."""
            return f"plainq list\n{line}"

    with pytest.raises(CheckFailed, match="which is private"):
        fragment_functions.probe_calls(Reads, tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "echo submitted",
        "plainq list | grep -q submitted",
        "cat plainq/submitted >plainq/payload",
        'printf "%s\\n" "the payload was submitted"',
        "plainq list --secrets=none --state submitting",
        "plainq kill </dev/null >&2",
        "copies=3 finals=0",
    ],
)
def test_words_that_name_no_private_file_are_the_author_s(tmp_path: Path, line: str) -> None:
    """A word of a script, an option, or a file in a directory of the scheduler's own is no private file."""

    class Says(PlainQueue):
        """Has the word."""

        def status_script(self) -> str:
            """List."""
            return f"plainq list\n{line}"

    fragment_functions.probe_calls(Says, tmp_path)
