# Ends all processes that copies started. Input variables: grace, in seconds; known, some of their processes as
# PID:START; marks, one line for each copy: a text in the environment of all its processes, unless they have changed it.
# shellcheck shell=sh
unset -f awk grep kill printf read sleep 2>/dev/null
unalias -a 2>/dev/null

# Reads one line per known process, PID:START; one per process whose environment has a mark, /proc/PID/environ; and one
# per existing process, /proc/PID. A process belongs to the copies if the process itself, its parent, or the leader of
# its group or session does. Prints PID:START for each process that belongs to them and for leaders that have ended.
# Then prints the targets to signal, parents first: a pid, or -GROUP if the whole group belongs to the copies. Pids 0
# and 1 are never known: in a container, 0 is the group of a process that entered from outside, and 1 is the ancestor of
# every process.
# shellcheck disable=SC2016 # awk's
tree_awk='
/:/ {
    split($0, part, ":")
    if (part[1] !~ /^[1-9][0-9]*$/ || part[1] == 1) next
    known[part[1]] = part[2]
    next
}
/environ$/ { split($0, part, "/"); marked[part[3]] = 1; read_stat(part[3]); next }
{ read_stat(substr($0, 7)) }
function read_stat(pid,  file, text, line, count, field) {
    file = "/proc/" pid "/stat"
    while ((getline line < file) > 0) text = text line # a name may hold anything, newlines too
    close(file)
    if (text == "") unsure = 1
    sub(/^.*\) /, "", text)
    count = split(text, field, " ")
    if (pid == 1 || count < 20 || (field[1] ~ /[ZX]/ && field[18] < 2)) return # kill -1 would signal everything
    parent[pid] = field[2]; group[pid] = field[3]; session[pid] = field[4]; start[pid] = field[20]
    state[pid] = field[1]
}
function belongs(pid) {
    return pid in known || pid in marked || parent[pid] in known || group[pid] in known || session[pid] in known
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
    # A pid with another start time belongs to another process now.
    for (pid in known) if (pid in start && start[pid] != known[pid]) delete known[pid]
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
    if (unsure) print "unsure"
    if (running) print "running"
    print "."
}'

# add_mark COPY: let the functions below end this copy, SUBMISSION_ID/INDEX, as well. marks must not have an empty line:
# it would be found in every environment.
add_mark() {
    marks="${marks:+$marks
}IC_COPY=$1/"
}

# list_processes: sets these variables:
#   known     the processes to look for next time
#   targets   what to signal, parents first; the groups of the known processes if grep or awk is missing
#   reversed  the same, children first
#   unsure    not empty if a process ended before it could be read: it may have started another one
#   running   not empty if some process is not stopped
# shellcheck disable=SC2046,SC2086 # numbers, to be split
list_processes() {
    set -- $({
        set -- /proc/[0-9]*
        [ -z "$marks" ] || LC_ALL=C grep -lsF -e "$marks" /proc/[0-9]*/environ
        printf '%s\n' $known "$@" # listed first and read last, so that a process that ends meanwhile is noticed
    } | LC_ALL=C awk "$tree_awk") . # LC_ALL=C: the name of a process may be invalid text in the locale
    targets='' reversed='' unsure='' running=''
    if [ "$1" = . ] && [ $# = 1 ]; then
        for each in $known; do targets="$targets -${each%:*}"; done
        reversed=$targets
        return
    fi
    known=
    for each; do
        case $each in
        *:*) known="$known $each" ;;
        unsure) unsure=2 ;;
        running) running=yes ;;
        [!.]*) targets="$targets $each" reversed="$each $reversed" ;;
        esac
    done
}

# send SIGNAL TARGET...: send the signal; fails if there is no target that may be signalled. Skips 0, 1 and -1, which
# stand for our own group, the first process and all processes; and this process, which a copy may have started to end
# itself. kill is called with --, because procps' kill (4.0.2) reads -1234 as -1. busybox' kill takes -- for a missing
# process and counts it in its exit code.
send() {
    sent=
    kill -s 0 -- $$
    counted=$?
    signal=$1
    shift
    for each; do
        case ${each#-} in '' | 0* | 1 | "$$" | *[!0-9]*) continue ;; esac
        kill -s "$signal" -- "$each"
        [ $? -gt "$counted" ] || sent=yes
    done
    [ -n "$sent" ]
} 2>/dev/null

# stop_all: stop every process. A stopped process starts no other, so all that it has started are known then. A process
# that is not stopped yet may die of TERM at once. A process that waits for a disk does not stop, and is not waited for.
# shellcheck disable=SC2086 # numbers, to be split
stop_all() {
    list_processes
    for attempt in 1 2 3 4 5 6 7 8; do
        send STOP $targets
        list_processes
        [ -n "$running" ] || return 0
    done
}

# wait_for_end: wait until no process is left, and kill those that are left after the grace, with all that they start
# meanwhile. None counts as left if two listings in a row show none. It takes five listings if some process ended
# while it was listed, because it may have belonged to the copies and have started another one.
# shellcheck disable=SC2086 # numbers, to be split
wait_for_end() {
    read -r began_waiting _ </proc/uptime
    quiet=0
    while list_processes && [ "$quiet" -lt 10 ]; do
        if [ -z "$targets" ]; then
            quiet=$((quiet + ${unsure:-5}))
            continue
        fi
        quiet=0
        read -r now _ </proc/uptime
        if [ "$grace" = 0 ] || [ $((${now%.*} - ${began_waiting%.*})) -gt "$grace" ]; then
            stop_all
            [ -z "$targets" ] || send KILL $reversed || return
        fi
        sleep 0.2 2>/dev/null || sleep 1
    done
}

# ask_to_end: send TERM to all processes. They are stopped first, so that no script goes on to its next line because the
# process that it waits for ends before it. Children continue before their parents: Linux sends HUP to a stopped process
# group when the last parent that it has in its session ends.
# shellcheck disable=SC2086 # numbers, to be split
ask_to_end() {
    stop_all
    send TERM $targets
    send CONT $reversed
}
