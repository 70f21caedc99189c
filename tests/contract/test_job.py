"""Tests of the contract's data types, which are validated when they are made and never change."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretBytes, ValidationError

from intercede.contract import (
    Batch,
    CommandResult,
    CopyFailure,
    CopyVars,
    FileRef,
    InvalidSpecError,
    JobCounts,
    JobHandle,
    JobOutput,
    JobState,
    JobStatus,
    OpOutcome,
    OutputMember,
    OutputSpec,
    Queued,
    ResourceError,
    Resources,
    Submission,
    SubmissionSpec,
    each_copy,
    each_handle,
)

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*", fullmatch=True)
HANDLE = JobHandle(resource="r", job="j")


def is_contained(name: str) -> bool:
    """Return whether a name is a plain contained path, in other terms than the contract's code."""
    return all(part not in ("", ".", "..") for part in name.split("/"))


@given(text, text)
def test_a_handle_is_the_same_after_json_and_pickle(resource: str, job: str) -> None:
    """A handle keeps equality and hash through JSON and pickle, for any two strings."""
    if not (resource and job) or len(resource) + len(job) > 512:
        return
    handle = JobHandle(resource=resource, job=job)

    read = JobHandle.model_validate_json(handle.model_dump_json())
    unpickled = pickle.loads(pickle.dumps(handle))  # noqa: S301 -- our own
    for copy in (read, unpickled):
        assert copy == handle
        assert hash(copy) == hash(handle)


@pytest.mark.parametrize(("resource", "job"), [("", "j"), ("r", ""), ("r" * 256, "j" * 257), ("r\0", "j")])
def test_an_invalid_handle_is_refused(resource: str, job: str) -> None:
    """Empty parts, NUL and more than 512 characters are refused."""
    with pytest.raises(ValidationError):
        JobHandle(resource=resource, job=job)


def test_a_handle_of_512_characters_is_valid() -> None:
    """A handle may have 512 characters in all."""
    assert len(JobHandle(resource="r" * 256, job="j" * 256).job) == 256


@given(st.lists(text), st.dictionaries(names, text))
def test_arguments_and_environment_are_kept_unchanged(arguments: list[str], environment: dict[str, str]) -> None:
    """Any text without NUL is kept unchanged in the specification and through JSON."""
    spec = SubmissionSpec(executable="x", arguments=tuple(arguments), environment=environment)

    assert spec.arguments == tuple(arguments)
    assert dict(spec.environment) == environment
    assert SubmissionSpec.model_validate_json(spec.model_dump_json()) == spec


@given(st.text(st.sampled_from("ab./~ \n"), max_size=8))
def test_file_names_are_contained(name: str) -> None:
    """A name is accepted if and only if it is a plain relative path that stays inside."""
    try:
        accepted = FileRef(name=name, source="s").name == name
    except ValidationError:
        accepted = False

    assert accepted == is_contained(name)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: SubmissionSpec(executable=""), "executable"),
        (lambda: SubmissionSpec(executable=Path("a\0")), "executable"),
        (lambda: SubmissionSpec(executable="a", arguments=("b\0",)), "arguments.0"),
        (lambda: SubmissionSpec(executable="a", environment={"A B": ""}), "environment"),
        (lambda: SubmissionSpec(executable="a", environment={"A\n": ""}), "environment"),
        (lambda: SubmissionSpec(executable="a", environment={"A": "\0"}), "environment.A"),
        (lambda: SubmissionSpec(executable="a", stdout="../out"), "stdout"),
        (lambda: SubmissionSpec(executable="a", tag=""), "tag"),
        (lambda: SubmissionSpec(executable="a", tag="t" * 257), "tag"),
        (lambda: FileRef(name="/etc/passwd", source="s"), "name"),
        (lambda: OutputMember(pattern="../*"), "pattern"),
        (lambda: OutputMember(pattern="/*"), "pattern"),
        (lambda: OutputMember(pattern="."), "pattern"),
        (lambda: OutputMember(pattern="logs/"), "pattern"),
        (lambda: SubmissionSpec(executable="a", arguments=("\udcff",)), "arguments.0"),
        (lambda: OutputMember(pattern="*", destination="nowhere"), "destination"),
        (lambda: CopyVars(secrets={"a/b": SecretBytes(b"")}), "secrets"),
        (lambda: CopyVars(secrets={"..": SecretBytes(b"")}), "secrets"),
        (lambda: Resources(cpus=0), "cpus"),
        (lambda: Resources(cpus=True), "cpus"),
        (lambda: Resources(memory_mb=0), "memory_mb"),
        (lambda: Resources(queue=""), "queue"),
        (lambda: CommandResult(returncode=256), "returncode"),
        (lambda: CommandResult(returncode=-9), "returncode"),
        (lambda: JobCounts(queued=-1, running=0), "queued"),
        (lambda: Batch(submission_id="../../etc/pw", copies=1, resources=Resources()), "submission_id"),
        (lambda: Batch(submission_id="abcdefghijklm\n", copies=1, resources=Resources()), "submission_id"),
        (lambda: Queued(ids={0: "1; rm -rf /"}), "ids"),
        (lambda: Queued(ids={0: "1\n"}), "ids"),
    ],
)
def test_an_invalid_field_is_named(make: Callable[[], BaseModel], field: str) -> None:
    """A wrong value is refused when the object is made; the error has the field's name and not the value."""
    with pytest.raises(ValidationError) as caught:
        make()

    (error,) = caught.value.errors()
    assert ".".join(str(part) for part in error["loc"]).startswith(field)
    assert "input_value" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: JobStatus(state=JobState.FAILED, exit_code=1, signal=9), "must not both be set"),
        (lambda: OpOutcome(ok=True, reason="running"), "only then"),
        (lambda: OpOutcome(ok=False), "reason must be given"),
        (lambda: Submission(handles={1: HANDLE}), "cover 0 to"),
        (lambda: Submission(handles={0: HANDLE}, failures={0: CopyFailure(reason="x")}), "disjoint"),
        (lambda: SubmissionSpec(executable="a", stdout="x", stderr="x"), "different files"),
        (
            lambda: SubmissionSpec(executable="a", inputs=(FileRef(name="x", source="y"),), stdout="x"),
            "different files",
        ),
        (lambda: JobHandle(resource="r" * 513, job="j"), "at most 512"),
    ],
)
def test_contradicting_fields_are_refused(make: Callable[[], BaseModel], words: str) -> None:
    """Fields that contradict each other are refused with an explanation."""
    with pytest.raises(ValidationError, match=words):
        make()


def test_an_unknown_field_is_refused() -> None:
    """A misspelt field is an error, not silence."""
    with pytest.raises(ValidationError, match="memory_gb"):
        Resources.model_validate({"memory_gb": 1})


@pytest.mark.parametrize(
    "mapping",
    [
        SubmissionSpec(executable="a", environment={"A": "b"}).environment,
        CopyVars(secrets={"a": SecretBytes(b"b")}).secrets,
        JobOutput(ok=True, files={"a": Path("b")}).files,
        Submission(handles={0: HANDLE}).handles,
        SubmissionSpec(executable="a").environment,
    ],
)
def test_mappings_are_copied_and_read_only(mapping: object) -> None:
    """The mappings of a frozen object cannot be changed."""
    with pytest.raises(TypeError, match="does not support item assignment"):
        mapping["x"] = "y"  # type: ignore[index]  # the refusal is the test


def test_a_mapping_is_copied() -> None:
    """A later change of the caller's dict does not change the specification."""
    given_ = {"A": "1"}
    spec = SubmissionSpec(executable="a", environment=given_)
    given_["A"] = "2"

    assert dict(spec.environment) == {"A": "1"}


def test_equal_objects_are_one_in_a_set_and_through_pickle() -> None:
    """Specifications with mappings are hashable, equal by value and picklable."""
    one, two = (SubmissionSpec(executable=Path("x"), environment={"A": "1", "B": "2"}) for _ in range(2))

    assert hash(one) == hash(two)
    assert pickle.loads(pickle.dumps(one)) == two  # noqa: S301 -- our own


@pytest.mark.parametrize(
    ("executable", "staged"),
    [("true", None), ("./run", "run"), ("/bin/true", "/bin/true"), (Path("run"), "run"), ("a/b", "a/b")],
)
def test_executables_with_a_slash_are_local_files(executable: str | Path, staged: str | None) -> None:
    """An executable with a slash, or a Path, is a local file, even after JSON. Others are found on PATH."""
    spec = SubmissionSpec(executable=executable)
    again = SubmissionSpec.model_validate_json(spec.model_dump_json())

    assert spec.staged_executable == again.staged_executable == (Path(staged) if staged else None)


@pytest.mark.parametrize(
    ("source", "url"), [("https://h/p", True), ("s3://b/k", True), ("a:b", False), (Path("u://x"), False)]
)
def test_sources_with_a_scheme_are_urls(source: str | Path, *, url: bool) -> None:
    """A source with a scheme is a URL, unless it was given as a Path."""
    assert FileRef(name="n", source=source).is_url is url


def test_secrets_are_shown_nowhere() -> None:
    """The bytes of a secret are in no repr, str, JSON or error."""
    copy = CopyVars(secrets={"key": SecretBytes(b"hush")})
    with pytest.raises(ValidationError) as caught:
        CopyVars.model_validate({"secrets": {"no/slash": "hush"}})

    assert "hush" not in repr(copy) + str(copy) + copy.model_dump_json() + str(caught.value)
    assert copy.secrets["key"].get_secret_value() == b"hush"


@pytest.mark.parametrize("state", JobState)
def test_three_states_are_final(state: JobState) -> None:
    """DONE, FAILED and KILLED end a job; UNKNOWN does not."""
    assert state.final == (state.value in ("DONE", "FAILED", "KILLED"))


@given(st.integers(1, 50))
def test_a_number_of_copies_has_no_variables(number: int) -> None:
    """A number of copies means that many copies without variables of their own."""
    assert each_copy(number) == (CopyVars(),) * number


@pytest.mark.parametrize("copies", [0, -1, [], (), True, "ab", [1], None, {}])
def test_invalid_copies_are_refused(copies: object) -> None:
    """Fewer than one copy, or a wrong type, is an InvalidSpecError that names the field."""
    with pytest.raises(InvalidSpecError, match="copies must be") as caught:
        each_copy(copies)  # type: ignore[arg-type]  # wrong on purpose

    assert caught.value.field == "copies"


def test_raise_for_failures_counts_and_explains() -> None:
    """The error of raise_for_failures has the number, a reason, and whether trying again may help."""
    Submission(handles={0: HANDLE}).raise_for_failures()
    failures = {1: CopyFailure(reason="quota", retryable=True), 2: CopyFailure(reason="quota", retryable=True)}

    with pytest.raises(ResourceError, match="2 of 3 copies were not started; copy 1: quota") as caught:
        Submission(handles={0: HANDLE}, failures=failures).raise_for_failures()

    assert caught.value.retryable


def test_defaults_are_those_of_the_contract() -> None:
    """A specification needs only an executable."""
    spec = SubmissionSpec(executable="true")

    assert (spec.arguments, spec.inputs, spec.outputs, spec.resources) == ((), (), OutputSpec(), Resources())
    assert spec.resources == Resources(cpus=1, memory_mb=None, wall_time_s=None, gpus=0, queue=None)
    assert PurePosixPath(str(spec.executable)).name == "true"


def test_bad_metadata_of_another_distribution_is_ignored(tmp_path: Path) -> None:
    """The contract loads, even if an unrelated distribution has invalid entry points."""
    metadata = tmp_path / "odd-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_bytes(b"[odd]\n\xff\n")
    code = (
        f"import sys; sys.path[:] = {[str(tmp_path), *sys.path]!r}; from intercede import JobHandle; print(JobHandle)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, "JobHandle" in done.stdout, done.stderr) == (0, True, "")


def test_copies_of_a_wrong_type_are_not_shown() -> None:
    """An error about copies that are not CopyVars names only their types: they may hold secrets."""
    with pytest.raises(InvalidSpecError, match="a list of dict") as caught:
        each_copy([{"secrets": {"token": b"hush"}}])  # type: ignore[list-item]  # wrong on purpose

    assert "hush" not in str(caught.value) + repr(vars(caught.value))


def test_one_handle_is_no_collection() -> None:
    """A verb that gets a handle instead of a list of handles raises an error that says so."""
    with pytest.raises(TypeError, match=r"write \[handle\]"):
        list(HANDLE)


def test_handles_are_read_once_each_in_their_order() -> None:
    """A verb takes any collection; duplicates collapse, and an iterator is read once."""
    other = JobHandle(resource="r", job="other")

    assert each_handle([other, HANDLE, other]) == (other, HANDLE)
    assert each_handle(iter((HANDLE, HANDLE))) == (HANDLE,)
    assert each_handle(Submission(handles={0: other, 1: HANDLE}).handles.values()) == (other, HANDLE)
    assert each_handle(()) == ()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (Submission(handles={0: HANDLE}), r"write submission\.handles\.values\(\)"),
        (Submission(handles={0: HANDLE}).handles, r"write submission\.handles\.values\(\)"),
        ({0: HANDLE}, r"write submission\.handles\.values\(\)"),
        (HANDLE, r"write \[handle\]"),
        ([0, "x", HANDLE], "not of int, str: pass those that submit or find returned"),
        ([HANDLE.model_dump()], "not of dict: pass those that submit or find returned, or JobHandle"),
        (HANDLE.job, "not of str"),
        (None, "NoneType"),
    ],
)
def test_a_wrong_collection_of_handles_gets_advice(given: object, says: str) -> None:
    """A common mistake is a TypeError with the right expression, and not an AttributeError."""
    with pytest.raises(TypeError, match=says):
        each_handle(given)  # type: ignore[arg-type]  # wrong on purpose
