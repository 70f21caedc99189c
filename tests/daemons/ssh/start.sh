#!/bin/bash
# On the host: users, and an sshd with the settings of up.sh.
# shellcheck source=../common.sh
. /run/daemons/common.sh
logs_on_failure
HERE=/run/daemons/ssh
PIDFILE=/run/sshd-$SSH_NAME.pid

user_once griduser 2001
user_once griduser2 2002
user_once gridcsh 2003 /bin/tcsh
user_once gridnoise 2004
install -o gridnoise -g gridnoise -m 644 "$HERE/noise.bashrc" /home/gridnoise/.bashrc

mkdir -p /run/sshd # which a service manager would make
[ -f /etc/ssh/host_ed25519 ] || ssh-keygen -q -t ed25519 -N '' -C "$HOSTNAME" -f /etc/ssh/host_ed25519
printf '%s\n' "$CLIENT_KEY" >/etc/ssh/authorized_keys

options=(-f "$HERE/sshd_config" -E "/var/log/sshd-$SSH_NAME.log" -o "Port=$SSH_PORT" -o "PidFile=$PIDFILE"
    -o "MaxStartups=${SSH_MAX_STARTUPS:-100:30:300}" -o "MaxSessions=${SSH_MAX_SESSIONS:-100}")
[ -z "${SSH_CLOCK:-}" ] ||
    options+=(-o "SetEnv=LD_PRELOAD=$(dpkg -L libfaketime | grep '/libfaketime\.so\.1$') FAKETIME=$SSH_CLOCK")
same "/etc/ssh/$SSH_NAME.options" "${options[*]}" || end "$PIDFILE"
alive "$PIDFILE" || quietly /usr/sbin/sshd "${options[@]}"
wait_for 10 alive "$PIDFILE"
