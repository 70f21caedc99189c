# The last member of the archive: where it is missing the archive was cut, and nothing starts. Its working directory is
# the submission's. Given: copies, how many; fragment, what queues them; program, what is run as it is, if anything is staged
# for that. shellcheck shell=sh
mark=$1

# places: make every copy's directory, some hundreds a process. A list of words would cost its square.
places() {
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

# queue: from the first native call to the last. Whoever makes the link `submitting` decides, once, whether anything
# starts: we, or a `find` after a cancelled submit. Fragments that start payloads undo the trap for them.
queue() {
    at_hand
    process self
    printf '%s\n' "$machine $process" >queuer
    ln queuer submitting || return
    trap '' HUP INT TERM PIPE
    (eval "$fragment") </dev/null >ids 2>ids.err
    printf '%s\n' "$?" >submitted.tmp
    mv submitted.tmp submitted
}

# clock: what turns the machine's uptime into the time of day, so that no copy has to ask.
clock() {
    read -r boot </proc/sys/kernel/random/boot_id && read -r up _ </proc/uptime || return
    printf '%s %s\n' "$boot" "$(($(date +%s) - ${up%.*}))" >clock
}

answer() {
    cat ids
    [ ! -s ids.err ] || cat ids.err >&2
    read -r code <submitted
    return "$code"
}

if [ "${2-}" = queue ]; then
    queue
    exit
fi
[ -z "$program" ] || frame program test -x "$program"
[ -z "$program" ] || [ "$ic_code" = 0 ] || exit
frame places places
[ "$ic_code" = 0 ] || exit
[ ! -r /proc/uptime ] || frame clock clock
if command -v setsid >/dev/null; then # twice: the second leaves a process that nobody started, so that no end of ours is its
    : "$(setsid setsid sh ./submit.sh "$mark" queue </dev/null)"
else
    sh ./submit.sh "$mark" queue </dev/null >/dev/null
fi
[ ! -e natives ] || frame noted true
frame answer answer
