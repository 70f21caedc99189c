"""Options: which a target takes, whose a flat one is, and their values in the right type.

A target's own signature and annotations are the schema: there is nothing to declare.
"""

import inspect
import sys
import typing
from collections.abc import Callable, Collection, Mapping
from functools import partial
from types import SimpleNamespace

from intercede.contract.errors import ConfigError
from intercede.plugin import nearest

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
    for name, value in given.items():
        _refuse_credentials(name, prefix, where)
        if name not in parameters and not _takes_any(target):
            raise _unknown(name, value, parameters, prefix, where)
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
    value = "" if error.value is None else f" = {error.value!r}"
    return ConfigError(
        f"{field or 'the table'}{value} will not do, in {where}: {error}",
        field=field or None,
        value=error.value,
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
            raise _unowned(name, value, owners, takers, _parameters(batch), where)
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


def _shown(target: Target) -> str:
    return str(getattr(target, "__qualname__", None) or repr(target))


def _refuse_credentials(name: str, prefix: str, where: str) -> None:
    if name == CREDENTIALS:
        raise ConfigError(
            f"{prefix}credentials in {where}: credentials are never data; hand a provider over in code, "
            "registry.backend(config, credentials=provider)",
            field=prefix + name,
            expected="registry.backend(config, credentials=provider)",
            where=where,
        )


def _unknown(name: str, value: object, known: Collection[str], prefix: str, where: str) -> ConfigError:
    options = ", ".join(known) or "none"
    return ConfigError(
        f"{prefix}{name} is no option, in {where}{nearest(name, known)}; the options are: {options}",
        field=prefix + name,
        value=value,
        expected=options,
        where=where,
    )


def _unowned(  # noqa: PLR0917 -- who may have it, and who has
    name: str,
    value: object,
    owners: list[str],
    takers: Mapping[str, Collection[str]],
    batch: Collection[str],
    where: str,
) -> ConfigError:
    known = [option for parameters in takers.values() for option in parameters]
    what = (
        "both the transport and the scheduler take it" if owners else "neither the transport nor the scheduler has it"
    )
    near = "" if owners or name in batch else nearest(name, known) or nearest(name, batch)
    if name in batch and not owners:
        nested = advice = f'"batch": {{"{name}": {value!r}}}'
    else:
        nested = f'"{owners[0] if owners else "transport"}": {{"type": ..., "{name}": {value!r}}}'
        advice = f'it where it belongs, as {nested}, or under "batch" if it is the BatchBackend\'s'
    return ConfigError(
        f"{name} cannot be placed, in {where}: {what}{near}; write {advice}",
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
        raise ConfigError(
            f"{place} = {value!r} will not do, in {where}: {first['msg']}",
            field=field,
            value=value,
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
