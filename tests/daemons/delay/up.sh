#!/bin/bash
# A second way to the sshd of the host $HOST (ssh/up.sh comes first), through a line that delays and loses packets. Clients
# call it ${HOST}slow. It is a program, delay.py, since not every kernel has the netem queue of tc.
#   RTT_MS         round trip in milliseconds, 50
#   LOST_PERCENT   packets of a hundred that are lost, 0; with 100 the cable is cut
# Both may change while it runs: up.sh again, or replace $DAEMONS_ROOT/delay/$HOST.line.
. "$(dirname "$0")/../common.sh"
bounded 60 "$@"
HOST=${HOST:?the host to run on}
HERE=$ROOT/delay
LINE=$HERE/$HOST.line
PIDFILE=$HERE/$HOST.pid
[ -c /dev/net/tun ] || not_had "no /dev/net/tun here"
install_once / python3

mkdir -p "$HERE"
echo "${RTT_MS:-50} ${LOST_PERCENT:-0}" >"$LINE.new"
mv "$LINE.new" "$LINE"
number=$(<"$HOSTS/$HOST/number")
if ! alive "$PIDFILE"; then
    cd "$HERE" # by which down.sh knows it
    setsid python3 "$RECIPES/delay/delay.py" "$HOSTS/$HOST/net" "$number" "$LINE" </dev/null >"$HERE/$HOST.log" 2>&1 &
    echo $! >"$PIDFILE"
    wait_for 10 grep -q ready "$HERE/$HOST.log" || {
        cat "$HERE/$HOST.log" >&2
        exit 1
    }
fi
ssh_alias "${HOST}slow" "10.78.$number.1" 22 "$(on "$HOST" cat /etc/ssh/host_ed25519.pub)"
wait_for 20 ssh -F "$ROOT/client/ssh/config" "${HOST}slow" true
python3 -V
