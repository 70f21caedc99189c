# Given: grace, ending. shellcheck shell=sh
known='' these='' count=0

# withhold: see to it that a copy which has not begun never does. It takes no look at processes, so it works from anywhere.
withhold() {
    set -C
    if echo killed >"$place/$index"; then
        set +C
        ic_forget_secrets "./$submission_id" "$index"
        return
    fi
    set +C
    read -r pid _ <"$place/$index" && [ "$pid" = killed ]
} 2>/dev/null

# halt: note that the copy is to end, or see to it that it never starts. Of one whose first process has ended what it
# left is known by its environment only: its number may be another's by now.
halt() {
    true >"$place/$index.kill" # not by the special builtin : which would end the whole script where there is no room
    ! withhold || return 0
    { read -r pid start _ && ! read -r _; } <"$place/$index" || return # about to start: it will see that it must not
    [ -n "$here" ] || return
    these="$these $submission_id/$index"
    ! alive "$pid" "$start" || known="$known $pid:$start"
    count=$((count + 1))
} 2>/dev/null

# end_these: have a detached process end some hundreds of them, and wait until it has asked them to. A list of all could be
# longer than an argument may be, 128 KiB.
end_these() {
    [ -n "$these" ] || return 0
    # shellcheck disable=SC2016 # expanded over there
    asked=$(setsid setsid sh -c "$ic_api$ending"'
    grace=$1 known=$2 marks=
    for each in $3; do add "$each"; done
    ask
    echo asked
    exec >/dev/null
    outlast
    for each in $3; do ic_forget_secrets "./${each%/*}" "${each##*/}"; done
' sh "$grace" "$known" "$these" </dev/null 2>/dev/null)
    if [ "$asked" != asked ]; then
        printf '%s\n' "no process could be started that ends them" >&2
        exit 1
    fi
    known='' these='' count=0
}

while read -r id; do
    enter "$id"
    if [ -n "$elsewhere" ]; then
        if withhold; then echo "$id ok"; else printf '%s %s\n' "$id" "$elsewhere"; fi
    elif [ -d "$place" ]; then
        halt
        [ "$count" -lt 400 ] || end_these
        echo "$id ok"
    fi
done <"$IC_IDS" || exit
end_these
