# Prints the state of each copy in $IC_IDS. shellcheck shell=sh

# has_exited: succeed if the copy exited on its own after a signal had come to it, and its runner was alive all the
# time; sets ic_number, the exit code. A signal that a kill sent is known by the file that the kill made.
has_exited() {
    [ -n "$same_boot" ] && { [ -n "$has_runner" ] || [ -e "$place/ended" ]; } &&
        ic_read_record "./$submission_id" "$index" && [ "$ic_end" = caught ]
}

# print_state: print the state of the copy; nothing if it does not exist.
print_state() {
    pid=''
    [ ! -e "$place/$index" ] || read -r pid start _ <"$place/$index"
    if [ "$pid" = killed ]; then
        echo "$id cancelled"
    elif [ -n "$elsewhere" ]; then
        printf '%s %s\n' "$id" "$elsewhere"
    elif [ -z "$pid" ]; then
        [ -z "$has_runner" ] || echo "$id queued"
    elif is_alive_here "$pid" "$start"; then
        case $letter in [Tt]) echo "$id suspended" ;; *) echo "$id running" ;; esac
    elif is_ending; then
        echo "$id ending"
    elif [ -e "$place/$index.timeout" ]; then
        echo "$id timeout"
    elif has_exited; then
        echo "$id exited $ic_number"
    fi
}

# is_ending: succeed if it was asked to end, or reached its wall time, and its slot is still taken: some of its
# processes may be left.
is_ending() {
    [ -n "$has_runner" ] && { [ -e "$place/$index.kill" ] || [ -e "$place/$index.timeout" ]; } || return
    ! { read -r _ && read -r _; } <"$place/$index"
}

while read -r id; do
    locate_copy "$id"
    print_state
done <"$IC_IDS"
