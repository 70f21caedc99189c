#!/bin/bash
# Slurm on the host $HOST: one node with CPUS pretended cores.
#   ACCT=1      MariaDB and slurmdbd as well, so that sacct works
#   RELEASE     the Debian release of the host, if not the machine's: trixie has Slurm 24.11
#   CPUS MAXARRAY MAXJOBS MINJOBAGE   values of slurm.conf, see start.sh; other values restart it
. "$(dirname "$0")/../common.sh"
bounded 400 "$@"
HOST=${HOST:?the host to run on}
export ACCT=${ACCT:-0}
packages=(slurmctld slurmd slurm-client munge)
[ "$ACCT" = 0 ] || packages+=(slurmdbd mariadb-server)

host_once "$HOST" "${packages[@]}"
on "$HOST" bash /run/daemons/slurm/start.sh
