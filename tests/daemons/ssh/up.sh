#!/bin/bash
# sshd on the host $HOST, keys only. Then: ssh -F $DAEMONS_ROOT/client/ssh/config $SSH_NAME
#   SSH_NAME           the name for clients, if not the host's: a second sshd of a host has another
#   SSH_PORT           22
#   SSH_MAX_STARTUPS   logins that are under way at once, 100:30:300; sshd's own default is 10:30:100
#   SSH_MAX_SESSIONS   commands at once on a connection, 100; sshd's own default is 10
#   SSH_CLOCK          the error of the clock of all logins: +1h, -1h
#   RELEASE            the Debian release of the host, if not the machine's
. "$(dirname "$0")/../common.sh"
bounded 400 "$@"
HOST=${HOST:?the host to run on}
export SSH_NAME=${SSH_NAME:-$HOST} SSH_PORT=${SSH_PORT:-22}
CLIENT=$ROOT/client/ssh

packages=(openssh-server openssh-sftp-server tcsh)
[ -z "${SSH_CLOCK:-}" ] || packages+=(libfaketime)
host_once "$HOST" "${packages[@]}"
install_once / openssh-client

# The client is `nobody` on the machine: it has a key and nothing else.
mkdir -p "$CLIENT"
[ -f "$CLIENT/id_ed25519" ] || ssh-keygen -q -t ed25519 -N '' -C client -f "$CLIENT/id_ed25519"
chown nobody "$CLIENT/id_ed25519"
CLIENT_KEY=$(<"$CLIENT/id_ed25519.pub") on "$HOST" bash /run/daemons/ssh/start.sh

address=10.77.$(<"$HOSTS/$HOST/number").1
ssh_alias "$SSH_NAME" "$address" "$SSH_PORT" "$(on "$HOST" cat /etc/ssh/host_ed25519.pub)"
wait_for 10 ssh -F "$CLIENT/config" "$SSH_NAME" true
on "$HOST" ssh -V 2>&1
