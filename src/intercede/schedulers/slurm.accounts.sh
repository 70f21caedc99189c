# What status and list share. shellcheck shell=sh
# accounted CLUSTER OPTION...: what accounting knows of these, and the exit code of sacct: 124 where it had no answer in ten
# seconds. By itself it waits longer for a daemon that stands still, and everybody would wait with it.
accounted() {
    printf '\nintercede: sacct %s\n' "$1"
    cluster=$1
    shift
    [ "$cluster" = - ] || set -- "--clusters=$cluster" "$@"
    set -- sacct --allocations --noheader --parsable2 "$@"
    ! command -v timeout >/dev/null || set -- timeout 10 "$@"
    "$@" </dev/null 2>&1
    printf '\nintercede: code %s\n' "$?"
}
