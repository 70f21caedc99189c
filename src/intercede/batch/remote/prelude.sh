# The beginning of every script. It undoes the changes that an environment can make to a shell, and defines how answers
# are framed. The scripts write numbers and ids with echo, because in mksh and posh printf is a program, which is too
# slow to run for every copy. shellcheck shell=sh
unset -f command awk cat cd echo find id kill ln ls mkdir mv printf pwd read readlink rm setsid sh sleep tar test \
    timeout true umask uname wait 2>/dev/null
unalias -a 2>/dev/null
unset IC_COPY # jobs that a copy submits do not belong to the copy, and do not end with it
set +aefuvxC
case $- in *m*) set +m ;; esac # job control gives every child a process group of its own
IFS=' 	
'
umask 077

# _ic_run_unchanged COPIES FRAGMENT: run a fragment that submits COPIES copies. The environment is unchanged, because
# payloads inherit it.
_ic_run_unchanged() {
    _ic_copies=$1 _ic_fragment=$2
    set -- # the fragment gets no arguments
    _ic_find_tool_variables
    (eval "$_ic_fragment")
}

# _ic_run_clean FRAGMENT: run any other fragment, without the variables that would change the answers of its tools.
_ic_run_clean() {
    _ic_fragment=$1
    shift
    _ic_clean_environment
    eval "$_ic_fragment"
}

# _ic_frame NAME COMMAND...: run a command, and print a line with the random mark before and after its output, on stdout
# and stderr. The last line has the exit code. Output outside of frames, of login shells, banners or wrappers, is
# ignored.
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

# _ic_find_machine: set machine to the host and the pid namespace. A process id has a meaning only within these:
# containers may share a home directory and a host name.
machine=
_ic_find_machine() {
    [ -z "$machine" ] || return 0
    { read -r machine </proc/sys/kernel/hostname; } 2>/dev/null || machine=$(uname -n)
    machine=$machine/$(readlink /proc/self/ns/pid 2>/dev/null)
}

# _ic_identify_process PID: set process to an identity that no other process of this machine ever has; empty if the
# process has ended. The PID self is this shell, even if /proc shows another pid namespace.
_ic_identify_process() {
    process=
    if [ -r /proc/sys/kernel/random/boot_id ]; then
        { read -r _ic_stat <"/proc/$1/stat"; } 2>/dev/null || return 0
        read -r _ic_boot </proc/sys/kernel/random/boot_id
        process=${_ic_stat%% *}
        # shellcheck disable=SC2086 # numbers: the words must be split
        set -- ${_ic_stat##*\) }
        [ "$1" = Z ] && process='' || process="$process $_ic_boot ${20}"
    else
        [ "$1" != self ] || set -- "$$"
        ! kill -0 "$1" 2>/dev/null || process="$1 - -"
    fi
}
