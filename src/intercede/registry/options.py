"""Check the options of a plugin against the signature of its target, and convert the values to the annotated types.

The signature and the annotations are the schema, so a plugin declares nothing else.
"""

import inspect
import sys
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from intercede.contract.errors import ConfigError
from intercede.location import Location, hide_secret
from intercede.plugin import suggest
from intercede.redaction import is_secret_key

__all__ = ["Options", "Target", "bind", "find_required", "read_options", "split_options", "takes_credentials"]

Target = Callable[..., object]
"""The callable that an entry point names: a class, a factory or a partial."""

CREDENTIALS = "credentials"
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Options:
    """The options in a table, and the location where the table is written."""

    values: Mapping[str, object]
    location: Location

    def without(self, *names: str) -> "Options":
        """Return a copy of these options that lacks the options with the given names."""
        return replace(self, values={name: value for name, value in self.values.items() if name not in names})

    def add_unprefixed(self, others: Mapping[str, object]) -> "Options":
        """Return these options together with options that the user wrote in the backend's table.

        Args:
            others: The options in the backend's table. Errors name them without the prefix of these options.

        Raises:
            ConfigError: An option is written in both tables.
        """
        location = replace(self.location, unprefixed=frozenset(others))
        for name in sorted(set(self.values) & set(others)):
            problem, advice = "is given twice", f"keep this one or {self.location.qualify(name)}"
            raise location.make_error(name, problem, value=others[name], expected="one of them", advice=advice)
        return Options({**self.values, **others}, location)


def read_options(given: object, option: str, location: Location) -> Options:
    """Return the options in a table of a configuration.

    Args:
        given: The table.
        option: The name of the table, for the error.
        location: The place where the table is written.

    Raises:
        ConfigError: ``given`` is not a table with names as its keys.
    """
    value: object = given
    if isinstance(given, Mapping):
        table = typing.cast("Mapping[str, object]", given)
        if all(isinstance(typing.cast("object", key), str) for key in table):
            return Options(table, location)
    raise location.make_error(
        option, f"must be a name or a table, not {value!r},", value=value, expected='{"type": NAME, ...}'
    )


def takes_credentials(target: Target) -> bool:
    """Return whether a target has a parameter named ``credentials``, which receives the provider."""
    return CREDENTIALS in _list_parameters(target)


def find_required(target: Target) -> tuple[str, ...]:
    """Return the names of the options without which a target cannot be called. ``credentials`` may be one of them."""
    return tuple(name for name, each in _list_parameters(target).items() if each.default is each.empty)


def bind(target: Target, options: Options) -> dict[str, object]:
    """Return the keyword arguments for a call of a target, with each value converted to its annotated type.

    An annotation that cannot be resolved or modelled is not validated.

    Raises:
        ConfigError: An option is unknown, missing, of the wrong type, or ``credentials``.
    """
    location = options.location
    parameters = {name: each for name, each in _list_parameters(target).items() if name != CREDENTIALS}
    for name in options.values:
        _refuse_credentials(name, location)
        if name not in parameters and not _takes_any(target):
            raise _make_unknown_error(name, ", ".join(parameters), suggest(name, parameters), location)
    for name in find_required(target):
        if name in parameters and name not in options.values:
            advice = f"{_get_name(target)} needs it"
            raise location.make_error(name, "is missing", value=None, expected="a value", advice=advice)
    return {
        name: _validate(target, parameters[name], value, location) if name in parameters else value
        for name, value in options.values.items()
    }


def split_options(
    options: Options, transport: Target, scheduler: Target, batch: Target
) -> tuple[dict[str, object], dict[str, object]]:
    """Divide options into the options of a transport and the options of a scheduler.

    An option goes to the target that has a parameter with the option's name. ``batch`` is the target that combines the
    transport and the scheduler. The options of ``batch`` are not valid here: the error says where to write them.

    Raises:
        ConfigError: Both targets have a parameter with the name of an option, or neither target has.
    """
    takers = {"transport": _list_parameters(transport), "scheduler": _list_parameters(scheduler)}
    parts: dict[str, dict[str, object]] = {"transport": {}, "scheduler": {}}
    for name, value in options.values.items():
        _refuse_credentials(name, options.location)
        owners = [role for role, parameters in takers.items() if name in parameters]
        if len(owners) != 1:
            composing = [option for option in _list_parameters(batch) if option not in takers]
            raise _make_owner_error(name, value, takers, composing, options.location)
        parts[owners[0]][name] = value
    return parts["transport"], parts["scheduler"]


def _list_parameters(target: Target) -> dict[str, inspect.Parameter]:
    signature = _read_signature(target)
    named: Iterable[inspect.Parameter] = signature.parameters.values() if signature else ()
    return {each.name: each for each in named if each.kind in _NAMED}


def _takes_any(target: Target) -> bool:
    signature = _read_signature(target)
    return signature is None or any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values())


def _read_signature(target: Target) -> inspect.Signature | None:
    try:
        return inspect.signature(target)
    except (TypeError, ValueError):  # a target in C often has no readable signature: its options are not checked
        return None


def _get_name(target: Target) -> str:
    return str(getattr(target, "__qualname__", None) or repr(target))


_PROVIDER = "registry.backend(config, credentials=provider)"
_HAND_OVER = f"pass a provider in code: {_PROVIDER}, for example with intercede.credentials.FileCredentials"


def _refuse_credentials(name: str, location: Location) -> None:
    if name == CREDENTIALS:
        raise location.make_error(name, "must not be given", value=None, expected=_PROVIDER, advice=_HAND_OVER)


def _make_unknown_error(name: str, options: str, near: str, location: Location) -> ConfigError:
    """Return the error for an unknown option. The error hides the value, because a misspelt option may be a secret."""
    is_secret = not near and is_secret_key(name)
    advice = (
        f"a secret is never an option; {_HAND_OVER}" if is_secret else f"the options are: {options or 'none'}{near}"
    )
    expected = _PROVIDER if is_secret else options or "none"
    return location.make_error(name, "is not an option", value=None, expected=expected, advice=advice)


def _make_owner_error(
    name: str, value: object, takers: Mapping[str, Collection[str]], batch: Collection[str], location: Location
) -> ConfigError:
    """Return the error for an option that belongs to both the transport and the scheduler, or to neither of them."""
    if all(name in parameters for parameters in takers.values()):
        nested = f'"transport": {{"type": ..., "{name}": ...}}'
        advice = f"both the transport and the scheduler have it: write {nested}"
        return location.make_error(name, "is ambiguous", value=value, expected=nested, advice=advice)
    if name in batch:
        nested = f'"batch": {{"{name}": {value!r}}}'
        advice = f"it belongs to BatchBackend: write {nested}"
        return location.make_error(name, "is misplaced", value=value, expected=nested, advice=advice)
    parts = {f"the {role}": [each for each in names if each != CREDENTIALS] for role, names in takers.items()}
    known = {**parts, 'under "batch"': batch}
    options = "; ".join(f"{owner}: {', '.join(names) or 'none'}" for owner, names in known.items())
    near = suggest(name, [each for names in parts.values() for each in names]) or suggest(name, batch)
    return _make_unknown_error(name, options, near, location)


def _validate(target: Target, parameter: inspect.Parameter, value: object, location: Location) -> object:
    try:
        adapter: TypeAdapter[object] = TypeAdapter(_resolve_annotation(target, parameter))
    except Exception:  # noqa: BLE001 -- an annotation of foreign code: whatever it raises, the value is not validated
        return value
    try:
        # Unless ``strict`` is True, pydantic accepts the value True as the number 1.
        return adapter.validate_python(value, strict=isinstance(value, bool) or None)
    except PydanticUserError:  # a model in the annotation is not fully defined, so the value is not checked
        return value
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = location.qualify(parameter.name)
        given = hide_secret(field, value)
        raise ConfigError(
            f"{'.'.join(map(str, (field, *first['loc'])))} = {given!r} is invalid in {location.source}: {first['msg']}",
            field=field,
            value=given,
            expected=first["msg"],
            where=location.source,
        ) from None


def _resolve_annotation(target: Target, parameter: inspect.Parameter) -> type[object]:
    """Resolve the annotation of one parameter with the names of the target's module."""
    if parameter.annotation is parameter.empty:
        return object
    holder = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    hints = typing.get_type_hints(holder, _collect_names(target), include_extras=True)
    return typing.cast("type[object]", hints[parameter.name])


def _collect_names(target: Target) -> dict[str, object]:
    if isinstance(target, partial):
        return _collect_names(target.func)
    function = getattr(target, "__init__", None) if isinstance(target, type) else inspect.unwrap(target)
    module = sys.modules.get(getattr(target, "__module__", ""))
    return {**getattr(module, "__dict__", {}), **getattr(function, "__globals__", {})}
