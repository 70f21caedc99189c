#!/bin/bash
# typeguard 4.6.1: a generator is red at its end, "the return value (None) is not an instance of Iterator", if its annotation
# is text, or Iterator comes from _collections_abc; and a function that imports the class that it returns is an UnboundLocalError.
# Expected: each passes: annotations may be text (PEP 484), and both modules have the same class.
# typeguard knows generators by how the annotation is written in the source, and by two modules' names; otherwise it checks what
# the function returns at its end. It writes the annotation into the function's body, where an import makes that name local.
# Why it matters: type checkers take all three for right, and --typeguard-packages over a dependency ends the run of pytest.
. "$(dirname "$0")/common.sh"
with_pip typeguard==4.6.1

cat >"$tmp/ways.py" <<'END'
from collections.abc import Iterator
from _collections_abc import Iterator as Same
from fractions import Fraction as Number

def plain() -> Iterator[int]:
    yield 1

def text() -> "Iterator[int]":
    yield 1

def same() -> Same[int]:
    yield 1

def imports(given: int) -> "Number | int":
    if not given:
        return 1
    from fractions import Fraction as Number
    return Number(given)
END
cat >"$tmp/call.py" <<'END'
from typeguard import install_import_hook
install_import_hook("ways")
import ways

for each, arguments in ((ways.plain, ()), (ways.text, ()), (ways.same, ()), (ways.imports, (0,))):
    try:
        value = each(*arguments)
        told = value if arguments else list(value)
    except Exception as error:
        told = type(error).__name__
    print(each.__name__, told)
END
version "typeguard 4.6.1"
expected "plain [1], text [1], same [1], imports 1"
seen "$(cd "$tmp" && python call.py)" "plain [1]
text TypeCheckError
same TypeCheckError
imports UnboundLocalError"
