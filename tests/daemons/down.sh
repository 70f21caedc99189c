#!/bin/bash
# Ends all daemons and pretend hosts, and prints in red what is left of them. Packages and chroots stay.
. "$(dirname "$0")/common.sh"
bounded 120 "$@"

for pidfile in "$ROOT"/delay/*.pid; do
    end "$pidfile"
done
for host in "$HOSTS"/*/; do
    [ ! -d "$host" ] || host_down "$(basename "$host")"
done
! mountpoint -q "$HOSTS" || umount "$HOSTS"
rm -rf "$ROOT"/{hosts,delay,client/ssh}

left() { # what is mounted below $ROOT, and what runs there or from there
    grep -F " $ROOT/" /proc/mounts
    find /proc/[0-9]*/{exe,root,cwd} -maxdepth 0 -lname "$ROOT/*" -printf '%p -> %l\n' 2>/dev/null
}
left=$(left || true)
[ -z "$left" ] || {
    printf 'left behind:\n%s\n' "$left" >&2
    exit 1
}
