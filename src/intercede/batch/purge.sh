# shellcheck shell=sh
# _ic_purge: move what is over out of sight, some hundreds a process, and print what is there no more, since now or before. A
# live writer can keep rm from emptying a directory, not mv from renaming it.
_ic_purge() {
    whole=
    several=0
    _ic_each _ic_discard
    _ic_throw_whole
    _ic_each _ic_say_gone
    _ic_flush
}

# _ic_discard SUBMISSION_ID INDEX...: a submission that is over goes whole, together with others. Else its copies go that are over, and
# the last takes the rest.
_ic_discard() {
    submission_id=$1
    shift
    _ic_count_present "$submission_id"
    for index; do
        ! _ic_is_disposable || present=$((present - 1))
    done
    if [ "$present" = 0 ]; then
        [ ! -d "./$submission_id" ] || whole="$whole ./$submission_id"
        several=$((several + 1))
        [ "$several" -lt 400 ] || _ic_throw_whole
        return
    fi
    batch=
    count=0
    for index; do
        _ic_is_disposable || continue
        batch="$batch ./$submission_id/copies/$index"
        count=$((count + 1))
        [ "$count" -lt 400 ] || _ic_throw_some
    done
    _ic_throw_some
    [ ! -d "./$submission_id" ] || _ic_has_queued || mv "./$submission_id" "./.trash/$submission_id.$mark.all"
}

# _ic_count_present SUBMISSION_ID: sets present, how many copies are there.
_ic_count_present() {
    set -- "./$1/copies/"*
    [ -e "$1" ] || shift
    present=$#
}

# _ic_is_disposable: whether the copy is there, and may go.
_ic_is_disposable() {
    _ic_read_copy "$submission_id" "$index"
    [ -d "$here" ] && { [ -n "$over" ] || [ -n "$anyway" ]; }
}

# _ic_has_queued: whether a copy is left; one that the scheduler refused has no handle, and goes with the last.
_ic_has_queued() {
    for place in "./$submission_id/copies/"*; do
        [ -e "$place" ] || continue
        _ic_find_id "$submission_id" "${place##*/}"
        [ -n "$refused" ] || return 0
    done
    return 1
}

# shellcheck disable=SC2086 # ids and numbers, to be split
_ic_throw_whole() {
    [ -z "$whole" ] || _ic_throw "./.trash/$mark" $whole
    whole=
    several=0
}

# shellcheck disable=SC2086 # ids and numbers, to be split
_ic_throw_some() {
    [ -z "$batch" ] || _ic_throw "./.trash/$submission_id.$mark" $batch
    batch=
    count=0
}

# _ic_throw TRASH PATH...: another purge may move some of them first, and its sweep may take the place where we put ours. On a
# full disk there may be no place to put them, and removing is what makes one.
_ic_throw() {
    trash=$1
    shift
    for try in 1 2 3; do
        mkdir -p "$trash" || { rm -rf "$@" && break; } || break
        mv "$@" "$trash/" || [ -d "$trash" ] || continue
        break
    done
}

# _ic_say_gone SUBMISSION_ID INDEX...: print those that are there no more.
_ic_say_gone() {
    submission_id=$1
    shift
    for index; do
        [ -d "./$submission_id/copies/$index" ] || _ic_say "$submission_id $index"
    done
}

# _ic_sweep: what was thrown away, now or when it could not be removed.
_ic_sweep() {
    set -- ./.trash/*
    [ -e "$1" ] || return 0
    rm -rf "$@" 2>/dev/null && return
    chmod -R u+rwx "$@" 2>/dev/null
    rm -rf "$@" 2>/dev/null
    return 0
}
