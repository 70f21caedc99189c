"""Options: which a target takes, whose a flat one is, and their values in the right type.

A target's own signature and annotations are the schema: there is nothing to declare.
"""

import inspect
import sys
import typing
from collections.abc import Callable, Collection, Mapping
from functools import partial
from types import SimpleNamespace
from typing import cast

from intercede.contract.errors import ConfigError
from intercede.plugin import suggest

__all__ = ["Target", "bind", "needed", "placed", "split", "takes_credentials"]

Target = Callable[..., object]
"""What an entry point leads to: a class, a factory, a partial."""

CREDENTIALS = "credentials"
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def takes_credentials(target: Target) -> bool:
    """Tell whether a target has a parameter named ``credentials``: it is then handed the provider."""
    return CREDENTIALS in _parameters(target)


def needed(target: Target) -> tuple[str, ...]:
    """Return the options without which a target cannot be called, ``credentials`` included."""
    return tuple(name for name, each in _parameters(target).items() if each.default is each.empty)


def bind(
    target: Target,
    given: Mapping[str, object],
    *,
    where: str,
    prefix: str = "",
    flat: Collection[str] = (),
    reserved: Collection[str] = (),
) -> dict[str, object]:
    """Return the keyword arguments to call a target with, each value in its annotation's type.

    An annotation that cannot be resolved or modelled is not validated.

    Args:
        target: What will be called.
        given: The options as data.
        where: The file or argument that held them, for errors.
        prefix: What stands before an option's name in errors: ``transport.``
        flat: The options that were given without that prefix.
        reserved: Parameters that are no options.

    Raises:
        ConfigError: An option is unknown, missing, of the wrong type, or ``credentials``.
    """
    parameters = {name: each for name, each in _parameters(target).items() if name not in {*reserved, CREDENTIALS}}
    for name in given:
        _refuse_credentials(name, prefix, where)
        if name not in parameters and not _takes_any(target):
            raise _unknown(name, suggest(name, parameters), ", ".join(parameters), where, prefix)
    for name in needed(target):
        if name in parameters and name not in given:
            raise ConfigError(
                f"{prefix}{name} is missing, in {where}: {_shown(target)} cannot be made without it",
                field=prefix + name,
                expected="a value",
                where=where,
            )
    return {
        name: _validated(target, parameters[name], value, name if name in flat else prefix + name, where)
        if name in parameters
        else value
        for name, value in given.items()
    }


def placed(error: ConfigError, *, where: str, prefix: str = "", flat: Collection[str] = ()) -> ConfigError:
    """Return what a target says of its options, with the place where they stand, as ``bind`` would say it.

    Args:
        error: What it raised. One that names its place already is returned as it is.
        where: The file or argument that held the options.
        prefix: What stands before an option's name in errors: ``transport.``
        flat: The options that were given without that prefix.
    """
    if error.where is not None:
        return error
    field = prefix.rstrip(".") if error.field is None else error.field if error.field in flat else prefix + error.field
    given = _without_secrets(field, error.value)
    value = "" if given is None else f" = {given!r}"
    return ConfigError(
        f"{field or 'the table'}{value} will not do, in {where}: {error}",
        field=field or None,
        value=given,
        expected=error.expected,
        where=where,
    )


def split(
    given: Mapping[str, object], transport: Target, scheduler: Target, batch: Target, *, where: str
) -> tuple[dict[str, object], dict[str, object]]:
    """Tell the transport's options from the scheduler's, for the flat form: whichever has a parameter of that name.

    What composes the two takes none in this form; ``batch`` is there for the error to say so.

    Raises:
        ConfigError: Both have one, or neither has.
    """
    takers = {"transport": _parameters(transport), "scheduler": _parameters(scheduler)}
    parts: dict[str, dict[str, object]] = {"transport": {}, "scheduler": {}}
    for name, value in given.items():
        _refuse_credentials(name, "", where)
        owners = [role for role, parameters in takers.items() if name in parameters]
        if len(owners) != 1:
            composing = [option for option in _parameters(batch) if option not in takers]
            raise _unowned(name, value, takers, composing, where)
        parts[owners[0]][name] = value
    return parts["transport"], parts["scheduler"]


def _parameters(target: Target) -> dict[str, inspect.Parameter]:
    signature = _signature(target)
    named = signature.parameters.values() if signature else ()
    return {each.name: each for each in named if each.kind in _NAMED}


def _takes_any(target: Target) -> bool:
    signature = _signature(target)
    return signature is None or any(each.kind is each.VAR_KEYWORD for each in signature.parameters.values())


def _signature(target: Target) -> inspect.Signature | None:
    try:
        return inspect.signature(target)
    except (TypeError, ValueError):  # C code, mostly: it is called with what is given
        return None


def _without_secrets(field: str, value: object) -> object:
    """Return an option's value as errors may show it."""
    from intercede.redaction import redacted  # noqa: PLC0415 -- for errors only

    return cast("dict[str, object]", redacted({field: value}))[field]


def _shown(target: Target) -> str:
    return str(getattr(target, "__qualname__", None) or repr(target))


_PROVIDER = "registry.backend(config, credentials=provider)"
_HAND_OVER = f"hand a provider over in code, {_PROVIDER}, for example intercede.credentials.FileCredentials"


def _refuse_credentials(name: str, prefix: str, where: str) -> None:
    if name == CREDENTIALS:
        raise ConfigError(
            f"{prefix}credentials in {where}: credentials are never data; {_HAND_OVER}",
            field=prefix + name,
            expected=_PROVIDER,
            where=where,
        )


def _unknown(name: str, near: str, options: str, where: str, prefix: str = "") -> ConfigError:
    """Refuse an option that nothing takes. Its value is not repeated: it may be a secret, under a misspelt name."""
    from intercede.redaction import is_telling  # noqa: PLC0415 -- for errors only

    is_secret = not near and is_telling(name)
    why = f": a secret never is one; {_HAND_OVER}" if is_secret else f"{near}; the options are: {options or 'none'}"
    return ConfigError(
        f"{prefix}{name} is no option, in {where}{why}",
        field=prefix + name,
        expected=_PROVIDER if is_secret else options or "none",
        where=where,
    )


def _unowned(
    name: str, value: object, takers: Mapping[str, Collection[str]], batch: Collection[str], where: str
) -> ConfigError:
    """Refuse a flat option that both parts take, or none."""
    if all(name in parameters for parameters in takers.values()):
        what, nested = "both the transport and the scheduler take it", f'"transport": {{"type": ..., "{name}": ...}}'
    elif name in batch:
        what, nested = "it is the BatchBackend's", f'"batch": {{"{name}": {value!r}}}'
    else:
        flat = {role: [option for option in known if option != CREDENTIALS] for role, known in takers.items()}
        every = {**{f"the {role}": known for role, known in flat.items()}, 'under "batch"': batch}
        options = "; ".join(f"{whose}: {', '.join(known) or 'none'}" for whose, known in every.items())
        near = suggest(name, [option for known in flat.values() for option in known]) or suggest(name, batch)
        return _unknown(name, near, options, where)
    return ConfigError(
        f"{name} cannot be placed, in {where}: {what}; write it where it belongs, as {nested}",
        field=name,
        value=value,
        expected=nested,
        where=where,
    )


def _validated(target: Target, parameter: inspect.Parameter, value: object, field: str, where: str) -> object:
    from pydantic import PydanticUserError, TypeAdapter, ValidationError  # noqa: PLC0415 -- only where there are options

    try:
        adapter: TypeAdapter[object] = TypeAdapter(_annotation(target, parameter))
    except Exception:  # noqa: BLE001 -- whatever a stranger's annotation raises, it is not validated, never refused
        return value
    try:
        return adapter.validate_python(value, strict=isinstance(value, bool) or None)  # else True would do for 1
    except PydanticUserError:  # a model that is not fully defined
        return value
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, (field, *first["loc"])))
        given = _without_secrets(field, value)
        raise ConfigError(
            f"{place} = {given!r} will not do, in {where}: {first['msg']}",
            field=field,
            value=given,
            expected=first["msg"],
            where=where,
        ) from None


def _annotation(target: Target, parameter: inspect.Parameter) -> type[object]:
    """Resolve one parameter's annotation where its target was written."""
    if parameter.annotation is parameter.empty:
        return object
    holder = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
    hints = typing.get_type_hints(holder, _names_around(target), include_extras=True)
    return typing.cast("type[object]", hints[parameter.name])


def _names_around(target: Target) -> dict[str, object]:
    if isinstance(target, partial):
        return _names_around(target.func)
    function = getattr(target, "__init__", None) if isinstance(target, type) else inspect.unwrap(target)
    module = sys.modules.get(getattr(target, "__module__", ""))
    return {**getattr(module, "__dict__", {}), **getattr(function, "__globals__", {})}
