"""IC-OUTPUT: the whole output of jobs is fetched to the right place, and no other file is fetched."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import SecretBytes

from intercede.contract.job import CopyVars, JobHandle, JobOutput, JobState
from intercede.testing.clauses import clause
from intercede.testing.clauses.support import payloads
from intercede.testing.clauses.support.handles import make_strange_handles
from intercede.testing.clauses.support.outputs import read_output_file
from intercede.testing.model.clause import MUST, SHOULD
from intercede.testing.run.answers import describe_status
from intercede.testing.run.context import CheckFailed, Context, format_value
from intercede.testing.run.driver import BackendDriver, open_backend

_EVERYTHING = {"outputs": {"include_unlisted": True}}


def _ask_for_members(*patterns: str) -> dict[str, object]:
    return {"outputs": {"members": [{"pattern": pattern} for pattern in patterns]}}


async def _run_payload(
    context: Context,
    backend: BackendDriver,
    script: str,
    fields: Mapping[str, object],
    copies: int | Sequence[CopyVars] = 1,
) -> list[JobHandle]:
    """Submit a payload, wait until its jobs have ended, and return their handles."""
    handles = await backend.submit_jobs(context.sh(script, **fields), copies)
    await backend.wait_until_final(handles)
    return handles


async def _get_output(context: Context, script: str, fields: Mapping[str, object], *, ok: bool = True) -> JobOutput:
    """Run a payload, and fetch its output."""
    async with open_backend(context) as backend:
        handles = await _run_payload(context, backend, script, fields)
        (output,) = await backend.fetch_outputs(handles)
    context.expect(output.ok or not ok, expected="the output of an ended job to be ok", observed=output)
    return output


def _expect_files(context: Context, output: JobOutput, contents: Mapping[str, bytes]) -> None:
    """Expect an output to have exactly the given files, with the given contents."""
    context.expect(
        output.files.keys() == contents.keys(),
        expected=f"exactly the files {sorted(contents)}",
        observed=f"{sorted(output.files)}",
    )
    for name, content in contents.items():
        came = read_output_file(output.files[name], name)
        context.expect(came == content, expected=f"{name} to hold {format_value(content)}", observed=came)


_WRITE_MUCH = (
    "printf 'out \\000\\001\\377\\r\\n'; printf 'err \\000\\002\\376\\r\\n' >&2\n"
    "dd if=/dev/zero bs=65536 count=4 2>/dev/null | tr '\\000' o\n"
    "dd if=/dev/zero bs=65536 count=4 2>/dev/null | tr '\\000' e >&2\n"
    "printf 'end of out'; printf 'end of err' >&2\n"
)
"""A script that writes binary data alternately to stdout and stderr.

The data is more than a pipe holds, and has no newline at the end.
"""


def _describe_difference(came: bytes, wanted: bytes) -> str:
    common = next(
        (at for at, (one, other) in enumerate(zip(came, wanted, strict=False)) if one != other),
        min(len(came), len(wanted)),
    )
    return f"{len(came)} bytes, the same up to byte {common}, then {came[common : common + 40]!r}"


@clause(
    "IC-OUTPUT-01",
    title="A job's stdout arrives exact and complete, with nothing added.",
    level=MUST,
    capability="output",
    depends=("IC-OUTPUT-05",),
    hint=(
        "Text mode, an encoding or universal newlines on the way. A tail instead of the whole stream. Messages of a "
        "wrapper or a login shell, or stderr, in the same stream."
    ),
)
async def check_stdout(context: Context) -> None:
    """Write 256 KiB and some awkward bytes to stdout and to stderr, and compare the fetched stdout."""
    output = await _get_output(context, _WRITE_MUCH, {})
    wanted, came = b"out \0\1\377\r\n" + b"o" * (4 << 16) + b"end of out", read_output_file(output.stdout, "stdout")
    expected = f"{len(wanted)} bytes of stdout as they were written"
    context.expect(came == wanted, expected=expected, observed=_describe_difference(came, wanted))


@clause(
    "IC-OUTPUT-02",
    title="A job's stderr arrives exact and complete, and separate from stdout.",
    level=MUST,
    capability="output",
    depends=("IC-OUTPUT-05",),
    hint=(
        "A stderr that is joined with stdout, or to which a shell adds messages of its own, like `Killed`. Redirect "
        "the descriptors of the payload itself, not those of the program that runs it."
    ),
)
async def check_stderr(context: Context) -> None:
    """Write 256 KiB and some awkward bytes to stdout and to stderr, and compare the fetched stderr."""
    output = await _get_output(context, _WRITE_MUCH, {})
    wanted, came = b"err \0\2\376\r\n" + b"e" * (4 << 16) + b"end of err", read_output_file(output.stderr, "stderr")
    expected = f"{len(wanted)} bytes of stderr as they were written"
    context.expect(came == wanted, expected=expected, observed=_describe_difference(came, wanted))


@clause(
    "IC-OUTPUT-03",
    title="Named members and patterns fetch the files that they match, and no others.",
    level=MUST,
    capability="output",
    depends=("IC-STATUS-05", "IC-OUTPUT-16"),
    hint=(
        "`*`, `?` and `[]` do not cross `/`, `**` does. A leading dot is matched only if the pattern spells it out. "
        "A pattern that matches a directory takes everything below it. fnmatch crosses `/`, and the `*` of pathlib "
        "matches a leading dot."
    ),
)
async def check_patterns(context: Context) -> None:
    """Write files that each match one pattern, and files with similar names that match none."""
    wanted = ("a.txt", ".dot.cfg", "x1.dat", "named", "dir/one", "dir/deep/two", "tree/a/x.log", "tree/a/b/y.log")
    others = (".hidden.txt", "sub/b.txt", "x22.dat", "z1.dat", "named.not", "tree/a/x.out", "dirt/one")
    script = "mkdir -p sub dir/deep tree/a/b dirt\n"
    script += "".join(f"printf %s '{name}' > '{name}'\n" for name in wanted + others)
    patterns = ("*.txt", ".dot.*", "[xy]?.dat", "named", "dir", "tree/**/*.log")
    output = await _get_output(context, script, _ask_for_members(*patterns))
    _expect_files(context, output, {name: name.encode() for name in wanted})
    context.expect(not output.missing, expected="no pattern to be missing", observed=output.missing)


@clause(
    "IC-OUTPUT-04",
    title="include_unlisted fetches the rest, but never stdout, stderr, log, inputs, executable or secrets.",
    level=MUST,
    capability="output",
    depends=("IC-OUTPUT-01", "IC-OUTPUT-02", "IC-OUTPUT-16", "IC-SUBMIT-07", "IC-SUBMIT-09", "IC-SUBMIT-10"),
    hint=(
        "The rest is everything in the working directory except the files that the backend put there: keep a list "
        "of those, or keep them elsewhere. Without include_unlisted, only members are fetched."
    ),
)
async def check_unlisted(context: Context) -> None:
    """Run a script that has input files, a secret, and file names for its stdout and stderr. Fetch its output.

    The script runs twice: without and with the option ``include_unlisted``.
    """
    source, script = context.tmp / "source", context.tmp / "script"
    source.write_text("input", "utf-8")
    script.write_text("mkdir -p sub\necho out; echo err >&2\nprintf listed > listed\nprintf rest > sub/rest\n", "utf-8")
    for unlisted, wanted in ((False, {"listed"}), (True, {"listed", "sub/rest"})):
        fields = {
            "executable": script,
            "arguments": (),
            "inputs": [{"name": "data/input", "source": source}, {"name": "input", "source": source}],
            "stdout": "my.out",
            "stderr": "my.err",
            "outputs": {"members": [{"pattern": "listed"}], "include_unlisted": unlisted},
        }
        async with open_backend(context) as backend:
            handles = await _run_payload(
                context, backend, "", fields, [CopyVars(secrets={"secret": SecretBytes(b"s")})]
            )
            (output,) = await backend.fetch_outputs(handles)
        context.expect(
            output.ok and set(output.files) == wanted,
            expected=f"exactly the files {sorted(wanted)} with include_unlisted={unlisted}",
            observed=f"{sorted(output.files)}, ok={output.ok}",
        )
        streams = [read_output_file(output.stdout, "stdout"), read_output_file(output.stderr, "stderr")]
        context.expect(
            streams == [b"out\n", b"err\n"], expected="stdout and stderr in the named files", observed=streams
        )


@clause(
    "IC-OUTPUT-05",
    title=(
        "The answer's keys are exactly the handles asked for; an unknown one is not ok, and does not spoil the others."
    ),
    level=MUST,
    capability="output",
    depends=("IC-STATUS-05",),
    hint=(
        "One exception for the whole call because one job is missing. Handles that are dropped from the answer. For "
        "an empty list, answer an empty mapping."
    ),
)
async def check_output_keys(context: Context) -> None:
    """Fetch the output of one of two jobs, together with handles that name no job."""
    async with open_backend(context) as backend:
        handles = await _run_payload(context, backend, "echo here", {}, copies=2)
        strangers = make_strange_handles(context, handles[0])
        asked = [*strangers, handles[0], handles[0]]
        answers = await backend.ask_each("fetch_output", asked, expected="an answer for every handle")
        *bad, good = answers.get_each(JobOutput, [*strangers, handles[0]])
        context.expect(good.ok, expected="the known job to be ok beside unknown ones", observed=good)
        for handle, output in zip(strangers, bad, strict=True):
            said = not output.ok and output.reason
            context.expect(said, expected=f"{handle!r} not to be ok, with a reason", observed=output)
        more = set(answers.keys) - set(asked)
        context.expect(not more, expected="no other keys than the handles asked", observed=f"also {format_value(more)}")
        keys = (await backend.ask_each("fetch_output", [], expected="an answer for every handle")).keys
        context.expect(not keys, expected="an empty mapping for no handles", observed=f"keys {format_value(keys)}")


def _list_paths(output: JobOutput) -> list[Path]:
    optional = (output.stdout, output.stderr, output.log)
    return [*output.files.values(), *(path for path in optional if path is not None)]


@clause(
    "IC-OUTPUT-06",
    title="Every path lies under dest, in a directory of the job's own.",
    level=MUST,
    capability="output",
    depends=("IC-OUTPUT-05", "IC-SUBMIT-02"),
    hint=(
        "Paths into a cache, or into the resource's own directory, which callers must not touch. Files of several "
        "jobs side by side in dest: the second overwrites the first. Name each job's directory after its handle."
    ),
)
async def check_places(context: Context) -> None:
    """Fetch the output of two copies that write files with the same names."""
    dest = context.tmp / "dest"
    async with open_backend(context) as backend:
        handles = await _run_payload(context, backend, "echo out; echo err >&2; echo x > x", _EVERYTHING, copies=2)
        outputs = await backend.fetch_outputs(handles, dest)
    homes: list[set[str]] = []
    for output in outputs:
        paths = [path.resolve() for path in _list_paths(output)]
        outside = [str(path) for path in paths if dest.resolve() not in path.parents]
        context.expect(paths and not outside, expected="every path to lie under dest", observed=outside or "no path")
        homes.append({path.relative_to(dest.resolve()).parts[0] for path in paths})
    context.expect(
        len(homes[0]) == len(homes[1]) == 1 and homes[0] != homes[1],
        expected="one directory under dest for each job",
        observed=f"{sorted(homes[0])} and {sorted(homes[1])}",
    )


def _read_tree(directory: Path) -> dict[str, bytes | None]:
    """Map each path below a directory to the content of the file, or to None if the path is no regular file."""
    entries = sorted(directory.rglob("*"))
    return {
        str(each.relative_to(directory)): read_output_file(each, str(each))
        if each.is_file() and not each.is_symlink()
        else None
        for each in entries
    }


@clause(
    "IC-OUTPUT-07",
    title="Fetching again gives the same files, also into the same dest.",
    level=MUST,
    capability="output",
    depends=("IC-OUTPUT-06", "IC-OUTPUT-16"),
    hint=(
        "Moving instead of copying: the first fetch takes everything away. A directory that exists already, and "
        "makes the second fetch fail or land inside the first one. Build the new directory aside, then replace the "
        "old one."
    ),
)
async def check_fetching_again(context: Context) -> None:
    """Fetch an output twice into one directory, and once into another directory. Compare the fetched files."""
    dest, other = context.tmp / "dest", context.tmp / "other"
    async with open_backend(context) as backend:
        handles = await _run_payload(context, backend, "echo out; mkdir s; echo x > s/x", _EVERYTHING)
        trees: list[dict[str, bytes | None]] = []
        for where in (dest, dest, other):
            (output,) = await backend.fetch_outputs(handles, where)
            context.expect(output.ok, expected=f"fetch number {len(trees) + 1} to be ok", observed=output)
            _expect_files(context, output, {"s/x": b"x\n"})
            trees.append(_read_tree(where))
    context.expect(
        trees[0] == trees[1], expected=f"the same files again: {sorted(trees[0])}", observed=sorted(trees[1])
    )
    expected = f"the same files in another directory: {sorted(trees[0])}"
    context.expect(trees[0] == trees[2], expected=expected, observed=sorted(trees[2]))


@clause(
    "IC-OUTPUT-08",
    title="Everything else in dest stays untouched.",
    level=MUST,
    capability="output",
    depends=("IC-OUTPUT-06",),
    hint=(
        "Emptying or replacing dest itself. Touching directories of jobs that were fetched before. Temporary names "
        "that are left over: remove everything that was built aside."
    ),
)
async def check_rest_of_dest(context: Context) -> None:
    """Fetch the outputs of two jobs, one after the other, into a directory that has other files."""
    dest = context.tmp / "dest"
    dest.joinpath("ours").mkdir(parents=True)
    dest.joinpath("ours", "x").write_text("ours", "utf-8")
    dest.joinpath("x").write_text("ours too", "utf-8")
    async with open_backend(context) as backend:
        handles = await _run_payload(context, backend, "echo theirs > x", _EVERYTHING, copies=2)
        for count, handle in enumerate(handles, start=1):
            before = _read_tree(dest)
            await backend.fetch_outputs([handle], dest)
            after = _read_tree(dest)
            changed = [name for name, content in before.items() if name not in after or after[name] != content]
            expected = "the other files in dest to be untouched"
            context.expect(not changed, expected=expected, observed=f"changed or gone: {changed}")
            entries = sorted(os.listdir(dest))  # noqa: PTH208 -- names are listed
            expected = f"dest to hold our two entries and {count} directories of jobs"
            context.expect(len(entries) == 2 + count, expected=expected, observed=f"entries: {format_value(entries)}")


_HOSTILE = ("a b", " ", "line\nline", "-rf", "ünï漢", "*", "'\"$x`", "back\\slash", "#a;b&c", "\x1b[31m", "a:b")


@clause(
    "IC-OUTPUT-09",
    title="Files with hostile names are fetched or refused, job by job; they are never put in a wrong place.",
    level=MUST,
    capability="output",
    depends=("IC-OUTPUT-06", "IC-OUTPUT-08", "IC-SUBMIT-04", "IC-SUBMIT-06"),
    hint=(
        "Lists of names that are split at newlines or blanks. Names that begin with a dash and are read as options: "
        "put `--` or `./` before them. A name that is skipped without a report: if a file cannot be fetched, the "
        "output is not ok."
    ),
)
async def check_hostile_names(context: Context) -> None:
    """Let one copy write files with hostile names, and let another copy write a file with a plain name.

    Each file holds its own name.
    """
    copies = [CopyVars(environment={"IC_NAMES": "hostile"}), CopyVars(environment={"IC_NAMES": "plain"})]
    script = '[ "$IC_NAMES" = hostile ] || set -- plain\nfor each; do printf %s "$each" > "./$each"; done\n'
    dest = context.tmp / "dest"
    async with open_backend(context) as backend:
        handles = await backend.submit_jobs(context.sh(script, *_HOSTILE, **_EVERYTHING), copies)
        await backend.wait_until_final(handles)
        hostile, plain = await backend.fetch_outputs(handles, dest)
    context.expect(plain.ok, expected="the other copy's output to be ok", observed=plain)
    _expect_files(context, plain, {"plain": b"plain"})
    for name, path in hostile.files.items():
        content = read_output_file(path, repr(name))
        context.expect(content == name.encode(), expected=f"{name!r} to hold its own name", observed=content)
    if hostile.ok:
        _expect_files(context, hostile, {name: name.encode() for name in _HOSTILE})
    else:
        context.expect(hostile.reason, expected="a reason if hostile names are refused", observed=hostile)
    context.expect(
        len(os.listdir(dest)) <= len(handles),  # noqa: PTH208 -- names are counted
        expected="only the jobs' directories in dest",
        observed=sorted(os.listdir(dest)),  # noqa: PTH208 -- names are listed
    )


@clause(
    "IC-OUTPUT-10",
    title="Links never lead outside, and are not followed.",
    level=MUST,
    capability="output",
    depends=("IC-OUTPUT-06", "IC-OUTPUT-16"),
    hint=(
        "`tar -h`, `cp -L`, shutil.copytree and `find -L` follow links: a payload that links to another user's "
        "file, or to /, gets it fetched. The extractall of tarfile makes links under dest, and writes the next "
        "member through them. Take only regular files."
    ),
)
async def check_links(context: Context) -> None:
    """Let a payload make links in its working directory.

    The links lead to a file and a directory outside of the working directory, to a file that the payload wrote, and to
    a missing file.
    """
    script = (
        "echo real > real; ln -s /etc/passwd passwd; ln -s /etc etc; ln -s real alias; ln -s nowhere dangling\n"
        "mkdir sub; ln -s ../../.. sub/up; echo kept > sub/kept\n"
    )
    dest = context.tmp / "dest"
    fields = {"outputs": {"members": [{"pattern": "passwd"}, {"pattern": "etc/host*"}], "include_unlisted": True}}
    async with open_backend(context) as backend:
        handles = await _run_payload(context, backend, script, fields)
        (output,) = await backend.fetch_outputs(handles, dest)
    names = sorted(set(output.files) - {"real", "sub/kept"})
    context.expect(not names, expected="no link among the files, nor what it leads to", observed=f"{names} came")
    links = [str(path.relative_to(dest)) for path in dest.rglob("*") if path.is_symlink()]
    context.expect(not links, expected="no link under dest", observed=f"links: {format_value(links)}")
    missing = {"real", "sub/kept"} - set(output.files)
    context.expect(not missing or not output.ok, expected="the regular files to come", observed=f"no {sorted(missing)}")


@clause(
    "IC-OUTPUT-11",
    title="Devices, sockets and fifos are left out.",
    level=MUST,
    capability="output",
    depends=("IC-OUTPUT-06",),
    hint=(
        "Opening a fifo waits for its other end for ever; reading a device never ends. Check the type of an entry "
        "before opening it, and let tar take only regular files."
    ),
)
async def check_special_files(context: Context) -> None:
    """Let the payload make a fifo, and a device if the payload has the right to make one."""
    script = "echo real > real; mkfifo fifo; mknod null c 1 3 2>/dev/null || :\n"
    dest = context.tmp / "dest"
    async with open_backend(context) as backend:
        handles = await _run_payload(context, backend, script, _EVERYTHING)
        (output,) = await backend.fetch_outputs(handles, dest)
    special = [str(each.relative_to(dest)) for each in dest.rglob("*") if not each.is_file() and not each.is_dir()]
    context.expect(
        not special, expected="only files and directories under dest", observed=f"others: {format_value(special)}"
    )
    _expect_files(context, output, {"real": b"real\n"})


@clause(
    "IC-OUTPUT-12",
    title="A declared member that does not exist is listed in `missing`, and the rest is fetched.",
    level=MUST,
    capability="output",
    depends=("IC-OUTPUT-05",),
    hint=(
        "tar and scp fail if one of their operands is missing, and may fetch no file at all. Match the patterns "
        "against the files that exist. Report each pattern that matched no file; the output is still ok."
    ),
)
async def check_missing(context: Context) -> None:
    """Fetch output by the name of an existing file, the name of a missing file, and a pattern that matches no file."""
    output = await _get_output(
        context, "echo here > here", _ask_for_members("not-there", "here", "none-*.txt"), ok=False
    )
    context.expect(output.ok, expected="an output without some of its members to be ok", observed=output)
    _expect_files(context, output, {"here": b"here\n"})
    context.expect(
        sorted(output.missing) == ["none-*.txt", "not-there"],
        expected="['none-*.txt', 'not-there'] in missing",
        observed=f"{sorted(output.missing)}",
    )


@clause(
    "IC-OUTPUT-13",
    title="The output of a failed job can be fetched.",
    level=MUST,
    capability="output",
    depends=("IC-OUTPUT-05", "IC-STATUS-06"),
    hint=(
        "A fetch that requires DONE instead of an ended job, or staging out that is skipped if the payload fails. "
        "Users want the output of failed jobs most of all."
    ),
)
async def check_failed_output(context: Context) -> None:
    """Fetch the files that a job wrote before it failed."""
    output = await _get_output(context, "echo why; echo x > x; exit 3", _ask_for_members("x"), ok=False)
    context.expect(output.ok, expected="the output of a failed job to be ok", observed=output)
    _expect_files(context, output, {"x": b"x\n"})
    stdout = read_output_file(output.stdout, "stdout")
    context.expect(stdout == b"why\n", expected="its stdout to be b'why\\n'", observed=stdout)


@clause(
    "IC-OUTPUT-14",
    title="A killed job has an output, with everything that it wrote before the kill.",
    level=SHOULD,
    capability="output",
    also_needs=("kill",),
    depends=("IC-OUTPUT-13", "IC-KILL-01"),
    seconds=120,
    hint=(
        "Staging out that is skipped for killed jobs; buffers that are lost with the process that held them. The "
        "output before the end is what shows why the job had to be killed."
    ),
)
async def check_killed_output(context: Context) -> None:
    """Kill a job that has written some output. Repeat with longer waits before the kill until the output is fetched."""
    came: list[object] = []
    async with open_backend(context) as backend:
        for seconds in (0.0, *payloads.growing_durations(context)):
            handle = await backend.submit_job(context.sh("echo before; exec sleep 60"))
            await backend.wait_for_state(handle, JobState.RUNNING)
            await asyncio.sleep(seconds)
            await backend.kill([handle])
            await backend.wait_until_final([handle])
            (output,) = await backend.fetch_outputs([handle])
            came.append(output.stdout and read_output_file(output.stdout, "stdout"))
            if came[-1] == b"before\n":
                return
    raise CheckFailed("stdout of a killed job to be b'before\\n'", format_value(came))


@clause(
    "IC-OUTPUT-15",
    title="The output of an unfinished job is not ok, and fetching it loses no file: a later fetch gets them all.",
    level=MUST,
    capability="output",
    depends=("IC-OUTPUT-13", "IC-SUBMIT-03", "IC-STATUS-08"),
    seconds=120,
    hint=(
        "A fetch that takes the files that exist so far and reports ok: its caller believes that they were all. A "
        "fetch that moves files away from a running job."
    ),
)
async def check_unfinished(context: Context) -> None:
    """Fetch the output of a job that is still running, and again after the job has ended."""
    async with open_backend(context) as backend:
        for seconds in payloads.growing_durations(context):
            script = (
                f"echo early > early; echo one; {payloads.sleep_script(seconds)}; echo late > late; echo two; exit 3"
            )
            handle = await backend.submit_job(context.sh(script, **_EVERYTHING))
            await backend.wait_for_state(handle, JobState.RUNNING)
            (early,) = await backend.fetch_outputs([handle])
            status = await backend.get_status(handle)
            if status.exit_code == 3:  # noqa: PLR2004 -- the exit code of the payload
                continue  # this attempt shows nothing, because the job may have ended before its output was fetched
            observed = f"ok for a job that is {describe_status(status)} afterwards, with {sorted(early.files)}"
            context.expect(not early.ok, expected="an unfinished job's output not to be ok", observed=observed)
            await backend.wait_until_final([handle], within=seconds + 30)
            (output,) = await backend.fetch_outputs([handle])
            context.expect(output.ok, expected="the output to be ok when the job has ended", observed=output)
            _expect_files(context, output, {"early": b"early\n", "late": b"late\n"})
            stdout = read_output_file(output.stdout, "stdout")
            context.expect(stdout == b"one\ntwo\n", expected="the whole stdout in the end", observed=stdout)
            return


@clause(
    "IC-OUTPUT-16",
    title="Nested directories, empty files and binary files are fetched.",
    level=MUST,
    capability="output",
    depends=("IC-OUTPUT-05",),
    hint=(
        "Listings that do not descend. Empty files that are treated as missing. Text mode: CR LF, NUL and bytes "
        "that are not valid UTF-8 must arrive unchanged."
    ),
)
async def check_kinds_of_files(context: Context) -> None:
    """Write nested directories, empty files, a binary file and a large file, and fetch them."""
    script = (
        "mkdir -p a/b/c; : > empty; : > a/empty; printf '\\000\\377\\r\\n\\n' > a/b/c/binary\n"
        "dd if=/dev/zero bs=65536 count=16 2>/dev/null > a/large\n"
    )
    output = await _get_output(context, script, _EVERYTHING)
    contents = {"empty": b"", "a/empty": b"", "a/b/c/binary": b"\0\377\r\n\n", "a/large": bytes(16 << 16)}
    _expect_files(context, output, contents)


@clause(
    "IC-OUTPUT-17",
    title="Fetching again replaces the job's directory: no file of the earlier fetch stays.",
    level=MUST,
    capability="output",
    depends=("IC-OUTPUT-07",),
    hint=(
        "Files that are copied over those of the earlier fetch, or skipped because they exist. Build the new "
        "directory aside; then rename the old one away, and the new one into its place."
    ),
)
async def check_replacing(context: Context) -> None:
    """Fetch an output, change one of its files, add another file, and fetch the output again."""
    dest = context.tmp / "dest"
    async with open_backend(context) as backend:
        handles = await _run_payload(context, backend, "echo x > x", _EVERYTHING)
        (output,) = await backend.fetch_outputs(handles, dest)
        _expect_files(context, output, {"x": b"x\n"})
        before = _read_tree(dest)
        output.files["x"].write_bytes(b"another")
        output.files["x"].with_name("stale").write_bytes(b"of a former fetch")
        (output,) = await backend.fetch_outputs(handles, dest)
    context.expect(output.ok, expected="the second fetch to be ok", observed=output)
    after = _read_tree(dest)
    others = {
        name: after.get(name, "it is not there")
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }
    expected = "the same files below `dest` as after the first fetch, although one was changed and `stale` was added"
    context.expect(not others, expected=expected, observed=others)
