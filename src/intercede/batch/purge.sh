# shellcheck shell=sh
# purge: move what is over out of sight, some hundreds a process, and print what is there no more, since now or before. A
# live writer can keep rm from emptying a directory, not mv from renaming it.
purge() {
    whole=
    several=0
    each discard
    throw_whole
    each gone
    flush
}

# discard STAMP INDEX...: a submission that is over goes whole, together with others. Else its copies go that are over, and
# the last takes the rest.
discard() {
    stamp=$1
    shift
    present "$stamp"
    for index; do
        ! disposable || present=$((present - 1))
    done
    if [ "$present" = 0 ]; then
        [ ! -d "./$stamp" ] || whole="$whole ./$stamp"
        several=$((several + 1))
        [ "$several" -lt 400 ] || throw_whole
        return
    fi
    batch=
    count=0
    for index; do
        disposable || continue
        batch="$batch ./$stamp/copies/$index"
        count=$((count + 1))
        [ "$count" -lt 400 ] || throw_some
    done
    throw_some
    [ ! -d "./$stamp" ] || queued_left || mv "./$stamp" "./.trash/$stamp.$mark.all"
}

# present STAMP: sets present, how many copies are there.
present() {
    set -- "./$1/copies/"*
    [ -e "$1" ] || shift
    present=$#
}

# disposable: whether the copy is there, and may go.
disposable() {
    record "$stamp" "$index"
    [ -d "$here" ] && { [ -n "$over" ] || [ -n "$anyway" ]; }
}

# queued_left: whether a copy is left; one that the scheduler refused has no handle, and goes with the last.
queued_left() {
    for place in "./$stamp/copies/"*; do
        [ -e "$place" ] || continue
        native "$stamp" "${place##*/}"
        [ -n "$refused" ] || return 0
    done
    return 1
}

# shellcheck disable=SC2086 # stamps and numbers, to be split
throw_whole() {
    [ -z "$whole" ] || throw "./.trash/$mark" $whole
    whole=
    several=0
}

# shellcheck disable=SC2086 # stamps and numbers, to be split
throw_some() {
    [ -z "$batch" ] || throw "./.trash/$stamp.$mark" $batch
    batch=
    count=0
}

# throw TRASH PATH...: another purge may move some of them first, and its sweep may take the place where we put ours. On a
# full disk there may be no place to put them, and removing is what makes one.
throw() {
    trash=$1
    shift
    for try in 1 2 3; do
        mkdir -p "$trash" || { rm -rf "$@" && break; } || break
        mv "$@" "$trash/" || [ -d "$trash" ] || continue
        break
    done
}

# gone STAMP INDEX...: print those that are there no more.
gone() {
    stamp=$1
    shift
    for index; do
        [ -d "./$stamp/copies/$index" ] || say "$stamp $index"
    done
}

# sweep: what was thrown away, now or when it could not be removed.
sweep() {
    set -- ./.trash/*
    [ -e "$1" ] || return 0
    rm -rf "$@" 2>/dev/null && return
    chmod -R u+rwx "$@" 2>/dev/null
    rm -rf "$@" 2>/dev/null
    return 0
}
