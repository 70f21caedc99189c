# Ends the copies in $IC_IDS. Input variables: grace, ending (the text of direct.ending.sh). shellcheck shell=sh
known='' batch='' count=0

# prevent_start: make sure that a copy that has not begun never begins; fails if it has begun. It reads no process, so
# it works from any host and container.
prevent_start() {
    set -C
    if echo killed >"$place/$index"; then
        set +C
        ic_forget_secrets "./$submission_id" "$index"
        return
    fi
    set +C
    read -r pid _ <"$place/$index" && [ "$pid" = killed ]
} 2>/dev/null

# request_end: put the copy into the batch of copies to end, or make sure that it never starts. If its first process has
# ended, its other processes are known by their environment only: the pid may belong to another process.
request_end() {
    true >"$place/$index.kill" # not ":", a special builtin: without room on the disk it would end the whole script
    ! prevent_start || return 0
    { read -r pid start _ && ! read -r _; } <"$place/$index" || return # about to start: it will see that it must not
    [ -n "$same_boot" ] || return
    batch="$batch $submission_id/$index"
    ! is_alive_here "$pid" "$start" || known="$known $pid:$start"
    count=$((count + 1))
} 2>/dev/null

# end_batch: let a detached process end a batch of copies, and wait until it has asked them to end. There are several
# batches, because the list of all copies could be longer than an argument may be, 128 KiB.
end_batch() {
    [ -n "$batch" ] || return 0
    # shellcheck disable=SC2016 # expanded by the other sh
    answer=$(setsid setsid sh -c "$ic_api$ending"'
    grace=$1 known=$2 marks=
    for each in $3; do add_mark "$each"; done
    ask_to_end
    echo asked
    exec >/dev/null
    wait_for_end
    for each in $3; do ic_forget_secrets "./${each%/*}" "${each##*/}"; done
' sh "$grace" "$known" "$batch" </dev/null 2>/dev/null)
    if [ "$answer" != asked ]; then
        printf '%s\n' "no process could be started that ends them" >&2
        exit 1
    fi
    known='' batch='' count=0
}

while read -r id; do
    locate_copy "$id"
    if [ -n "$elsewhere" ]; then
        if prevent_start; then echo "$id ok"; else printf '%s %s\n' "$id" "$elsewhere"; fi
    elif [ -d "$place" ]; then
        request_end
        [ "$count" -lt 400 ] || end_batch
        echo "$id ok"
    fi
done <"$IC_IDS" || exit
end_batch
