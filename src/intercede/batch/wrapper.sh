# sh ./wrapper INDEX, in the submission's directory: run one copy, and tell the truth about it.
# Nothing but what the payload asked for may reach it, so what is set here is not exported. shellcheck shell=sh
unset -f command cat cd cp date mkdir mv printf read rm test trap umask 2>/dev/null
unalias -a 2>/dev/null
set +aefuvxC
case $- in *m*) set +m ;; esac # job control gives every child a process group of its own
IFS=' 	
'
umask 077
_ic_native=${IC_NATIVE:-$$}
unset IC_NATIVE
if [ -n "${IC_LOCALE+set}" ]; then # what queued us had another one of its own
    LC_ALL=$IC_LOCALE
    [ -n "$LC_ALL" ] || unset LC_ALL
    unset IC_LOCALE
fi

cd "./copies/$1" || exit 126
[ ! -e "../../finals/$1" ] || exit 0
_ic_what='' _ic_attempt=0
if [ -e exit ] && read -r _ic_what _ _ _ _ _ic_attempt <"exit"; then
    case $_ic_what in signal | caught) ;; *) exit 0 ;; esac # after a signal the scheduler may run it again
fi
[ -d work ] || mkdir work || exit 126 # not by who submits, who would make thousands
cd ./work || exit 126
_ic_attempt=$((_ic_attempt + 1)) # of one that left no record, too: its number stands in the record's place
# The record's place, without its line's end, so that it counts nowhere yet. The payload may fill the disk: what is there
# already can still be written over. Where not even this can be written nothing is run.
printf '%-120s' "none - - - - $_ic_attempt" >../exit || exit 126
exec 2>>../log
_ic_top=${PWD%/copies/*/work}

# A signal for the whole group is the payload's to die of, or to handle; it must not end this shell before the record is
# written. Handlers, unlike ignored signals, do not pass on to what is started.
# Slurm signals one process after the other, the payload first, but CONT has come to all of them before it sends TERM.
_ic_signal='' _ic_woken=''
trap '_ic_woken=caught' CONT
trap '_ic_signal=1' HUP
trap '_ic_signal=2' INT
trap '_ic_signal=3' QUIT
trap '_ic_signal=10' USR1
trap '_ic_signal=12' USR2
trap '_ic_signal=15' TERM
trap '_ic_signal=24' XCPU

# _ic_stage: the inputs, and the directories of stdout and stderr.
_ic_stage() {
    . ../../../payload
    [ ! -d ../../../inputs ] || cp -R ../../../inputs/. . || return
    for _ic_file in "$_ic_stdout" "$_ic_stderr"; do
        case $_ic_file in */*/*) [ -d "${_ic_file%/*}" ] || mkdir -p "${_ic_file%/*}" || return ;; esac
    done
}

# _ic_run_payload STDOUT STDERR TOP: becomes it. Variables of any name may be set for it, so what is needed behind that stands in
# arguments. The redirections come last, so that whatever the shell says before goes to the log.
_ic_run_payload() {
    _ic_set_environment
    [ ! -e ../vars ] || . ../vars
    _ic_become "$@"
}

# _ic_read_time: sets _ic_now. On the machine that submitted no process is needed for it.
_ic_read_time() {
    if [ -e ../../../clock ] && read -r _ic_boot _ic_epoch <../../../clock; then
        read -r _ic_here </proc/sys/kernel/random/boot_id && read -r _ic_up _ </proc/uptime
        if [ "$_ic_here" = "$_ic_boot" ]; then
            _ic_now=$((_ic_epoch + ${_ic_up%.*}))
            return
        fi
    fi
    _ic_now=$(date +%s)
}

# If a signal came before the payload ended its code is "caught": the signal may have been meant to end it, so that the
# scheduler's word counts. A shell tells death by signal n as 128 + n.
_ic_code=126 _ic_what="code 126"
if [ -e ../killed ]; then
    _ic_what="signal 15"
elif _ic_stage && [ -z "$_ic_signal" ]; then
    (_ic_run_payload "$_ic_stdout" "$_ic_stderr" "$_ic_top")
    _ic_code=$? _ic_what=${_ic_signal:+caught} # of the payload's end and no later
    _ic_what=${_ic_what:-$_ic_woken}
    [ "$_ic_code" -le 384 ] || _ic_code=$((_ic_code - 256)) # yash tells death by signal n as 384 + n
    _ic_what="${_ic_what:-code} $_ic_code"
    [ "$_ic_code" -le 128 ] || [ "$_ic_code" -gt 192 ] || _ic_what="signal $((_ic_code - 128))"
elif [ -n "$_ic_signal" ]; then
    _ic_what="signal $_ic_signal"
fi
[ ! -e ../secrets ] || . ../secrets
_ic_host=-
[ ! -r /proc/sys/kernel/hostname ] || read -r _ic_host </proc/sys/kernel/hostname
_ic_read_time
# One line, one write; without its line's end it counts nowhere. Renaming would be a process more for every copy. The file
# grows by it, which tells whoever knows it by its size that it is another one.
printf '%s\n%120s' "$_ic_what $_ic_now $_ic_host $_ic_native $_ic_attempt" '' 1<>../exit || exit "$_ic_code" # let who started us tell
