"""Backends with a mistake in fetch_output. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import os
import shutil
import stat
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from intercede.contract import (
    CopyVars,
    JobHandle,
    JobOutput,
    JobState,
    OutputMember,
    OutputSpec,
    ResourceError,
    Submission,
    SubmissionSpec,
)
from intercede.testing.gallery.fake import FakeBackend
from intercede.testing.gallery.fake.job import Job

Outputs = Mapping[JobHandle, JobOutput]


class _ChangesOutput(FakeBackend):
    """Fetches outputs as the fake does. A subclass changes each fetched output."""

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        return output

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Outputs:
        fetched = await super().fetch_output(handles, dest)
        return {
            handle: self.change_output(handle, output, dest / handle.job) if output.ok else output
            for handle, output in fetched.items()
        }

    def get_work(self, handle: JobHandle) -> Path:
        return self._state / handle.job / "work"


def _replace_fields(output: JobOutput, **fields: object) -> JobOutput:
    return JobOutput.model_validate({**dict(output), **fields})


def _rewrite(path: Path | None, content: bytes) -> None:
    assert path is not None
    path.write_bytes(content)


class StdoutIsText(_ChangesOutput):
    r"""Converts stdout as text, so that \r\n becomes \n."""

    caught_by = "IC-OUTPUT-01"
    message_contains = "the same up to byte 7"

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        assert output.stdout is not None
        _rewrite(output.stdout, output.stdout.read_bytes().replace(b"\r\n", b"\n"))
        return output


class StdoutIsATail(_ChangesOutput):
    """Fetches only the last 64 KiB of stdout."""

    caught_by = "IC-OUTPUT-01"
    message_contains = "65536 bytes, the same up to byte 1"

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        assert output.stdout is not None
        _rewrite(output.stdout, output.stdout.read_bytes()[-65536:])
        return output


class JoinsTheStreams(_ChangesOutput):
    """Appends stdout to stderr."""

    caught_by = "IC-OUTPUT-02"
    message_contains = "bytes of stderr as they were written"

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        assert output.stdout is not None
        assert output.stderr is not None
        _rewrite(output.stderr, output.stderr.read_bytes() + output.stdout.read_bytes())
        return output


class HasNoStderr(_ChangesOutput):
    """Does not fetch stderr."""

    caught_by = "IC-OUTPUT-02"
    message_contains = "expected a path to stderr; observed None"

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        return _replace_fields(output, stderr=None)


class _ChoosesOutputs(FakeBackend):
    """Submits jobs as the fake does. A subclass changes which files are to be fetched."""

    def choose_outputs(self, outputs: OutputSpec) -> OutputSpec:
        return outputs

    async def submit(self, spec: SubmissionSpec, copies: int | Sequence[CopyVars] = 1) -> Submission:
        return await super().submit(spec.model_copy(update={"outputs": self.choose_outputs(spec.outputs)}), copies)


class PatternsAreNames(_ChoosesOutputs):
    """Uses a pattern as the name of a file, so that it matches nothing."""

    caught_by = "IC-OUTPUT-03"
    also_red = ("IC-OUTPUT-12",)
    message_contains = "expected exactly the files"

    def choose_outputs(self, outputs: OutputSpec) -> OutputSpec:
        names = tuple(each for each in outputs.members if not set("*?[") & set(each.pattern))
        return outputs.model_copy(update={"members": names})


class StarsCrossSlashes(_ChoosesOutputs):
    """Lets `*` in a pattern match files in subdirectories."""

    caught_by = "IC-OUTPUT-03"
    message_contains = "'sub/b.txt'"

    def choose_outputs(self, outputs: OutputSpec) -> OutputSpec:
        more = [OutputMember(pattern=f"**/{each.pattern}") for each in outputs.members if each.pattern.startswith("*")]
        return outputs.model_copy(update={"members": (*outputs.members, *more)})


class FetchesEverything(_ChoosesOutputs):
    """Fetches files that match no pattern, although include_unlisted is false."""

    caught_by = "IC-OUTPUT-03", "IC-OUTPUT-04"
    message_contains = (
        "observed ['.dot.cfg', '.hidden.txt'",
        "with include_unlisted=False; observed ['listed', 'sub/rest']",
    )

    def choose_outputs(self, outputs: OutputSpec) -> OutputSpec:
        return outputs.model_copy(update={"include_unlisted": True})


class FetchesInputs(_ChangesOutput):
    """Fetches input files as if they were outputs."""

    caught_by = "IC-OUTPUT-04"
    message_contains = "data/input"

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        more = {
            each.name: Path(shutil.copy(self.get_work(handle) / each.name, home / f"{number}"))
            for number, each in enumerate(Job(self.get_work(handle).parent).read_spec().inputs)
        }
        return _replace_fields(output, files={**output.files, **more})


class RaisesForUnknownOutputs(FakeBackend):
    """Raises in fetch_output if one of the jobs is unknown, so that the other jobs get no answer."""

    caught_by = "IC-OUTPUT-05"
    message_contains = "fetch_output raised ResourceError"

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Outputs:
        if any(each.state is JobState.UNKNOWN for each in (await self.status(handles)).values()):
            raise ResourceError("no such job")
        return await super().fetch_output(handles, dest)


class UnknownOutputsAreFine(FakeBackend):
    """Answers that fetching from an unknown job is ok, and returns no files."""

    caught_by = "IC-OUTPUT-05"
    message_contains = "not to be ok, with a reason"

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Outputs:
        fetched = await super().fetch_output(handles, dest)
        return {handle: output if output.ok else JobOutput(ok=True) for handle, output in fetched.items()}


class PointsIntoItsState(_ChangesOutput):
    """Returns a path of stdout that is not under dest."""

    caught_by = "IC-OUTPUT-06"
    message_contains = "expected every path to lie under dest"

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        return _replace_fields(output, stdout=self._state / handle.job / "stdout")


class OneDirectoryForAll(_ChangesOutput):
    """Puts the files of all jobs into one directory under dest."""

    caught_by = "IC-OUTPUT-06"
    message_contains = "expected one directory under dest for each job"

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        shutil.copytree(home, home.parent / "all", dirs_exist_ok=True)
        files = {name: home.parent / "all" / path.relative_to(home) for name, path in output.files.items()}
        return _replace_fields(output, files=files)


class MovesInsteadOfCopying(_ChangesOutput):
    """Moves the files when it fetches them, so that a second fetch finds none."""

    caught_by = "IC-OUTPUT-07"
    message_contains = "observed []"

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        shutil.rmtree(self.get_work(handle))
        self.get_work(handle).mkdir()
        return output


class AddsFilesAtEachFetch(_ChangesOutput):
    """Adds another file under dest at each fetch."""

    caught_by = "IC-OUTPUT-07"
    message_contains = "expected the same files again"

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        (home / f"fetched-{time.monotonic_ns()}").touch()
        return output


class EmptiesDest(FakeBackend):
    """Deletes dest and everything in it before it fetches."""

    caught_by = "IC-OUTPUT-08"
    message_contains = "changed or gone: ['ours'"

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Outputs:
        shutil.rmtree(dest, ignore_errors=True)
        return await super().fetch_output(handles, dest)


class LeavesTemporaryFiles(_ChangesOutput):
    """Leaves a temporary file in dest."""

    caught_by = "IC-OUTPUT-08"
    message_contains = "expected dest to hold our two entries and 1 directories of jobs"

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        home.with_suffix(".part").touch()
        return output


class SkipsNamesWithNewlines(_ChangesOutput):
    """Leaves out files with a newline in their names, and does not report them."""

    caught_by = "IC-OUTPUT-09"
    message_contains = "expected exactly the files"

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        return _replace_fields(output, files={name: path for name, path in output.files.items() if "\n" not in name})


class TrimsNames(_ChangesOutput):
    """Strips blanks from the names of files, so that two files get the same name."""

    caught_by = "IC-OUTPUT-09"
    message_contains = "to hold its own name"

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        return _replace_fields(output, files={name.strip() or "a": path for name, path in output.files.items()})


class FollowsLinks(_ChangesOutput):
    """Fetches the target of a symbolic link as a file."""

    caught_by = "IC-OUTPUT-10"
    message_contains = "expected no link among the files, nor what it leads to; observed ['alias', 'passwd'] came"

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        links = [path for path in self.get_work(handle).iterdir() if path.is_symlink() and path.is_file()]
        return _replace_fields(
            output, files={**output.files, **{path.name: _copy_to(path, home / path.name) for path in links}}
        )


class MakesLinks(_ChangesOutput):
    """Fetches a symbolic link as a link."""

    caught_by = "IC-OUTPUT-10"
    message_contains = "expected no link under dest"

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        for path in self.get_work(handle).iterdir():
            if path.is_symlink():
                (home / path.name).symlink_to(path.readlink())
        return output


def _copy_to(path: Path, to: Path) -> Path:
    return Path(shutil.copyfile(path, to))


class MakesFifos(_ChangesOutput):
    """Makes a named pipe under dest for a named pipe of the job."""

    caught_by = "IC-OUTPUT-11"
    message_contains = "expected only files and directories under dest"

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        for path in self.get_work(handle).iterdir():
            if stat.S_ISFIFO(path.lstat().st_mode):
                os.mkfifo(home / path.name)
        return output


class FailsWithoutAMember(_ChangesOutput):
    """Answers that fetching is not ok if a pattern matches no file."""

    caught_by = "IC-OUTPUT-12"
    message_contains = "expected an output without some of its members to be ok"

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        return JobOutput(ok=False, reason="other: no such file") if output.missing else output


class DoesNotReportMissing(_ChangesOutput):
    """Does not report a pattern that matches no file as missing."""

    caught_by = "IC-OUTPUT-12"
    message_contains = "in missing; observed []"

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        return _replace_fields(output, missing=())


class FetchesOnlySuccess(FakeBackend):
    """Does not fetch the output of a job that FAILED."""

    caught_by = "IC-OUTPUT-13"
    also_red = ("IC-DIAG-02",)
    message_contains = "expected the output of a failed job to be ok"

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Outputs:
        statuses = await self.status(handles)
        failed = JobOutput(ok=False, reason="other: it failed")
        return {
            handle: failed if statuses[handle].state is JobState.FAILED else output
            for handle, output in (await super().fetch_output(handles, dest)).items()
        }


class LosesWhatTheKilledWrote(FakeBackend):
    """Does not fetch stdout of a job that was KILLED."""

    caught_by = "IC-OUTPUT-14"
    message_contains = "expected stdout of a killed job to be b'before\\n'"
    scale = 0.02

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Outputs:
        statuses = await self.status(handles)
        return {
            handle: _replace_fields(output, stdout=None) if statuses[handle].state is JobState.KILLED else output
            for handle, output in (await super().fetch_output(handles, dest)).items()
        }


class FetchesFromRunningJobs(FakeBackend):
    """Answers that fetching from a running job is ok, with the files that exist so far."""

    caught_by = "IC-OUTPUT-15"
    message_contains = "observed ok for a job that is RUNNING afterwards"

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Outputs:
        running = [each for each, status in (await self.status(handles)).items() if status.state is JobState.RUNNING]
        dest.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 -- it keeps the class short
        return {
            **await super().fetch_output(handles, dest),
            **{each: self._get_job(each).fetch(dest) for each in running},
        }


class EndsWhatItFetches(FakeBackend):
    """Kills a running job whose output is to be fetched."""

    caught_by = "IC-OUTPUT-15"
    message_contains = "expected exactly the files ['early', 'late']"

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Outputs:
        answer = await super().fetch_output(handles, dest)
        await self.kill([each for each, output in answer.items() if not output.ok])
        return answer


class LosesEmptyFiles(_ChangesOutput):
    """Does not fetch empty files."""

    caught_by = "IC-OUTPUT-16"
    message_contains = "expected exactly the files"

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        return _replace_fields(output, files={name: path for name, path in output.files.items() if path.stat().st_size})


class FlattensOutputs(_ChangesOutput):
    """Removes the directories from the names of fetched files."""

    caught_by = "IC-OUTPUT-16"
    message_contains = "expected exactly the files"

    def change_output(self, handle: JobHandle, output: JobOutput, home: Path) -> JobOutput:
        return _replace_fields(output, files={Path(name).name: path for name, path in output.files.items()})


class CopiesOverTheFormer(FakeBackend):
    """Leaves files of an earlier fetch in the directory of a job."""

    caught_by = "IC-OUTPUT-17"
    message_contains = "files/stale': b'of a former fetch'"

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Outputs:
        former = _read_files(dest)
        answer = await super().fetch_output(handles, dest)
        for path in former.keys() - _read_files(dest):
            path.write_bytes(former[path])
        return answer


def _read_files(directory: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}


class DropsUnknownOutputs(FakeBackend):
    """Leaves unknown jobs out of the answer of fetch_output."""

    caught_by = "IC-OUTPUT-05"
    message_contains = "expected an answer of fetch_output for job"

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Outputs:
        return {handle: each for handle, each in (await super().fetch_output(handles, dest)).items() if each.ok}
