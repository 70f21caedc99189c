#!/bin/bash
# stevedore 5.10.0: its cache on disk does not notice a change of entry points that is less than a minute old or so.
# Expected: the cache is keyed by the time of each directory on sys.path and of each entry_points.txt, so whatever writes one is
# seen. The times are packed into a C float; in this decade its neighbours are 128 seconds apart.
# Why it matters: `pip install -e .` after a plugin was added or renamed, with the tool run before and after, as one does
# while writing a plugin: "no such plugin", sometimes, for up to two minutes.
# To be sure, the script sets the times itself: 50 seconds apart in one of those steps, and then the next step.
. "$(dirname "$0")/common.sh"
with_pip stevedore==5.10.0

site=$tmp/site
install() { # install NAME SECOND: what pip leaves of a plugin of that name, at that time
    mkdir -p "$site/plugins-1.dist-info"
    printf 'Metadata-Version: 2.1\nName: plugins\nVersion: 1\n' >"$site/plugins-1.dist-info/METADATA"
    printf '[tools]\n%s = json:dumps\n' "$1" >"$site/plugins-1.dist-info/entry_points.txt"
    find "$site" -exec touch -d "@$2" {} +
}
cat >"$tmp/names.py" <<'END'
import sys
sys.executable = "/usr/bin/python3"  # below /tmp stevedore keeps no cache, for Ansible's sake
from stevedore import ExtensionManager
print(ExtensionManager("tools").names())
END
names() { PYTHONPATH=$site python "$tmp/names.py"; }

version "stevedore 5.10.0"
expected "['old'], then ['new'] twice"
install old 1800000000
seen "$(names)" "['old']"
install new 1800000050
seen "$(names), 50 seconds later" "['old'], 50 seconds later"
install new 1800000128
seen "$(names), 128 seconds later" "['new'], 128 seconds later"
