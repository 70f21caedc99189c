# What status and kill share. The working directory holds the submissions' directories. shellcheck shell=sh
host=$(uname -n)
read -r boot </proc/sys/kernel/random/boot_id

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

# enter ID: sets stamp, index, and for its submission: elsewhere, the other host that it runs on; here, whether the
# machine still is as it was; running, whether its runner is there.
last=
enter() {
    stamp=${1%.*} index=${1##*.} place=./${1%.*}/direct
    [ "$stamp" != "$last" ] || return 0
    last=$stamp elsewhere='' here='' running=''
    { read -r its_host its_boot its_pid its_start _ <"$place/host"; } 2>/dev/null || return 0
    if [ "$its_host" != "$host" ]; then
        elsewhere=$its_host
    elif [ "$its_boot" = "$boot" ]; then
        here=yes
        ! alive "$its_pid" "$its_start" || running=yes
    fi
}
