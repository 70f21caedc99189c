# Given: grace. shellcheck shell=sh
groups=

# forget COPY: remove the secrets of what cannot do so any more.
forget() {
    [ ! -e "$1/secrets" ] || (cd "$1/work" && . ../secrets)
}

# finish: ask the copy to end, or see to it that it never starts.
finish() {
    : >"$place/$index.kill"
    if (set -C && printf 'killed\n' >"$place/$index") 2>/dev/null; then
        forget "./$stamp/copies/$index"
        return
    fi
    read -r pid start _ <"$place/$index" || return # about to start: it will see that it must not
    if [ "$pid" != killed ] && alive "$pid" "$start"; then
        kill -s TERM -- "-$pid" || kill -s TERM "$pid" # not yet a leader
        kill -s CONT -- "-$pid"
        groups="$groups $pid $start ./$stamp/copies/$index"
    fi
} 2>/dev/null

while read -r id; do
    enter "$id"
    if [ -n "$elsewhere" ]; then
        printf '%s elsewhere %s\n' "$id" "$elsewhere"
    elif [ -d "$place" ]; then
        finish
        printf '%s ok\n' "$id"
    fi
done <"$IC_IDS" || exit

# What does not end in time is ended, the whole group. A group's number is not given to a new process while any of it
# is left, so a leader of that number with another start time means that nothing of the group is.
# shellcheck disable=SC2016,SC2086 # expanded over there; numbers, to be split
[ -z "$groups" ] || setsid setsid sh -c '
    sleep "$1"
    shift
    while [ $# -gt 0 ]; do
        start=
        ! read -r stat <"/proc/$1/stat" || start=$(set -- ${stat##*\) } && printf %s "${20-}")
        [ "${start:-$2}" != "$2" ] || kill -s KILL -- "-$1"
        [ ! -e "$3/secrets" ] || (cd "$3/work" && . ../secrets)
        shift 3
    done
' sh "$grace" $groups </dev/null >/dev/null 2>&1
