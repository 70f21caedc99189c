"""Each script that runs on a resource passes shellcheck as it is rendered."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.built_in import ENTRY_POINTS, make_scheduler, write_fragments

import intercede.batch
from intercede.batch.archive import Member
from intercede.batch.remote.api import write_api
from intercede.batch.submit import SubmissionArchive
from intercede.contract.job import CopyVars, FileRef, Resources, SubmissionSpec
from intercede.contract.scheduler import Batch, Scheduler
from intercede.testing.gallery.schedulers.right import PlainQueue

HERE = Path(intercede.batch.__file__).parent
#: Findings about variables of other parts and about remote files.
ACROSS = "SC2154,SC2034,SC1090,SC1091,SC2317,SC2329"
BATCH = Batch(submission_id="a" * 13, copies=3, resources=Resources(wall_time_s=5))
SCHEDULERS: dict[str, Scheduler] = {**{name: make_scheduler(name) for name in ENTRY_POINTS}, "plainq": PlainQueue()}
FRAGMENTS = {
    f"{name}.{verb}": fragment
    for name, scheduler in SCHEDULERS.items()
    for verb, fragment in write_fragments(scheduler).items()
}


def run_shellcheck(text: str, *, ignored: str) -> str:
    """Return the findings of shellcheck about a script."""
    tool = Path(sys.executable).with_name("shellcheck")  # it is installed in this environment, which may not be on PATH
    command = [str(tool), "-s", "sh", "-e", ignored, "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("verb", [["settle"], ["kill"], ["purge"], ["find", "counts"], ["diagnostics"], ["fetch"]])
def test_each_whole_script_passes_shellcheck(verb: list[str]) -> None:
    """The whole script of each verb assigns each variable that it uses."""
    parts = ["remote/prelude", "remote/api", "remote/tidy", "records", *verb]
    given = (
        'mark=m root=/r max_bytes=1 max_files=1 max_seconds=1 most=1 force=\n_ic_patterns=\n_ic_each() { "$1" a 0; }'
    )
    text = "\n".join([given, *((HERE / f"{part}.sh").read_text() for part in parts)])
    # Sourced: the payload's file, which the next test checks, sets _ic_stdout and _ic_stderr.
    assert (
        run_shellcheck(
            text, ignored="SC1090,SC1091,SC2034,SC2317,SC2329" + (",SC2154" if "diagnostics" in verb else "")
        )
        == ""
    )


@pytest.mark.parametrize("name", FRAGMENTS)
def test_fragments_of_schedulers_pass_shellcheck(name: str) -> None:
    """Each rendered fragment of a scheduler passes shellcheck."""
    assert run_shellcheck(FRAGMENTS[name], ignored="SC1091,SC2016,SC2034,SC2154") == ""  # SC2016: a script in quotes


def render_members(tmp_path: Path) -> list[Member]:
    """Return the members of a submission that uses everything."""
    (tmp_path / "in").touch()
    spec = SubmissionSpec(
        executable=tmp_path / "in",
        arguments=("it's", "$x"),
        inputs=(FileRef(name="it's", source=tmp_path / "in"),),
        environment={"A": "'\n"},
        stdout="o'o",
    )
    copies = [CopyVars.model_validate({"environment": {"B": "`"}, "secrets": {"k'": b"s"}}) for _ in range(3)]
    return list(
        SubmissionArchive(spec, copies, BATCH).list_members(FRAGMENTS["direct.submit"], write_api(SCHEDULERS["direct"]))
    )


def test_scripts_of_a_submission_pass_shellcheck(tmp_path: Path) -> None:
    """Each script of a submission passes shellcheck, and submit.sh is the last member of its archive."""
    members = render_members(tmp_path)
    assert members[-1].name == "submit.sh"
    scripts = {"payload", "wrapper", "submit.sh", "copies/0/vars", "copies/0/secrets"}
    for member in members:
        if member.name in scripts:
            assert isinstance(member.content, bytes)
            assert run_shellcheck(member.content.decode(), ignored=ACROSS + ",SC2016") == "", member.name
            scripts.remove(member.name)
    assert scripts == set()
