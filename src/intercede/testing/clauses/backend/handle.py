"""IC-HANDLE: a handle outlives the object that started its job."""

from typing import cast

from intercede.contract.job import JobHandle, JobState
from intercede.testing.clauses import clause
from intercede.testing.clauses.support import child_functions
from intercede.testing.clauses.support.handles import dump_handle, read_handles
from intercede.testing.model.clause import MUST
from intercede.testing.run.answers import describe_status
from intercede.testing.run.context import Context, format_value
from intercede.testing.run.driver import open_backend

_LONGEST = 512


@clause(
    "IC-HANDLE-01",
    title="A handle that went through JSON is equal, hashes the same, and names the same job.",
    level=MUST,
    depends=("IC-STATUS-05",),
    hint=(
        "A subclass of JobHandle with more fields, an identity of its own, or a reference to a live object. A "
        "dictionary whose keys are id(handle). The two strings of a handle must be enough to find the job."
    ),
)
async def check_round_trip(context: Context) -> None:
    """Write a handle as JSON, and read it back. Compare the handles. Wait for the job by the handle that was read."""
    async with open_backend(context) as backend:
        handle = await backend.submit_job(context.sh("exit 0"))
        read = JobHandle.model_validate_json(dump_handle(handle))
        same = read == handle and handle == read and hash(read) == hash(handle)
        context.expect(same, expected="the handle to equal what JSON gives back", observed=f"{handle!r} and {read!r}")
        status = await backend.get_final_status(read)
        expected = "a job asked for by the handle that went through JSON to end DONE"
        context.expect(status.state is JobState.DONE, expected=expected, observed=describe_status(status))


@clause(
    "IC-HANDLE-02",
    title="Another instance can drive a job by its handle.",
    level=MUST,
    depends=("IC-STATUS-06",),
    hint=(
        "State that submit keeps on the instance instead of on the resource: a dictionary of processes, a map from "
        "job to native id. A resource name that each instance makes up for itself."
    ),
)
async def check_another_instance(context: Context) -> None:
    """Submit through one instance and leave that instance. Then query the status through another instance."""
    async with open_backend(context) as first:
        handles = await first.submit_jobs(context.sh("exit 3"))
    async with open_backend(context) as second:
        status = await second.wait_for_state(handles[0], JobState.UNKNOWN)
        context.expect(
            status.state is JobState.FAILED and status.exit_code == 3,  # noqa: PLR2004 -- the exit code of the payload
            expected="another instance to report FAILED with exit code 3",
            observed=describe_status(status),
        )


@clause(
    "IC-HANDLE-03",
    title="Another process can drive a job by its handle.",
    level=MUST,
    depends=("IC-HANDLE-02", "IC-HANDLE-01", "IC-LIFE-02"),
    hint=(
        "State in a module or on a class: all instances of one process share it, and it is gone with the process. "
        "Jobs that die with the process that started them. A resource name made of a pid or a random number."
    ),
)
async def check_another_process(context: Context) -> None:
    """Submit a job in this process, and query its status in a child process."""
    async with open_backend(context) as backend:
        handle = await backend.submit_job(context.sh("exit 3"))
        reported = await context.run_child(child_functions.poll_job, dump_handle(handle), what="asking for its status")
        state, code, evidence = cast("tuple[str, int | None, str]", reported)
        expected = "another process to get FAILED and 3"
        observed = f"{state} and {code}, evidence: {evidence or 'none'}"
        context.expect(state == JobState.FAILED and code == 3, expected=expected, observed=observed)  # noqa: PLR2004 -- the exit code of the payload


@clause(
    "IC-HANDLE-04",
    title="A handle holds at most 512 characters.",
    level=MUST,
    depends=("IC-SUBMIT-01",),
    hint=(
        "Too much is packed into `job`: the specification, a path, the whole answer of a server. Keep that on the "
        "resource, and hand out its id. JobHandle refuses more characters, unless its validation is bypassed."
    ),
)
async def check_length(context: Context) -> None:
    """Measure the handles of a submission with long fields."""
    long = context.make_token() * 40
    async with open_backend(context) as backend:
        for handle in await backend.submit_jobs(context.sh("exit 0", long, environment={"IC_LONG": long}), copies=2):
            length = len(handle.resource) + len(handle.job)
            context.expect(length <= _LONGEST, expected=f"at most {_LONGEST} characters", observed=f"{length}")


@clause(
    "IC-HANDLE-05",
    title="Every instance and every process uses the same name for the resource.",
    level=MUST,
    depends=("IC-SUBMIT-01", "IC-HANDLE-01", "IC-LIFE-02"),
    hint=(
        "A resource name that holds a pid, a random word, a time, or the working directory. Make it only of values "
        "in the configuration that identify the resource. Callers compare handles across runs."
    ),
)
async def check_resource_name(context: Context) -> None:
    """Submit through two instances in this process and one in a child process. Compare the resources in the handles."""
    tag, names = context.make_token(), list[str]()
    context.tags[tag] = None
    for _ in range(2):
        async with open_backend(context) as backend:
            handle = await backend.submit_job(context.sh("exit 0"))
            names.append(handle.resource)
    (theirs,) = read_handles(
        [await context.run_child(child_functions.submit_job, tag, what="submitting a job", jobs=True)]
    )
    context.remember([theirs])
    names.append(theirs.resource)
    expected = "one name of the resource, in two instances and another process"
    context.expect(len(set(names)) == 1, expected=expected, observed=f"several names: {format_value(names)}")
