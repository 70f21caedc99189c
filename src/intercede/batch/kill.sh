# shellcheck shell=sh
# condemn STAMP INDEX...: note that we asked for the end of each copy that may have another one, and print its native id.
# The first note counts: it tells which ends cannot have come of it.
condemn() {
    stamp=$1
    shift
    for index; do
        record "$stamp" "$index"
        [ -z "$over" ] || continue
        [ -n "$noted" ] || echo "$ended" >>"./$stamp/copies/$index/killed"
        native "$stamp" "$index"
        [ -z "$id" ] || echo "$id"
    done
}

# end_copies KILL_FRAGMENT STATUS_FRAGMENT: end them, then read back what came of it.
end_copies() {
    room
    IC_IDS=$lists/.ids.$mark
    export IC_IDS
    each condemn >"$IC_IDS"
    [ ! -s "$IC_IDS" ] || frame kill tools "$1"
    rm -f "$IC_IDS"
    look "$2"
}
