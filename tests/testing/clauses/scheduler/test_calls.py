"""IC-SCHEDULER-13: that fragments call what is documented, and that it works in each verb."""

from pathlib import Path

import pytest

from intercede.batch.remote import api
from intercede.contract.scheduler import Scheduler
from intercede.schedulers.direct import DirectScheduler
from intercede.schedulers.slurm import SlurmScheduler
from intercede.testing.clauses.scheduler.probes import calls, sandbox
from intercede.testing.gallery.schedulers.right import PlainQueue
from intercede.testing.run.context import CheckFailed


@pytest.mark.parametrize("made", [DirectScheduler, SlurmScheduler, PlainQueue])
def test_a_built_in_calls_what_is_documented(made: type[Scheduler], tmp_path: Path) -> None:
    """As every stranger must."""
    calls.probe_calls(made, tmp_path)


@pytest.mark.parametrize("verb", ["submit", "status", "kill", "list"])
def test_a_function_that_is_hidden_in_one_verb_is_seen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: api.Verb
) -> None:
    """Once a listing had another function under the name that the contract gave, and was empty with exit code 0."""

    def write_program(asked: api.Verb, text: str, fragment: str, copies: int = 1) -> str:
        hidden = "ic_tool() { :; }\n" if asked == verb else ""
        run = api.write_fragment_call(asked, fragment, copies)
        return f"{api.write_preamble(text, *api.SCRIPTS[asked])}\n{hidden}{run}\n"

    monkeypatch.setattr(sandbox, "write_program", write_program)

    with pytest.raises(CheckFailed, match=f"each function to work in a fragment of {verb}"):
        calls.probe_calls(PlainQueue, tmp_path)


class Commented(PlainQueue):
    """Names private things in comments, and has words of its own that look like ours."""

    def status_script(self) -> str:
        """List."""
        return "# not _ic_frame, nor copies/0/exit\nplainq list --name=basic_tool --copies=3 # _ic_say\nmy_ic_tool=1"


def test_comments_and_other_words_are_nobody_s_business(tmp_path: Path) -> None:
    """What only resembles a name of ours is the author's."""
    calls.probe_calls(Commented, tmp_path)
