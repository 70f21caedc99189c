# shellcheck shell=sh
# exited: whether the copy exited by itself though a signal came to it, its runner being there all the time; sets ic_number. A
# kill's signal is known by the kill's note.
exited() {
    [ -n "$here" ] && { [ -n "$running" ] || [ -e "$place/ended" ]; } &&
        ic_read_record "./$submission_id" "$index" && [ "$ic_end" = caught ]
}

# tell: print the copy's state; nothing where it is not there.
tell() {
    pid=''
    [ ! -e "$place/$index" ] || read -r pid start _ <"$place/$index"
    if [ "$pid" = killed ]; then
        echo "$id cancelled"
    elif [ -n "$elsewhere" ]; then
        printf '%s %s\n' "$id" "$elsewhere"
    elif [ -z "$pid" ]; then
        [ -z "$running" ] || echo "$id queued"
    elif alive "$pid" "$start"; then
        case $letter in [Tt]) echo "$id suspended" ;; *) echo "$id running" ;; esac
    elif ends; then
        echo "$id ending"
    elif [ -e "$place/$index.timeout" ]; then
        echo "$id timeout"
    elif exited; then
        echo "$id exited $ic_number"
    fi
}

# ends: whether it was asked to end, or had its time, and something of it may be left: its slot was not given away yet.
ends() {
    [ -n "$running" ] && { [ -e "$place/$index.kill" ] || [ -e "$place/$index.timeout" ]; } || return
    ! { read -r _ && read -r _; } <"$place/$index"
}

while read -r id; do
    enter "$id"
    tell
done <"$IC_IDS"
