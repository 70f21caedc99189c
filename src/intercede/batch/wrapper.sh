# sh ./wrapper INDEX, in the submission's directory: run one copy, and record how it ended.
# The payload must not see variables that it did not ask for, so nothing here is exported. shellcheck shell=sh
unset -f command cat cd cp date mkdir mv printf read rm test trap umask 2>/dev/null
unalias -a 2>/dev/null
set +aefuvxC
case $- in *m*) set +m ;; esac # job control gives every child a process group of its own
IFS=' 	
'
umask 077
_ic_native=${IC_NATIVE:-$$}
unset IC_NATIVE
if [ -n "${IC_LOCALE+set}" ]; then # the scheduler's commands ran in the C locale; this restores the original one
    LC_ALL=$IC_LOCALE
    [ -n "$LC_ALL" ] || unset LC_ALL
    unset IC_LOCALE
fi

cd "./copies/$1" || exit 126
[ ! -e "../../finals/$1" ] || exit 0
_ic_what='' _ic_attempt=0
if [ -e exit ] && read -r _ic_what _ _ _ _ _ic_attempt <"exit"; then
    case $_ic_what in signal | caught) ;; *) exit 0 ;; esac # after a signal the scheduler may run the copy again
fi
[ -d work ] || mkdir work || exit 126 # made here, because a submission would have to make thousands at once
cd ./work || exit 126
_ic_attempt=$((_ic_attempt + 1)) # an attempt without a record counts as well: its number is in the placeholder
# The placeholder of the record. It has no newline, so it does not count. Even if the payload fills the disk, it can be
# overwritten later. If it cannot be written, nothing is run.
printf '%-120s' "none - - - - $_ic_attempt" >../exit || exit 126
exec 2>>../log
_ic_top=${PWD%/copies/*/work}

# A signal to the whole process group may end the payload, or be caught by it; it must not end this shell before the
# record is written. So the signals are caught and not ignored: child processes inherit ignored signals, but not
# handlers. Slurm signals one process after the other, the payload first, but all of them have got CONT before it sends
# TERM.
_ic_signal='' _ic_woken=''
trap '_ic_woken=caught' CONT
trap '_ic_signal=1' HUP
trap '_ic_signal=2' INT
trap '_ic_signal=3' QUIT
trap '_ic_signal=10' USR1
trap '_ic_signal=12' USR2
trap '_ic_signal=15' TERM
trap '_ic_signal=24' XCPU

# _ic_stage: copy the inputs, and make the directories of stdout and stderr.
_ic_stage() {
    . ../../../payload
    [ ! -d ../../../inputs ] || cp -R ../../../inputs/. . || return
    for _ic_file in "$_ic_stdout" "$_ic_stderr"; do
        case $_ic_file in */*/*) [ -d "${_ic_file%/*}" ] || mkdir -p "${_ic_file%/*}" || return ;; esac
    done
}

# _ic_run_payload STDOUT STDERR TOP: replace this shell with the payload. Its environment may set any variable, so the
# values that are needed afterwards are arguments. The redirections come last, so that earlier messages of the shell go
# to the log.
_ic_run_payload() {
    _ic_set_environment
    [ ! -e ../vars ] || . ../vars
    _ic_become "$@"
}

# _ic_read_time: set _ic_now to the time of day. On the machine that submitted, this needs no process.
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

# If this shell caught a signal before the payload ended, the record is "caught": the signal may have been sent to end
# the job, so the scheduler's status counts as well. A shell reports death by signal n as exit code 128 + n.
_ic_code=126 _ic_what="code 126"
if [ -e ../killed ]; then
    _ic_what="signal 15"
elif _ic_stage && [ -z "$_ic_signal" ]; then
    (_ic_run_payload "$_ic_stdout" "$_ic_stderr" "$_ic_top")
    _ic_code=$? _ic_what=${_ic_signal:+caught} # evaluated at the end of the payload, because later signals do not count
    _ic_what=${_ic_what:-$_ic_woken}
    [ "$_ic_code" -le 384 ] || _ic_code=$((_ic_code - 256)) # yash reports death by signal n as 384 + n
    _ic_what="${_ic_what:-code} $_ic_code"
    [ "$_ic_code" -le 128 ] || [ "$_ic_code" -gt 192 ] || _ic_what="signal $((_ic_code - 128))"
elif [ -n "$_ic_signal" ]; then
    _ic_what="signal $_ic_signal"
fi
[ ! -e ../secrets ] || . ../secrets
_ic_host=-
[ ! -r /proc/sys/kernel/hostname ] || read -r _ic_host </proc/sys/kernel/hostname
_ic_read_time
# The record is one line and one write, and does not count without its newline. Renaming a temporary file would cost a
# process for every copy. The file grows, so that readers that compare its size see the change. Without a record, the
# exit code is the scheduler's only evidence.
printf '%s\n%120s' "$_ic_what $_ic_now $_ic_host $_ic_native $_ic_attempt" '' 1<>../exit || exit "$_ic_code"
