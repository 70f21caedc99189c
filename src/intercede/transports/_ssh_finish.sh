# sh -c ... sh PID WORD: end what the sh of this number runs, which has this word among its arguments, with all that it
# started: TERM to each, KILL to what is left when that sh has ended, or after two seconds, until nothing is. Fails where
# there is none. Of kill every sh understands this much. shellcheck shell=sh
exec >/dev/null 2>&1
case $(command -v kill) in kill) ;; *) exit 1 ;; esac # procps' (4.0.2) takes -1234 for -1: every process of the user

# Reads a line for each process that is known, PID:START, and for each that is there, /proc/PID. A process belongs to the
# command where it, its parent, or the leader of its group or session does. Writes all that do, together with leaders
# that have ended, and whom to signal: a process, or -GROUP where all of it belongs, those that started others before those.
# shellcheck disable=SC2016 # awk's
kinship='
/:/ { split($0, part, ":"); known[part[1]] = part[2]; next }
{
    pid = substr($0, 7)
    text = ""
    while ((getline line < ($0 "/stat")) > 0) text = text line # a name may hold anything, newlines too
    close($0 "/stat")
    sub(/^.*\) /, "", text)
    count = split(text, field, " ")
    if (pid == 1 || count < 20 || (field[1] ~ /[ZX]/ && field[18] < 2)) next # -1 would be everybody
    parent[pid] = field[2]; group[pid] = field[3]; session[pid] = field[4]; start[pid] = field[20]
    state[pid] = field[1]
}
function belongs(pid) {
    return pid in known || parent[pid] in known || group[pid] in known || session[pid] in known
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
    for (pid in known) if (pid in start) {
        if (known[pid] == "" || known[pid] == start[pid]) known[pid] = start[pid]
        else delete known[pid] # a number that was given again
    }
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
    if (moves) print "moves"
    print "."
}'

# sees: whether there is a /proc of the pid namespace that we are in. NSpid has more than one number where it is not.
sees() {
    while read -r key _ below && [ "$key" != NSpid: ]; do below=''; done </proc/self/status || return
    [ -z "$below" ]
}

# survey: sets known anew; left, whom a signal reaches; upwards, the same from the last to the first; moves, where some do not
# stand still. Where nothing tells of processes that is the group, and alone is set.
# shellcheck disable=SC2086,SC2046 # numbers, to be split
survey() {
    set -- .
    ! sees || set -- $(printf '%s\n' $known /proc/[0-9]* | LC_ALL=C awk "$kinship") . # a name may be no text here
    if [ $# = 1 ]; then
        left=-$leader upwards=-$leader alone=yes
        return
    fi
    known='' left='' upwards='' moves=''
    for each; do
        case $each in *:*) known="$known $each" ;; moves) moves=yes ;; [!.]*) left="$left $each" upwards="$each $upwards" ;; esac
    done
}

# reach SIGNAL WHOM...: send it, and tell whether anything of it is ours to signal.
reach() {
    reached='' signal=$1
    shift
    for each; do
        kill "-$signal" "$each" && reached=yes
    done
    [ -n "$reached" ]
}

case $1 in '' | 0* | 1 | *[!0-9]*) exit 1 ;; esac # -1 would be everybody
# hold: have all of it stand still. Until a process does, TERM may end it at once.
# shellcheck disable=SC2086 # numbers, to be split
hold() {
    survey
    for look in 1 2 3 4 5 6 7 8; do
        reach STOP $left
        [ -z "$alone" ] || return 0
        survey
        [ -n "$moves" ] || return 0
    done
}

leader=$1 known=$1: alone='' moves=''
! sees || grep -F -e "$2" "/proc/$1/cmdline" || exit
hold # until each was asked: no script goes on to its next line because what it waited for was the first to end
# shellcheck disable=SC2086 # numbers, to be split
{
    reach TERM $left || exit
    reach CONT $upwards # Linux sends HUP to a group that stands still when the last parent that it has in its session ends
}
count=0
while [ "$count" -lt 20 ] && kill -0 "$leader"; do
    count=$((count + 1))
    sleep 0.1 || count=20
done
count=0
# shellcheck disable=SC2086 # numbers, to be split
while [ "$count" -lt 20 ] && survey && reach STOP $left && reach KILL $upwards && [ -z "$alone" ]; do
    count=$((count + 1))
    sleep 0.1 || sleep 1
done
exit 0
