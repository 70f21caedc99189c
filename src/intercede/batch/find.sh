# shellcheck shell=sh
# _ic_fence SUBMISSION_ID: a submission of ours that was cancelled. Either nothing of it ever starts from now on, or its native
# calls have begun: then wait for their end, while whoever makes them is there. If neither is sure the script fails: the
# submission might start after we said that it is not there.
_ic_fence() {
    _ic_make_fence "$1" 2>/dev/null && return
    printf '%s\n' "$root/$1 cannot be kept from starting: there is no room, or a link cannot be made" >&2
    exit 28 # ENOSPC
}

# _ic_make_fence SUBMISSION_ID: do that; fail where it cannot be done.
_ic_make_fence() {
    [ -d "./$1" ] || mkdir "./$1" || [ -d "./$1" ] || return
    _ic_find_machine
    printf '%s -\n' "$machine" >"./$1/fence.$mark"
    if ln "./$1/fence.$mark" "./$1/submitting"; then
        rm -rf "./$1/copies" "./$1/inputs" "./$1/bin" "./$1/fence.$mark"
    else
        rm -f "./$1/fence.$mark"
        [ -e "./$1/submitting" ] || [ ! -d "./$1" ] || return
        _ic_await_queueing "$1"
    fi
}

# _ic_is_arriving SUBMISSION_ID TAG: whether an archive is being unpacked there that may have that tag: the tag is the first of it.
_ic_is_arriving() {
    [ -e "./$1/unpacking" ] && [ ! -e "./$1/submitting" ] || return
    if [ -e "./$1/wrapper" ]; then # the next
        its_tag=
        [ ! -e "./$1/tag" ] || read -r its_tag <"./$1/tag"
        [ "$its_tag" = "$2" ] || return
    fi
    { read -r its_host && read -r its_boot && read -r its_stat; } <"./$1/unpacking" || return
    _ic_find_machine
    [ "$its_host" = "$machine" ] || return 0 # of a process on another machine we know nothing
    _ic_identify_process "${its_stat%% *}"
    # shellcheck disable=SC2086 # numbers, to be split
    set -- "${its_stat%% *}" ${its_stat##*\) }
    [ "$process" = "$1 $its_boot ${21}" ]
}

# _ic_await_arrival SUBMISSION_ID TAG: wait until it is unpacked, while it grows. What stands still for half a minute has lost whoever sends
# it, or is not heard of for long: it never starts, and who sends it is told so.
_ic_await_arrival() {
    looked=0 still=0 grown=
    while _ic_is_arriving "$1" "$2"; do
        looked=$((looked + 1))
        [ $((looked % 20)) != 0 ] || _ic_grows "$1" || still=$((still + 1))
        [ "$still" -lt 6 ] || _ic_fence "$1"
        sleep 0.25 2>/dev/null || sleep 1
    done
}

# _ic_grows SUBMISSION_ID: whether it has, since it was last looked at.
_ic_grows() {
    size=$(du -s "./$1" 2>/dev/null)
    [ "$size" != "$grown" ] || return
    grown=$size still=0
}

# _ic_is_queueing SUBMISSION_ID: whether its native calls have begun and may go on: their end is not written, and whoever makes them is
# there. Of a process on another machine we know nothing: it has some minutes from the last answer that it noted.
_ic_is_queueing() {
    [ -e "./$1/submitting" ] && [ ! -e "./$1/submitted" ] || return
    read -r its_host its_process <"./$1/submitting" || return
    [ "$its_process" != - ] || return # nobody: it was fenced
    _ic_find_machine
    if [ "$its_host" = "$machine" ]; then
        _ic_identify_process "${its_process%% *}"
        [ "$process" = "$its_process" ]
    else
        [ -n "$(find "./$1/submitting" "./$1/ids" "./$1/ids.err" -mmin -10 2>/dev/null)" ]
    fi
}

# _ic_await_queueing SUBMISSION_ID: wait for the end of its native calls.
_ic_await_queueing() {
    while _ic_is_queueing "$1"; do
        sleep 0.05 2>/dev/null || sleep 1
    done
}

# _ic_call_with_copies SUBMISSION_ID COMMAND: call COMMAND SUBMISSION_ID INDEX... with the copies that are there, some hundreds at a time: a list that
# grows by one and one costs its square. What else lies about in the root is none: names become names of variables.
_ic_call_with_copies() {
    case $1 in *[!a-z0-9]*) return 0 ;; esac
    indices=
    count=0
    for path in "./$1/copies/"*; do
        case ${path##*/} in *[!0-9]* | ????????*) continue ;; esac
        indices="$indices ${path##*/}"
        count=$((count + 1))
        [ "$count" -lt 400 ] || _ic_call_with_some "$1" "$2"
    done
    [ "$count" = 0 ] || _ic_call_with_some "$1" "$2"
}

_ic_call_with_some() {
    # shellcheck disable=SC2086 # numbers, to be split
    "$2" "$1" $indices
    indices=
    count=0
}

# _ic_call_with_tagged TAG COMMAND: call it for every submission with that tag. What is still on its way or being queued is waited for,
# wherever whoever sent it may be by now: who finds less than all of it would submit the rest again.
_ic_call_with_tagged() {
    for its_place in ./*/unpacking; do
        its_place=${its_place%/unpacking}
        _ic_await_arrival "${its_place#./}" "$1"
    done
    for tag_file in ./*/tag; do
        its_tag=
        [ ! -f "$tag_file" ] || read -r its_tag <"$tag_file"
        [ "$its_tag" = "$1" ] || continue
        its_submission_id=${tag_file#./}
        _ic_await_queueing "${its_submission_id%/tag}"
        _ic_call_with_copies "${its_submission_id%/tag}" "$2"
    done
}

# _ic_show_submission SUBMISSION_ID: what is written of it, for a scheduler to understand; nothing before its native calls have ended.
_ic_show_submission() {
    [ -e "./$1/submitting" ] && ! _ic_is_queueing "$1" || return 0
    _ic_frame "$1.batch" cat "./$1/batch"
    [ ! -e "./$1/submitted" ] || _ic_frame "$1.answer" _ic_print_answer "$1"
}

_ic_print_answer() {
    cat "./$1/ids"
    cat "./$1/ids.err" >&2
    read -r code <"./$1/submitted"
    return "$code"
}
