# _ic_settle SUBMISSION_ID INDEX STATUS INDEX STATUS...: record final statuses, and print the records that then exist.
# Each status is written to a temporary file and linked to its name, all with one process. A link is made only if the
# name is free, so the first client wins, and a record is always complete. Some file systems (BeeGFS, AFS) have no links
# between directories: then each file is linked within its directory, with a process for each.
# shellcheck shell=sh
_ic_settle() {
    submission_id=$1 temporary=./$1/finals.$mark indices=
    shift
    mkdir "$temporary" && { [ -d "./$submission_id/finals" ] || mkdir "./$submission_id/finals"; }
    while [ $# -gt 0 ]; do
        indices="$indices $1"
        _ic_write_status "$1" "$2"
        ic_forget_secrets "./$submission_id" "$1"
        shift 2
    done
    if ! ln "$temporary"/* "./$submission_id/finals/"; then
        for index in $indices; do
            [ -e "./$submission_id/finals/$index" ] || _ic_link_status "$index"
        done
        rm -f "./$submission_id/finals/.$mark."*
    fi
    rm -rf "$temporary"
    # shellcheck disable=SC2086 # numbers: the words must be split
    _ic_print_copies "$submission_id" $indices
} 2>/dev/null

# _ic_write_status INDEX STATUS: write a status to a temporary file. Incomplete files are removed, which a full disk or
# a crash may have left.
_ic_write_status() {
    printf '%s\n' "$2" >"$temporary/$1"
    for its_file in "$temporary/$1" "./$submission_id/finals/$1"; do
        [ ! -e "$its_file" ] || read -r record <"$its_file" || rm -f "$its_file"
    done
}

# _ic_link_status INDEX: link a status from a temporary file in the same directory.
_ic_link_status() {
    its_file=./$submission_id/finals/.$mark.$1
    read -r record <"$temporary/$1" && printf '%s\n' "$record" >"$its_file" &&
        ln "$its_file" "./$submission_id/finals/$1"
}
