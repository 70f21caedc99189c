#!/bin/bash
# Slurm 24.11.5: sacct's ExitCode is not the job's where that is 128 or more: 137 is told as 9, 200 as 72, and 128 as 0.
# Expected: the code that scontrol tells of the same job a moment earlier, CODE:SIGNAL; or 0:9 for 137, if it is meant as a signal.
# sacct takes 128 away and leaves the signal 0. 22.05.8 was seen to do the same.
# Why it matters: "exit 128" (git's usual one) is FAILED with 0:0, which a client that looks at codes takes for success; 137, by
# which one knows what the kernel killed for its memory, is an ordinary 9. Nothing in the answer shows that it was changed.
# The real codes are in scontrol and squeue, for MinJobAge; after that only in what the job wrote down itself.
. "$(dirname "$0")/common.sh"
with_debian trixie slurmctld=24.11.5-4+deb13u1 slurmd=24.11.5-4+deb13u1 slurmdbd=24.11.5-4+deb13u1 slurm-client=24.11.5-4+deb13u1 \
    mariadb-server dash coreutils sed busybox-static
slurm

for daemon in slurmd slurmstepd; do ln -s $daemon-wlm "$root/usr/sbin/$daemon"; done
cat >>"$root/etc/slurm/slurm.conf" <<'END'
SlurmdSpoolDir=/tmp/slurmd
SlurmdPidFile=/tmp/slurmd.pid
SlurmdLogFile=/tmp/slurmd.log
SlurmdParameters=config_overrides
TaskPlugin=task/none
MpiDefault=none
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
END
cat >"$root/etc/slurm/slurmdbd.conf" <<'END'
AuthType=auth/none
DbdHost=host
DbdAddr=127.0.0.1
SlurmUser=root
LogFile=/tmp/slurmdbd.log
PidFile=/tmp/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageUser=root
StorageHost=localhost
END
chmod 600 "$root/etc/slurm/slurmdbd.conf"

cat >"$tmp/account.sh" <<'END'
wait_for() { # wait_for COMMAND: half a minute at most
    tries=0
    until eval "$1" >/dev/null 2>&1 || [ $((tries += 1)) = 300 ]; do sleep 0.1; done
}
export PATH=/usr/bin:/usr/sbin
busybox ip link set lo up
busybox ip addr add 10.0.0.1/32 dev lo
mkdir -p /run/mysqld /tmp/slurm /tmp/slurmd
{
    mariadb-install-db --user=root --datadir=/tmp/db --skip-test-db --auth-root-authentication-method=normal
    mariadbd --user=root --datadir=/tmp/db --bind-address=127.0.0.1 --socket=/run/mysqld/mysqld.sock --innodb-buffer-pool-size=32M &
    wait_for "mariadb -e 'create database slurm_acct_db'"
    slurmdbd
    wait_for "sacctmgr --noheader show cluster"
    sacctmgr --immediate add cluster cluster
    slurmctld
    slurmd -N host
    wait_for "sinfo --noheader --format=%t | busybox grep idle"
    for code in 3 128 137 200; do sbatch --output=/dev/null --wrap "exit $code"; done
    wait_for "[ \$(sacct -X -n -P -o State | busybox grep -c FAILED) = 4 ]"
} >/tmp/log 2>&1
for job in 1 2 3 4; do
    echo "scontrol $(scontrol show job $job | sed -n 's/.*\(ExitCode=[0-9:]*\).*/\1/p'), sacct $(sacct -X -n -P -o State,ExitCode -j $job)"
done
END
version "$(within sinfo --version)"
expected "the same code from both"
seen "$(within sh /tmp/account.sh)" "scontrol ExitCode=3:0, sacct FAILED|3:0
scontrol ExitCode=128:0, sacct FAILED|0:0
scontrol ExitCode=137:0, sacct FAILED|9:0
scontrol ExitCode=200:0, sacct FAILED|72:0"
