#!/bin/bash
# uutils coreutils: `cp -R from/. to` (0.0.17) and `cd from; cp -R . ../to` (0.0.17 and 0.0.30) copy nothing and fail.
# Expected: these are the portable ways to copy a directory's contents, hidden files too, without the directory itself: POSIX, GNU,
# busybox and BSD do it. uutils takes the dot for a name: it looks for to/from/./FILE, whose directory nobody made.
# 0.0.30 mends the first only; 0.12.0 does both.
# Why it matters: distributions begin to ship uutils as their coreutils, and scripts that stage files say exactly this.
. "$(dirname "$0")/common.sh"

copies() { # copies RELEASE PIN: the exit codes of both ways, with that release of rust-coreutils
    rm -rf "$root" "$tmp/stage"
    with_debian "$1" "rust-coreutils=$2" dash
    mkdir -p "$tmp"/stage/{from,to1,to2}
    touch "$tmp"/stage/from/{file,.hidden}
    # shellcheck disable=SC2016 # expands over there
    within sh -c '
        PATH=/usr/lib/cargo/bin:$PATH
        cd /tmp/stage
        coreutils cp -R from/. to1
        echo "from/. to: $?"
        cd from
        coreutils cp -R . ../to2
        echo ". ../to:   $?"' 2>/dev/null
    (cd "$tmp/stage" && for file in to?/* to?/.h*; do [ ! -e "$file" ] || echo "$file"; done)
}

expected "0 twice, and file and .hidden in to1 and to2"
version "rust-coreutils 0.0.17"
seen "$(copies bookworm 0.0.17-2)" "from/. to: 1
. ../to:   1"
version "rust-coreutils 0.0.30"
seen "$(copies trixie 0.0.30-2)" "from/. to: 0
. ../to:   1
to1/file
to1/.hidden"
version "rust-coreutils 0.12.0"
seen "$(copies sid 0.12.0-1)" "from/. to: 0
. ../to:   0
to1/file
to2/file
to1/.hidden
to2/.hidden"
