# Functions of all scripts in this directory, which source it. Debian, as root; systemd is neither needed nor used.
# shellcheck shell=bash
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RECIPES=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=${DAEMONS_ROOT:-/var/tmp/intercede-daemons} # not below /home, /run, /tmp or /var/log: each host has its own of these
HOSTS=$ROOT/hosts                                # a directory for each pretend host: its namespaces, its address
NOT_HAD=77
umask 022

# ---- time limits ----

bounded() { # bounded SECONDS "$@": the calling script ends within that time, whatever it waits for
    [ "${BOUNDED:-}" = "$0" ] || BOUNDED=$0 exec timeout --kill-after=10 "$1" "$0" "${@:2}" </dev/null
}

wait_for() { # wait_for SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $end ]; then
            echo "timeout: waited for: $*" >&2
            return 1
        fi
        sleep 0.1
    done
}

# ---- failures ----

not_had() { # not_had REASON: this machine cannot have the daemon; what depends on it is red for that reason
    echo "NOT HAD: $*" >&2
    exit $NOT_HAD
}

quietly() { # quietly COMMAND...: what it says is shown only if it fails. No pipe: a daemon would hold it open
    local said code=0
    said=$(mktemp)
    "$@" >"$said" 2>&1 </dev/null || code=$?
    [ $code = 0 ] || tail -n 30 "$said" >&2
    rm "$said"
    return $code
}

logs_on_failure() { # on a host: if the script fails, the end of all logs there is shown
    trap '[ $? = 0 ] || find /var/log -type f -size +0 -exec tail -v -n 20 {} + >&2' EXIT
}

# ---- packages, in / or in a chroot ----

lacking() { # lacking ROOT PACKAGE...: those that are not installed there
    local root=$1 package
    shift
    for package in "$@"; do
        dpkg-query --admindir="$root/var/lib/dpkg" -W -f='${db:Status-Status}' "$package" 2>/dev/null |
            grep -qx installed || echo "$package"
    done
}

install_once() { # install_once ROOT PACKAGE...
    local root=$1 missing policy=$1/usr/sbin/policy-rc.d ours=
    shift
    mapfile -t missing < <(lacking "$root" "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    quietly in_root "$root" apt-get update -q || true # old lists name packages that the mirror no longer has
    in_root "$root" apt-get install -s "${missing[@]}" >/dev/null 2>&1 || not_had "apt has not all of: ${missing[*]}"
    rm -f "$root/var/lib/man-db/auto-update" # rebuilding the manual's index takes longer than most installations
    [ -e "$policy" ] || ours=1               # a package starts no service of its own
    [ -z "$ours" ] || install -m 755 "$RECIPES/policy-rc.d" "$policy"
    quietly in_root "$root" apt-get install -y -q --no-install-recommends \
        -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=120 "${missing[@]}"
    [ -z "$ours" ] || rm -f "$policy"
}

in_root() { # in_root ROOT COMMAND...: its mounts vanish with the command, so that nothing of the machine's is ever left in there
    local root=$1
    shift
    [ "$root" != / ] || {
        "$@"
        return
    }
    unshare --mount --propagation private bash "$RECIPES/mounts.sh" "$root" chroot "$root" "$@"
}

mirror() { # the one of this machine's own apt configuration, once apt has read its lists
    compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null || quietly apt-get update -q
    apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' 'Label: Debian' 'Component: main' | head -n 1
}

release_once() { # release_once RELEASE: a chroot of that Debian release, in $ROOT/releases
    local root=$ROOT/releases/$1 script=/usr/share/debootstrap/scripts/$1
    [ ! -e "$root.done" ] || return 0
    install_once / debootstrap
    [ -e "$script" ] || script=${script%/*}/sid # a release that is newer than this debootstrap
    rm -rf "$root"
    mkdir -p "$root"
    quietly debootstrap --variant=minbase "$1" "$root" "${DEBIAN_MIRROR:-$(mirror)}" "$script" ||
        not_had "debootstrap cannot make a Debian $1"
    # The chroot's apt reaches its mirror with the settings of this machine's.
    apt-config dump | grep -E '^Acquire::(Check-Valid-Until|Check-Date|https?::Proxy) ' >"$root/etc/apt/apt.conf.d/90machine" || true
    cp /etc/resolv.conf "$root/etc/"
    quietly in_root "$root" apt-get update -q
    touch "$root.done"
}

# ---- pretend hosts ----
# A host has its own network, hostname, /etc, /home, /run, /tmp, /var/log and /var/spool. A cable leads to the machine
# (10.77.N.1 is the host, 10.77.N.254 the machine) and no further. Other files and process ids are the machine's, or
# those of another Debian release. So daemons of several hosts never meet, and their files go with the host.

host_once() { # host_once NAME PACKAGE...: with these installed; RELEASE says of which Debian release, if not the machine's
    local name=$1 root=/
    shift
    if [ -n "${RELEASE:-}" ]; then
        release_once "$RELEASE"
        root=$ROOT/releases/$RELEASE
    fi
    install_once "$root" "$@" # from the host itself no mirror is to be reached
    if host_is_up "$name"; then
        [ "$(<"$HOSTS/$name/root")" = "$root" ] || {
            echo "$name is up, and of another release" >&2
            return 1
        }
        host_renew "$name" "$root"
    else
        host_make "$name" "$root"
    fi
}

host_renew() { # host_renew NAME ROOT: what packages have put under /etc since the host was made, the host gets too
    local up=$HOSTS/$1/up file
    [ "$2/var/lib/dpkg/status" -nt "$up" ] || return 0
    tar -C "$2/etc" -c . | on "$1" tar -C /etc -x --skip-old-files
    for file in passwd group shadow gshadow; do
        # shellcheck disable=SC2016 # awk's
        on "$1" awk -F: 'NR == FNR { known[$1]; next } !($1 in known)' "/etc/$file" - <"$2/etc/$file" |
            on "$1" tee -a "/etc/$file" >/dev/null
    done
    touch "$up"
}

host_is_up() {
    [ -e "$HOSTS/$1/up" ]
}

host_make() { # host_make NAME ROOT
    local name=$1 root=$2 at=$HOSTS/$1 n=20
    unshare --net --uts --mount true 2>/dev/null || not_had "no network namespaces here (unshare --net)"
    install_once / iproute2
    host_down "$name" # what was begun and not finished
    mkdir -p "$HOSTS"
    # Only a file on a mount that does not propagate keeps a namespace.
    mountpoint -q "$HOSTS" || {
        mount --bind "$HOSTS" "$HOSTS"
        mount --make-private "$HOSTS"
    }
    mkdir -p "$at"
    while ip link show "dv$n" >/dev/null 2>&1; do n=$((n + 1)); done
    touch "$at/net" "$at/uts" "$at/mnt"
    echo "$root" >"$at/root"
    echo "$n" >"$at/number"
    unshare --net="$at/net" --uts="$at/uts" --mount="$at/mnt" --propagation slave bash "$RECIPES/host.sh" "$name" "$n" "$root"
    ip link add "dv$n" type veth peer name eth0 netns "$at/net"
    ip addr add "10.77.$n.254/24" dev "dv$n"
    ip link set "dv$n" up
    nsenter --net="$at/net" sh -ec "ip addr add 10.77.$n.1/24 dev eth0; ip link set eth0 up"
    touch "$at/up"
}

on() { # on NAME COMMAND...: as root on that host; the working directory is / then
    local at=$HOSTS/$1
    shift
    nsenter --net="$at/net" --uts="$at/uts" --mount="$at/mnt" -- chroot "$(<"$at/root")" "$@"
}

host_processes() { # host_processes NAME: the ids of all that runs there
    local inode process
    inode=$(stat -Lc %i "$HOSTS/$1/net")
    stat -Lc '%i %n' /proc/[0-9]*/ns/net 2>/dev/null | grep "^$inode " | cut -d/ -f3 | while read -r process; do
        ! runs "$process" || echo "$process"
    done
}

host_is_quiet() {
    [ -z "$(host_processes "$1")" ]
}

host_down() { # host_down NAME: TERM to all that runs there, KILL five seconds later; then the host goes, with its mounts
    local at=$HOSTS/$1 kind
    # shellcheck disable=SC2046 # a list of numbers
    if [ -e "$at/up" ]; then
        kill -CONT $(host_processes "$1") 2>/dev/null || true # what is stopped hears nothing
        kill -TERM $(host_processes "$1") 2>/dev/null || true
        wait_for 5 host_is_quiet "$1" 2>/dev/null || kill -KILL $(host_processes "$1") 2>/dev/null || true
        wait_for 5 host_is_quiet "$1"
    fi
    [ ! -e "$at/number" ] || ip link del "dv$(<"$at/number")" 2>/dev/null || true
    for kind in net uts mnt; do
        umount "$at/$kind" 2>/dev/null || true
    done
    rm -rf "$at"
}

# ---- users and processes, on a host ----

user_once() { # user_once NAME UID [SHELL]
    id "$1" >/dev/null 2>&1 || useradd --no-create-home --uid "$2" "$1"
    usermod --shell "${3:-/bin/bash}" --password '*' "$1" # useradd leaves "!", a locked account, which sshd refuses even by key
    [ -d "/home/$1" ] || {
        cp -r /etc/skel "/home/$1"
        chown -R "$1:" "/home/$1"
    }
}

runs() { # runs PID: a zombie that nobody has reaped yet does not
    grep -q '^State:.[^ZX]' "/proc/$1/status" 2>/dev/null
}

alive() { # alive PIDFILE
    [ -s "$1" ] && runs "$(<"$1")"
}

end() { # end PIDFILE: TERM, and KILL if it still lives after ten seconds
    local pid
    if alive "$1"; then
        pid=$(<"$1")
        kill -TERM "$pid"
        wait_for 10 not runs "$pid" 2>/dev/null || kill -KILL "$pid"
        wait_for 5 not runs "$pid"
    fi
    rm -f "$1"
}

not() { ! "$@"; }

same() { # same FILE TEXT: whether the file holds that; if not, it does now
    [ "$(cat "$1" 2>/dev/null)" != "$2" ] || return 0
    printf '%s\n' "$2" >"$1"
    return 1
}

# ---- files of clients ----

ssh_alias() { # ssh_alias NAME ADDRESS PORT HOST_KEY: into the one ssh configuration of all hosts
    local at=$ROOT/client/ssh known=$2
    [ "$3" = 22 ] || known="[$2]:$3"
    mkdir -p "$at/known" "$at/hosts"
    printf '%s %s\n' "$known" "$4" >"$at/known/$1"
    printf 'Host %s\n  HostName %s\n  Port %s\n' "$1" "$2" "$3" >"$at/hosts/$1"
    cat "$at"/known/* >"$at/known_hosts"
    {
        cat "$at"/hosts/* "$RECIPES/ssh/ssh_config"
        printf '  IdentityFile %s\n  UserKnownHostsFile %s\n' "$at/id_ed25519" "$at/known_hosts"
    } >"$at/config"
}
