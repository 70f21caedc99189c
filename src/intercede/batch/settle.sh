# _ic_settle SUBMISSION_ID INDEX VERDICT INDEX VERDICT...: write final verdicts down, and tell what stands. Each is written aside and
# linked, all with one process: a link is made only where there is none, so the first wins, and what stands is whole. Some
# file systems (BeeGFS, AFS) have no links from one directory to another: there each takes a process, within its directory.
# shellcheck shell=sh
_ic_settle() {
    submission_id=$1 aside=./$1/finals.$mark indices=
    shift
    mkdir "$aside" && { [ -d "./$submission_id/finals" ] || mkdir "./$submission_id/finals"; }
    while [ $# -gt 0 ]; do
        indices="$indices $1"
        _ic_write_verdict "$1" "$2"
        ic_forget_secrets "./$submission_id" "$1"
        shift 2
    done
    if ! ln "$aside"/* "./$submission_id/finals/"; then
        for index in $indices; do
            [ -e "./$submission_id/finals/$index" ] || _ic_link_beside "$index"
        done
        rm -f "./$submission_id/finals/.$mark."*
    fi
    rm -rf "$aside"
    # shellcheck disable=SC2086 # numbers, to be split
    _ic_tell_copies "$submission_id" $indices
} 2>/dev/null

# _ic_write_verdict INDEX VERDICT: write it aside. A full disk's half of one is removed; so is what a crash left of one.
_ic_write_verdict() {
    printf '%s\n' "$2" >"$aside/$1"
    for its_file in "$aside/$1" "./$submission_id/finals/$1"; do
        [ ! -e "$its_file" ] || read -r said <"$its_file" || rm -f "$its_file"
    done
}

# _ic_link_beside INDEX: link its verdict from a file in the same directory.
_ic_link_beside() {
    its_file=./$submission_id/finals/.$mark.$1
    read -r said <"$aside/$1" && printf '%s\n' "$said" >"$its_file" && ln "$its_file" "./$submission_id/finals/$1"
}
