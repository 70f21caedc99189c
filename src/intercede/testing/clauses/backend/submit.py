"""IC-SUBMIT: a payload receives the right data.

The verb ``submit`` returns the right values, and raises the right errors.
"""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import SecretBytes

from intercede.contract.errors import IntercedeError, InvalidSpecError, ResourceError, UnsupportedSpecError
from intercede.contract.job import CopyVars, JobHandle, JobState, JobStatus, SubmissionSpec
from intercede.testing.clauses import clause
from intercede.testing.clauses.support import child_functions, payloads, secrecy
from intercede.testing.clauses.support.handles import dump_handle, read_handles
from intercede.testing.clauses.support.outputs import expect_payload_ok, group_by_text, read_output_file
from intercede.testing.model.clause import MUST, SHOULD
from intercede.testing.run.answers import describe_status
from intercede.testing.run.context import CheckFailed, Context, format_value
from intercede.testing.run.driver import BackendDriver, open_backend

_SEARCHES, _SUBMISSIONS = 3, 4
"""How many searches for the secret are needed, and how many submissions are made at most for these searches."""


@clause(
    "IC-SUBMIT-01",
    title="Submitting N copies answers for copies 0 to N - 1, each with a handle or a failure.",
    level=MUST,
    depends=("IC-SHAPE-02",),
    hint=(
        "The keys of Submission.handles and .failures are copy indices from 0, whatever number the resource starts "
        "from. A copy that the resource refused must be in `failures`; do not leave it out. If submit raises, over "
        "a transport: argv must arrive as given, without a shell (use shlex.join if it goes through `sh -c`), and "
        "stdin and stdout must be streamed unchanged."
    ),
)
async def check_indices(context: Context) -> None:
    """Submit three copies, and then one copy."""
    async with open_backend(context) as backend:
        for copies in (3, 1):
            submission = await backend.submit(context.sh("exit 0"), copies)
            indices = sorted([*submission.handles, *submission.failures])
            context.expect(
                indices == list(range(copies)),
                expected=f"handles and failures for {list(range(copies))} of {copies} copies",
                observed=f"handles for {sorted(submission.handles)}, failures for {sorted(submission.failures)}",
            )


@clause(
    "IC-SUBMIT-02",
    title="Handles are unique, within a submission and across submissions.",
    level=MUST,
    depends=("IC-SUBMIT-01",),
    jobs=6,
    hint=(
        "The source of `job`: the copy's index alone, a counter that starts again, a time in seconds, or the pid of "
        "a process that has ended. Use the resource's own id, or a random one."
    ),
)
async def check_unique(context: Context) -> None:
    """Submit two copies and then one copy, through each of two instances. Compare the handles."""
    handles: list[JobHandle] = []
    for _ in range(2):
        async with open_backend(context) as backend:
            handles += await backend.submit_jobs(context.sh("exit 0"), copies=2)
            handles += await backend.submit_jobs(context.sh("exit 0"))
    context.expect(
        len(set(handles)) == len(handles),
        expected=f"{len(handles)} different handles for {len(handles)} jobs",
        observed=[handle.job for handle in handles],
    )


@clause(
    "IC-SUBMIT-03",
    title="Submitting does not wait for the job.",
    level=MUST,
    depends=("IC-SUBMIT-01",),
    seconds=120,
    hint=(
        "A submit that awaits the process, or polls until the job has started or ended. A caller that submits ten "
        "thousand jobs wants the handles at once, and asks for the states later."
    ),
)
async def check_submit_does_not_wait(context: Context) -> None:
    """Compare the durations of ``submit`` and the payload. Repeat with longer payloads until ``submit`` is shorter."""
    took = 0.0
    async with open_backend(context) as backend:
        for seconds in payloads.growing_durations(context):
            began = time.monotonic()
            await backend.submit_jobs(context.sh(payloads.sleep_script(seconds)))
            took = time.monotonic() - began
            if took < seconds:
                return
    raise CheckFailed(
        f"submit to return before payloads of {payloads.growing_durations(context)} seconds end",
        f"it took {took:.1f} s for the last",
    )


@clause(
    "IC-SUBMIT-04",
    title="Arguments arrive byte for byte.",
    level=MUST,
    depends=("IC-STATUS-05",),
    hint=(
        "Every shell, template or description language on the way needs its own quoting. In sh, single quotes "
        "protect everything but the single quote itself. `$(...)` drops trailing newlines; `echo` interprets "
        "backslashes and `-n`; joining with blanks loses empty arguments."
    ),
)
async def check_arguments(context: Context) -> None:
    """Let the payload compare each argument, in hexadecimal, with the expected value."""
    async with open_backend(context) as backend:
        await expect_payload_ok(
            backend,
            context.sh(payloads.check_arguments_script(payloads.AWKWARD), *payloads.AWKWARD),
            expected=f"{len(payloads.AWKWARD)} awkward arguments to arrive byte for byte",
            codes=lambda code: _describe_awkward("argument", code),
        )


def _describe_awkward(what: str, code: int) -> str:
    if code == 9:  # noqa: PLR2004 -- the exit codes of the script, as below
        return "there are more or fewer of them"
    if not 0 <= code - 10 < len(payloads.AWKWARD):
        return "none of its own codes, so the script itself did not arrive or could not run"
    return f"{what} {code - 10}, {format_value(payloads.AWKWARD[code - 10])}, arrived changed or not at all"


@clause(
    "IC-SUBMIT-05",
    title="Environment values arrive byte for byte.",
    level=MUST,
    depends=("IC-STATUS-05",),
    hint=(
        "As for arguments: quote for each language on the way. The output of `env` and of `export -p` consists of "
        "lines, and a value may hold a newline. A list separated by commas or semicolons breaks if a value holds "
        "one."
    ),
)
async def check_environment(context: Context) -> None:
    """Let the payload compare each variable, in hexadecimal, with the expected value."""
    names = [f"IC_V{index}" for index in range(len(payloads.AWKWARD))]
    async with open_backend(context) as backend:
        await expect_payload_ok(
            backend,
            context.sh(
                payloads.check_variables_script(names, payloads.AWKWARD),
                environment=dict(zip(names, payloads.AWKWARD, strict=True)),
            ),
            expected=f"{len(payloads.AWKWARD)} variables with awkward values to arrive byte for byte",
            codes=lambda code: _describe_awkward("variable", code),
        )


_ENDINGS = tuple(0 if index in {2, 3, 5, 7, 9, 11} else 20 + index for index in range(12))
"""The exit codes of the copies. They are irregular, so that copies in any wrong order are noticed."""


@clause(
    "IC-SUBMIT-06",
    title="Copy i gets the variables of copies[i], which win over the specification's.",
    level=MUST,
    depends=("IC-STATUS-06", "IC-STATUS-11", "IC-SUBMIT-02"),
    jobs=12,
    hint=(
        "The order in which copies are numbered: file names sort as 0, 1, 10, 11, 2; arrays of Slurm and Grid "
        "Engine may start at 1. The order in which the two environments are applied: the copy's own comes last. If "
        "each copy got its own variables, status looks at another copy than the handle names."
    ),
)
async def check_variables_of_copies(context: Context) -> None:
    """Give each of twelve copies a variable with the exit code that the copy must end with."""
    copies = [CopyVars(environment={"IC_END": str(ending)}) for ending in _ENDINGS]
    script = '[ "$IC_ALL" = all ] || exit 10; [ -n "$IC_END" ] || exit 11; exit "$IC_END"'
    spec = context.sh(script, environment={"IC_END": "12", "IC_ALL": "all"})
    async with open_backend(context) as backend:
        statuses = await backend.run_jobs(spec, copies)
    wrong = [
        (
            index,
            f"should have exited with {_ENDINGS[index]}, ended {_describe_end(status)}",
        )
        for index, status in enumerate(statuses)
        # The exit codes are not compared, because IC-STATUS-06 checks them.
        if (status.state is JobState.DONE) != (_ENDINGS[index] == 0)
    ]
    context.expect(not wrong, expected="each copy to end as its own variable says", observed=group_by_text(wrong))


def _describe_end(status: JobStatus) -> str:
    """Describe the status of a copy. Add what its exit code says about the variables that the copy received."""
    meaning = {
        10: "the specification's IC_ALL is not there",
        11: "there is no IC_END",
        12: "the specification's IC_END won over the copy's",
        **{ending: f"copy {index} has to exit with this code" for index, ending in enumerate(_ENDINGS) if ending},
    }
    reason = meaning.get(status.exit_code or 0)
    return describe_status(status) + (f": {reason}" if reason else "")


@clause(
    "IC-SUBMIT-07",
    title="Secrets arrive in their copy's working directory with the exact bytes and mode 0600, and in no other copy.",
    level=MUST,
    depends=("IC-STATUS-05", "IC-SUBMIT-06"),
    hint=(
        "Binary content on the way: NUL, bytes that are not valid UTF-8, a trailing newline. The mode, which a "
        "umask, tar or a copy may widen: create the file with mode 0600. Secrets that are staged with the files "
        "that all copies share."
    ),
)
async def check_secrets(context: Context) -> None:
    """Let each of three copies check its own secret, and search for the secrets of the other copies."""
    contents = [bytes(range(256)), b"", b"\xff\xfe\x00 two\r\n\n"]
    copies = [
        CopyVars(
            environment={"IC_MINE": f"secret-{index}", "IC_HEX": payloads.to_hex(content)},
            secrets={f"secret-{index}": SecretBytes(content)},
        )
        for index, content in enumerate(contents)
    ]
    script = (
        f'{payloads.HEX}[ -f "$IC_MINE" ] || exit 10\n'
        '[ "$(hex < "$IC_MINE")" = "$IC_HEX" ] || exit 11\n'
        'ls -ld "$IC_MINE"; case $(ls -ld "$IC_MINE") in -rw-------*) ;; *) exit 12 ;; esac\n'
        'for each in secret-*; do [ "$each" = "$IC_MINE" ] || exit 13; done\n'
    )
    meaning = {
        10: "its secret is not in its working directory",
        11: "its secret's bytes differ",
        12: "its secret's mode is not 0600 (see what `ls` wrote)",
        13: "another copy's secret is in its working directory, too",
    }
    async with open_backend(context) as backend:
        await expect_payload_ok(
            backend,
            context.sh(script),
            copies,
            expected="each copy to find its own secret, exact, with mode 0600, and no other",
            codes=meaning.get,
        )


@clause(
    "IC-SUBMIT-08",
    title="A secret is in no environment, argument list, handle, status, error or log record.",
    level=MUST,
    exclusive=True,
    depends=("IC-SUBMIT-07", "IC-SUBMIT-14"),
    hint=(
        "Secrets travel on stdin or in files of mode 0600, never as an argument or a variable of a process: every "
        "user of a machine can read its argument lists. Call `get_secret_value()` only where the bytes are written, "
        "never for a message, a log call or a repr."
    ),
)
async def check_secrecy(context: Context) -> None:
    """Submit jobs with a secret. Then call ``submit`` with the secret and with requests that are refused.

    Search for the secret in the processes of this machine, in handles, statuses, errors and log records, and in the
    jobs.
    """
    secret = f"{context.make_token()}{context.make_token()}"
    copies = [CopyVars(secrets={"secret": SecretBytes(secret.encode())})]
    async with open_backend(context) as backend:
        with secrecy.collect_logs() as records:
            async with secrecy.watch_processes(secret.encode()) as watch:
                handles = await backend.submit_jobs(context.sh(secrecy.SEARCH), copies)
                # On a busy machine, few searches fit into the time of one submission.
                while watch.searches < _SEARCHES and len(handles) < _SUBMISSIONS:
                    handles += await backend.submit_jobs(context.sh(secrecy.SEARCH), copies)
                last = await backend.wait_until_final(handles)
            refused = _make_refused(context).items()
            errors = {what: await _get_error_text(context, backend, fields, copies) for what, fields in refused}
    places = {
        "a handle": [repr(handle) + dump_handle(handle) for handle in handles],
        "a status": [repr(status) + status.model_dump_json() for status in last.values()],
        **{f"an error, that for {what}": [text] for what, text in errors.items()},
        **{f"a log record {where}": texts for where, texts in records.items()},
    }
    leaks = watch.seen + [f"in {what}" for what, texts in places.items() if any(secret in text for text in texts)]
    context.expect(not leaks, expected="the secret to be seen nowhere", observed=f"it is {'; '.join(leaks)}")
    for status in last.values():
        observed = f"the payload says: {secrecy.FINDINGS.get(status.exit_code or 0, describe_status(status))}"
        context.expect(
            status.state is JobState.DONE, expected="the secret not to be visible in the job", observed=observed
        )


def _make_refused(context: Context) -> dict[str, dict[str, object]]:
    """Return the fields of two submissions that fail: an invalid one, and an unsupported one."""
    return {
        "a missing input": {"inputs": [{"name": "x", "source": context.tmp / "no-such-file"}]},
        "an image that does not exist": {"container": {"image": "intercede.invalid/none"}},
    }


async def _get_error_text(
    context: Context, backend: BackendDriver, fields: dict[str, object], copies: Sequence[CopyVars]
) -> str:
    try:
        await backend.submit(context.sh("exit 0", **fields), copies)
    except IntercedeError as error:
        return secrecy.get_text(error)
    return ""


@clause(
    "IC-SUBMIT-09",
    title="Inputs arrive under their names, in sub-directories too, byte for byte, whether empty or large.",
    level=MUST,
    depends=("IC-STATUS-05",),
    hint=(
        "Text mode or an encoding on the way. Names that are cut to their last part. Empty files that are treated "
        "as missing. Large files that end at the size of a buffer."
    ),
)
async def check_inputs(context: Context) -> None:
    """Stage four files, and let the payload compare them."""
    unit, size = bytes(range(0xF8, 0x100)) + b"\x00\r\n\x1a'$\\ ", 1 << 20
    contents = {
        "bytes": bytes(range(256)),
        "data/deep/with blank.txt": b"no newline at the end",
        "empty": b"",
        "large": unit * (size // len(unit)),
    }
    # od writes a `*` for repeated lines, so that the output for the large file is short.
    script = (
        payloads.HEX
        + payloads.check_file_script("bytes", contents["bytes"], 10)
        + payloads.check_file_script("data/deep/with blank.txt", contents["data/deep/with blank.txt"], 11)
        + "[ -f empty ] && [ ! -s empty ] || exit 12\n"
        + f'[ "$(wc -c < large)" -eq {size} ] || exit 13\n'
        + f"[ \"$(od -An -tx1 < large | tr -d ' \\n')\" = '{payloads.to_hex(unit)}*' ] || exit 14\n"
    )
    meaning = dict(zip(range(10, 15), (*contents, "large"), strict=True))
    inputs = [{"name": name, "source": _write_file(context, content)} for name, content in contents.items()]
    async with open_backend(context) as backend:
        await expect_payload_ok(
            backend,
            context.sh(script, inputs=inputs),
            expected="every input to arrive under its name, byte for byte",
            codes=lambda code: f"{meaning.get(code, 'the script itself')!r} is missing or differs",
        )


def _write_file(context: Context, content: bytes, mode: int = 0o644) -> Path:
    """Write a local file whose name differs from its remote name."""
    path = context.tmp / context.make_token()
    path.write_bytes(content)
    path.chmod(mode)
    return path


@clause(
    "IC-SUBMIT-10",
    title="A local executable of mode 0644 runs, by its shebang, or by sh if it has none.",
    level=MUST,
    depends=("IC-STATUS-06",),
    hint=(
        "The mode of the staged file: set it, whatever the local mode is. A string with a slash is a local file, as "
        "a Path is. Fall back to sh for a file without a shebang; do not bypass a shebang that is there."
    ),
)
async def check_executables(context: Context) -> None:
    """Run two scripts that exit with 7 if the right program runs them with the right argument."""
    with_shebang = _write_file(context, b'#!/bin/sh -e\n[ "$1" = "a b" ] || exit 8\n(exit 7)\nexit 9\n')
    without = _write_file(context, b'[ "$1" = "a b" ] || exit 8\nexit 7\n')
    async with open_backend(context) as backend:
        for what, executable in (("with the shebang /bin/sh -e", with_shebang), ("without a shebang", str(without))):
            spec = SubmissionSpec(executable=executable, arguments=("a b",), tag=f"ic-{context.make_token()}")
            status, *_ = await backend.run_jobs(spec)
            context.expect(
                status.exit_code == 7,  # noqa: PLR2004 -- the exit code of the scripts
                expected=f"a file of mode 0644 {what} to run and end with 7",
                observed=f"{describe_status(status)}; 8 means a wrong argument, 9 a shebang that was bypassed",
            )


@clause(
    "IC-SUBMIT-11",
    title="The caller may delete local files as soon as submit has returned.",
    level=MUST,
    depends=("IC-STATUS-05", "IC-SUBMIT-10"),
    hint=(
        "Staging that goes on after submit returned; a link or a mount instead of a copy; a path that the job opens "
        "when it starts. Read everything before submit returns."
    ),
)
async def check_files_may_go(context: Context) -> None:
    """Submit a script and an input file, and delete both files as soon as ``submit`` has returned."""
    source = _write_file(context, b"here\n")
    # If the payload can see the caller's file, it waits for a limited time for the file to be deleted.
    waiting = 'i=0; while [ -e "$1" ] && [ $i -lt 200000 ]; do i=$((i + 1)); done\n'
    script = _write_file(context, f'{waiting}[ "$(cat input)" = here ] || exit 10\n'.encode())
    fields = {"executable": script, "arguments": (str(source),), "inputs": [{"name": "input", "source": source}]}
    spec = context.sh("", **fields)
    async with open_backend(context) as backend:
        handles = await backend.submit_jobs(spec)
        script.unlink()
        source.unlink()
        status = (await backend.wait_until_final(handles))[handles[0]]
        expected = "a job whose local files were deleted after submit to end DONE"
        context.expect(status.state is JobState.DONE, expected=expected, observed=describe_status(status))


@clause(
    "IC-SUBMIT-12",
    title="Each copy has a working directory of its own.",
    level=MUST,
    depends=("IC-SUBMIT-06",),
    hint=(
        "Copies that run in the directory that holds the submission's files. Make a directory for each copy, and "
        "link or copy the shared files into it."
    ),
)
async def check_working_directories(context: Context) -> None:
    """Let each of three copies write a file, and count the files that it sees."""
    copies = [CopyVars(environment={"IC_COPY": str(index)}) for index in range(3)]
    # In a shared directory, the last copy to write sees all files, whether copies run one by one or concurrently.
    script = ': > "was-here-$IC_COPY"; set -- was-here-*; [ $# -eq 1 ] || exit 10'
    async with open_backend(context) as backend:
        await expect_payload_ok(
            backend,
            context.sh(script),
            copies,
            expected="each copy to see the files of no other",
            codes={10: "files of other copies lie in its directory"}.get,
        )


@clause(
    "IC-SUBMIT-13",
    title=(
        "A request that the backend cannot fulfil is refused with UnsupportedSpecError, or never DONE, and starts "
        "nothing."
    ),
    level=MUST,
    depends=("IC-STATUS-05", "IC-SHAPE-04", "IC-FIND-01"),
    hint=(
        "Fields of the specification that your code never reads: container, queue, the destination of an output, "
        "the URL of an input. If you have no use for one of them, refuse the submission before anything starts: "
        "otherwise the user finds out weeks later."
    ),
)
async def check_unsupported(context: Context) -> None:
    """Request an image and a queue that cannot exist, and transfers with an unknown URL scheme."""
    nowhere = f"intercede-{context.make_token()}://nowhere.invalid/file"
    impossible: dict[str, dict[str, object]] = {
        "an image that does not exist": {"container": {"image": f"intercede.invalid/none:{context.make_token()}"}},
        "an output to an unknown scheme": {"outputs": {"members": [{"pattern": "x", "destination": nowhere}]}},
        "an input from an unknown scheme": {"inputs": [{"name": "x", "source": nowhere}]},
        "a queue that does not exist": {"resources": {"queue": f"intercede-{context.make_token()}"}},
    }
    async with open_backend(context) as backend:
        for what, fields in impossible.items():
            await _expect_refused(context, backend, context.sh(": > x", **fields), what)


async def _expect_refused(context: Context, backend: BackendDriver, spec: SubmissionSpec, what: str) -> None:
    expected = f"{what} to be refused with UnsupportedSpecError, or not to end DONE"
    try:
        submission = await backend.submit(spec)
    except UnsupportedSpecError:
        await _expect_nothing_started(context, backend, spec, what)
    except ResourceError:
        pass  # this error is allowed, because the resource refused the request
    else:
        for handle in submission.handles.values():
            # An accepted job may wait for ever for what does not exist. Waiting does not count as success.
            status = await backend.wait_for_state(handle, JobState.HELD, within=5, patient=False)
            context.expect(status.state is not JobState.DONE, expected=expected, observed=describe_status(status))


async def _expect_nothing_started(context: Context, backend: BackendDriver, spec: SubmissionSpec, what: str) -> None:
    """Expect that no job has the tag of a submission, if the backend can find jobs by tag."""
    if "find" in context.capabilities and spec.tag is not None:
        found = await backend.find(spec.tag)
        context.expect(not found, expected=f"no job to be started, since {what} was refused", observed=found)


@clause(
    "IC-SUBMIT-14",
    title="Fewer than one copy, an empty sequence and a missing local file raise InvalidSpecError.",
    level=MUST,
    depends=("IC-SUBMIT-01", "IC-SHAPE-04", "IC-FIND-01"),
    hint=(
        "`each_copy` of intercede.contract.job checks the copies. Open the local files before anything is sent, and "
        "turn OSError into InvalidSpecError: the user's request is wrong, not the resource."
    ),
)
async def check_invalid(context: Context) -> None:
    """Submit with zero copies, and with local files that do not exist. Check the errors."""
    missing = context.tmp / "no-such-file"
    wrong: Sequence[tuple[str, SubmissionSpec, int | Sequence[CopyVars]]] = (
        ("0 copies", context.sh("exit 0"), 0),
        ("-1 copies", context.sh("exit 0"), -1),
        ("an empty sequence of copies", context.sh("exit 0"), []),
        ("a missing input", context.sh("exit 0", inputs=[{"name": "x", "source": missing}]), 1),
        ("a missing executable", SubmissionSpec(executable=missing, tag=f"ic-{context.make_token()}"), 1),
    )
    async with open_backend(context) as backend:
        for what, spec, copies in wrong:
            try:
                answer: object = await backend.submit(spec, copies)
            except InvalidSpecError:
                await _expect_nothing_started(context, backend, spec, what)
                continue
            except CheckFailed:
                raise
            except Exception as error:  # noqa: BLE001 -- any exception of the subject is reported
                answer = error
            raise CheckFailed(f"InvalidSpecError for {what}", f"{format_value(answer)}")


@clause(
    "IC-SUBMIT-15",
    title="Concurrent submissions each get their own jobs.",
    level=MUST,
    depends=("IC-STATUS-06", "IC-STATUS-11", "IC-LIFE-10"),
    jobs=10,
    hint=(
        "State on the instance that submit writes and reads again after an await: a current directory, a last id, a "
        "temporary file with a fixed name. Keep it in local variables."
    ),
)
async def check_concurrent_submissions(context: Context) -> None:
    """Submit five payloads with different exit codes concurrently."""
    codes = range(3, 8)
    async with open_backend(context) as backend:
        submitted = (backend.submit_jobs(context.sh(f"exit {code}"), copies=2) for code in codes)
        handles = await asyncio.gather(*submitted)
        statuses = await backend.wait_until_final([handle for each in handles for handle in each])
        for code, each in zip(codes, handles, strict=True):
            reported = [statuses[handle].exit_code for handle in each]
            context.expect(
                reported == [code, code],
                expected=f"both copies of the submission whose payload exits {code} to have that exit code",
                observed=f"they have {reported}",
            )


@clause(
    "IC-SUBMIT-16",
    title="A payload's stdin is empty.",
    level=MUST,
    depends=("IC-STATUS-05",),
    hint=(
        "A stdin that the payload inherits from the process that starts it. If a script is fed to a shell, a "
        "payload that reads takes the script's next lines; a terminal or a socket never ends. Redirect stdin from "
        "/dev/null."
    ),
)
async def check_stdin(context: Context) -> None:
    """Let a payload read its stdin to the end."""
    async with open_backend(context) as backend:
        await expect_payload_ok(
            backend,
            context.sh('[ -z "$(cat)" ] || exit 10'),
            expected="a payload that reads its stdin to the end to get no bytes",
            codes={10: "there is something to read"}.get,
        )


@clause(
    "IC-SUBMIT-17",
    title="A job that is submitted from inside another job has none of that job's own variables.",
    level=SHOULD,
    capability="output",
    depends=("IC-SUBMIT-05", "IC-OUTPUT-03", "IC-HANDLE-05"),
    seconds=90,
    hint=(
        "The environment that submit passes on, or that the resource's own commands read: inside a job it holds the "
        "values that the resource set for that job. With the `SLURM_MEM_PER_CPU` of another job, srun fails; with "
        "the number of another copy, a copy mistakes itself for that one. Remove the variables that the resource "
        "sets for a job before you submit, and set this job's own again. Variables that say how to reach the "
        "resource, and who pays, may stay."
    ),
)
async def check_nested(context: Context) -> None:
    """Find variables that only one of two jobs has. Submit a third job from an environment with these variables.

    Check that the third job does not inherit their values.
    """
    async with open_backend(context) as backend:
        outer = await _read_variables(context, backend, await _start_outer(context, backend))
        other = await _read_variables(context, backend, await backend.submit_jobs(_show_variables(context)))
        own = {name: value for name, value in outer.items() if other.get(name) != value}
        if not own:
            return
        inner = await _read_variables(context, backend, await _start_inside(context, own))
        same = {name for name in own if inner.get(name) == own[name]}
        if same:
            # Jobs may have the same value by chance, such as the number of a slot. So a value that a fourth job has,
            # too, is ignored.
            again = await _read_variables(context, backend, await backend.submit_jobs(_show_variables(context)))
            same -= {name for name in same if again.get(name) == own[name]}
    expected = "a job that is submitted from inside another to have none of the variables that only that one has"
    context.expect(not same, expected=expected, observed=f"it has, with that one's values, {', '.join(sorted(same))}")


def _show_variables(context: Context, **fields: object) -> SubmissionSpec:
    """Return the specification of a job that writes the name of its machine and its variables to a file.

    The job writes no variables to stdout, because a report shows stdout.
    """
    return context.sh("{ uname -n; env; } >told", outputs={"members": [{"pattern": "told"}]}, **fields)


async def _read_variables(context: Context, backend: BackendDriver, handles: Sequence[JobHandle]) -> Mapping[str, str]:
    """Return the variables of a job, except those of pytest, and those whose value is a path or names the machine.

    A path may not exist after the job, two jobs may run on one machine, and pytest sets a variable for each test.
    """
    await backend.wait_until_final(handles)
    (output,) = await backend.fetch_outputs(handles)
    lines = read_output_file(output.files.get("told"), "told").decode(errors="replace").splitlines()
    context.expect(lines, expected="the output of `uname -n` and `env` to be in a file", observed="nothing")
    pairs = [line.partition("=") for line in lines[1:]]
    return {
        name: value
        for name, _, value in pairs
        if value and name.isidentifier() and not name.startswith("PYTEST_")
        if not value.startswith("/") and lines[0] not in value
    }


async def _start_outer(context: Context, backend: BackendDriver) -> list[JobHandle]:
    """Submit a job that requests memory and time. If that is refused, submit a job without these requests."""
    try:
        return await backend.submit_jobs(_show_variables(context, resources={"memory_mb": 256, "wall_time_s": 600}))
    except (UnsupportedSpecError, ResourceError):
        return await backend.submit_jobs(_show_variables(context))


async def _start_inside(context: Context, variables: Mapping[str, str]) -> list[JobHandle]:
    """Submit a job from a child process that has the given variables.

    The variables are passed to the child process in a file, since they may be secret.
    """
    file = context.tmp / "variables.json"
    file.write_text(json.dumps(variables), "utf-8")
    spec = _show_variables(context).model_dump_json()
    reported = await context.run_child(
        child_functions.submit_with_variables, spec, str(file), what="submitting from inside of a job", jobs=True
    )
    handles = read_handles([reported])
    context.remember(handles)
    return handles
