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

# _ic_run_as_found COPIES FRAGMENT: run a fragment that submits so many copies, in the environment as it was found, which
# payloads inherit.
_ic_run_as_found() {
    _ic_copies=$1 _ic_fragment=$2
    set -- # a fragment has no arguments
    _ic_find_strange
    (eval "$_ic_fragment")
}

# _ic_run_plainly FRAGMENT: run any other fragment, with what would change its tools' answers out of the way.
_ic_run_plainly() {
    _ic_fragment=$1
    shift
    _ic_be_plain
    eval "$_ic_fragment"
}

# _ic_frame NAME COMMAND...: run it between random marks, with its exit code behind them, on both channels. What a login
# shell, a banner or a wrapper says outside of them is no answer, and an answer without its end was cut.
_ic_frame() {
    _ic_name=$1
    shift
    printf '\n%s begin %s\n' "$mark" "$_ic_name"
    printf '\n%s begin %s\n' "$mark" "$_ic_name" >&2
    ("$@") </dev/null
    _ic_code=$?
    printf '\n%s end %s %s\n' "$mark" "$_ic_name" "$_ic_code"
    printf '\n%s end %s %s\n' "$mark" "$_ic_name" "$_ic_code" >&2
}

# _ic_find_machine: sets machine: this host and this pid namespace. Only here does the number of a process mean what it does: containers
# may share a home and a host's name.
machine=
_ic_find_machine() {
    [ -z "$machine" ] || return 0
    { read -r machine </proc/sys/kernel/hostname; } 2>/dev/null || machine=$(uname -n)
    machine=$machine/$(readlink /proc/self/ns/pid 2>/dev/null)
}

# _ic_identify_process PID: sets process, what tells it from every other process there ever was on this machine; empty where it is over.
# self is the shell that asks, also where /proc tells of another pid namespace.
_ic_identify_process() {
    process=
    if [ -r /proc/sys/kernel/random/boot_id ]; then
        { read -r _ic_stat <"/proc/$1/stat"; } 2>/dev/null || return 0
        read -r _ic_boot </proc/sys/kernel/random/boot_id
        process=${_ic_stat%% *}
        # shellcheck disable=SC2086 # numbers, to be split
        set -- ${_ic_stat##*\) }
        [ "$1" = Z ] && process='' || process="$process $_ic_boot ${20}"
    else
        [ "$1" != self ] || set -- "$$"
        ! kill -0 "$1" 2>/dev/null || process="$1 - -"
    fi
}
