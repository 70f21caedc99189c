"""The gate: whether an object has the contract's shape, and all that is wrong with it at once.

``isinstance`` against a protocol looks for names alone. It passes a class instead of an instance, a sync method
where the contract awaits, a wrong signature. What passes here passes ``isinstance``, which consumers narrow with.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import FunctionType, MappingProxyType, MethodType

from intercede.contract.backend import CAPABILITIES, JobBackend
from intercede.contract.scheduler import Scheduler
from intercede.contract.transport import Transport

__all__ = ["PROTOCOLS", "violations", "violations_of_class"]

PROTOCOLS: Mapping[str, type] = MappingProxyType(
    {"backends": JobBackend, "schedulers": Scheduler, "transports": Transport}
)
"""The essential verbs of each group, by its name."""

_Function = Callable[..., object]
_ABSENT = object()


def violations(subject: object, group: str) -> tuple[str, ...]:
    """List how an object falls short of its contract, a sentence each; nothing where it does not.

    Members are looked up statically, as isinstance does from Python 3.12 on, so every version agrees: a bare
    ``__getattr__`` proxy does not pass.

    Args:
        subject: What a target returned.
        group: ``backends``, ``transports`` or ``schedulers``.
    """
    if inspect.iscoroutine(subject):
        subject.close()  # else it warns that nobody awaited it
        return ("it is a coroutine: the target must return the object itself, so write it with def, not async def",)
    if isinstance(subject, type):
        return (f"it is the class {subject.__name__}, not an object: let the target return an instance",)
    return _all(subject, group)


def violations_of_class(subject: type, group: str) -> tuple[str, ...]:
    """List how the instances of a class will fall short of the contract, as far as the class tells."""
    return _all(subject, group)


def _all(subject: object, group: str) -> tuple[str, ...]:
    found = [_violation(subject, name, wanted) for name, wanted in _members(PROTOCOLS[group])]
    if group == "backends":
        found += [sentence for protocol in CAPABILITIES.values() for sentence in _capability(subject, protocol)]
    return tuple(filter(None, found))


def _capability(subject: object, protocol: type) -> Iterator[str]:
    """Judge an optional protocol: unclaimed where all of it is absent or None, else all of it must be right."""
    members = _members(protocol)
    if any(inspect.getattr_static(subject, name, None) is not None for name, _ in members):
        for name, wanted in members:
            sentence = _violation(subject, name, wanted)
            if sentence:
                yield f"{sentence}; or set {name} = None, so that {protocol.__name__} is not claimed"


@lru_cache
def _members(protocol: type) -> tuple[tuple[str, _Function], ...]:
    """Return what a protocol declares, in its order: its abstract methods and those of its bases."""
    return tuple(
        (name, member)
        for each in protocol.__mro__
        for name, member in vars(each).items()
        if getattr(member, "__isabstractmethod__", False)
    )


def _violation(subject: object, name: str, wanted: _Function) -> str:
    """Say what is wrong with one member, or nothing."""
    is_class = isinstance(subject, type)
    looked_up = type(subject) if name.startswith("__") and not is_class else subject  # as ``async with`` does
    raw: object = inspect.getattr_static(looked_up, name, _ABSENT)
    if raw is _ABSENT or raw is None:
        return f"{name} is missing: the contract has {_written(name, wanted)}"
    if raw is wanted:
        return f"{name} is the protocol's own, which does nothing: implement {_written(name, wanted)}"
    if isinstance(raw, FunctionType) and (is_class or name not in getattr(subject, "__dict__", ())):
        return _misfit_of_method(name, raw, wanted)
    if is_class and hasattr(raw, "__get__") and not isinstance(raw, classmethod | staticmethod):
        return ""  # a property: only an instance can tell
    try:
        member: object = getattr(subject, name)
    except Exception as error:  # noqa: BLE001 -- a property of foreign code
        return f"{name} cannot be read: {type(error).__name__}: {error}"
    return _misfit(name, member, wanted)


@lru_cache(maxsize=1024)
def _misfit_of_method(name: str, function: FunctionType, wanted: _Function) -> str:
    """Judge a method once, whatever number of objects have it: reading signatures is what a gate spends its time on."""
    return _misfit(name, MethodType(function, _ABSENT), wanted)


def _misfit(name: str, member: object, wanted: _Function) -> str:
    if not callable(member):
        return f"{name} is not callable, it is {type(member).__name__}: the contract has {_written(name, wanted)}"
    awaited = inspect.iscoroutinefunction(wanted)
    if awaited != _is_async(member):
        advice = "is not async: write async def" if awaited else "is async, and nobody awaits it: write def"
        return f"{name} {advice}; the contract has {_written(name, wanted)}"
    try:
        signature = inspect.signature(member)
    except (TypeError, ValueError):  # C code, mostly: what cannot be read passes
        return ""
    refusal = next(_refusals(signature, _contract(wanted)), "")
    if not refusal:
        return ""
    return f"{name}{_plain(signature)} {refusal}; the contract has {_written(name, wanted)}"


def _is_async(member: object) -> bool:
    try:
        inner: object = inspect.unwrap(member) if callable(member) else member
    except ValueError:  # a wrapper of itself
        return False
    call: object = inspect.getattr_static(type(inner), "__call__", None)
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(call)


def _refusals(signature: inspect.Signature, contract: inspect.Signature) -> Iterator[str]:
    """Try the calls that the contract allows: positions alone, the fewest, and keywords alone."""
    lacking = [each.name for each in contract.parameters.values() if each.kind is each.KEYWORD_ONLY]
    lacking = [name for name in lacking if not _takes_keyword(signature, name)]
    if lacking:
        yield f"cannot be called: it lacks the keyword{'s' * (len(lacking) > 1)} {' and '.join(lacking)}"
    parameters = list(contract.parameters.values())
    named = [each for each in parameters if each.kind is not each.POSITIONAL_ONLY]
    positions = [each.name for each in parameters if each.kind is not each.KEYWORD_ONLY]
    keywords = {each.name: None for each in parameters if each.kind is each.KEYWORD_ONLY}
    required = [each.name for each in parameters if each.default is each.empty]
    calls: list[tuple[str, list[str], dict[str, None]]] = [
        ("with all of them by position", positions, keywords),
        ("with the required ones alone", required, {}),
        (
            "by keyword",
            [each.name for each in parameters if each.kind is each.POSITIONAL_ONLY],
            {each.name: None for each in named},
        ),
    ]
    for how, args, kwargs in calls:
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            yield f"cannot be called {how} ({error})"


def _takes_keyword(signature: inspect.Signature, name: str) -> bool:
    found = signature.parameters.get(name)
    named = found is not None and found.kind in {found.POSITIONAL_OR_KEYWORD, found.KEYWORD_ONLY}
    return named or any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values())


def _contract(wanted: _Function) -> inspect.Signature:
    """Return the contract's signature without self."""
    signature = inspect.signature(wanted)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def _written(name: str, wanted: _Function) -> str:
    prefix = "async def" if inspect.iscoroutinefunction(wanted) else "def"
    return f"{prefix} {name}{_plain(_contract(wanted), 'self')}"


def _plain(signature: inspect.Signature, *first: str) -> str:
    """Write a signature without annotations: what matters here is how to call it."""
    bare = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    text = str(signature.replace(parameters=bare, return_annotation=signature.empty))
    return f"({', '.join([*first, text[1:-1]]).rstrip(', ')})"
