# What stands written of each copy. No process is forked for a copy: a thousand are read in some milliseconds.
# The function `each COMMAND`, written by the caller, calls COMMAND SUBMISSION_ID INDEX... once a submission.
# shellcheck shell=sh

# What parts behind this one may set; whatever the environment has under these names.
open_only='' every_id='' lists=''

# _ic_read_copy SUBMISSION_ID INDEX: sets said, the copy's record; over, where nothing can change it any more; else ended, how many
# attempts ended by a signal, noted, how many had when its end was asked for, and killed: asked, where it was, and killed,
# where another end followed. Only a code to which no signal came is over by itself. What lacks its line's end is being
# written, and does not count yet.
_ic_read_copy() {
    here=./$1/copies/$2
    over=yes killed=- ended=0 noted=
    if [ ! -d "$here" ]; then
        said=gone
        return
    fi
    if [ -f "./$1/finals/$2" ] && read -r said <"./$1/finals/$2"; then
        said="final $said"
        return
    fi
    if [ -f "$here/exit" ] && read -r said <"$here/exit"; then
        case $said in code\ *) return ;; esac
        ended=${said##* }
    else
        said=none
    fi
    over=
    # After the exit: a kill notes that it asks before it ends anything.
    [ ! -f "$here/killed" ] || read -r noted <"$here/killed" || noted=
    [ -n "$noted" ] || return 0
    killed=asked
    { [ "$said" != none ] && [ "$noted" -ge "$ended" ]; } 2>/dev/null || killed=killed
}

# _ic_find_id SUBMISSION_ID INDEX: sets id, the copy's native id, empty where nothing is known, and refused, where the scheduler did
# not take it. A submission's are read once.
_ic_find_id() {
    eval "named=\${named_$1-}"
    [ -n "$named" ] || _ic_read_ids "$1"
    eval "id=\${id_$1_$2-}"
    refused=
    [ "$id" != ! ] || id='' refused=yes
}

# _ic_read_ids SUBMISSION_ID: read them.
_ic_read_ids() {
    eval "named_$1=yes"
    [ ! -f "./$1/natives" ] || _ic_remember_ids "$1" <"./$1/natives"
}

# _ic_remember_ids SUBMISSION_ID: read native ids, for as long as this script runs.
_ic_remember_ids() {
    while read -r _ic_index _ic_id; do
        case $_ic_index in '' | *[!0-9]*) continue ;; esac
        eval "id_$1_$_ic_index=\$_ic_id"
    done
}

# _ic_note_ids SUBMISSION_ID LINES: keep the native ids that were understood elsewhere. One line is whole, or does not count: that takes no
# process. Where there is no room for them this script knows them all the same: a job without an id would be lost.
_ic_note_ids() {
    [ -d "./$1" ] || return 0
    case $2 in
    *' '*' '*)
        printf '%s\n' "$2" >"./$1/natives.$mark" && mv "./$1/natives.$mark" "./$1/natives" && return
        rm -f "./$1/natives.$mark"
        ;;
    *) printf '%s\n' "$2" >"./$1/natives" && return ;;
    esac
    eval "named_$1=yes"
    _ic_remember_ids "$1" <<EOF
$2
EOF
} 2>/dev/null

# _ic_say LINE: print it, together with some others: each printf is a write, and over ssh a packet, which should be none of the
# small ones. flush: the last of them.
_ic_say() {
    _ic_lines=$_ic_lines$1'
'
    _ic_count=$((_ic_count + 1))
    [ "$_ic_count" -lt 200 ] || _ic_flush
}
_ic_flush() {
    printf %s "$_ic_lines"
    _ic_lines=
    _ic_count=0
}
_ic_lines=
_ic_count=0

# _ic_sort_out SUBMISSION_ID INDEX...: say the records that stand, unless open_only is set. Those that may still change go to 4, by
# name, and the scheduler's ids for them to 3.
_ic_sort_out() {
    submission_id=$1
    shift
    for index; do
        _ic_read_copy "$submission_id" "$index"
        if [ -z "$over" ]; then
            _ic_find_id "$submission_id" "$index"
            echo "$submission_id $index" >&4 || exit 28 # ENOSPC: a list that lacks some would be a lie
            [ -z "$id" ] || echo "$id" >&3 || exit 28
        elif [ -z "$open_only" ]; then
            _ic_say "$submission_id $index $killed ? $said"
        fi
    done
}

# _ic_tell_copies SUBMISSION_ID INDEX...: say a line for each copy, with its native id where that still matters or every_id is set.
_ic_tell_copies() {
    submission_id=$1
    shift
    for index; do
        _ic_tell_copy "$submission_id" "$index"
    done
    _ic_flush
}

_ic_tell_copy() {
    id=
    _ic_read_copy "$1" "$2"
    if [ -z "$over" ] || [ -n "$every_id" ]; then
        _ic_find_id "$1" "$2"
        [ -z "$refused" ] || said=gone # it never was
    fi
    _ic_say "$1 $2 $killed ${id:-?} $said"
}

# _ic_find_room: sets lists, a directory for what a script notes while it runs: the root, and where that is full another one.
_ic_find_room() {
    [ -z "$lists" ] || return 0
    lists=$root
    trap 'rm -f "$lists/.ids.$mark" "$lists/.open.$mark"; [ "$lists" = "$root" ] || rm -rf "$lists"' EXIT
    trap 'exit 143' HUP INT TERM
    printf '%65536s' '' >"$lists/.ids.$mark" && return # no process more, and room for thousands of ids
    rm -f "$lists/.ids.$mark"
    lists=$(mktemp -d) || lists=$root
} 2>/dev/null

# _ic_look FRAGMENT: the records that stand; what the scheduler lists of the others; then their records again: a copy that
# ends in between is seen by its record, never taken for lost.
_ic_look() {
    _ic_find_room
    IC_IDS=$lists/.ids.$mark
    export IC_IDS
    _ic_frame records _ic_sort_all 3>"$IC_IDS" 4>"$lists/.open.$mark"
    [ ! -s "$IC_IDS" ] || _ic_frame listing _ic_run_plainly "$1"
    [ ! -s "$lists/.open.$mark" ] || _ic_frame open _ic_tell_open
}

_ic_sort_all() {
    _ic_each _ic_sort_out
    _ic_flush
}

_ic_tell_open() {
    while read -r its_submission_id its_index; do
        _ic_tell_copy "$its_submission_id" "$its_index"
    done <"$lists/.open.$mark"
    _ic_flush
}
