# Finds copies and their processes, for status and kill. The working directory holds the directories of all submissions.
# shellcheck shell=sh
{ read -r host </proc/sys/kernel/hostname; } 2>/dev/null || host=$(uname -n)
boot='' namespace=''
if has_proc; then namespace=$(readlink /proc/self/ns/pid); else boot=''; fi 2>/dev/null

# is_alive_here PID START: succeed if this very process exists and is no zombie; sets letter, its state.
is_alive_here() {
    [ -n "$same_boot" ] || return
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return
    wanted=$2
    # shellcheck disable=SC2086 # numbers, to be split
    set -- ${stat##*\) }
    letter=$1
    [ "${20-}" = "$wanted" ] && [ "$letter" != Z ]
}

# locate_copy ID: sets these variables:
#   submission_id  its submission
#   index          its index
#   place          the directory of its runner
#   elsewhere      if its processes cannot be seen from here: a word that says why, and the host
#   same_boot      not empty if its host has not been booted since
#   has_runner     not empty if its runner is alive
# The number of a pid namespace is used again, but only after every process in it has ended.
last=
locate_copy() {
    submission_id=${1%.*} index=${1##*.} place=./${1%.*}/direct
    [ "$submission_id" != "$last" ] || return 0
    last=$submission_id elsewhere='' same_boot='' has_runner=''
    { read -r its_host its_boot its_pid its_start _ its_namespace <"$place/host"; } 2>/dev/null || return 0
    if [ "$its_host" != "$host" ]; then
        elsewhere="elsewhere $its_host"
    elif [ -z "$boot" ]; then
        elsewhere="unseen $its_host"
    elif [ "$its_boot" = "$boot" ] && [ "${its_namespace:-$namespace}" != "$namespace" ]; then
        elsewhere="apart $its_host"
    elif [ "$its_boot" = "$boot" ]; then
        same_boot=yes
        ! is_alive_here "$its_pid" "$its_start" || has_runner=yes
    fi
}
