"""IC-SCHEDULER: fragments use only the documented functions of intercede, and these work in each verb."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from intercede.batch.remote.api import Verb
from intercede.batch.remote.layout import PRIVATE_FILES
from intercede.testing.clauses import clause
from intercede.testing.clauses.support.probe import ALL_SECONDS, run_probe
from intercede.testing.clauses.support.sandbox import Sandbox
from intercede.testing.clauses.support.scheduler_questions import (
    SUBMISSION_ID,
    expect,
    get_api,
    get_script,
    make_batch,
    make_scheduler,
)
from intercede.testing.model.clause import MUST
from intercede.testing.run.context import Context, format_value

_FUNCTIONS = ("ic_tool", "ic_read_record", "ic_forget_secrets", "ic_report_ids")
_NAMES = {*_FUNCTIONS, "ic_end", "ic_number", "ic_api"}
"""The names of the functions, and of the variables that the functions set."""
_FRAGMENTS: tuple[tuple[Verb, tuple[object, ...]], ...] = (
    ("submit", (make_batch(1),)),
    ("submit", (make_batch(3),)),
    ("status", ()),
    ("kill", ()),
    ("list", (SUBMISSION_ID,)),
)
_PRIVATE_FILE = re.compile(
    rf"""
    \b(?:copies|finals)/["'{{$*0-9]\S*     # copies/3/exit, "$dir"/copies/*/exit
    | (?<![\w-])natives\b                 # no other word of a script
    | (?: (?<![\w/.])\./(?:[*$][^/\s]*/)?  # ./submitted, ./$id/submitted, but not plainq/submitted
      | [<>]\s*["']?
      | (?:\[|\btest)\s+(?:!\s+)?-\w\s+["']?
      | (?:^|[\s;&|(])(?:\.|cat|mv|rm|sh|tee|touch)\s+(?:-\w+\s+)*["']?
      )
      ({"|".join(PRIVATE_FILES)})(?![\w./-])
    """,
    re.VERBOSE | re.MULTILINE,
)
"""Matches the name of a private file where a script names a file. In other places, the name is an ordinary word."""
_COMMENT = re.compile(r"(^|(?<=\s))#.*", re.MULTILINE)
_PROBE = """\
mkdir -p "$submission/copies/0/work" || exit
echo 'code 3 - - - 1' >"$submission/copies/0/exit"
echo 'rm -f ./secret' >"$submission/copies/0/secrets"
echo hidden >"$submission/copies/0/work/secret"
ic_tool sh -c 'icprobe ic_tool "${LC_ALL-}"' </dev/null
ic_read_record "$submission" 0 && icprobe ic_read_record "$ic_end" "$ic_number"
ic_forget_secrets "$submission" 0 && [ ! -e "$submission/copies/0/work/secret" ] && icprobe ic_forget_secrets
sh -c "$ic_api"'ic_read_record "$1" 0 && icprobe ic_api "$ic_end"' sh "$submission"
"""
_PROBE_OF_SUBMIT = "echo '0 17' | ic_report_ids && icprobe ic_report_ids\n"
_ANSWERS = [
    ["icprobe", "ic_tool", "C"],
    ["icprobe", "ic_read_record", "code", "3"],
    ["icprobe", "ic_forget_secrets"],
    ["icprobe", "ic_api", "code"],
]


@clause(
    "IC-SCHEDULER-13",
    title=(
        "Fragments call only the documented functions of intercede, which work in every verb, and touch none of its "
        "private files."
    ),
    level=MUST,
    seconds=ALL_SECONDS,
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
    """Search the fragments for undocumented names of intercede and for its private files.

    Then call each documented function in a fragment of each verb.
    """
    await run_probe(context, probe_calls)


def probe_calls(part: Callable[[], object], tmp: Path) -> None:
    """Search every fragment. Then call each documented function in a fragment of each verb, as a backend runs it."""
    scheduler = make_scheduler(part)
    for verb, arguments in _FRAGMENTS:
        text = get_script(scheduler, f"{verb}_script", *arguments) or ""
        problems = list(_list_problems(verb, text))
        expected = f"{verb}_script to use only {', '.join(_FUNCTIONS)} of intercede"
        expect(not problems, expected, f"{'; '.join(problems)}, in\n{text}")
    sandbox = Sandbox(tmp, [_PROBE, _PROBE_OF_SUBMIT], get_api(scheduler))
    for verb in ("submit", "status", "kill", "list"):
        _expect_functions(sandbox, verb)


def _list_problems(verb: Verb, text: str) -> Iterator[str]:
    code = _COMMENT.sub("", text)
    for name in sorted(set(re.findall(r"(?<![\w-])_?ic_\w+", code))):
        if name.startswith("_"):
            yield f"it names {name}, which is private"
        elif name not in _NAMES:
            yield f"it names {name}, which intercede does not have"
        elif re.search(rf"(?<![\w$-]){name}(?:=|\s*\(\s*\))", code):
            yield f"it defines {name}, which is intercede's"
        elif name == "ic_report_ids" and verb != "submit":
            yield f"it calls {name}, which is for the fragment that submits"
    for found in _PRIVATE_FILE.finditer(code):
        yield f"it reads or writes {found[1] or found[0]}, which is private"


def _expect_functions(sandbox: Sandbox, verb: Verb) -> None:
    place = "." if verb == "submit" else f"./{SUBMISSION_ID}"
    text = f"submission={place}\n{_PROBE}{_PROBE_OF_SUBMIT if verb == 'submit' else ''}"
    expected = [*_ANSWERS, *([["icprobe", "ic_report_ids"]] if verb == "submit" else [])]
    calls = sandbox.run(verb, text)
    expect(
        calls == expected,
        f"each function to work in a fragment of {verb}: {format_value(expected)}",
        format_value(calls),
    )
