# shellcheck shell=sh
# fence STAMP: a submission of ours that was cancelled. Either nothing of it ever starts from now on, or its native
# calls have begun: then wait for their end, while whoever makes them is there. If neither is sure the script fails: the
# submission might start after we said that it is not there.
fence() {
    fenced "$1" 2>/dev/null && return
    printf '%s\n' "$root/$1 cannot be kept from starting: there is no room, or a link cannot be made" >&2
    exit 28 # ENOSPC
}

# fenced STAMP: do that; fail where it cannot be done.
fenced() {
    [ -d "./$1" ] || mkdir "./$1" || [ -d "./$1" ] || return
    at_hand
    printf '%s -\n' "$machine" >"./$1/fence.$mark"
    if ln "./$1/fence.$mark" "./$1/submitting"; then
        rm -rf "./$1/copies" "./$1/inputs" "./$1/bin" "./$1/fence.$mark"
    else
        rm -f "./$1/fence.$mark"
        [ -e "./$1/submitting" ] || [ ! -d "./$1" ] || return
        queued "$1"
    fi
}

# arriving STAMP TAG: whether an archive is being unpacked there that may have that tag: the tag is the first of it.
arriving() {
    [ -e "./$1/unpacking" ] && [ ! -e "./$1/submitting" ] || return
    if [ -e "./$1/wrapper" ]; then # the next
        its_tag=
        [ ! -e "./$1/tag" ] || read -r its_tag <"./$1/tag"
        [ "$its_tag" = "$2" ] || return
    fi
    { read -r its_host && read -r its_boot && read -r its_stat; } <"./$1/unpacking" || return
    at_hand
    [ "$its_host" = "$machine" ] || return 0 # of a process on another machine we know nothing
    process "${its_stat%% *}"
    # shellcheck disable=SC2086 # numbers, to be split
    set -- "${its_stat%% *}" ${its_stat##*\) }
    [ "$process" = "$1 $its_boot ${21}" ]
}

# arrived STAMP TAG: wait until it is unpacked, while it grows. What stands still for half a minute has lost whoever sends
# it, or is not heard of for long: it never starts, and who sends it is told so.
arrived() {
    looked=0 still=0 grown=
    while arriving "$1" "$2"; do
        looked=$((looked + 1))
        [ $((looked % 20)) != 0 ] || grows "$1" || still=$((still + 1))
        [ "$still" -lt 6 ] || fence "$1"
        sleep 0.25 2>/dev/null || sleep 1
    done
}

# grows STAMP: whether it has, since it was last looked at.
grows() {
    size=$(du -s "./$1" 2>/dev/null)
    [ "$size" != "$grown" ] || return
    grown=$size still=0
}

# queueing STAMP: whether its native calls have begun and may go on: their end is not written, and whoever makes them is
# there. Of a process on another machine we know nothing: it has some minutes from the last answer that it noted.
queueing() {
    [ -e "./$1/submitting" ] && [ ! -e "./$1/submitted" ] || return
    read -r its_host its_process <"./$1/submitting" || return
    [ "$its_process" != - ] || return # nobody: it was fenced
    at_hand
    if [ "$its_host" = "$machine" ]; then
        process "${its_process%% *}"
        [ "$process" = "$its_process" ]
    else
        [ -n "$(find "./$1/submitting" "./$1/ids" "./$1/ids.err" -mmin -10 2>/dev/null)" ]
    fi
}

# queued STAMP: wait for the end of its native calls.
queued() {
    while queueing "$1"; do
        sleep 0.05 2>/dev/null || sleep 1
    done
}

# copies STAMP COMMAND: call COMMAND STAMP INDEX... with the copies that are there, some hundreds at a time: a list that
# grows by one and one costs its square. What else lies about in the root is none: names become names of variables.
copies() {
    case $1 in *[!a-z0-9]*) return 0 ;; esac
    indices=
    count=0
    for path in "./$1/copies/"*; do
        case ${path##*/} in *[!0-9]* | ????????*) continue ;; esac
        indices="$indices ${path##*/}"
        count=$((count + 1))
        [ "$count" -lt 400 ] || some "$1" "$2"
    done
    [ "$count" = 0 ] || some "$1" "$2"
}

some() {
    # shellcheck disable=SC2086 # numbers, to be split
    "$2" "$1" $indices
    indices=
    count=0
}

# tagged TAG COMMAND: call it for every submission with that tag. What is still on its way or being queued is waited for,
# wherever whoever sent it may be by now: who finds less than all of it would submit the rest again.
tagged() {
    for its_place in ./*/unpacking; do
        its_place=${its_place%/unpacking}
        arrived "${its_place#./}" "$1"
    done
    for tag_file in ./*/tag; do
        its_tag=
        [ ! -f "$tag_file" ] || read -r its_tag <"$tag_file"
        [ "$its_tag" = "$1" ] || continue
        its_stamp=${tag_file#./}
        queued "${its_stamp%/tag}"
        copies "${its_stamp%/tag}" "$2"
    done
}

# submission STAMP: what is written of it, for a scheduler to understand; nothing before its native calls have ended.
submission() {
    [ -e "./$1/submitting" ] && ! queueing "$1" || return 0
    frame "$1.batch" cat "./$1/batch"
    [ ! -e "./$1/submitted" ] || frame "$1.answer" answer "$1"
}

answer() {
    cat "./$1/ids"
    cat "./$1/ids.err" >&2
    read -r code <"./$1/submitted"
    return "$code"
}
