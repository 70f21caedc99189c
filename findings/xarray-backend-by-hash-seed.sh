#!/bin/bash
# xarray 2026.9.0: of two distributions that provide one engine the process's hash seed chooses, anew in each process.
# Expected: one rule (first on sys.path, alphabetical, an error); there is a warning that names the one that was taken. Equal names
# are put through a set, whose order is that of the hashes of strings, which Python draws at random at each start.
# Entry points have no order of their own: EntryPoint's == and hash() look at name, value and group, not at the distribution.
# Why it matters: half of the workers of one dask cluster read a file with one engine and half with the other, and a second run
# of a failing program takes the other half.
. "$(dirname "$0")/common.sh"
with_pip xarray==2026.9.0

for name in one two; do
    mkdir -p "$tmp/site/$name-1.dist-info"
    printf 'Metadata-Version: 2.1\nName: %s\nVersion: 1\n' $name >"$tmp/site/$name-1.dist-info/METADATA"
    printf '[xarray.backends]\nfast = %s:Engine\n' $name >"$tmp/site/$name-1.dist-info/entry_points.txt"
    printf 'from xarray.backends import BackendEntrypoint\nclass Engine(BackendEntrypoint):\n    def open_dataset(self, path): ...\n' \
        >"$tmp/site/$name.py"
done
export PYTHONPATH=$tmp/site

engines() { # the module of the engine, over sixteen starts of Python
    for PYTHONHASHSEED in {1..16}; do
        export PYTHONHASHSEED
        python -W ignore -c 'import xarray; print(type(xarray.backends.list_engines()["fast"]).__module__)'
    done | sort -u | paste -sd ' '
}
version "xarray 2026.9.0"
expected "one of them"
seen "$(engines)" "one two"
