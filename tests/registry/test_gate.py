"""The gate: right implementations pass, and all violations of others are reported at once."""
# ruff: noqa: D102 -- the verbs of test doubles say what they do in the contract

import functools
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Self
from unittest.mock import AsyncMock, Mock

import pytest

from intercede.contract.backend import CAPABILITIES, Cancellable, JobBackend, Submitter, capabilities
from intercede.contract.job import JobHandle, JobOutput, JobStatus, OpOutcome, Submission, SubmissionSpec
from intercede.contract.transport import Transport
from intercede.registry.gate import find_class_violations, find_violations


class Right:
    """A backend with the essential verbs and nothing else."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def submit(self, spec: SubmissionSpec, copies: object = 1) -> Submission:
        raise NotImplementedError

    async def status(self, handles: Collection[JobHandle]) -> Mapping[JobHandle, JobStatus]:
        return {}


class Whole(Right):
    """A backend with two capabilities, and a third that it withdraws."""

    async def kill(self, handles: Collection[JobHandle], *, force: bool = False) -> Mapping[JobHandle, OpOutcome]:
        return {}

    async def fetch_output(self, handles: Collection[JobHandle], dest: Path) -> Mapping[JobHandle, JobOutput]:
        return {}

    purge = None


class Inheriting(Whole, JobBackend, Cancellable):
    """A backend that inherits the protocols, which is optional."""


def decorate(function: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
    """Decorate as a retry helper does: a plain function that returns what the async one returns."""

    @functools.wraps(function)
    def wrapper(*args: object, **kwargs: object) -> Awaitable[object]:
        return function(*args, **kwargs)

    return wrapper


class Decorated(Right):
    """A backend with a decorated verb, whose ``__wrapped__`` is the original."""

    status = decorate(Right.status)  # type: ignore[assignment]  # what decorators do to types


class Call:
    """An object that is called like an async function."""

    async def __call__(self, handles: object) -> dict[str, str]:
        return {}


def _call(self: object) -> Call:
    return Call()


class Loose(Right):
    """A backend whose signatures take anything: the kit checks what they do with it."""

    async def submit(self, *args: object, **kwargs: object) -> Submission:
        raise NotImplementedError


def with_member(name: str, member: object) -> object:
    """Make a right backend with one member replaced on the object itself."""
    made = Right()
    setattr(made, name, member)
    return made


def make_backend(name: str, member: object) -> object:
    """Make a right backend of a class with one member replaced."""
    return type("Changed", (Right,), {name: member})()


@pytest.mark.parametrize(
    "backend",
    [
        Right(),
        Whole(),
        Inheriting(),
        Decorated(),
        Loose(),
        with_member("status", Call()),
        with_member("status", functools.partial(Right.status, Right())),
        with_member("kill", None),
        make_backend("status", staticmethod(Call())),
        make_backend("status", property(_call)),
    ],
    ids=lambda backend: type(backend).__name__,
)
def test_right_implementations_pass_and_isinstance_agrees(backend: object) -> None:
    """All right implementations pass, and callers can narrow them with isinstance."""
    assert find_violations(backend, "backends") == ()
    assert isinstance(backend, JobBackend)
    claimed = capabilities(backend)
    assert all(isinstance(backend, protocol) == (name in claimed) for name, protocol in CAPABILITIES.items())


def test_a_missing_verb_is_reported_with_the_contract_s_signature() -> None:
    """The sentence about a missing verb has the signature to write."""
    missing = type("Bare", (), {"__aenter__": Right.__aenter__, "__aexit__": Right.__aexit__, "submit": Right.submit})

    assert find_violations(missing(), "backends") == (
        "status is missing: the contract has async def status(self, handles)",
    )


def test_all_violations_are_reported_at_once() -> None:
    """An author who has written nothing sees the whole contract."""
    told = find_violations(object(), "backends")

    assert [each.split()[0] for each in told] == ["__aenter__", "__aexit__", "submit", "status"]
    assert "async def submit(self, spec, copies=1)" in told[2]


def test_none_removes_a_capability_but_no_essential_verb() -> None:
    """None in the place of an essential verb is a violation; in that of a capability it is not."""
    assert find_violations(make_backend("submit", None), "backends") == (
        "submit is missing: the contract has async def submit(self, spec, copies=1)",
    )
    assert find_violations(make_backend("kill", None), "backends") == ()


def _sync(self: object, handles: object) -> dict[str, str]:
    return {}


async def _generator(self: object, handles: object) -> object:
    yield handles


@pytest.mark.parametrize(
    "member",
    [_sync, _generator, staticmethod(functools.partial(_sync, None)), Mock()],
    ids=["def", "async generator", "partial", "mock"],
)
def test_a_verb_that_cannot_be_awaited_is_refused_with_the_advice(member: object) -> None:
    """A verb that cannot be awaited is refused with the advice to write async def."""
    (told,) = find_violations(make_backend("status", member), "backends")

    assert told == "status is not async: write async def; the contract has async def status(self, handles)"


def test_an_async_function_in_a_scheduler_is_refused() -> None:
    """A scheduler has plain functions, so an async one is refused."""

    class Eager:
        async def stages_own_files(self) -> bool:
            return False

    assert (
        "stages_own_files is async, but is never awaited: write def; the contract has def stages_own_files(self)"
    ) in find_violations(Eager(), "schedulers")


async def _renamed(self: object, job: object, copies: object = 1) -> None: ...
async def _fewer(self: object, spec: object) -> None: ...
async def _required(self: object, spec: object, copies: object) -> None: ...
async def _more(self: object, spec: object, copies: object = 1, *, queue: object) -> None: ...
async def _keyword(self: object, *, spec: object, copies: object = 1) -> None: ...
async def _misspelt(argv: object, stdn: object = None) -> None: ...
async def _half(argv: object, *, stdout: object = None) -> None: ...
async def _shut(argv: object, stdin: object = None, /, stdout: object = None) -> None: ...
async def _positional(self: object, spec: object, copies: object = 1, /) -> None: ...


@pytest.mark.parametrize(
    ("member", "says"),
    [
        (_renamed, "submit(job, copies=1) cannot be called by keyword"),
        (_fewer, "submit(spec) cannot be called with all of them by position (too many positional arguments)"),
        (_required, "cannot be called with the required ones alone (missing a required argument: 'copies')"),
        (_more, "(spec, copies=1, *, queue) cannot be called"),
        (_keyword, "submit(*, spec, copies=1) cannot be called with all of them by position"),
        (_positional, "cannot be called by keyword"),
    ],
)
def test_a_wrong_signature_is_shown_beside_the_contract_s(member: object, says: str) -> None:
    """A signature must allow calls by position and by keyword, with and without the optional parameters."""
    (told,) = find_violations(make_backend("submit", member), "backends")

    assert says in told
    assert told.endswith("; the contract has async def submit(self, spec, copies=1)")


def test_keyword_only_parameters_are_called_by_keyword() -> None:
    """A transport's stdin and stdout are keyword parameters; one that also takes them by position passes."""

    class Shell:
        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None: ...

        async def run(self, argv: object, stdin: object = None, stdout: object = None) -> object: ...

    assert find_violations(Shell(), "transports") == ()
    assert isinstance(Shell(), Transport)


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (_misspelt, "run(argv, stdn=None) cannot be called: it lacks the keywords stdin and stdout; the contract has "),
        (_half, "run(argv, *, stdout=None) cannot be called: it lacks the keyword stdin; the contract has "),
        (
            _shut,
            "run(argv, stdin=None, /, stdout=None) cannot be called: it lacks the keyword stdin; the contract has ",
        ),
    ],
)
def test_a_keyword_that_is_missing_is_named(run: object, says: str) -> None:
    """The sentence about a missing keyword parameter has its name."""
    (told,) = [each for each in find_violations(SimpleNamespace(run=run), "transports") if each.startswith("run")]

    assert told.startswith(says)


def test_half_a_capability_is_reported_with_the_way_out() -> None:
    """A capability must have all its members, or none; the sentence says how to withdraw it."""
    (told,) = find_violations(make_backend("kill", _sync), "backends")
    assert told.startswith("kill is not async: write async def")
    assert told.endswith("or set kill = None, so that Cancellable is not claimed")

    (told,) = find_violations(make_backend("kill", "yes"), "backends")
    assert told.startswith("kill is not callable, it is str")


def test_an_inherited_protocol_method_is_not_an_implementation() -> None:
    """A class that inherits a protocol has its methods, which do nothing and do not pass."""
    (told,) = find_violations(make_backend("kill", Cancellable.kill), "backends")
    assert told.startswith("kill is the protocol's own, which does nothing: implement async def kill(self, handles)")

    (told,) = find_violations(make_backend("submit", Submitter.submit), "backends")
    assert told.startswith("submit is the protocol's own")


class Proxy:
    """Forwards every attribute, so that its own cannot be seen."""

    def __getattr__(self, name: str) -> object:
        return getattr(Right(), name)


@pytest.mark.parametrize("subject", [Proxy(), Mock(), AsyncMock()], ids=["proxy", "mock", "async mock"])
def test_members_are_looked_up_statically(subject: object) -> None:
    """A bare proxy and an unspecified mock have every name, so none of them passes on any Python."""
    assert "submit is missing: the contract has async def submit(self, spec, copies=1)" in find_violations(
        subject, "backends"
    )


def test_entering_is_looked_up_on_the_type() -> None:
    """``async with`` looks at the type, so methods on the object alone do not pass."""
    bare = SimpleNamespace(**{name: getattr(Right(), name) for name in ("submit", "status", "__aenter__", "__aexit__")})

    assert [each.split()[0] for each in find_violations(bare, "backends")] == ["__aenter__", "__aexit__"]


def test_a_property_that_raises_is_a_violation() -> None:
    """An exception of a property is reported as a violation, not raised."""

    def broken(self: object) -> object:
        raise RuntimeError("no such thing")

    assert find_violations(make_backend("status", property(broken)), "backends") == (
        "status cannot be read: RuntimeError: no such thing",
    )


def test_a_class_does_not_pass() -> None:
    """A class has every method as a function, but the target must return an instance."""
    assert find_violations(Right, "backends") == (
        "it is the class Right, not an object: let the target return an instance",
    )


def test_a_coroutine_does_not_pass_and_is_closed() -> None:
    """An async factory is refused, without a warning about a coroutine that was never awaited."""

    async def factory() -> Right:
        return Right()

    (told,) = find_violations(factory(), "backends")

    assert "write it with def, not async def" in told


def test_a_class_shows_violations_of_its_objects() -> None:
    """A class that cannot be called without options is checked as far as it shows its members."""
    assert find_class_violations(Whole, "backends") == ()
    assert find_class_violations(type("P", (Right,), {"status": property(_call)}), "backends") == ()
    assert find_class_violations(type("S", (Right,), {"status": staticmethod(Call())}), "backends") == ()
    (told,) = find_class_violations(type("W", (Right,), {"status": _sync}), "backends")
    assert told.startswith("status is not async")


def test_a_signature_that_cannot_be_read_passes() -> None:
    """A callable without a readable signature, such as C code, passes."""

    class Opaque(Call):
        __signature__ = "none"

    assert find_violations(with_member("status", Opaque()), "backends") == ()


def test_a_wrapper_of_itself_is_not_async() -> None:
    """A function that wraps itself is reported, and the check ends."""

    def circle(handles: object) -> None: ...

    vars(circle)["__wrapped__"] = circle

    assert "status is not async" in find_violations(with_member("status", circle), "backends")[0]
