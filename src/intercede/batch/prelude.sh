# Every script of ours begins with this. It puts back what the caller's environment can change in a shell or its
# tools, and frames answers. Numbers, ids and words of ours are written by echo: in mksh and posh printf is a program, which
# for every copy would be slow. shellcheck shell=sh
unset -f command awk cat cd echo find id kill ln ls mkdir mv printf pwd read readlink rm setsid sh sleep tar test timeout true \
    umask uname wait 2>/dev/null
unalias -a 2>/dev/null
unset IC_COPY # what a copy submits is no part of it, and goes on without it
set +aefuvxC
case $- in *m*) set +m ;; esac # job control gives every child a process group of its own
IFS=' 	
'
umask 077

# plain: take away what would change any tool's answers; what its own tools know a scheduler takes away itself. What starts
# payloads hands on what it has, so the wrapper is told the locale that there was.
plain() {
    unset CDPATH POSIXLY_CORRECT
    IC_LOCALE=${LC_ALL-}
    LC_ALL=C
    export IC_LOCALE LC_ALL
}

# native COMMAND...: run one of the scheduler's own tools, plainly. For fragments that submit, which run as they were
# found, for the payloads' sake.
native() {
    (plain && "$@")
}

# frame NAME COMMAND...: run it between random marks, with its exit code behind them, on both channels. What a login
# shell, a banner or a wrapper says outside of them is no answer, and an answer without its end was cut.
frame() {
    ic_name=$1
    shift
    printf '\n%s begin %s\n' "$mark" "$ic_name"
    printf '\n%s begin %s\n' "$mark" "$ic_name" >&2
    ("$@") </dev/null
    ic_code=$?
    printf '\n%s end %s %s\n' "$mark" "$ic_name" "$ic_code"
    printf '\n%s end %s %s\n' "$mark" "$ic_name" "$ic_code" >&2
}

# at_hand: sets machine: this host and this pid namespace. Only here does the number of a process mean what it does: containers
# may share a home and a host's name.
machine=
at_hand() {
    [ -z "$machine" ] || return 0
    { read -r machine </proc/sys/kernel/hostname; } 2>/dev/null || machine=$(uname -n)
    machine=$machine/$(readlink /proc/self/ns/pid 2>/dev/null)
}

# process PID: sets process, what tells it from every other process there ever was on this machine; empty where it is over.
# self is the shell that asks, also where /proc tells of another pid namespace.
process() {
    process=
    if [ -r /proc/sys/kernel/random/boot_id ]; then
        { read -r ic_stat <"/proc/$1/stat"; } 2>/dev/null || return 0
        read -r ic_boot </proc/sys/kernel/random/boot_id
        process=${ic_stat%% *}
        # shellcheck disable=SC2086 # numbers, to be split
        set -- ${ic_stat##*\) }
        [ "$1" = Z ] && process='' || process="$process $ic_boot ${20}"
    else
        [ "$1" != self ] || set -- "$$"
        ! kill -0 "$1" 2>/dev/null || process="$1 - -"
    fi
}
