"""Errors have messages for people and attributes for programs."""

import inspect
import pickle
import re

import pytest

from intercede.contract import errors
from intercede.contract.errors import IntercedeError, LimitError, ResourceError, SchedulerError, TransportError

CLASSES = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_takes_a_message_and_attributes(cls: type[IntercedeError]) -> None:
    """Each error takes one positional string and keywords, and survives pickling with both."""
    error = cls("what was asked", host="h", retryable=True)

    again = pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own

    assert type(again) is cls
    assert str(again) == str(error) == "what was asked"
    assert vars(again) == vars(error) == {"host": "h", "retryable": True}
    assert str(cls()) == ""


@pytest.mark.parametrize(
    ("cls", "retryable"), [(ResourceError, False), (SchedulerError, False), (TransportError, True), (LimitError, True)]
)
def test_an_error_says_whether_to_try_again(cls: type[ResourceError], *, retryable: bool) -> None:
    """Each class has a default for retryable, which an instance can override."""
    assert cls().retryable is retryable
    assert cls(retryable=not retryable).retryable is not retryable


def test_the_documented_tree_is_complete() -> None:
    """The tree in the module's docstring has every class below its parent."""
    drawn: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for indent, name in re.findall(r"^( +)(\w+Error)\b", inspect.getdoc(errors) or "", re.MULTILINE):
        path = [(depth, parent) for depth, parent in path if depth < len(indent)]
        drawn[name] = path[-1][1] if path else "Exception"
        path.append((len(indent), name))

    assert drawn == {cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES}
