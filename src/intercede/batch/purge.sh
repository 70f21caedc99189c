# shellcheck shell=sh
# discard STAMP INDEX...: move what is over out of sight, some hundreds of copies a process, and print what is there no
# more. A live writer can keep rm from emptying a directory, not mv from renaming it.
discard() {
    stamp=$1
    shift
    trash=./.trash/$stamp.$mark
    batch=
    count=0
    for index; do
        record "$stamp" "$index"
        if [ ! -d "$here" ]; then # perhaps only since its record was read
            printf '%s %s\n' "$stamp" "$index"
            continue
        fi
        [ -n "$over" ] || [ -n "$anyway" ] || continue
        batch="$batch ./$stamp/copies/$index"
        count=$((count + 1))
        [ "$count" -lt 400 ] || throw
    done
    [ "$count" = 0 ] || throw
    [ ! -d "./$stamp" ] || queued_left || mv "./$stamp" "$trash.all"
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

# throw: another purge may move some of them first, and its sweep may take the place where we put ours. On a full disk
# there may be no place to put them, and removing is what makes one.
throw() {
    # shellcheck disable=SC2086 # stamps and numbers, to be split
    for try in 1 2 3; do
        mkdir -p "$trash" || { rm -rf $batch && break; } || break
        mv $batch "$trash/" || [ -d "$trash" ] || continue
        break
    done
    for place in $batch; do
        [ -d "$place" ] || printf '%s %s\n' "$stamp" "${place##*/}"
    done
    batch=
    count=0
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
