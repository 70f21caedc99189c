# Read the records of copies, without a process per copy: a thousand are read in a few milliseconds.
# The caller defines the function `_ic_each COMMAND`, which calls COMMAND SUBMISSION_ID INDEX... once per submission.
# shellcheck shell=sh

# Options that later parts may set. They are reset here, because the environment may have variables of these names.
open_only='' every_id='' scratch=''

# _ic_read_copy SUBMISSION_ID INDEX: read the record of a copy. It sets:
#   directory     the copy's directory
#   record        the record: final STATUS, code N, signal N, caught N, none, or gone if the directory does not exist
#   is_final      yes if the scheduler cannot change the status any more; otherwise empty
#   ends          the number of the attempt that ended by a signal, or after one, as the record says; otherwise 0
#   ends_at_kill  the value of ends when the kill was requested; empty if no kill was requested
#   killed        - if no kill was requested; asked if the recorded end is from before the request; otherwise killed,
#                 also if no end is recorded
# A line without its newline is being written, and does not count yet.
_ic_read_copy() {
    directory=./$1/copies/$2
    is_final=yes killed=- ends=0 ends_at_kill=
    if [ ! -d "$directory" ]; then
        record=gone
        return
    fi
    if [ -f "./$1/finals/$2" ] && read -r record <"./$1/finals/$2"; then
        record="final $record"
        return
    fi
    if [ -f "$directory/exit" ] && read -r record <"$directory/exit"; then
        case $record in code\ *) return ;; esac
        ends=${record##* }
    else
        record=none
    fi
    is_final=
    # This is read after the exit record, because a kill records its request before it ends anything.
    [ ! -f "$directory/killed" ] || read -r ends_at_kill <"$directory/killed" || ends_at_kill=
    [ -n "$ends_at_kill" ] || return 0
    killed=asked
    { [ "$record" != none ] && [ "$ends_at_kill" -ge "$ends" ]; } 2>/dev/null || killed=killed
}

# _ic_find_id SUBMISSION_ID INDEX: set id to the copy's native id, or to nothing if it is not known; set is_refused to
# yes if the scheduler refused the copy. The ids of a submission are read once.
_ic_find_id() {
    eval "named=\${named_$1-}"
    [ -n "$named" ] || _ic_read_ids "$1"
    eval "id=\${id_$1_$2-}"
    is_refused=
    [ "$id" != ! ] || id='' is_refused=yes
}

# _ic_read_ids SUBMISSION_ID: read the recorded native ids of a submission.
_ic_read_ids() {
    eval "named_$1=yes"
    [ ! -f "./$1/natives" ] || _ic_remember_ids "$1" <"./$1/natives"
}

# _ic_remember_ids SUBMISSION_ID: read lines "INDEX ID" from stdin into variables of this script.
_ic_remember_ids() {
    while read -r _ic_index _ic_id; do
        case $_ic_index in '' | *[!0-9]*) continue ;; esac
        eval "id_$1_$_ic_index=\$_ic_id"
    done
}

# _ic_note_ids SUBMISSION_ID LINES: record native ids that the client has parsed. A single line is written without a
# temporary file, which saves a process: an incomplete line does not count. If the disk is full, this script still knows
# the ids, because a job without an id would be reported as lost.
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

# _ic_print LINE: print a line, buffered with others: each printf is one write, and over ssh one packet. _ic_flush
# prints the rest of the buffer.
_ic_print() {
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

# _ic_sort_copies SUBMISSION_ID INDEX...: print the records that are final, unless open_only is set. The names of the
# other copies go to descriptor 4, and their native ids to descriptor 3.
_ic_sort_copies() {
    submission_id=$1
    shift
    for index; do
        _ic_read_copy "$submission_id" "$index"
        if [ -z "$is_final" ]; then
            _ic_find_id "$submission_id" "$index"
            echo "$submission_id $index" >&4 || exit 28 # ENOSPC: a list that lacks some would be a lie
            [ -z "$id" ] || echo "$id" >&3 || exit 28
        elif [ -z "$open_only" ]; then
            _ic_print "$submission_id $index $killed ? $record"
        fi
    done
}

# _ic_print_copies SUBMISSION_ID INDEX...: print a line for each copy. It has the native id if the copy may still run,
# or if every_id is set.
_ic_print_copies() {
    submission_id=$1
    shift
    for index; do
        _ic_print_copy "$submission_id" "$index"
    done
    _ic_flush
}

_ic_print_copy() {
    id=
    _ic_read_copy "$1" "$2"
    if [ -z "$is_final" ] || [ -n "$every_id" ]; then
        _ic_find_id "$1" "$2"
        [ -z "$is_refused" ] || record=gone # the scheduler never had the copy
    fi
    _ic_print "$1 $2 $killed ${id:-?} $record"
}

# _ic_find_scratch: set scratch to a directory for the temporary files of this script: the root, or another one if that
# is full.
_ic_find_scratch() {
    [ -z "$scratch" ] || return 0
    scratch=$root
    trap 'rm -f "$scratch/.ids.$mark" "$scratch/.open.$mark"; [ "$scratch" = "$root" ] || rm -rf "$scratch"' EXIT
    trap 'exit 143' HUP INT TERM
    printf '%65536s' '' >"$scratch/.ids.$mark" && return # this needs no process, and proves space for thousands of ids
    rm -f "$scratch/.ids.$mark"
    scratch=$(mktemp -d) || scratch=$root
} 2>/dev/null

# _ic_print_status FRAGMENT: print the final records; then the scheduler's listing of the other copies; then the records
# of these again. So a copy that ends in the meantime has a record, and is not taken for lost.
_ic_print_status() {
    _ic_find_scratch
    IC_IDS=$scratch/.ids.$mark
    export IC_IDS
    _ic_frame records _ic_sort_all 3>"$IC_IDS" 4>"$scratch/.open.$mark"
    [ ! -s "$IC_IDS" ] || _ic_frame listing _ic_run_clean "$1"
    [ ! -s "$scratch/.open.$mark" ] || _ic_frame open _ic_print_open
}

_ic_sort_all() {
    _ic_each _ic_sort_copies
    _ic_flush
}

_ic_print_open() {
    while read -r its_submission_id its_index; do
        _ic_print_copy "$its_submission_id" "$its_index"
    done <"$scratch/.open.$mark"
    _ic_flush
}
