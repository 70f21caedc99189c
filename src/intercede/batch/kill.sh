# shellcheck shell=sh
# _ic_record_kill SUBMISSION_ID INDEX...: record the kill request for each copy that may still run, and print its native
# id. Only the first request is recorded: an end before it cannot be a result of a kill.
_ic_record_kill() {
    submission_id=$1
    shift
    for index; do
        _ic_read_copy "$submission_id" "$index"
        [ -z "$is_final" ] || continue
        [ -n "$ends_at_kill" ] || echo "$ends" >>"./$submission_id/copies/$index/killed"
        _ic_find_id "$submission_id" "$index"
        [ -z "$id" ] || echo "$id"
    done
}

# _ic_end_copies KILL_FRAGMENT STATUS_FRAGMENT: end the copies, then print their records and the queue's listing.
_ic_end_copies() {
    _ic_find_scratch
    IC_IDS=$scratch/.ids.$mark
    export IC_IDS
    _ic_each _ic_record_kill >"$IC_IDS"
    [ ! -s "$IC_IDS" ] || _ic_frame kill _ic_run_clean "$1"
    rm -f "$IC_IDS"
    _ic_print_status "$2"
}
