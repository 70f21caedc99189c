# sh ./direct/runner SUBMISSION_ID COPIES SLOTS WALL GRACE, in the submission's directory: run all copies, at most SLOTS
# at a time. The runner and its lanes are detached. Each copy leads a session and a process group of its own.
#
# direct/host           host, boot id, pid and start time of the runner, number of copies, pid namespace
# direct/INDEX          made by the lane or the kill that decides about the copy: only the first of them can make it.
#                       It holds pid, start time, and the uptime in seconds at which the copy began; or the word killed.
#                       A second line, over: the slot is free again
# direct/INDEX.kill     the copy was asked to end
# direct/INDEX.timeout  the copy reached its wall time
# direct/next           all copies below this index are decided: a hint, so that not every lane tries every copy
# direct/ended          the runner reached its end, so it was not ended together with its copies
# shellcheck shell=sh
unset -f command echo kill printf read readlink setsid sh sleep true uname 2>/dev/null
unalias -a 2>/dev/null
set +aefuvx -C
case $- in *m*) set +m ;; esac # job control gives every child a process group of its own
IFS=' 	
'
submission_id=$1 copies=$2 slots=$3 wall=$4 grace=$5

# read_own_pid: sets pid and start of the process that runs this function. The name in parentheses may hold anything.
read_own_pid() {
    read -r stat </proc/self/stat
    pid=${stat%% *}
    # shellcheck disable=SC2086 # numbers, to be split
    set -- ${stat##*\) }
    start=${20}
}

# is_alive PID START: succeed if this very process exists and is no zombie.
is_alive() {
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return
    wanted=$2
    # shellcheck disable=SC2086 # numbers, to be split
    set -- ${stat##*\) }
    [ "${20-}" = "$wanted" ] && [ "$1" != Z ]
}

# claim_copy: succeed if this lane may start the copy: only one process can make the file.
claim_copy() {
    [ ! -e "direct/$index" ] && true 2>/dev/null >"direct/$index"
}

# become_copy: turn into the copy. It writes its pid before it reads whether it was asked to end. A kill asks before it
# reads the pid. So at least one of them sees the other.
become_copy() {
    read_own_pid
    began=0
    [ -z "$wall" ] || read -r began _ </proc/uptime
    echo "$pid $start ${began%.*}" >>"direct/$index"
    if [ -e "direct/$index.kill" ]; then
        ic_forget_secrets . "$index" # the kill leaves this to a copy that is about to start
        exit
    fi
    export IC_COPY="$submission_id/$index/" # every process that it starts inherits this mark
    exec setsid sh ./wrapper "$index"
}

# run_lane: run one copy after the other, in the foreground: a process started by "&" ignores INT and cannot undo that.
run_lane() {
    index=0
    while [ "$index" -lt "$copies" ]; do
        if claim_copy; then
            echo "$((index + 1))" >|direct/next
            (become_copy)
            release_slot
            { read -r next <direct/next && index=$next; } || index=$((index + 1)) # the file is being written
        else
            index=$((index + 1))
        fi
    done
}

# release_slot: free the slot of a copy that has ended. If it was asked to end, or reached its wall time, first wait
# until none of its processes is left.
release_slot() {
    if [ -e "direct/$index.kill" ] || [ -e "direct/$index.timeout" ]; then
        select_copy "$index"
        wait_for_end
    fi
    [ ! -e "direct/$index" ] || echo over >>"direct/$index"
}

# select_copy INDEX: set known and marks to those of one copy.
select_copy() {
    known='' marks=''
    ! read -r pid start _ <"direct/$1" || known=$pid:$start
    add_mark "$submission_id/$1"
}

# watch_wall_time: end each copy that reaches its wall time. One process reads all copies once a second, until all are
# over or the submission is purged.
watch_wall_time() {
    first=0
    while [ "$first" -lt "$copies" ] && [ -e direct/host ]; do
        sleep 1
        read -r now _ </proc/uptime
        now=${now%.*}
        index=$first
        while [ "$index" -lt "$copies" ] && [ -e "direct/$index" ]; do
            check_wall_time
            index=$((index + 1))
        done
    done
}

# check_wall_time: end the copy if it has reached its wall time; move first past the copies that are over.
check_wall_time() {
    read -r pid start began <"direct/$index" || return
    if [ "$pid" = killed ] || ! is_alive "$pid" "$start"; then
        [ "$first" != "$index" ] || first=$((index + 1))
    elif [ "$now" -ge $((began + wall)) ] && [ ! -e "direct/$index.timeout" ]; then
        true >"direct/$index.timeout"
        (select_copy "$index"; ask_to_end; wait_for_end; ic_forget_secrets . "$index") &
    fi
} 2>/dev/null

read_own_pid
read -r boot </proc/sys/kernel/random/boot_id
{ read -r host </proc/sys/kernel/hostname; } 2>/dev/null || host=$(uname -n)
printf '%s\n' "$host $boot $pid $start $copies $(readlink /proc/self/ns/pid)" >direct/host
printf 'started\n'
exec >/dev/null # the submitting script reads the answer to its end and proceeds now

pipeline=${wall:+watch_wall_time}
while [ "$slots" -gt 0 ]; do
    pipeline="${pipeline:+$pipeline | }run_lane </dev/null >/dev/null"
    slots=$((slots - 1))
done
eval "$pipeline"
true 2>/dev/null >|direct/ended # unless it is purged
