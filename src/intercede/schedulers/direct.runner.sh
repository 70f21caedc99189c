# sh ./direct/runner SUBMISSION_ID COPIES SLOTS WALL GRACE, in the submission's directory: keep at most SLOTS copies running until
# all have run. It and its lanes are detached; each copy leads a session and a process group of its own.
#
# direct/host          host, boot id, pid and start time of the runner, how many copies there are, and its pid namespace
# direct/INDEX         made by whoever decides about the copy, a lane or a kill, and only where it is not there yet:
#                      pid, start time, and when it began in seconds of the machine's uptime; or the word killed.
#                      A second line, over: its slot was given away
# direct/INDEX.kill    asked to end       direct/INDEX.timeout    had its time
# direct/next          a hint: all below are decided. Without it every lane would try every copy
# direct/ended         the runner came to its end: whatever ended copies did not end it, too
# shellcheck shell=sh
unset -f command echo kill printf read readlink setsid sh sleep true uname 2>/dev/null
unalias -a 2>/dev/null
set +aefuvx -C
case $- in *m*) set +m ;; esac # job control gives every child a process group of its own
IFS=' 	
'
submission_id=$1 copies=$2 slots=$3 wall=$4 grace=$5

# identify: sets pid and start of the very process that runs this. The name in parentheses may hold anything.
identify() {
    read -r stat </proc/self/stat
    pid=${stat%% *}
    # shellcheck disable=SC2086 # numbers, to be split
    set -- ${stat##*\) }
    start=${20}
}

# lives PID START: whether that very process is there; a dead one that nobody has reaped yet is not.
lives() {
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return
    wanted=$2
    # shellcheck disable=SC2086 # numbers, to be split
    set -- ${stat##*\) }
    [ "${20-}" = "$wanted" ] && [ "$1" != Z ]
}

# claim: whether this copy is ours to start; only one can make the file.
claim() {
    [ ! -e "direct/$index" ] && true 2>/dev/null >"direct/$index"
}

# become: turn into the copy. It says who it is before it looks whether it was asked to end, and whoever asks does
# so before looking who it is: one of them sees the other.
become() {
    identify
    began=0
    [ -z "$wall" ] || read -r began _ </proc/uptime
    echo "$pid $start ${began%.*}" >>"direct/$index"
    if [ -e "direct/$index.kill" ]; then
        ic_forget_secrets . "$index" # whoever asked took it for one that is about to start, and leaves that to it
        exit
    fi
    export IC_COPY="$submission_id/$index/" # what it starts has that, too
    exec setsid sh ./wrapper "$index"
}

# lane: one copy after the other. In the foreground: what is started by & ignores INT, and cannot undo that.
lane() {
    index=0
    while [ "$index" -lt "$copies" ]; do
        if claim; then
            echo "$((index + 1))" >|direct/next
            (become)
            release
            { read -r next <direct/next && index=$next; } || index=$((index + 1)) # it is being written
        else
            index=$((index + 1))
        fi
    done
}

# release: give the slot of what has ended away. What was asked to end, or had its time, is over when nothing of it is left.
release() {
    if [ -e "direct/$index.kill" ] || [ -e "direct/$index.timeout" ]; then
        of "$index"
        outlast
    fi
    [ ! -e "direct/$index" ] || echo over >>"direct/$index"
}

# of INDEX: sets what is known of a copy.
of() {
    known='' marks=''
    ! read -r pid start _ <"direct/$1" || known=$pid:$start
    add "$submission_id/$1"
}

# clock: end what has had its time. A second's grain, one process for all copies. Once purged there is nothing to see.
clock() {
    first=0
    while [ "$first" -lt "$copies" ] && [ -e direct/host ]; do
        sleep 1
        read -r now _ </proc/uptime
        now=${now%.*}
        index=$first
        while [ "$index" -lt "$copies" ] && [ -e "direct/$index" ]; do
            expire
            index=$((index + 1))
        done
    done
}

# expire: sets first behind the copies that are over.
expire() {
    read -r pid start began <"direct/$index" || return
    if [ "$pid" = killed ] || ! lives "$pid" "$start"; then
        [ "$first" != "$index" ] || first=$((index + 1))
    elif [ "$now" -ge $((began + wall)) ] && [ ! -e "direct/$index.timeout" ]; then
        true >"direct/$index.timeout"
        (of "$index"; ask; outlast; ic_forget_secrets . "$index") &
    fi
} 2>/dev/null

identify
read -r boot </proc/sys/kernel/random/boot_id
{ read -r host </proc/sys/kernel/hostname; } 2>/dev/null || host=$(uname -n)
printf '%s\n' "$host $boot $pid $start $copies $(readlink /proc/self/ns/pid)" >direct/host
printf 'started\n'
exec >/dev/null # whoever waits for the answer goes on now

pipeline=${wall:+clock}
while [ "$slots" -gt 0 ]; do
    pipeline="${pipeline:+$pipeline | }lane </dev/null >/dev/null"
    slots=$((slots - 1))
done
eval "$pipeline"
true 2>/dev/null >|direct/ended # unless it is purged
