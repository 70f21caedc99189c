# Given: grace, ending. shellcheck shell=sh
known='' these=''

# forget COPY: remove the secrets of what cannot do so any more.
forget() {
    [ ! -e "$1/secrets" ] || (cd "$1/work" && . ../secrets)
}

# halt: note that the copy is to end, or see to it that it never starts. Of one whose first process has ended what it
# left is known by its environment only: its number may be another's by now.
halt() {
    : >"$place/$index.kill"
    set -C
    if echo killed >"$place/$index"; then
        set +C
        forget "./$stamp/copies/$index"
        return
    fi
    set +C
    { read -r pid start _ && ! read -r _; } <"$place/$index" || return # about to start: it will see that it must not
    [ "$pid" != killed ] && [ -n "$here" ] || return
    these="$these $stamp/$index"
    ! alive "$pid" "$start" || known="$known $pid:$start"
} 2>/dev/null

while read -r id; do
    enter "$id"
    if [ -n "$elsewhere" ]; then
        printf '%s %s\n' "$id" "$elsewhere"
    elif [ -d "$place" ]; then
        halt
        echo "$id ok"
    fi
done <"$IC_IDS" || exit

# One process for all of them, which goes on when they have been asked to end.
# shellcheck disable=SC2016 # expanded over there
[ -z "$these" ] || asked=$(setsid setsid sh -c "$ending"'
    grace=$1 known=$2 marks=
    for each in $3; do add "$each"; done
    finish
    for each in $3; do forget "./${each%/*}/copies/${each##*/}"; done
' sh "$grace" "$known" "$these" </dev/null 2>/dev/null)
