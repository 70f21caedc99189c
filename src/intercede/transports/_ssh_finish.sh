# sh -c ... sh PID WORD: end what the sh of this number runs, which has this word among its arguments, with all that it
# started: TERM to each, KILL to what is left when that sh has ended, or after two seconds, until nothing is. Fails where
# there is none. Of kill every sh understands this much. shellcheck shell=sh
exec >/dev/null 2>&1
case $(command -v kill) in kill) ;; *) exit 1 ;; esac # procps' (4.0.2) takes -1234 for -1: every process of the user

# Reads a line for each process that is known, PID:START, and for each that is there, /proc/PID. A process belongs to the
# command where it, its parent, or the leader of its group or session does. Writes all that do, together with leaders
# that have ended, and whom to signal: a process, or -GROUP where all of it belongs.
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
}
function belongs(pid) {
    return pid in known || parent[pid] in known || group[pid] in known || session[pid] in known
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
        if (group[pid] in known) { told[group[pid]] = 1; whom["-" group[pid]] = 1 } else whom[pid] = 1
        if (session[pid] in known) told[session[pid]] = 1
    }
    for (pid in told) print pid ":" known[pid]
    for (pid in whom) print pid
    print "."
}'

# sees: whether there is a /proc of the pid namespace that we are in. NSpid has more than one number where it is not.
sees() {
    while read -r key _ below && [ "$key" != NSpid: ]; do below=''; done </proc/self/status || return
    [ -z "$below" ]
}

# survey: sets known anew, and left, whom a signal reaches. Where nothing tells of processes that is the group, and alone is set.
# shellcheck disable=SC2086,SC2046 # numbers, to be split
survey() {
    set -- .
    ! sees || set -- $(printf '%s\n' $known /proc/[0-9]* | LC_ALL=C awk "$kinship") . # a name may be no text here
    if [ $# = 1 ]; then
        left=-$leader alone=yes
        return
    fi
    known='' left=''
    for each; do
        case $each in *:*) known="$known $each" ;; [!.]*) left="$left $each" ;; esac
    done
}

# reach SIGNAL: send it to what is left, and tell whether anything of it is ours to signal.
reach() {
    reached=''
    for each in $left; do
        kill "-$1" "$each" && reached=yes
    done
    [ -n "$reached" ]
}

leader=$1 known=$1: alone=''
! sees || grep -F -e "$2" "/proc/$1/cmdline" || exit
survey
reach STOP # until each was asked: no script goes on to its next line because what it waited for was the first to end
reach TERM || exit
reach CONT
count=0
while [ "$count" -lt 20 ] && kill -0 "$leader"; do
    count=$((count + 1))
    sleep 0.1 || count=20
done
count=0
while [ "$count" -lt 20 ] && survey && reach STOP && reach KILL && [ -z "$alone" ]; do
    count=$((count + 1))
    sleep 0.1 || sleep 1
done
exit 0
