# shellcheck shell=sh
# _ic_fence SUBMISSION_ID: keep a cancelled submission from ever starting. If the scheduler's commands have begun
# already, wait for their end, as long as the process that runs them exists. If neither is certain, the script fails,
# because the submission might start after we reported that it does not exist.
_ic_fence() {
    _ic_make_fence "$1" 2>/dev/null && return
    printf '%s\n' "$root/$1 cannot be kept from starting: the disk is full, or a link cannot be made" >&2
    exit 28 # ENOSPC
}

# _ic_make_fence SUBMISSION_ID: the work of _ic_fence; it fails if the fence cannot be made.
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

# _ic_is_arriving SUBMISSION_ID TAG: succeed if an archive that may have this tag is being unpacked. The tag is its
# first member, if it has one.
_ic_is_arriving() {
    [ -e "./$1/unpacking" ] && [ ! -e "./$1/submitting" ] || return
    if [ -e "./$1/wrapper" ]; then # the member after the tag has arrived
        its_tag=
        [ ! -e "./$1/tag" ] || read -r its_tag <"./$1/tag"
        [ "$its_tag" = "$2" ] || return
    fi
    { read -r its_host && read -r its_boot && read -r its_stat; } <"./$1/unpacking" || return
    _ic_find_machine
    [ "$its_host" = "$machine" ] || return 0 # a process on another machine cannot be seen, so it may be running
    _ic_identify_process "${its_stat%% *}"
    # shellcheck disable=SC2086 # numbers: the words must be split
    set -- "${its_stat%% *}" ${its_stat##*\) }
    [ "$process" = "$1 $its_boot ${21}" ]
}

# _ic_await_arrival SUBMISSION_ID TAG: wait until an archive is unpacked, as long as it grows. If it has not grown for
# half a minute, its client is gone or very slow: it is kept from starting, and its client will get an error.
_ic_await_arrival() {
    polls=0 idle_polls=0 last_size=
    while _ic_is_arriving "$1" "$2"; do
        polls=$((polls + 1))
        [ $((polls % 20)) != 0 ] || _ic_has_grown "$1" || idle_polls=$((idle_polls + 1))
        [ "$idle_polls" -lt 6 ] || _ic_fence "$1"
        sleep 0.25 2>/dev/null || sleep 1
    done
}

# _ic_has_grown SUBMISSION_ID: succeed if the directory has grown since the last call.
_ic_has_grown() {
    size=$(du -s "./$1" 2>/dev/null)
    [ "$size" != "$last_size" ] || return
    last_size=$size idle_polls=0
}

# _ic_is_queueing SUBMISSION_ID: succeed if the scheduler's commands have begun and may be running: their end is not
# recorded, and the process that runs them exists. A process on another machine cannot be seen: it is given ten minutes
# after the last answer that it recorded.
_ic_is_queueing() {
    [ -e "./$1/submitting" ] && [ ! -e "./$1/submitted" ] || return
    read -r its_host its_process <"./$1/submitting" || return
    [ "$its_process" != - ] || return # there is no process: the submission was fenced
    _ic_find_machine
    if [ "$its_host" = "$machine" ]; then
        _ic_identify_process "${its_process%% *}"
        [ "$process" = "$its_process" ]
    else
        [ -n "$(find "./$1/submitting" "./$1/ids" "./$1/ids.err" -mmin -10 2>/dev/null)" ]
    fi
}

# _ic_await_queueing SUBMISSION_ID: wait for the end of the scheduler's commands.
_ic_await_queueing() {
    while _ic_is_queueing "$1"; do
        sleep 0.05 2>/dev/null || sleep 1
    done
}

# _ic_call_with_copies SUBMISSION_ID COMMAND: call COMMAND SUBMISSION_ID INDEX... for the copies that have a directory.
# Some hundreds of indices are passed at a time, because appending to a long list takes quadratic time. Other names in
# the root are skipped, because the names of submissions and copies become parts of variable names.
_ic_call_with_copies() {
    case $1 in *[!a-z0-9]*) return 0 ;; esac
    indices=
    count=0
    for path in "./$1/copies/"*; do
        case ${path##*/} in *[!0-9]* | ????????*) continue ;; esac
        indices="$indices ${path##*/}"
        count=$((count + 1))
        [ "$count" -lt 400 ] || _ic_call_with_indices "$1" "$2"
    done
    [ "$count" = 0 ] || _ic_call_with_indices "$1" "$2"
}

_ic_call_with_indices() {
    # shellcheck disable=SC2086 # numbers: the words must be split
    "$2" "$1" $indices
    indices=
    count=0
}

# _ic_call_with_tagged TAG COMMAND: call COMMAND for the copies of every submission with this tag. Archives that are
# being unpacked and copies that are being queued are waited for: a caller that does not find them would submit them
# again.
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

# _ic_show_submission SUBMISSION_ID: print the recorded batch and the scheduler's recorded answer, once the scheduler's
# commands have ended.
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
