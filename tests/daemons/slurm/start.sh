#!/bin/bash
# On the host: starts munge, MariaDB and slurmdbd if wanted, slurmctld, slurmd, except those that run already.
# shellcheck source=../common.sh
. /run/daemons/common.sh
logs_on_failure
HERE=/run/daemons/slurm
CHANGED=

settings() {
    cat <<C
SlurmctldHost=$HOSTNAME
NodeName=$HOSTNAME CPUs=${CPUS:-64} RealMemory=4000 State=UNKNOWN
MinJobAge=${MINJOBAGE:-300}
MaxArraySize=${MAXARRAY:-1001}
MaxJobCount=${MAXJOBS:-10000}
C
    [ "$ACCT" = 0 ] || printf '%s\n' AccountingStorageType=accounting_storage/slurmdbd "AccountingStorageHost=$HOSTNAME"
}

configure() {
    install -d -o slurm -g slurm /var/spool/slurmctld /var/spool/slurmd /var/log/slurm
    same /etc/slurm/slurm.conf "$(<"$HERE/slurm.conf")" || CHANGED=1
    install -o slurm -g slurm -m 600 "$HERE/slurmdbd.conf" /etc/slurm/
    # 23.11 and newer look for cgroups without this option, which older ones do not know.
    [ "$(slurmd -V | grep -o '[0-9]*' | head -n 1)" -lt 23 ] || echo 'CgroupPlugin=disabled' >/etc/slurm/cgroup.conf
    same /etc/slurm/settings.conf "$(settings)" || CHANGED=1
}

munge_once() {
    munge_answers && return
    [ -s /etc/munge/munge.key ] || mungekey -c -f -b 1024
    # slurmdbd requires these owners and modes.
    chown munge:munge /etc/munge /etc/munge/munge.key
    chmod 400 /etc/munge/munge.key
    install -d -o munge -g munge -m 755 /run/munge
    install -d -o munge -g munge -m 700 /var/log/munge /var/spool/munge
    quietly setpriv --reuid=munge --regid=munge --clear-groups munged --seed-file=/var/spool/munge/seed
    wait_for 10 munge_answers
}
munge_answers() { munge -n </dev/null 2>/dev/null | unmunge >/dev/null 2>&1; }

maria_once() {
    local data=/var/spool/mariadb
    install -d -o mysql -g mysql "$data" /run/mysqld
    [ -d "$data/mysql" ] || quietly mariadb-install-db --no-defaults --user=mysql --datadir="$data" \
        --auth-root-authentication-method=socket --skip-test-db
    if ! alive /run/mysqld/maria.pid; then
        setsid mariadbd --no-defaults --user=mysql --datadir="$data" \
            --socket=/run/mysqld/mysqld.sock --pid-file=/run/mysqld/maria.pid --skip-networking \
            --innodb-buffer-pool-size=128M --innodb-flush-log-at-trx-commit=0 </dev/null >/var/log/maria.log 2>&1 &
    fi
    wait_for 30 mariadb-admin --no-defaults ping
    mariadb --no-defaults <<'Q'
CREATE DATABASE IF NOT EXISTS slurm_acct;
CREATE USER IF NOT EXISTS slurm@localhost IDENTIFIED VIA unix_socket;
GRANT ALL ON slurm_acct.* TO slurm@localhost;
Q
}

accounting_once() {
    local user
    alive /run/slurmdbd.pid || quietly slurmdbd
    wait_for 20 sacctmgr -n -i show cluster
    [ -z "$(sacctmgr -n show user griduser2)" ] || return 0
    quietly sacctmgr -i add cluster itest || true # slurmctld may have been quicker
    quietly sacctmgr -i add account itest Cluster=itest
    for user in root griduser gridcsh gridnoise griduser2; do
        quietly sacctmgr -i add user "$user" Account=itest
    done
}

node_is_up() { sinfo -h -o %T | grep -qE 'idle|mix|alloc'; }

user_once griduser 2001
user_once griduser2 2002
configure
munge_once
[ "$ACCT" = 0 ] || {
    maria_once
    accounting_once
}
if [ -n "$CHANGED" ]; then
    end /run/slurmctld.pid
    end /run/slurmd.pid
fi
alive /run/slurmctld.pid || quietly slurmctld
alive /run/slurmd.pid || quietly slurmd
wait_for 30 node_is_up

version=$(slurmd -V)
[ "$ACCT" = 0 ] || version+=", slurmdbd, MariaDB $(mariadbd --version | grep -o '[0-9.]*' | head -n 1)"
echo "$version"
