#!/bin/bash
# Hypothesis 6.170.15 beside gc.freeze(): a generator that a list holds is "about to be garbage collected".
# Expected: no warning, since the list lives on. register_random() asks gc.get_referrers() who holds what it is given, and that
# looks only where the collector looks: gc.freeze() puts all containers that are there aside, and what they hold later with them.
# Hypothesis registers a generator of its own at each thread's first example, in a dictionary; so under -W error a process that
# froze sees its first property test red, and all others green. Whether it does depends on Python: up to 3.13 a dictionary of plain
# values was none of the collector's, so freezing did not hide it; from 3.14 on every dictionary is tracked from its beginning.
# Why it matters: the manual of gc advises freezing before a fork; fork servers, web servers and test workers do it.
. "$(dirname "$0")/common.sh"
with_pip hypothesis==6.170.15

cat >"$tmp/hold.py" <<'END'
import gc, random, sys, warnings
from hypothesis import register_random

held = ["mine"]
if "freeze" in sys.argv:
    gc.freeze()
held.append(random.Random(1))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    register_random(held[-1])
print(f"{' '.join(sys.argv[1:]) or 'as it is'}: warnings {[each.category.__name__ for each in caught]}")
END

version "hypothesis 6.170.15, $(python -V)"
expected "warnings [], frozen or not"
seen "$(python "$tmp/hold.py")" "as it is: warnings []"
seen "$(python "$tmp/hold.py" freeze)" "freeze: warnings ['HypothesisWarning']"
