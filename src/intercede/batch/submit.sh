# The last member of the archive: if it is missing, the archive was cut off, and nothing starts. It runs in the
# directory of the submission. The client sets copies, their number; fragment, the scheduler's fragment; and program,
# the staged executable if the kernel must run it. shellcheck shell=sh

# _ic_make_directories: make the directories of all copies, some hundreds per process. A longer list takes quadratic
# time.
_ic_make_directories() {
    index=0
    while [ "$index" -lt "$copies" ]; do
        names=
        most=$((index + 400))
        [ "$most" -le "$copies" ] || most=$copies
        while [ "$index" -lt "$most" ]; do
            names="$names copies/$index"
            index=$((index + 1))
        done
        # shellcheck disable=SC2086 # numbers: the words must be split
        mkdir -p $names || return
    done
}

# _ic_queue: run the fragment. Only the process that makes the link `submitting` decides whether anything starts: this
# one, or a `find` after a cancelled submit. The fragment ignores signals; one that starts payloads restores them.
_ic_queue() {
    _ic_find_machine
    _ic_identify_process self
    printf '%s\n' "$machine $process" >queuer
    ln queuer submitting || return
    trap '' HUP INT TERM PIPE
    _ic_run_unchanged "$copies" "$fragment" </dev/null >ids 2>ids.err
    printf '%s\n' "$?" >submitted.tmp
    mv submitted.tmp submitted
}

# _ic_write_clock: write the boot id and the time of the boot, so that a wrapper gets the time of day without a process.
_ic_write_clock() {
    read -r boot </proc/sys/kernel/random/boot_id && read -r up _ </proc/uptime || return
    printf '%s %s\n' "$boot" "$(($(date +%s) - ${up%.*}))" >clock
}

_ic_give_answer() {
    cat ids
    [ ! -s ids.err ] || cat ids.err >&2
    read -r code <submitted
    return "$code"
}

# _ic_submit MARK [queue]: submit the copies, and print the answer. With queue, which is for a process of its own, only
# run _ic_queue.
_ic_submit() {
    mark=$1
    if [ "${2-}" = queue ]; then
        _ic_queue
        exit
    fi
    [ -z "$program" ] || _ic_frame program test -x "$program"
    [ -z "$program" ] || [ "$_ic_code" = 0 ] || exit
    _ic_frame places _ic_make_directories
    [ "$_ic_code" = 0 ] || exit
    [ ! -r /proc/uptime ] || _ic_frame clock _ic_write_clock
    # The second setsid leaves an orphan, so that it survives if this process and its session are killed.
    if command -v setsid >/dev/null; then
        : "$(setsid setsid sh ./submit.sh "$mark" queue </dev/null)"
    else
        sh ./submit.sh "$mark" queue </dev/null >/dev/null
    fi
    [ ! -e natives ] || _ic_frame noted true
    _ic_frame answer _ic_give_answer
}
