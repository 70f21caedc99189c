# has_proc: succeed if /proc shows the pid namespace of this process, and set boot, the boot id. A container may get the
# /proc of another namespace: then NSpid has more than one number, from that namespace down to ours.
# shellcheck shell=sh
has_proc() {
    read -r boot </proc/sys/kernel/random/boot_id || return
    while read -r key _ below && [ "$key" != NSpid: ]; do below=''; done </proc/self/status || return
    [ -z "$below" ]
} 2>/dev/null
