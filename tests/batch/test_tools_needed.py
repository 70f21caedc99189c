"""The documents list exactly the remote programs that the scripts call."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterable, Iterable, Sequence
from pathlib import Path

import pytest
from tests.built_in import ENTRY_POINTS, make_scheduler, write_fragments
from tests.prefixed import Prefixed

import intercede
from intercede.batch import BatchBackend
from intercede.contract.job import CopyVars, JobState, SubmissionSpec
from intercede.contract.transport import ByteSink, CommandResult
from intercede.schedulers.direct import DirectScheduler

SOURCE = Path(intercede.__file__).parent
ROOT = SOURCE.parents[1]
SCRIPTS = {
    "everything": sorted(SOURCE.glob("batch/**/*.sh")),
    **{name: sorted(SOURCE.glob(f"schedulers/{name}.*.sh")) for name in ENTRY_POINTS},
    "ssh": sorted(SOURCE.glob("transports/*.sh")),
}
#: Programs that Python writes into scripts: env, for a program whose name begins with a dash.
BY_HAND = {"everything": {"env"}}
#: The commands of each queue, which a fragment calls by ic_tool. They need not be installed here.
QUEUE_COMMANDS = {
    name: {
        word
        for fragment in write_fragments(make_scheduler(name)).values()
        for match in re.finditer(r"\bic_tool (?:env \w+=\S* )?([a-z][\w-]*)|\bset -- ([a-z][\w-]*) --", fragment)
        for word in filter(None, match.groups())
    }
    for name in ENTRY_POINTS
}


#: The builtin commands of each sh, and printf, which mksh and posh lack. The documents say so.
WITHIN = set(
    """alias break case cd command continue do done echo elif else esac eval exec exit export false fi for getopts if in
    kill local printf pwd read return set shift test then time times trap true type ulimit umask unalias unset until
    wait while""".split()  # noqa: SIM905 -- a list of words is read as words
)
#: The places in our scripts where a command can be, behind its assignments.
COMMAND = re.compile(
    r"(?=(?:^|[;&|(]|\{ |! |\b(?:if|then|else|elif|do|while|until|exec|_ic_run_in_time|ic_tool)\b|-exec|-v|set --"
    r"|\btimeout [^\s;]+)[ \t]*"
    r"(?:[A-Za-z_]\w*=(?:\"[^\"]*\"|'[^']*'|[^\s;&|()]*)[ \t]+)*"
    r"([a-z][a-z0-9_-]*)(?![\w-]*(?:[=()]|\s*\|\s*[*\w\\]+\))))",
    re.MULTILINE,
)
ALONE = re.compile(r"\$\(([a-z]+)\)")


def list_called(paths: Iterable[Path]) -> set[str]:
    """Return the programs that these scripts call."""
    texts = [path.read_text() for path in paths]
    functions = {name for text in texts for name in re.findall(r"^([a-z_][a-z0-9_]*)\(\) \{", text, re.MULTILINE)}
    words = {word for text in texts for word in [*COMMAND.findall(_strip(text)), *ALONE.findall(text)]}
    return {
        word
        for word in words - functions - WITHIN
        if shutil.which(word) or word in set().union(*QUEUE_COMMANDS.values())
    }  # other words are no programs


def _strip(text: str) -> str:
    """Return a script without comments and without texts in single quotes, such as programs of awk."""
    without = re.sub(r"(^|(?<=\s))#.*", "", text.replace("\\\n", " "), flags=re.MULTILINE)
    return re.sub(r"'[^']*'", "''", without)


def list_needed(part: str) -> set[str]:
    """Return the programs that a part calls."""
    return list_called(SCRIPTS[part]) | BY_HAND.get(part, set()) | QUEUE_COMMANDS.get(part, set())


def list_named(text: str) -> set[str]:
    """Return the words in backquotes that are no names of intercede."""
    return set(re.findall(r"`([a-z][a-z0-9_-]*)`", text)) - {*ENTRY_POINTS, "ssh"}


def test_the_reference_lists_the_programs_of_each_part() -> None:
    """The reference lists exactly the programs that the scripts of each part call."""
    section = (
        (ROOT / "docs/reference/options.md")
        .read_text()
        .split("### Programs on the remote host")[1]
        .split("## local")[0]
    )
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", section, re.MULTILINE))
    every = list_needed("everything")
    assert list_named(section.split("Everything needs ")[1].split("\n\n")[0]) == every
    for name in ENTRY_POINTS:
        assert list_named(rows[f"`{name}`, in addition"]) == list_needed(name) - every, name
    assert list_named(rows["`ssh`, for every command"]) == list_needed("ssh") | {"sh"}


@pytest.mark.parametrize(
    ("document", "begins"),
    [
        ("README.md", "The remote machine needs no Python"),
        ("docs/decisions/0012-remote-programs.md", "The whole list is"),
    ],
)
def test_the_readme_and_the_decision_list_all_programs(document: str, begins: str) -> None:
    """The README and the decision list each program but the commands of queues."""
    (paragraph,) = [text for text in (ROOT / document).read_text().split("\n\n") if begins in text]
    words = list_named(paragraph.split(begins)[1].split(". A test")[0])
    assert words == set().union(list_needed("everything"), *map(list_needed, ENTRY_POINTS)) - set().union(
        *QUEUE_COMMANDS.values()
    )


@pytest.mark.asyncio
async def test_each_verb_works_with_the_listed_programs(tmp_path: Path) -> None:
    """Each verb works with a PATH of the listed programs only."""
    place = tmp_path / "tools"
    place.mkdir()
    for tool in list_needed("everything") | list_needed("direct"):
        (place / tool).symlink_to(shutil.which(tool) or "")
    transport = Restricted(place)
    async with BatchBackend(transport, DirectScheduler(2, 0), root=str(tmp_path / "root")) as backend:
        script = "echo out; echo x >f; [ $ic_end ] || exec sleep 60"
        spec = SubmissionSpec.model_validate(
            {"executable": "sh", "arguments": ("-c", script), "outputs": {"members": [{"pattern": "f"}]}, "tag": "t"}
        )
        handles = (await backend.submit(spec, [CopyVars(environment={"ic_end": end}) for end in ("yes", "")])).handles
        wanted = [JobState.DONE, JobState.RUNNING]
        async with asyncio.timeout(30):
            while [each.state for each in (await backend.status(handles.values())).values()] != wanted:  # noqa: ASYNC110 -- jobs set no event
                await asyncio.sleep(0.02)
        assert set(await backend.find("t")) == set(handles.values())
        assert (await backend.counts()).running == 1
        assert (await backend.diagnostics([handles[0]]))[handles[0]].text == "out\n"
        assert (await backend.kill([handles[1]]))[handles[1]].ok
        async with asyncio.timeout(30):
            while not (await backend.status([handles[1]]))[handles[1]].state.final:  # noqa: ASYNC110 -- jobs set no event
                await asyncio.sleep(0.02)
        outputs = await backend.fetch_output([handles[0]], tmp_path / "dest")
        assert (outputs[handles[0]].ok, set(outputs[handles[0]].files)) == (True, {"f"})
        assert all(outcome.ok for outcome in (await backend.purge(list(handles.values()))).values())
    assert transport.said == []


class Restricted(Prefixed):
    """The transport local with a PATH of its own. It keeps messages about missing programs."""

    def __init__(self, place: Path) -> None:
        super().__init__(shutil.which("env") or "", f"PATH={place}")
        self.said: list[bytes] = []

    async def run(
        self, argv: Sequence[str], *, stdin: AsyncIterable[bytes] | None = None, stdout: ByteSink | None = None
    ) -> CommandResult:
        """Run a command, and keep such messages."""
        result = await super().run(argv, stdin=stdin, stdout=stdout)
        self.said += [line for line in result.stderr.splitlines() if b"not found" in line]
        return result
