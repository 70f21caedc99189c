# shellcheck shell=sh
# _ic_purge: move the directories of finished copies into the trash, some hundreds per process, and print the copies
# that have no directory. They are moved first because a process that still writes can keep rm from emptying a
# directory.
_ic_purge() {
    submissions=
    submission_count=0
    _ic_each _ic_discard
    _ic_trash_submissions
    _ic_each _ic_print_gone
    _ic_flush
}

# _ic_discard SUBMISSION_ID INDEX...: if all copies of a submission are finished, mark the whole submission for the
# trash. Otherwise move its finished copies there, and, if no copy is left, the submission as well.
_ic_discard() {
    submission_id=$1
    shift
    _ic_count_present "$submission_id"
    for index; do
        ! _ic_is_disposable || present=$((present - 1))
    done
    if [ "$present" = 0 ]; then
        [ ! -d "./$submission_id" ] || submissions="$submissions ./$submission_id"
        submission_count=$((submission_count + 1))
        [ "$submission_count" -lt 400 ] || _ic_trash_submissions
        return
    fi
    paths=
    count=0
    for index; do
        _ic_is_disposable || continue
        paths="$paths ./$submission_id/copies/$index"
        count=$((count + 1))
        [ "$count" -lt 400 ] || _ic_trash_copies
    done
    _ic_trash_copies
    [ ! -d "./$submission_id" ] || _ic_has_queued || mv "./$submission_id" "./.trash/$submission_id.$mark.all"
}

# _ic_count_present SUBMISSION_ID: set present to the number of copies that have a directory.
_ic_count_present() {
    set -- "./$1/copies/"*
    [ -e "$1" ] || shift
    present=$#
}

# _ic_is_disposable: succeed if the copy $index of $submission_id has a directory that may be removed.
_ic_is_disposable() {
    _ic_read_copy "$submission_id" "$index"
    [ -d "$directory" ] && { [ -n "$is_final" ] || [ -n "$force" ]; }
}

# _ic_has_queued: succeed if $submission_id has a copy that the scheduler accepted. Refused copies have no handle, so
# they are removed with the last accepted one.
_ic_has_queued() {
    for place in "./$submission_id/copies/"*; do
        [ -e "$place" ] || continue
        _ic_find_id "$submission_id" "${place##*/}"
        [ -n "$is_refused" ] || return 0
    done
    return 1
}

# shellcheck disable=SC2086 # ids and numbers: the words must be split
_ic_trash_submissions() {
    [ -z "$submissions" ] || _ic_trash "./.trash/$mark" $submissions
    submissions=
    submission_count=0
}

# shellcheck disable=SC2086 # ids and numbers: the words must be split
_ic_trash_copies() {
    [ -z "$paths" ] || _ic_trash "./.trash/$submission_id.$mark" $paths
    paths=
    count=0
}

# _ic_trash TRASH PATH...: move paths into a directory of the trash. Another purge may move some of them first, or
# remove the directory. If a full disk has no space for the directory, the paths are removed at once.
_ic_trash() {
    trash=$1
    shift
    for try in 1 2 3; do
        mkdir -p "$trash" || { rm -rf "$@" && break; } || break
        mv "$@" "$trash/" || [ -d "$trash" ] || continue
        break
    done
}

# _ic_print_gone SUBMISSION_ID INDEX...: print the copies that have no directory.
_ic_print_gone() {
    submission_id=$1
    shift
    for index; do
        [ -d "./$submission_id/copies/$index" ] || _ic_print "$submission_id $index"
    done
}

# _ic_empty_trash: empty the trash, including what an earlier purge could not remove.
_ic_empty_trash() {
    set -- ./.trash/*
    [ -e "$1" ] || return 0
    rm -rf "$@" 2>/dev/null && return
    chmod -R u+rwx "$@" 2>/dev/null
    rm -rf "$@" 2>/dev/null
    return 0
}
