#!/bin/bash
# stevedore 5.10.0: error_on_conflict raises only if the two plugins of one name stand next to each other in the list.
# Expected: ExtensionManager(conflict_resolver=error_on_conflict) with two distributions that provide "ssh" raises MultipleMatches,
# as the documentation has it. The names are grouped with itertools.groupby over an unsorted list, so where a distribution with
# two entry points stands between, "ssh" is met twice with another name in between: no error, and the last one wins.
# Why it matters: it raises in the test with two one-line plugins and not in the environment that has the conflict; which of
# them is used follows the order of a directory. DriverManager is right, it counts.
. "$(dirname "$0")/common.sh"
with_pip stevedore==5.10.0

provide() { # provide DISTRIBUTION NAME...: a distribution with these entry points, all to a class of its own
    mkdir -p "$tmp/site/$1-1.dist-info"
    printf 'Metadata-Version: 2.1\nName: %s\nVersion: 1\n' "$1" >"$tmp/site/$1-1.dist-info/METADATA"
    echo "class ${1^}: pass" >"$tmp/site/$1.py"
    {
        echo '[transports]'
        printf "%s = $1:${1^}\n" "${@:2}"
    } >"$tmp/site/$1-1.dist-info/entry_points.txt"
}
load() {
    PYTHONPATH=$tmp/site XDG_CACHE_HOME=$(mktemp -d -p "$tmp") python - <<-'END'
	from stevedore import extension
	from stevedore.exception import MultipleMatches
	try:
	    extension.ExtensionManager("transports", conflict_resolver=extension.error_on_conflict)["ssh"]
	    print("no error")
	except MultipleMatches:
	    print("MultipleMatches")
	END
}
expected "MultipleMatches, twice"
version "stevedore 5.10.0: one provides ssh, two provides ssh"
provide one ssh
provide two ssh
seen "$(load)" "MultipleMatches"
version "stevedore 5.10.0: each provides another name before and after it"
provide one near ssh far
provide two fast ssh slow
seen "$(load)" "no error"
