# sees: whether there is a /proc, and tells of the pid namespace that we are in: a container may be given another one's.
# NSpid is our number in the namespace that /proc tells of, and in those below it down to ours. shellcheck shell=sh
sees() {
    read -r boot </proc/sys/kernel/random/boot_id || return
    while read -r key _ below && [ "$key" != NSpid: ]; do below=''; done </proc/self/status || return
    [ -z "$below" ]
} 2>/dev/null
