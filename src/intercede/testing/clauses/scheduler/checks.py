"""IC-SCHEDULER: pure functions between jobs and text, and how they read hostile answers.

No method of a scheduler is called in this process: each probe has a child process of its own.
"""

import asyncio
from typing import cast

from intercede.testing.clauses import clause
from intercede.testing.clauses.scheduler.probes import SOURCE
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import CheckFailed, Context, format_value

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
        "A method that opens a file, reads os.environ, the clock or the host's name, or starts a command: leave "
        "such questions to a fragment, which asks them on the remote side, in sh. Text made by looping over a set "
        "has another order in each process: sort it. State that one call leaves to the next. You may read files "
        "beside the scheduler's own code."
    ),
)
async def check_purity(context: Context) -> None:
    """Ask everything twice in three processes with different hash seeds, under audit hooks."""
    first, *others = await asyncio.gather(*(_probe(context, "purity", seed) for seed in _SEEDS))
    for other in others:
        pairs = zip(cast("list[list[str]]", first), cast("list[list[str]]", other), strict=True)
        for (asked, one), (_, another) in pairs:
            observed = f"{format_value(one)} in one and {format_value(another)} in another"
            context.expect(one == another, expected=f"the same answer from {asked} in every process", observed=observed)


@clause(
    "IC-SCHEDULER-02",
    title="parse_submit answers for each copy of a submission exactly once, with an id of its own or a refusal.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=_NEEDS_RECORDINGS,
    hint=(
        "A parse_submit that gets fewer or more lines than copies: zip() silently drops the rest. Copies whose line "
        "is missing may run: raise SchedulerError, and they are found by the submission id. If a limit refused them, they "
        "are `refused`. The kit cannot check from here that the wrapper runs once for each remote index."
    ),
)
async def check_copies(context: Context) -> None:
    """Parse recorded submissions: as they are, for other numbers of copies, and with missing lines."""
    await _probe(context, "copies")


@clause(
    "IC-SCHEDULER-03",
    title="Native ids, submission ids, queues and carried names are data: a shell never interprets them.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-08",),
    hint=(
        "In sh: put double quotes around every variable, and never use eval. Instead of `for id in $(cat ...)` "
        'write `while read -r id; do ... </dev/null; done <"$IC_IDS"`: without `</dev/null`, a command that reads '
        "its stdin takes the other ids. In Python: use shlex.quote for all text that is not your own, once for each "
        "shell that reads it. Refuse a queue that you cannot quote with UnsupportedSpecError. Text in a "
        "here-document ends at its delimiter: quote that, or use printf."
    ),
)
async def check_data_is_data(context: Context) -> None:
    """Run the fragments with hostile text, in a sandbox in which every command but harmless tools is a stub."""
    await _probe(context, "shell", within=2 * _SECONDS)


@clause(
    "IC-SCHEDULER-04",
    title="A command that failed raises SchedulerError, whatever it printed; it is never an empty answer.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=_NEEDS_RECORDINGS,
    hint=(
        "A parser that does not check `returncode`, or checks it only if stdout is empty: an outage then reads as "
        "'there are no jobs', or half a list as the whole, and jobs as lost. If your command can succeed with this "
        "code, record that answer, or let the script tell both cases apart. The kit sees an outage with exit code 0 "
        "only in recordings."
    ),
)
async def check_outages(context: Context) -> None:
    """Give every parser an exit code that is not zero: with an empty stdout, and with recorded answers."""
    await _probe(context, "outages")


@clause(
    "IC-SCHEDULER-05",
    title="An unknown native state is UNKNOWN, with the native word.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=_NEEDS_RECORDINGS,
    hint=(
        "The default of the table from native words to states must be JobStatus(state=JobState.UNKNOWN, "
        "native=word). Newer versions and plugins of a scheduler have words that you have not seen; a guess may end "
        "a job that runs. A SchedulerError for one word would hide all other jobs."
    ),
)
async def check_unknown_words(context: Context) -> None:
    """In recorded answers, replace the words of waiting and running jobs by words that no scheduler has."""
    await _probe(context, "words")


@clause(
    "IC-SCHEDULER-06",
    title=(
        "A job that is not listed is absent from the answer; text that cannot be parsed raises SchedulerError, and "
        "no other error."
    ),
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=_NEEDS_RECORDINGS,
    hint=(
        "Ids that are compared by prefix or by `in`. A default for ids without a line: absence is not a state. "
        "Answers for jobs that were not asked for. Lines with too few words, words that are not numbers, bytes that "
        "are not valid UTF-8: skip the line if that is safe, else raise SchedulerError. A ValidationError of "
        "pydantic is a ValueError: an id is invalid."
    ),
)
async def check_strangers(context: Context) -> None:
    """Ask for jobs that resemble listed ones, then feed the parsers with cut, mixed and arbitrary bytes."""
    await _probe(context, "strangers")


@clause(
    "IC-SCHEDULER-07",
    title="Recorded real answers give the recorded results.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=_NEEDS_RECORDINGS,
    hint=(
        "The recording that the message names, and the parser of its verb. In a status or an outcome, only the "
        "fields that the recording gives are compared. Change a recording only if the scheduler itself answers "
        "differently now, and keep the old one beside it."
    ),
)
async def check_recordings(context: Context) -> None:
    """Parse each recorded answer, and compare."""
    await _probe(context, "replay")


@clause(
    "IC-SCHEDULER-08",
    title="The registry loads the scheduler, and its methods exist: sync, with the contract's parameters.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    hint=(
        "The methods are: stages_own_files(), submit_script(batch), parse_submit(batch, result), status_script(), "
        "parse_status(ids, result), kill_script(), parse_kill(ids, result), list_script(submission_id), parse_list(result). "
        "All of them are plain `def`: the methods of a scheduler are never awaited. tool_environment() is optional: "
        "it returns a ToolEnvironment whose patterns are names of variables, or the beginning of a name and `*`, "
        "and match no variable that fragments need."
    ),
)
async def check_shape(context: Context) -> None:
    """Check a fresh object with the registry's gate."""
    problems = cast("list[str]", await _probe(context, "shape"))
    expected = "every method of the contract's Scheduler"
    context.expect(not problems, expected=expected, observed="; ".join(problems))


@clause(
    "IC-SCHEDULER-09",
    title=(
        "The scheduler ships recordings of real answers: of each verb, of one and of several copies, of a job that "
        "has not ended."
    ),
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-08",),
    hint=(
        "`python -m intercede.testing record NAME DIRECTORY` makes them on a machine that can reach the scheduler. "
        "Read them through: they expect the results that your parsers gave. Add by hand the answers that a healthy "
        "scheduler does not give: an outage, a limit, rare states. Recordings are package data: make sure that your "
        "wheel has them. A module that is one file has no place for them."
    ),
)
async def check_shipped(context: Context) -> None:
    """Look for them beside the module of the scheduler's class."""
    await _probe(context, "shipped")


@clause(
    "IC-SCHEDULER-10",
    title="A number that the queue used again is another job's: an id, and a listing, hold more than a number.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=(*_NEEDS_RECORDINGS, "IC-SCHEDULER-06"),
    hint=(
        "An id that is only the queue's number for the job: queues lose their state, and begin to count again. Let "
        "the id hold the submission id, which is the job's name (`17.0@SUBMISSION_ID`); let the listing show name and "
        "number; and compare both, in parse_status and parse_kill. parse_list makes the same ids. An id that the "
        "queue never uses again, such as a UUID, is fine as it is. The same number with another name is absent: it "
        "is not one of our jobs."
    ),
)
async def check_names(context: Context) -> None:
    """Look at recorded ids. Then let recorded listings show the same numbers under other names."""
    await _probe(context, "names")


@clause(
    "IC-SCHEDULER-11",
    title="No job is killed or found by a number alone: fragments check the name first.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-10",),
    hint=(
        "A kill_script that kills whichever job has the number now. List first, as status_script does, and kill the "
        "jobs that are listed under their own names; or give the queue's command the name as well as the number. A "
        "list_script that lists all jobs: give the queue the submission id, or compare it. The kit has only the answers in "
        "your recordings: if kill_script lists by another command, print its answer, so that it is recorded."
    ),
)
async def check_looks(context: Context) -> None:
    """Run kill_script and list_script while the queue lists those numbers.

    They have their own names, others, or are absent.
    """
    await _probe(context, "looks")


@clause(
    "IC-SCHEDULER-12",
    title="A queue that is asked for is passed on, or refused: it is never dropped.",
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-08",),
    hint=(
        "A submit_script that never reads `batch.resources.queue`, or reads it only if there is one copy. Pass it "
        "to the command that submits, quoted (shlex.quote). If the scheduler has no queues, raise "
        "UnsupportedSpecError: a job that runs in another queue than its user asked for may be charged, delayed or "
        "ended without notice."
    ),
)
async def check_queues(context: Context) -> None:
    """Compare the fragments that submit to no queue, to one, and to another, for one copy and for three."""
    await _probe(context, "queues")


@clause(
    "IC-SCHEDULER-13",
    title=(
        "Fragments call only the documented functions of intercede, which work in every verb, and touch none of its "
        "private files."
    ),
    level=MUST,
    seconds=_ALL_SECONDS,
    jobs=0,
    depends=("IC-SCHEDULER-08",),
    hint=(
        "The functions are ic_tool, ic_read_record, ic_forget_secrets and, in submit_script, ic_report_ids: "
        "docs/reference/types.md describes them. Names of your own must not begin with ic_ or _ic_. Files in the "
        "submission's directory are private, except `wrapper` and the files that you made: ic_read_record sets "
        'variables that say how a copy ended. A script that another sh runs gets the functions by "$ic_api". '
        "tool_environment names the variables that your tools must not see."
    ),
)
async def check_calls(context: Context) -> None:
    """Look for other names and files in the fragments, then call each function in the fragment of each verb."""
    await _probe(context, "calls")


async def _probe(context: Context, name: str, seed: str = "", within: float = _SECONDS) -> object:
    """Run a probe in a child process, and return its result.

    Raises:
        CheckFailed: The scheduler does not do what the probe asks of it.
        RuntimeError: The probe itself broke.
    """
    tmp = context.tmp / f"{name}{seed}"
    tmp.mkdir()
    what = "asking the scheduler"  # a parser may end its process
    told = await context.run_child(SOURCE, name, str(tmp), seed, what=what, within=within)
    ending = cast("dict[str, object]", told)
    if "error" in ending:
        raise RuntimeError(f"the probe {name} broke:\n{ending['error']}")
    if "expected" in ending:
        raise CheckFailed(str(ending["expected"]), str(ending["observed"]))
    return ending["told"]
