# What status and kill share. The working directory holds the submissions' directories. shellcheck shell=sh
{ read -r host </proc/sys/kernel/hostname; } 2>/dev/null || host=$(uname -n)
boot='' space=''
if sees; then space=$(readlink /proc/self/ns/pid); else boot=''; fi 2>/dev/null

# alive PID START: whether that very process is there, and not only waiting to be reaped; sets letter, its state.
alive() {
    [ -n "$here" ] || return
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return
    wanted=$2
    # shellcheck disable=SC2086 # numbers, to be split
    set -- ${stat##*\) }
    letter=$1
    [ "${20-}" = "$wanted" ] && [ "$letter" != Z ]
}

# enter ID: sets submission_id, index, and for its submission: elsewhere, a word and a host, where its processes cannot be seen from
# here; here, whether the machine still is as it was; running, whether its runner is there. The number of a pid namespace
# is given again, but not before every process in it has ended.
last=
enter() {
    submission_id=${1%.*} index=${1##*.} place=./${1%.*}/direct
    [ "$submission_id" != "$last" ] || return 0
    last=$submission_id elsewhere='' here='' running=''
    { read -r its_host its_boot its_pid its_start _ its_space <"$place/host"; } 2>/dev/null || return 0
    if [ "$its_host" != "$host" ]; then
        elsewhere="elsewhere $its_host"
    elif [ -z "$boot" ]; then
        elsewhere="unseen $its_host"
    elif [ "$its_boot" = "$boot" ] && [ "${its_space:-$space}" != "$space" ]; then
        elsewhere="apart $its_host"
    elif [ "$its_boot" = "$boot" ]; then
        here=yes
        ! alive "$its_pid" "$its_start" || running=yes
    fi
}
