# sh ./wrapper INDEX, in the submission's directory: run one copy, and tell the truth about it.
# Nothing but what the payload asked for may reach it, so what is set here is not exported. shellcheck shell=sh
unset -f command cat cd cp date mkdir mv printf read rm test trap umask 2>/dev/null
unalias -a 2>/dev/null
set +aefuvxC
case $- in *m*) set +m ;; esac # job control gives every child a process group of its own
IFS=' 	
'
umask 077
ic_native=${IC_NATIVE:-$$}
unset IC_NATIVE
if [ -n "${IC_LOCALE+set}" ]; then # what queued us had another one of its own
    LC_ALL=$IC_LOCALE
    [ -n "$LC_ALL" ] || unset LC_ALL
    unset IC_LOCALE
fi

cd "./copies/$1" || exit 126
[ ! -e "../../finals/$1" ] || exit 0
ic_what='' ic_attempt=0
if [ -e exit ] && read -r ic_what _ _ _ _ ic_attempt <"exit"; then
    case $ic_what in signal | caught) ;; *) exit 0 ;; esac # after a signal the scheduler may run it again
fi
[ -d work ] || mkdir work || exit 126 # not by who submits, who would make thousands
cd ./work || exit 126
ic_attempt=$((ic_attempt + 1)) # of one that left no record, too: its number stands in the record's place
# The record's place, without its line's end, so that it counts nowhere yet. The payload may fill the disk: what is there
# already can still be written over. Where not even this can be written nothing is run.
printf '%-120s' "none - - - - $ic_attempt" >../exit || exit 126
exec 2>>../log
ic_top=${PWD%/copies/*/work}

# A signal for the whole group is the payload's to die of, or to handle; it must not end this shell before the record is
# written. Handlers, unlike ignored signals, do not pass on to what is started.
# Slurm signals one process after the other, the payload first, but CONT has come to all of them before it sends TERM.
ic_signal='' ic_woken=''
trap 'ic_woken=caught' CONT
trap 'ic_signal=1' HUP
trap 'ic_signal=2' INT
trap 'ic_signal=3' QUIT
trap 'ic_signal=10' USR1
trap 'ic_signal=12' USR2
trap 'ic_signal=15' TERM
trap 'ic_signal=24' XCPU

# stage: the inputs, and the directories of stdout and stderr.
stage() {
    . ../../../payload
    [ ! -d ../../../inputs ] || cp -R ../../../inputs/. . || return
    for ic_file in "$ic_stdout" "$ic_stderr"; do
        case $ic_file in */*/*) [ -d "${ic_file%/*}" ] || mkdir -p "${ic_file%/*}" || return ;; esac
    done
}

# payload STDOUT STDERR TOP: becomes it. Variables of any name may be set for it, so what is needed behind that stands in
# arguments. The redirections come last, so that whatever the shell says before goes to the log.
payload() {
    ic_environment
    [ ! -e ../vars ] || . ../vars
    ic_command "$@"
}

# now: sets ic_now. On the machine that submitted no process is needed for it.
now() {
    if [ -e ../../../clock ] && read -r ic_boot ic_epoch <../../../clock; then
        read -r ic_here </proc/sys/kernel/random/boot_id && read -r ic_up _ </proc/uptime
        if [ "$ic_here" = "$ic_boot" ]; then
            ic_now=$((ic_epoch + ${ic_up%.*}))
            return
        fi
    fi
    ic_now=$(date +%s)
}

# If a signal came before the payload ended its code is "caught": the signal may have been meant to end it, so that the
# scheduler's word counts. A shell tells death by signal n as 128 + n.
ic_code=126 ic_what="code 126"
if [ -e ../killed ]; then
    ic_what="signal 15"
elif stage && [ -z "$ic_signal" ]; then
    (payload "$ic_stdout" "$ic_stderr" "$ic_top")
    ic_code=$? ic_what=${ic_signal:+caught} # of the payload's end and no later
    ic_what=${ic_what:-$ic_woken}
    [ "$ic_code" -le 384 ] || ic_code=$((ic_code - 256)) # yash tells death by signal n as 384 + n
    ic_what="${ic_what:-code} $ic_code"
    [ "$ic_code" -le 128 ] || [ "$ic_code" -gt 192 ] || ic_what="signal $((ic_code - 128))"
elif [ -n "$ic_signal" ]; then
    ic_what="signal $ic_signal"
fi
[ ! -e ../secrets ] || . ../secrets
ic_host=-
[ ! -r /proc/sys/kernel/hostname ] || read -r ic_host </proc/sys/kernel/hostname
now
# One line, one write; without its line's end it counts nowhere. Renaming would be a process more for every copy. The file
# grows by it, which tells whoever knows it by its size that it is another one.
printf '%s\n%120s' "$ic_what $ic_now $ic_host $ic_native $ic_attempt" '' 1<>../exit || exit "$ic_code" # let who started us tell
