"""Backends with a mistake in submit. Each class docstring names the mistake."""

# ruff: noqa: D102 -- the docstring of the class describes its methods

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from secrets import token_hex
from shlex import quote
from tempfile import mkdtemp

from pydantic import SecretBytes

from intercede.contract import (
    CopyVars,
    FileRef,
    InvalidSpecError,
    OutputSpec,
    ResourceError,
    Submission,
    SubmissionSpec,
    UnsupportedSpecError,
    each_copy,
)
from intercede.testing.gallery.fake import FakeBackend

Copies = int | Sequence[CopyVars]


class _Changes(FakeBackend):
    """Submits jobs as the fake does. A subclass changes the specification or the copies."""

    def change_spec(self, spec: SubmissionSpec) -> SubmissionSpec:
        return spec

    def change_copies(self, spec: SubmissionSpec, copies: tuple[CopyVars, ...]) -> tuple[CopyVars, ...]:
        return copies

    async def submit(self, spec: SubmissionSpec, copies: Copies = 1) -> Submission:
        return await super().submit(self.change_spec(spec), self.change_copies(spec, each_copy(copies)))


def _prefix_script(spec: SubmissionSpec, line: str) -> SubmissionSpec:
    """Put a line of sh before the script of one of the kit's payloads."""
    if spec.arguments[:1] != ("-c",):
        return spec
    option, script, *rest = spec.arguments
    return spec.model_copy(update={"arguments": (option, f"{line}\n{script}", *rest)})


def _replace_environments(copies: Sequence[CopyVars], values: Sequence[Mapping[str, str]]) -> tuple[CopyVars, ...]:
    return tuple(CopyVars(environment=value, secrets=copy.secrets) for copy, value in zip(copies, values, strict=True))


class LosesTheLastCopy(FakeBackend):
    """Returns no handle for the last copy."""

    caught_by = "IC-SUBMIT-01"
    message_contains = "expected handles and failures for [0, 1, 2] of 3 copies; observed handles for [0, 1]"

    async def submit(self, spec: SubmissionSpec, copies: Copies = 1) -> Submission:
        answer = await super().submit(spec, copies)
        last = max(answer.handles)
        return Submission(handles={index: handle for index, handle in answer.handles.items() if index < last})


class OneHandleForAll(FakeBackend):
    """Returns the handle of the first copy for every copy."""

    caught_by = "IC-SUBMIT-02"
    also_red = ("IC-FIND-01",)
    message_contains = "different handles for"

    async def submit(self, spec: SubmissionSpec, copies: Copies = 1) -> Submission:
        answer = await super().submit(spec, copies)
        return Submission(handles=dict.fromkeys(answer.handles, answer.handles[0]))


class KeepsOneDigitOfTheIndex(FakeBackend):
    """Returns for copies 10 and 11 the handles of copies 0 and 1."""

    caught_by = "IC-SUBMIT-06"
    message_contains = "copy 1 has to exit with this code"

    async def submit(self, spec: SubmissionSpec, copies: Copies = 1) -> Submission:
        answer = await super().submit(spec, copies)
        return Submission(handles={index: answer.handles[index % 10] for index in answer.handles})


class CannotSubmit(FakeBackend):
    """Raises in every submit."""

    caught_by = "IC-SUBMIT-01"
    message_contains = "raised intercede.contract.errors.ResourceError: the far side does not answer"

    async def submit(self, spec: SubmissionSpec, copies: Copies = 1) -> Submission:
        await super().status([])  # raises NotOpenError if it is not open
        raise ResourceError("the far side does not answer")


class WaitsForTheJob(FakeBackend):
    """Returns from submit only after the jobs have ended."""

    caught_by = "IC-SUBMIT-03"
    message_contains = "expected submit to"
    scale = 0.03

    async def submit(self, spec: SubmissionSpec, copies: Copies = 1) -> Submission:
        answer = await super().submit(spec, copies)
        while not all(  # noqa: ASYNC110 -- there is no event to wait for
            each.state.final for each in (await self.status(list(answer.handles.values()))).values()
        ):
            await asyncio.sleep(0.01)
        return answer


class TrimsArguments(_Changes):
    """Removes trailing newlines from arguments, as `$(...)` does in a shell."""

    caught_by = "IC-SUBMIT-04"
    message_contains = "'trailing newline\\n', arrived changed"

    def change_spec(self, spec: SubmissionSpec) -> SubmissionSpec:
        return spec.model_copy(update={"arguments": tuple(each.rstrip("\n") for each in spec.arguments)})


class DropsEmptyArguments(_Changes):
    """Drops empty arguments, as an unquoted list does in a shell."""

    caught_by = "IC-SUBMIT-04"
    message_contains = "there are more or fewer of them"

    def change_spec(self, spec: SubmissionSpec) -> SubmissionSpec:
        return spec.model_copy(update={"arguments": tuple(each for each in spec.arguments if each)})


class WritesArgumentsInAscii(_Changes):
    """Replaces non-ASCII characters in arguments by question marks."""

    caught_by = "IC-SUBMIT-04"
    message_contains = "arrived changed"

    def change_spec(self, spec: SubmissionSpec) -> SubmissionSpec:
        plain = tuple(each.encode("ascii", "replace").decode() for each in spec.arguments)
        return spec.model_copy(update={"arguments": plain})


class ReadsVariablesByLine(_Changes):
    """Cuts the value of an environment variable at its first newline."""

    caught_by = "IC-SUBMIT-05"
    message_contains = "'line\\nline', arrived changed"

    def change_spec(self, spec: SubmissionSpec) -> SubmissionSpec:
        first = {name: value.split("\n")[0] for name, value in spec.environment.items()}
        return spec.model_copy(update={"environment": first})


class SortsCopiesAsText(_Changes):
    """Sorts copies as text, so that copy 10 comes before copy 2."""

    caught_by = "IC-SUBMIT-06"
    message_contains = "copy 2 should have exited with 0, ended FAILED (exit_code=30, reason=exit_code): copy 10 has to"

    def change_copies(self, spec: SubmissionSpec, copies: tuple[CopyVars, ...]) -> tuple[CopyVars, ...]:
        return tuple(copies[index] for index in sorted(range(len(copies)), key=str))


class TheSpecificationWins(_Changes):
    """Lets the environment of the specification override that of a copy."""

    caught_by = "IC-SUBMIT-06"
    message_contains = "the specification's IC_END won over the copy's"

    def change_copies(self, spec: SubmissionSpec, copies: tuple[CopyVars, ...]) -> tuple[CopyVars, ...]:
        return _replace_environments(copies, [{**copy.environment, **spec.environment} for copy in copies])


class SecretsAreText(_Changes):
    """Decodes secrets as text and encodes them again, which changes their bytes."""

    caught_by = "IC-SUBMIT-07"
    message_contains = "its secret's bytes differ"

    def change_copies(self, spec: SubmissionSpec, copies: tuple[CopyVars, ...]) -> tuple[CopyVars, ...]:
        texts = [{name: _decode_secret(value) for name, value in copy.secrets.items()} for copy in copies]
        return tuple(
            CopyVars(
                environment=copy.environment, secrets={name: SecretBytes(text.encode()) for name, text in each.items()}
            )
            for copy, each in zip(copies, texts, strict=True)
        )


def _decode_secret(secret: SecretBytes) -> str:
    return secret.get_secret_value().decode(errors="replace").replace("\0", "")


class SecretsAreReadable(_Changes):
    """Gives the files of secrets the mode 0644."""

    caught_by = "IC-SUBMIT-07"
    message_contains = "its secret's mode is not 0600"

    def change_spec(self, spec: SubmissionSpec) -> SubmissionSpec:
        return _prefix_script(spec, "chmod 644 secret-* 2>/dev/null")


class SecretsForAll(_Changes):
    """Gives every copy the secrets of all copies."""

    caught_by = "IC-SUBMIT-07"
    message_contains = "another copy's secret is in its working directory, too"

    def change_copies(self, spec: SubmissionSpec, copies: tuple[CopyVars, ...]) -> tuple[CopyVars, ...]:
        secrets = {name: value for copy in copies for name, value in copy.secrets.items()}
        return tuple(CopyVars(environment=copy.environment, secrets=secrets) for copy in copies)


class SecretsInTheEnvironment(_Changes):
    """Passes a secret to the payload in an environment variable as well."""

    caught_by = "IC-SUBMIT-08"
    message_contains = "environment"

    def change_copies(self, spec: SubmissionSpec, copies: tuple[CopyVars, ...]) -> tuple[CopyVars, ...]:
        added = [
            {name.replace("-", "_"): _decode_secret(value) for name, value in copy.secrets.items()} for copy in copies
        ]
        return _replace_environments(
            copies, [{**copy.environment, **each} for copy, each in zip(copies, added, strict=True)]
        )


class SecretsAmongTheArguments(_Changes):
    """Passes a secret in the arguments of a process, which other users can read."""

    caught_by = "IC-SUBMIT-08"
    message_contains = "the secret is among its arguments"

    async def submit(self, spec: SubmissionSpec, copies: Copies = 1) -> Submission:
        secrets = [_decode_secret(value) for copy in each_copy(copies) for value in copy.secrets.values()]
        return await super().submit(spec.model_copy(update={"arguments": (*spec.arguments, *secrets)}), copies)


class SecretsInTheLog(FakeBackend):
    """Writes secrets to the log at level DEBUG."""

    caught_by = "IC-SUBMIT-08"
    message_contains = "it is in a log record"

    async def submit(self, spec: SubmissionSpec, copies: Copies = 1) -> Submission:
        secrets = [_decode_secret(value) for copy in each_copy(copies) for value in copy.secrets.values()]
        logging.getLogger("site.backend").debug("submitting with %s", secrets)
        return await super().submit(spec, copies)


class SecretsInTheError(FakeBackend):
    """Puts secrets into an error."""

    caught_by = "IC-SUBMIT-08"
    message_contains = "it is in an error"

    async def submit(self, spec: SubmissionSpec, copies: Copies = 1) -> Submission:
        try:
            return await super().submit(spec, copies)
        except InvalidSpecError as error:
            secrets = [_decode_secret(value) for copy in each_copy(copies) for value in copy.secrets.values()]
            raise InvalidSpecError(str(error), value=secrets) from None


class FlattensInputs(_Changes):
    """Removes the directories from the names of inputs."""

    caught_by = "IC-SUBMIT-09"
    message_contains = "'data/deep/with blank.txt' is missing or differs"

    def change_spec(self, spec: SubmissionSpec) -> SubmissionSpec:
        flat = tuple(FileRef(name=PurePosixPath(each.name).name, source=each.source) for each in spec.inputs)
        return spec.model_copy(update={"inputs": flat})


def _get_size(file: FileRef) -> int | None:
    path = Path(file.source)
    return path.stat().st_size if path.is_file() else None


class DropsEmptyInputs(_Changes):
    """Does not stage empty input files."""

    caught_by = "IC-SUBMIT-09"
    message_contains = "'empty' is missing or differs"

    def change_spec(self, spec: SubmissionSpec) -> SubmissionSpec:
        return spec.model_copy(update={"inputs": tuple(each for each in spec.inputs if _get_size(each) != 0)})


class CutsLargeInputs(_Changes):
    """Stages only the first 64 KiB of an input file."""

    caught_by = "IC-SUBMIT-09"
    message_contains = "'large' is missing or differs"

    def change_spec(self, spec: SubmissionSpec) -> SubmissionSpec:
        for path in [Path(each.source) for each in spec.inputs if _get_size(each)]:
            path.write_bytes(path.read_bytes()[:65536])
        return spec


class NeedsTheModeBit(_Changes):
    """Does not run a staged executable without the x bit."""

    caught_by = "IC-SUBMIT-10"
    message_contains = "expected a file of mode 0644 with the shebang"

    def change_spec(self, spec: SubmissionSpec) -> SubmissionSpec:
        path = spec.staged_executable
        runs = path is None or not path.exists() or os.access(path, os.X_OK)
        return spec if runs else spec.model_copy(update={"executable": "false"})


class BypassesTheShebang(_Changes):
    """Runs a staged script with sh, whatever its shebang says."""

    caught_by = "IC-SUBMIT-10"
    message_contains = "exit_code=9"

    def change_spec(self, spec: SubmissionSpec) -> SubmissionSpec:
        path = spec.staged_executable
        if path is None or not path.exists():
            return spec
        return spec.model_copy(
            update={"executable": "sh", "arguments": ("-c", path.read_text("utf-8"), "sh", *spec.arguments)}
        )


class LinksInputs(_Changes):
    """Links inputs to the caller's files instead of copying them."""

    caught_by = "IC-SUBMIT-11"
    message_contains = "exit_code=10"

    def change_spec(self, spec: SubmissionSpec) -> SubmissionSpec:
        path = spec.staged_executable
        if path is None or not spec.inputs:
            return spec
        links = "".join(f"mkdir -p data; ln -s {quote(str(each.source))} {quote(each.name)}\n" for each in spec.inputs)
        arguments = ("-c", links + path.read_text("utf-8"), "sh", *spec.arguments)
        return spec.model_copy(update={"executable": "sh", "arguments": arguments, "inputs": ()})


class SharesOneDirectory(_Changes):
    """Runs all copies in one directory, if they have no inputs and no outputs."""

    caught_by = "IC-SUBMIT-12"
    message_contains = "files of other copies lie in its directory"

    def change_spec(self, spec: SubmissionSpec) -> SubmissionSpec:
        if spec.inputs or spec.outputs != OutputSpec():
            return spec
        return _prefix_script(spec, f"[ -e secret-* ] || cd {quote(mkdtemp(dir=self._state))}")


class DropsTheContainer(_Changes):
    """Ignores the container of a specification."""

    caught_by = "IC-SUBMIT-13"
    message_contains = "expected an image that does not exist to be refused"

    def change_spec(self, spec: SubmissionSpec) -> SubmissionSpec:
        return spec.model_copy(update={"container": None})


class DropsDestinations(_Changes):
    """Ignores the destinations of outputs."""

    caught_by = "IC-SUBMIT-13"
    message_contains = "expected an output to an unknown scheme to be refused"

    def change_spec(self, spec: SubmissionSpec) -> SubmissionSpec:
        kept = tuple(each for each in spec.outputs.members if each.destination is None)
        return spec.model_copy(update={"outputs": spec.outputs.model_copy(update={"members": kept})})


class RefusesTooLate(_Changes):
    """Refuses a specification with a container only after the jobs have started."""

    caught_by = "IC-SUBMIT-13"
    message_contains = "expected no job to be started"

    async def submit(self, spec: SubmissionSpec, copies: Copies = 1) -> Submission:
        answer = await super().submit(spec.model_copy(update={"container": None}), copies)
        if spec.container is not None:
            raise UnsupportedSpecError("no containers here", field="container")
        return answer


class TakesNoCopies(FakeBackend):
    """Accepts a submission of 0 copies, and starts no job."""

    caught_by = "IC-SUBMIT-14"
    message_contains = "expected InvalidSpecError for 0 copies"

    async def submit(self, spec: SubmissionSpec, copies: Copies = 1) -> Submission:
        return Submission() if copies == 0 else await super().submit(spec, copies)


class RaisesOSErrors(FakeBackend):
    """Raises FileNotFoundError for a missing input, not InvalidSpecError."""

    caught_by = "IC-SUBMIT-14"
    message_contains = "expected InvalidSpecError for a missing input; observed FileNotFoundError"

    async def submit(self, spec: SubmissionSpec, copies: Copies = 1) -> Submission:
        for each in (each for each in spec.inputs if not each.is_url):
            Path(each.source).read_bytes()  # noqa: ASYNC240 -- it keeps the class short
        return await super().submit(spec, copies)


class KeepsTheSpecOnTheInstance(FakeBackend):
    """Keeps the specification in the object, where a concurrent submit overwrites it."""

    caught_by = "IC-SUBMIT-15"
    message_contains = "expected both copies of the submission whose payload exits 3 to have that exit code"
    spec: SubmissionSpec

    async def submit(self, spec: SubmissionSpec, copies: Copies = 1) -> Submission:
        self.spec = spec
        await asyncio.sleep(0.01)
        return await super().submit(self.spec, copies)


class DropsTheQueue(_Changes):
    """Ignores the queue of a specification."""

    caught_by = "IC-SUBMIT-13"
    message_contains = "expected a queue that does not exist to be refused"

    def change_spec(self, spec: SubmissionSpec) -> SubmissionSpec:
        return spec.model_copy(update={"resources": spec.resources.model_copy(update={"queue": None})})


class FeedsThePayload(_Changes):
    """Gives the payload the rest of a script as its stdin."""

    caught_by = "IC-SUBMIT-16"
    message_contains = "which means: there is something to read"

    def change_spec(self, spec: SubmissionSpec) -> SubmissionSpec:
        if spec.staged_executable or not spec.arguments:
            return spec
        script = 'set -- "$@"; exec "$@" <<EOF\nwait $!\nEOF\n'
        return spec.model_copy(
            update={"executable": "sh", "arguments": ("-c", script, "sh", str(spec.executable), *spec.arguments)}
        )


class SwapsTheSecrets(_Changes):
    """Gives two copies each other's secrets."""

    caught_by = "IC-SUBMIT-07"
    message_contains = "its secret is not in its working directory"

    def change_copies(self, spec: SubmissionSpec, copies: tuple[CopyVars, ...]) -> tuple[CopyVars, ...]:
        swapped = [copies[index ^ 1 if index ^ 1 < len(copies) else index].secrets for index in range(len(copies))]
        return tuple(
            CopyVars(environment=copy.environment, secrets=each) for copy, each in zip(copies, swapped, strict=True)
        )


class LosesEveryTenthCopysVariables(_Changes):
    """Gives every tenth copy no environment variables of its own."""

    caught_by = "IC-SUBMIT-06"
    message_contains = "copy 9 should have exited with 0, ended FAILED"

    def change_copies(self, spec: SubmissionSpec, copies: tuple[CopyVars, ...]) -> tuple[CopyVars, ...]:
        return tuple(CopyVars(secrets=each.secrets) if index % 10 == 9 else each for index, each in enumerate(copies))


class PassesOnItsVariables(_Changes):
    """Sets a variable with a job's memory, which a job that is submitted from inside the job inherits."""

    caught_by = "IC-SUBMIT-17"
    message_contains = "observed it has, with that one's values, GALLERY_MEMORY_MB"

    def change_spec(self, spec: SubmissionSpec) -> SubmissionSpec:
        memory = spec.resources.memory_mb
        variables = {"GALLERY_JOB": token_hex(6), **({"GALLERY_MEMORY_MB": str(memory)} if memory else {})}
        return spec.model_copy(update={"environment": {**variables, **spec.environment}})


class TakesTheOuterJobsNumber(_Changes):
    """Gives a job that is submitted from inside another job the number of that job."""

    caught_by = "IC-SUBMIT-17"
    message_contains = "observed it has, with that one's values, GALLERY_JOB"

    def change_spec(self, spec: SubmissionSpec) -> SubmissionSpec:
        number = os.environ.get("GALLERY_JOB") or token_hex(6)
        return spec.model_copy(update={"environment": {"GALLERY_JOB": number, **spec.environment}})
