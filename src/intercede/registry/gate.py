"""The gate: checks that an object has the shape that the contract asks for, and reports every violation at once.

``isinstance`` with a protocol compares names only. It accepts a class instead of an instance, a sync method that the
contract awaits, and a wrong signature. An object that passes the gate also passes ``isinstance``, which callers use.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from types import FunctionType, MappingProxyType, MethodType

from intercede.contract.backend import CAPABILITIES, JobBackend
from intercede.contract.scheduler import Scheduler
from intercede.contract.transport import Transport

__all__ = ["PROTOCOLS", "find_class_violations", "find_violations"]

PROTOCOLS: Mapping[str, type] = MappingProxyType(
    {"backends": JobBackend, "schedulers": Scheduler, "transports": Transport}
)
"""The protocol that the plugins of each group must implement, by the name of the group."""

_Method = Callable[..., object]
_ABSENT = object()


def find_violations(subject: object, group: str) -> tuple[str, ...]:
    """Return the violations of the contract by an object, one sentence each. The result is empty if there are none.

    Members are looked up statically, as isinstance does since Python 3.12, so that all Python versions agree. A proxy
    that only has ``__getattr__`` does not pass.

    Args:
        subject: The object that a target returned.
        group: ``backends``, ``transports`` or ``schedulers``.
    """
    if inspect.iscoroutine(subject):
        subject.close()  # if the coroutine is not closed, Python warns that it was never awaited
        return ("it is a coroutine: the target must return the object itself, so write it with def, not async def",)
    if isinstance(subject, type):
        return (f"it is the class {subject.__name__}, not an object: let the target return an instance",)
    return _find_all(subject, group)


def find_class_violations(subject: type, group: str) -> tuple[str, ...]:
    """Return the violations of the contract that every instance of a class will have, one sentence each."""
    return _find_all(subject, group)


def _find_all(subject: object, group: str) -> tuple[str, ...]:
    found = [_check_member(subject, name, wanted) for name, wanted in _list_members(PROTOCOLS[group])]
    if group == "backends":
        found += [sentence for protocol in CAPABILITIES.values() for sentence in _check_capability(subject, protocol)]
    return tuple(filter(None, found))


def _check_capability(subject: object, protocol: type) -> Iterator[str]:
    """Yield the violations of a capability by an object that claims the capability.

    An object claims a capability if it has any member of the capability, except members that are None. Then all members
    must be correct.
    """
    members = _list_members(protocol)
    if any(inspect.getattr_static(subject, name, None) is not None for name, _ in members):
        for name, wanted in members:
            sentence = _check_member(subject, name, wanted)
            if sentence:
                yield f"{sentence}; or set {name} = None, so that {protocol.__name__} is not claimed"


@lru_cache
def _list_members(protocol: type) -> tuple[tuple[str, _Method], ...]:
    """Return each abstract method of a protocol and of its bases, with its name, in the order of declaration."""
    return tuple(
        (name, member)
        for each in protocol.__mro__
        for name, member in vars(each).items()
        if getattr(member, "__isabstractmethod__", False)
    )


def _check_member(subject: object, name: str, wanted: _Method) -> str:
    """Return the violation by one member, or an empty string."""
    is_class = isinstance(subject, type)
    # Python looks up a special method such as ``__aenter__`` on the type, so the gate does so as well.
    looked_up = type(subject) if name.startswith("__") and not is_class else subject
    raw: object = inspect.getattr_static(looked_up, name, _ABSENT)
    if raw is _ABSENT or raw is None:
        return f"{name} is missing: the contract has {_format_method(name, wanted)}"
    if raw is wanted:
        return f"{name} is the protocol's own, which does nothing: implement {_format_method(name, wanted)}"
    if isinstance(raw, FunctionType) and (is_class or name not in getattr(subject, "__dict__", ())):
        return _check_method(name, raw, wanted)
    if is_class and hasattr(raw, "__get__") and not isinstance(raw, classmethod | staticmethod):
        return ""  # a property has a value only in an instance, so a class is not checked for the value
    try:
        member: object = getattr(subject, name)
    except Exception as error:  # noqa: BLE001 -- a property of foreign code
        return f"{name} cannot be read: {type(error).__name__}: {error}"
    return _check_callable(name, member, wanted)


@lru_cache(maxsize=1024)
def _check_method(name: str, function: FunctionType, wanted: _Method) -> str:
    """Return the violation by a method, or an empty string.

    All objects of a class share one cached result, because reading signatures is slow.
    """
    return _check_callable(name, MethodType(function, _ABSENT), wanted)


def _check_callable(name: str, member: object, wanted: _Method) -> str:
    if not callable(member):
        return f"{name} is not callable, it is {type(member).__name__}: the contract has {_format_method(name, wanted)}"
    awaited = inspect.iscoroutinefunction(wanted)
    if awaited != _is_async(member):
        advice = "is not async: write async def" if awaited else "is async, but is never awaited: write def"
        return f"{name} {advice}; the contract has {_format_method(name, wanted)}"
    try:
        signature = inspect.signature(member)
    except (TypeError, ValueError):  # functions in C often have no readable signature: such functions pass
        return ""
    refusal = next(_try_calls(signature, _read_signature(wanted)), "")
    if not refusal:
        return ""
    return f"{name}{_format_signature(signature)} {refusal}; the contract has {_format_method(name, wanted)}"


def _is_async(member: object) -> bool:
    try:
        inner: object = inspect.unwrap(member) if callable(member) else member
    except ValueError:  # the function wraps itself
        return False
    call: object = inspect.getattr_static(type(inner), "__call__", None)
    return inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(call)


def _try_calls(signature: inspect.Signature, contract: inspect.Signature) -> Iterator[str]:
    """Yield a reason for each call that the contract allows and that a signature does not accept.

    A caller may pass all arguments by position, only the required arguments, or all arguments by keyword.
    """
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


def _read_signature(wanted: _Method) -> inspect.Signature:
    """Return the signature of a protocol's method, without ``self``."""
    signature = inspect.signature(wanted)
    return signature.replace(parameters=list(signature.parameters.values())[1:])


def _format_method(name: str, wanted: _Method) -> str:
    keyword = "async def" if inspect.iscoroutinefunction(wanted) else "def"
    return f"{keyword} {name}{_format_signature(_read_signature(wanted), 'self')}"


def _format_signature(signature: inspect.Signature, *first: str) -> str:
    """Return a signature as text. Annotations are left out, because the gate checks only how a method can be called."""
    bare = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    text = str(signature.replace(parameters=bare, return_annotation=signature.empty))
    return f"({', '.join([*first, text[1:-1]]).rstrip(', ')})"
