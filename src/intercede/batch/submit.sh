# The last member of the archive: where it is missing the archive was cut, and nothing starts. Its working directory is
# the submission's. Given: copies, how many; fragment, what queues them; program, what is run as it is, if anything is staged
# for that. shellcheck shell=sh

# _ic_make_places: make every copy's directory, some hundreds a process. A list of words would cost its square.
_ic_make_places() {
    index=0
    while [ "$index" -lt "$copies" ]; do
        names=
        most=$((index + 400))
        [ "$most" -le "$copies" ] || most=$copies
        while [ "$index" -lt "$most" ]; do
            names="$names copies/$index"
            index=$((index + 1))
        done
        # shellcheck disable=SC2086 # numbers, to be split
        mkdir -p $names || return
    done
}

# _ic_queue: from the first native call to the last. Whoever makes the link `submitting` decides, once, whether anything
# starts: we, or a `find` after a cancelled submit. Fragments that start payloads undo the trap for them.
_ic_queue() {
    _ic_find_machine
    _ic_identify_process self
    printf '%s\n' "$machine $process" >queuer
    ln queuer submitting || return
    trap '' HUP INT TERM PIPE
    _ic_run_as_found "$copies" "$fragment" </dev/null >ids 2>ids.err
    printf '%s\n' "$?" >submitted.tmp
    mv submitted.tmp submitted
}

# _ic_write_clock: what turns the machine's uptime into the time of day, so that no copy has to ask.
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

# _ic_submit MARK [queue]: all of it; with queue, in a process of its own, what _ic_queue does.
_ic_submit() {
    mark=$1
    if [ "${2-}" = queue ]; then
        _ic_queue
        exit
    fi
    [ -z "$program" ] || _ic_frame program test -x "$program"
    [ -z "$program" ] || [ "$_ic_code" = 0 ] || exit
    _ic_frame places _ic_make_places
    [ "$_ic_code" = 0 ] || exit
    [ ! -r /proc/uptime ] || _ic_frame clock _ic_write_clock
    if command -v setsid >/dev/null; then # twice: the second leaves a process that nobody started, so that no end of ours is its
        : "$(setsid setsid sh ./submit.sh "$mark" queue </dev/null)"
    else
        sh ./submit.sh "$mark" queue </dev/null >/dev/null
    fi
    [ ! -e natives ] || _ic_frame noted true
    _ic_frame answer _ic_give_answer
}
