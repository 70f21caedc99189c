"""IC-SCHEDULER: pure functions between jobs and text, and what they make of a hostile world.

Nothing of a scheduler is called in this process: each experiment has a child process of its own.
"""

import asyncio
from typing import cast

from intercede.testing.clauses import clause
from intercede.testing.clauses.scheduler.experiments import SOURCE
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import CheckFailed, Context, shown

_SEEDS = ("1", "2", "3")
_SECONDS = 60.0
_ALL_SECONDS = 300.0
"""With the wait for other checks' child processes, which may hang."""
_NEEDS_RECORDINGS = ("IC-SCHEDULER-09",)


@clause(
    "IC-SCHEDULER-01",
    title="A scheduler is pure: no I/O and no clock, and the same answer to the same question, in every process.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-08",),
    hint=(
        "A method that opens a file, looks at os.environ, the clock or the host, or starts a command: what is to be known "
        "there, a fragment asks there, in sh. Text made by looping over a set comes in another order in each process: sort "
        "it. State that one call leaves for the next. Files beside the scheduler's own code may be read."
    ),
)
async def check_purity(context: Context) -> None:
    """Ask everything twice in three processes with different seeds of their hashes, under the eyes of audit hooks."""
    first, *others = await asyncio.gather(*(_experiment(context, "purity", seed) for seed in _SEEDS))
    for other in others:
        pairs = zip(cast("list[list[str]]", first), cast("list[list[str]]", other), strict=True)
        for (asked, one), (_, another) in pairs:
            observed = f"{shown(one)} in one and {shown(another)} in another"
            context.expect(one == another, expected=f"the same answer from {asked} in every process", observed=observed)


@clause(
    "IC-SCHEDULER-02",
    title="Each copy of a submission is answered for exactly once, with an id of its own or a refusal.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=_NEEDS_RECORDINGS,
    hint=(
        "parse_submit where an answer has fewer or more lines than copies: zip() drops the rest without a word. Copies "
        "whose line is missing may run: raise SchedulerError, and they are found by the stamp; where a limit refused "
        "them, they are `refused`. That the wrapper runs once for each index there, no kit can tell from here."
    ),
)
async def check_copies(context: Context) -> None:
    """Ask what recorded answers mean: as they are, for other numbers of copies, and with lines that are lost."""
    await _experiment(context, "copies")


@clause(
    "IC-SCHEDULER-03",
    title="Ids, stamps, queues and carried names are data: no shell ever takes them for anything else.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-08",),
    hint=(
        "In sh: double quotes around every variable, no eval, and instead of `for id in $(cat ...)` this: `while read -r id; do ... "
        '</dev/null; done <"$IC_IDS"`, or a command that reads its stdin takes the other ids. In Python: shlex.quote around '
        "everything that is not yours, once for each shell that will read it; a queue that you cannot quote is refused with "
        "UnsupportedSpecError. Text in a here-document ends at its delimiter; quote that, or use printf."
    ),
)
async def check_data_is_data(context: Context) -> None:
    """Run the fragments with evil text, in a sandbox where every command but harmless tools is a stub."""
    await _experiment(context, "shell", within=2 * _SECONDS)


@clause(
    "IC-SCHEDULER-04",
    title="A command that failed raises SchedulerError, whatever it printed; it is never an empty answer.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=_NEEDS_RECORDINGS,
    hint=(
        "A parser that does not look at `returncode`, or only if stdout is empty: an outage then reads as 'no job is there', or "
        "half a list as the whole, and jobs as lost. If your command ends with this code though all is well, record that answer, "
        "or have the script tell both apart. The kit sees outages that are reported with exit code 0 in recordings only."
    ),
)
async def check_outages(context: Context) -> None:
    """Give every parser a code that is not zero: with nothing on stdout, and with recorded answers."""
    await _experiment(context, "outages")


@clause(
    "IC-SCHEDULER-05",
    title="A native state that is not known is UNKNOWN, with the native word.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=_NEEDS_RECORDINGS,
    hint=(
        "The default of the table from native words to states: JobStatus(state=JobState.UNKNOWN, native=word). Newer "
        "versions and plugins of a scheduler have words that you have not seen; a guess may end a job that runs. A "
        "SchedulerError for one word would hide all other jobs."
    ),
)
async def check_unknown_words(context: Context) -> None:
    """Replace the words of waiting and running jobs in recorded answers by others that no scheduler has."""
    await _experiment(context, "words")


@clause(
    "IC-SCHEDULER-06",
    title="What is not listed is absent from the answer; what cannot be read is a SchedulerError, and nothing else is raised.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=_NEEDS_RECORDINGS,
    hint=(
        "Ids that are compared by prefix or by `in`. A default for ids without a line: absence is no state. Answers for "
        "jobs nobody asked about. Lines with too few words, numbers that are none, bytes that are no UTF-8: skip the line "
        "where that is safe, else raise SchedulerError. pydantic's ValidationError is a ValueError: an id that is none."
    ),
)
async def check_strangers(context: Context) -> None:
    """Ask about jobs that resemble listed ones, then feed the parsers with cut, mixed and arbitrary bytes."""
    await _experiment(context, "strangers")


@clause(
    "IC-SCHEDULER-07",
    title="Recorded real answers give the recorded verdicts.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=_NEEDS_RECORDINGS,
    hint=(
        "The recording that is named, and the parser of its verb. Of a status or an outcome the fields that the recording "
        "gives count. Change a recording only where the scheduler itself answers otherwise now; keep the old one beside it."
    ),
)
async def check_recordings(context: Context) -> None:
    """Parse each recorded answer, and compare."""
    await _experiment(context, "replay")


@clause(
    "IC-SCHEDULER-08",
    title="The registry loads it, and its methods are there: sync, with the contract's parameters.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    hint=(
        "The methods: stages_own_files(), submit_script(batch), parse_submit(batch, result), status_script(), "
        "parse_status(ids, result), kill_script(), parse_kill(ids, result), list_script(stamp), parse_list(result). All of "
        "them are plain `def`: nobody awaits a scheduler. tool_environment(), if it is there, returns a ToolEnvironment whose patterns "
        "are names of variables, or the beginning of one and `*`, and match nothing that fragments need."
    ),
)
async def check_shape(context: Context) -> None:
    """Hold a fresh object against the protocol, as the registry's gate does."""
    problems = cast("list[str]", await _experiment(context, "shape"))
    expected = "every method of the contract's Scheduler"
    context.expect(not problems, expected=expected, observed="; ".join(problems))


@clause(
    "IC-SCHEDULER-09",
    title="It ships recordings of real answers: of each verb, of one and of several copies, of a job that has not ended.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-08",),
    hint=(
        "`python -m intercede.testing record NAME DIRECTORY` makes them where the scheduler is within reach. Look "
        "through them: what they expect is what your parsers said. Add by hand what a healthy scheduler does not say: an "
        "outage, a limit, states that are rare. They are package data: see to it that your wheel has them; a module that "
        "is one file has no place for them."
    ),
)
async def check_shipped(context: Context) -> None:
    """Look for them beside the module of the scheduler's class."""
    await _experiment(context, "shipped")


@clause(
    "IC-SCHEDULER-10",
    title="A number that the queue gave again is another job's: an id and what is listed hold more than a number.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=_NEEDS_RECORDINGS,
    hint=(
        "An id that is what the queue calls the job, and nothing else: queues lose their state, and begin to count anew. Let "
        "the id hold the submission's stamp, which is the job's name (`17.0@STAMP`), have name and number listed, and "
        "compare both, in parse_status and parse_kill. parse_list makes the same ids. What the queue itself never gives "
        "again, such as a UUID, is fine as it is. The same number with another name is absent: no job of ours is listed."
    ),
)
async def check_names(context: Context) -> None:
    """Look at recorded ids, then let recorded listings hold the same numbers under other names."""
    await _experiment(context, "names")


@clause(
    "IC-SCHEDULER-11",
    title="Nothing is ended, and nothing found, by a number alone: fragments look at the name first.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-10",),
    hint=(
        "A kill_script that ends whoever has the number now. List first, as status_script does, and end what is listed under "
        "its own name; or let the queue's command have the name as well as the number. A list_script whose listing is of all "
        "jobs: give the queue the stamp, or compare it. The kit has the answers that "
        "your recordings hold: if kill_script lists by another command, print its answer, so that it is recorded."
    ),
)
async def check_looks(context: Context) -> None:
    """Run kill_script and list_script while the queue lists those numbers under their own names, under others, and not at all."""
    await _experiment(context, "looks")


@clause(
    "IC-SCHEDULER-12",
    title="A queue that is asked for is handed on, or refused: it is never dropped.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-08",),
    hint=(
        "submit_script reads `batch.resources.queue` nowhere, or only if there is one copy. Hand it to the command that "
        "submits, quoted (shlex.quote). If the scheduler has no queues, raise UnsupportedSpecError: a job that runs in "
        "another queue than its user asked for may be charged, delayed or ended without a word."
    ),
)
async def check_queues(context: Context) -> None:
    """Compare the fragments that submit to no queue, to one, and to another, for one copy and for three."""
    await _experiment(context, "queues")


@clause(
    "IC-SCHEDULER-13",
    title="Fragments call the functions that are documented, which work in every verb, and leave all else of intercede alone.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-08",),
    hint=(
        "The functions are ic_tool, ic_read_record, ic_forget_secrets and, in submit_script, ic_report_ids: "
        "docs/reference/types.md describes them. A name of your own begins with neither ic_ nor _ic_. Files in the "
        "submission's directory are private, but for `wrapper` and what you made there: how a copy ended is what "
        'ic_read_record sets. A script that another sh runs gets the functions by "$ic_api". Variables that your tools must '
        "not see are what tool_environment names."
    ),
)
async def check_calls(context: Context) -> None:
    """Look for other names and files in the fragments, then call each function in the place of each verb's fragment."""
    await _experiment(context, "calls")


async def _experiment(context: Context, name: str, seed: str = "", within: float = _SECONDS) -> object:
    """Do an experiment in a child process, and return what it tells.

    Raises:
        CheckFailed: The scheduler does not do what the experiment asks of it.
        RuntimeError: The experiment itself broke.
    """
    tmp = context.tmp / f"{name}{seed}"
    tmp.mkdir()
    what = "what asks the scheduler"  # a parser may end its process
    told = await context.child(SOURCE, name, str(tmp), seed, what=what, within=within)
    ending = cast("dict[str, object]", told)
    if "error" in ending:
        raise RuntimeError(f"the experiment {name} broke:\n{ending['error']}")
    if "expected" in ending:
        raise CheckFailed(str(ending["expected"]), str(ending["observed"]))
    return ending["told"]
