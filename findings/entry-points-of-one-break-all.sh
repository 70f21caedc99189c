#!/bin/bash
# importlib.metadata, Python 3.15: one bad value in any distribution makes entry_points() raise, whatever group was asked for.
# Expected: an entry point of another group and another distribution is nobody's business; up to 3.14 a bad value was reported
# where it was loaded. In 3.15 EntryPoint checks its value when it is made, and entry_points(group=...) makes all of them before
# it selects. importlib_metadata did so from 8.7 to 9.1 and took it back in 10.0; the standard library stands in between.
# Why it matters: one leftover package takes the plugins from every program in that environment, and a program can skip the bad
# one only by walking through distributions() itself. Source: python/importlib_metadata issue 523.
. "$(dirname "$0")/common.sh"
with_debian sid python3.15=3.15.2-1
with_pip importlib-metadata==10.2.0

site=$tmp/site
mkdir -p "$site"/{tool-1,leftover-1}.dist-info
printf 'Metadata-Version: 2.1\nName: tool\nVersion: 1\n' >"$site/tool-1.dist-info/METADATA"
printf '[tool.plugins]\ngood = tool:main\n' >"$site/tool-1.dist-info/entry_points.txt"
printf 'Metadata-Version: 2.1\nName: leftover\nVersion: 1\n' >"$site/leftover-1.dist-info/METADATA"
printf '[another.group]\nodd = two words\n' >"$site/leftover-1.dist-info/entry_points.txt"

cat >"$tmp/look.py" <<'END'
try:
    import importlib_metadata as metadata
except ImportError:
    from importlib import metadata
try:
    print([point.name for point in metadata.entry_points(group="tool.plugins")])
except ValueError as error:
    print("ValueError:", error.args[1])
END

expected "['good']"
version "$(within python3.15 -V)"
seen "$(PYTHONPATH=/tmp/site within python3.15 /tmp/look.py)" "ValueError: two words"
version "importlib_metadata 10.2.0"
seen "$(PYTHONPATH=$site python "$tmp/look.py")" "['good']"
