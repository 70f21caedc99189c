# What copies started, and its end. Given: grace; known, processes of theirs, PID:START each; marks, a line for each copy:
# what all of its processes have in their environment, unless they changed it. shellcheck shell=sh
unset -f awk grep kill printf read sleep 2>/dev/null
unalias -a 2>/dev/null

# Reads a line for each process that is known, for each that has a mark (/proc/PID/environ), and for each that is there
# (/proc/PID). A process belongs to the copy where it, its parent, or the leader of its group or session does. Writes
# all that do, together with leaders that have ended, and whom to signal: a process, or -GROUP where all of it belongs,
# those that started others before those.
# Neither 0 nor 1 is ever known. In a container 0 is the group of whatever came in from outside, and 1 began everything.
# shellcheck disable=SC2016 # awk's
kinship='
/:/ {
    split($0, part, ":")
    if (part[1] !~ /^[1-9][0-9]*$/ || part[1] == 1) next
    known[part[1]] = part[2]
    next
}
/environ$/ { split($0, part, "/"); marked[part[3]] = 1; look(part[3]); next }
{ look(substr($0, 7)) }
function look(pid,  file, text, line, count, field) {
    file = "/proc/" pid "/stat"
    while ((getline line < file) > 0) text = text line # a name may hold anything, newlines too
    close(file)
    if (text == "") unsure = 1
    sub(/^.*\) /, "", text)
    count = split(text, field, " ")
    if (pid == 1 || count < 20 || (field[1] ~ /[ZX]/ && field[18] < 2)) return # -1 would be everybody
    parent[pid] = field[2]; group[pid] = field[3]; session[pid] = field[4]; start[pid] = field[20]
    state[pid] = field[1]
}
function belongs(pid) {
    return pid in known || pid in marked || parent[pid] in known || group[pid] in known || session[pid] in known
}
function depth(pid,  steps) {
    for (steps = 0; parent[pid] in ours && steps < 100; steps++) pid = parent[pid]
    return steps
}
function reached(who, steps) {
    if (!(who in whom) || steps < whom[who]) whom[who] = steps
    if (steps > deepest) deepest = steps
}
END {
    for (pid in known) if (pid in start && start[pid] != known[pid]) delete known[pid] # a number that was given again
    do {
        more = 0
        for (pid in start) if (!(pid in ours) && belongs(pid)) { ours[pid] = 1; known[pid] = start[pid]; more = 1 }
    } while (more)
    for (pid in ours) {
        told[pid] = 1
        if (state[pid] !~ /[Tt]/) moves = 1
        if (group[pid] in known) { told[group[pid]] = 1; reached("-" group[pid], depth(pid)) } else reached(pid, depth(pid))
        if (session[pid] in known) told[session[pid]] = 1
    }
    for (pid in told) print pid ":" known[pid]
    for (steps = 0; steps <= deepest; steps++) for (who in whom) if (whom[who] == steps) print who
    if (unsure) print "unsure"
    if (moves) print "moves"
    print "."
}'

# add COPY: see to the end of SUBMISSION_ID/INDEX, too. No line is empty: that one would stand in every environment.
add() {
    marks="${marks:+$marks
}IC_COPY=$1/"
}

# survey: sets known anew; left, whom a signal reaches; upwards, the same from the last to the first; unsure, where some ended
# before they were looked at, and may have started others; moves, where some do not stand still. Where there are no tools to look with the groups remain.
# shellcheck disable=SC2046,SC2086 # numbers, to be split
survey() {
    set -- $({
        set -- /proc/[0-9]*
        [ -z "$marks" ] || LC_ALL=C grep -lsF -e "$marks" /proc/[0-9]*/environ
        printf '%s\n' $known "$@" # listed first and looked at last: what ends meanwhile is noticed
    } | LC_ALL=C awk "$kinship") . # a process's name may be no text in the locale that there is
    left='' upwards='' unsure='' moves=''
    if [ "$1" = . ] && [ $# = 1 ]; then
        for each in $known; do left="$left -${each%:*}"; done
        upwards=$left
        return
    fi
    known=
    for each; do
        case $each in *:*) known="$known $each" ;; unsure) unsure=2 ;; moves) moves=yes ;; [!.]*) left="$left $each" upwards="$each $upwards" ;; esac
    done
}

# reach SIGNAL WHOM...: send it, and tell whether anything of it is ours to signal. Nothing may come near 0, 1 and -1: they are
# our own group, the first process, and everybody. Nor do we signal ourselves, whom a copy started that asks for its own end.
# Without -- procps' kill (4.0.2) takes -1234 for -1. To busybox' kill -- is a process that is not there, which it counts.
reach() {
    reached=
    kill -s 0 -- $$
    counted=$?
    signal=$1
    shift
    for each; do
        case ${each#-} in '' | 0* | 1 | "$$" | *[!0-9]*) continue ;; esac
        kill -s "$signal" -- "$each"
        [ $? -gt "$counted" ] || reached=yes
    done
    [ -n "$reached" ]
} 2>/dev/null

# hold: have all of it stand still. What does so starts nothing, and what it has started is known by it. Until a process does,
# TERM may end it at once. What waits for a disk does not stop, and is not waited for.
# shellcheck disable=SC2086 # numbers, to be split
hold() {
    survey
    for look in 1 2 3 4 5 6 7 8; do
        reach STOP $left
        survey
        [ -n "$moves" ] || return 0
    done
}

# outlast: wait until nothing is left. What is left after the grace is ended, whatever it starts meanwhile. Nothing is left
# when two looks say so; where something ended meanwhile, which may have been ours and started another, five.
# shellcheck disable=SC2086 # numbers, to be split
outlast() {
    read -r asked _ </proc/uptime
    quiet=0
    while survey && [ "$quiet" -lt 10 ]; do
        if [ -z "$left" ]; then
            quiet=$((quiet + ${unsure:-5}))
            continue
        fi
        quiet=0
        read -r now _ </proc/uptime
        if [ "$grace" = 0 ] || [ $((${now%.*} - ${asked%.*})) -gt "$grace" ]; then
            hold
            [ -z "$left" ] || reach KILL $upwards || return
        fi
        sleep 0.2 2>/dev/null || sleep 1
    done
}

# ask: ask all of it to end. It stands still until each was asked: no script goes on to its next line because what it waited
# for was the first to end. Those that were started go on before those that started them: Linux sends HUP to a process group
# that stands still when the last parent that it has in its session ends.
# shellcheck disable=SC2086 # numbers, to be split
ask() {
    hold
    reach TERM $left
    reach CONT $upwards
}
