# shellcheck shell=sh
# _ic_condemn SUBMISSION_ID INDEX...: note that we asked for the end of each copy that may have another one, and print its native id.
# The first note counts: it tells which ends cannot have come of it.
_ic_condemn() {
    submission_id=$1
    shift
    for index; do
        _ic_read_copy "$submission_id" "$index"
        [ -z "$over" ] || continue
        [ -n "$noted" ] || echo "$ended" >>"./$submission_id/copies/$index/killed"
        _ic_find_id "$submission_id" "$index"
        [ -z "$id" ] || echo "$id"
    done
}

# _ic_end_copies KILL_FRAGMENT STATUS_FRAGMENT: end them, then read back what came of it.
_ic_end_copies() {
    _ic_find_room
    IC_IDS=$lists/.ids.$mark
    export IC_IDS
    _ic_each _ic_condemn >"$IC_IDS"
    [ ! -s "$IC_IDS" ] || _ic_frame kill _ic_run_plainly "$1"
    rm -f "$IC_IDS"
    _ic_look "$2"
}
