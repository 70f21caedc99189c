# sh -c ... sh PID WORD: end the command of the sh with this pid and WORD among its arguments, and what it started.
# Sends TERM to each process, waits at most two seconds for that sh, then sends KILL until no process is left. Fails if
# there is no such sh. Every sh supports these uses of kill. shellcheck shell=sh
exec >/dev/null 2>&1
case $(command -v kill) in kill) ;; *) exit 1 ;; esac # procps' kill (4.0.2) reads -1234 as -1: every process

# Reads one line per known process, PID:START, and one per existing process, /proc/PID. A process belongs to the command
# if the process itself, its parent, or the leader of its group or session does. Prints PID:START for each process that
# belongs to it and for leaders that have ended. Then prints the targets to signal, parents first: a pid, or -GROUP if
# the whole group belongs to the command.
# shellcheck disable=SC2016 # awk's
tree_awk='
/:/ { split($0, part, ":"); known[part[1]] = part[2]; next }
{
    pid = substr($0, 7)
    text = ""
    while ((getline line < ($0 "/stat")) > 0) text = text line # a name may hold anything, newlines too
    close($0 "/stat")
    sub(/^.*\) /, "", text)
    count = split(text, field, " ")
    if (pid == 1 || count < 20 || (field[1] ~ /[ZX]/ && field[18] < 2)) next # kill -1 would signal everything
    parent[pid] = field[2]; group[pid] = field[3]; session[pid] = field[4]; start[pid] = field[20]
    state[pid] = field[1]
}
function belongs(pid) {
    return pid in known || parent[pid] in known || group[pid] in known || session[pid] in known
}
function depth(pid,  steps) {
    for (steps = 0; parent[pid] in member && steps < 100; steps++) pid = parent[pid]
    return steps
}
function add_target(target, steps) {
    if (!(target in distance) || steps < distance[target]) distance[target] = steps
    if (steps > deepest) deepest = steps
}
END {
    for (pid in known) if (pid in start) {
        if (known[pid] == "" || known[pid] == start[pid]) known[pid] = start[pid]
        else delete known[pid] # the pid belongs to another process now
    }
    do {
        more = 0
        for (pid in start) if (!(pid in member) && belongs(pid)) { member[pid] = 1; known[pid] = start[pid]; more = 1 }
    } while (more)
    for (pid in member) {
        report[pid] = 1
        if (state[pid] !~ /[Tt]/) running = 1
        if (group[pid] in known) { report[group[pid]] = 1; add_target("-" group[pid], depth(pid)) }
        else add_target(pid, depth(pid))
        if (session[pid] in known) report[session[pid]] = 1
    }
    for (pid in report) print pid ":" known[pid]
    for (steps = 0; steps <= deepest; steps++) for (target in distance) if (distance[target] == steps) print target
    if (running) print "running"
    print "."
}'

# has_proc: succeeds if /proc shows the pid namespace of this process. Otherwise NSpid has more than one number.
has_proc() {
    while read -r key _ below && [ "$key" != NSpid: ]; do below=''; done </proc/self/status || return
    [ -z "$below" ]
}

# list_processes: sets these variables:
#   known       the processes to look for next time
#   targets     the processes and groups to signal, parents first
#   reversed    these targets, children first
#   running     not empty if some process is not stopped
#   group_only  not empty if processes cannot be listed: then the group is the only target
# shellcheck disable=SC2086,SC2046 # numbers, to be split
list_processes() {
    set -- .
    # LC_ALL=C: the name of a process may be invalid text in the locale.
    ! has_proc || set -- $(printf '%s\n' $known /proc/[0-9]* | LC_ALL=C awk "$tree_awk") .
    if [ $# = 1 ]; then
        targets=-$leader reversed=-$leader group_only=yes
        return
    fi
    known='' targets='' reversed='' running=''
    for each; do
        case $each in
            *:*) known="$known $each" ;;
            running) running=yes ;;
            [!.]*) targets="$targets $each" reversed="$each $reversed" ;;
        esac
    done
}

# send SIGNAL TARGET...: send the signal; fails if no target may be signalled.
send() {
    sent='' signal=$1
    shift
    for each; do
        kill "-$signal" "$each" && sent=yes
    done
    [ -n "$sent" ]
}

case $1 in '' | 0* | 1 | *[!0-9]*) exit 1 ;; esac # kill -1 would signal everything
# stop_all: stop every process, in at most eight attempts. A process that is not stopped may die of TERM at once.
# shellcheck disable=SC2086 # numbers, to be split
stop_all() {
    list_processes
    for look in 1 2 3 4 5 6 7 8; do
        send STOP $targets
        [ -z "$group_only" ] || return 0
        list_processes
        [ -n "$running" ] || return 0
    done
}

leader=$1 known=$1: group_only='' running=''
! has_proc || grep -F -e "$2" "/proc/$1/cmdline" || exit
stop_all # before TERM: otherwise the first process to end would let a waiting script continue
# shellcheck disable=SC2086 # numbers, to be split
{
    send TERM $targets || exit
    # Children first: Linux sends HUP to a stopped group when the last parent that it has in its session ends.
    send CONT $reversed
}
count=0
while [ "$count" -lt 20 ] && kill -0 "$leader"; do
    count=$((count + 1))
    sleep 0.1 || count=20
done
count=0
# shellcheck disable=SC2086 # numbers, to be split
while [ "$count" -lt 20 ] && list_processes && send STOP $targets && send KILL $reversed && [ -z "$group_only" ]; do
    count=$((count + 1))
    sleep 0.1 || sleep 1
done
exit 0
