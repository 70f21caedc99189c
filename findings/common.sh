# Helpers of every script here (sourced, never run). Needs bash, python3 with venv, apt and dpkg, unshare; root or user namespaces.
# shellcheck shell=bash
set -euo pipefail
[ "${FINDING:-}" = "$0" ] || FINDING=$0 exec timeout --kill-after=10 900 bash "$0" </dev/null # bounded, whatever it waits for
export LC_ALL=C SHELL=/bin/sh PIP_DISABLE_PIP_VERSION_CHECK=1

tmp=$(mktemp -d)
export XDG_CACHE_HOME=$tmp/cache
trap 'rm -rf "$tmp"' EXIT
root=$tmp/root # what Debian's packages are unpacked into

# ---- packages ----

not_had() { # not_had PACKAGE...: nothing was seen, neither the finding nor its end
    tail -n 20 "$tmp/said" >&2
    echo "NOT HAD: $*" >&2
    exit 77
}

with_pip() { # with_pip PIN...: into an environment of its own, first on PATH
    python3 -m venv "$tmp/venv"
    "$tmp/venv/bin/pip" install --quiet "$@" 2>"$tmp/said" || not_had "$@"
    PATH=$tmp/venv/bin:$PATH
}

with_debian() { # with_debian RELEASE PIN...: these packages and what they depend on, unpacked into $root. The machine's apt says from where
    local release=$1 apt=$tmp/apt deb site
    shift
    # shellcheck disable=SC2016 # apt expands it
    site=$(apt-get indextargets --format '$(SITE)' 2>"$tmp/said" | grep -m 1 debian) || not_had "a Debian archive"
    mkdir -p "$apt"/{dpkg,lists/partial} "$apt/cache/archives/partial" "$root"/usr/{bin,sbin,lib,lib64} "$root"/{dev,etc,proc,root,run,tmp,var/run}
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $release main" >"$apt/sources.list"
    : >"$apt/dpkg/status"
    export APT_CONFIG=$apt/conf
    cat >"$APT_CONFIG" <<-END
	Dir::Etc::sourcelist "$apt/sources.list";
	Dir::Etc::sourceparts "-";
	Dir::State "$apt";
	Dir::State::status "$apt/dpkg/status";
	Dir::Cache "$apt/cache";
	Acquire::Languages "none";
	APT::Sandbox::User "";
	END
    {
        apt-get -qq update &&
            apt-get -qq --yes --no-install-recommends --download-only install "$@"
    } >"$tmp/said" 2>&1 || not_had "$@"
    ln -sfn usr/bin usr/sbin usr/lib usr/lib64 "$root"
    for deb in "$apt"/cache/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x --no-same-owner --keep-directory-symlink -C "$root"
    done
    echo 'root:x:0:0::/root:/bin/sh' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    echo '127.0.0.1 localhost host' >"$root/etc/hosts"
    rm -r "$apt"
}

within() { # within COMMAND...: on a host of its own made of $root, with nothing but a loopback; all that it starts ends with it
    local maps=()
    [ "$(id -u)" = 0 ] || maps=(--map-root-user)
    # shellcheck disable=SC2016 # expands over there
    unshare "${maps[@]}" --mount --pid --net --uts --ipc --fork --kill-child sh -euc '
        mount -t proc proc "$1/proc"
        mount --rbind /dev "$1/dev"
        mount --bind "$2" "$1/tmp"
        echo host >/proc/sys/kernel/hostname
        root=$1
        shift 2
        exec chroot "$root" "$@"' sh "$root" "$tmp" "$@"
}

slurm() { # a cluster of one node, whose daemon is not needed to see how jobs wait
    mkdir -p "$root/etc/slurm"
    ln -s slurmctld-wlm "$root/usr/sbin/slurmctld" # by this name it knows what it is
    cat >"$root/etc/slurm/slurm.conf" <<-END
	ClusterName=cluster
	SlurmctldHost=host(127.0.0.1)
	SlurmUser=root
	AuthType=auth/none
	CredType=cred/none
	StateSaveLocation=/tmp/slurm
	SlurmctldPidFile=/tmp/slurmctld.pid
	SlurmctldLogFile=/tmp/slurmctld.log
	ProctrackType=proctrack/linuxproc
	NodeName=host NodeAddr=127.0.0.1
	PartitionName=main Nodes=host Default=YES
	END
    echo CgroupPlugin=disabled >"$root/etc/slurm/cgroup.conf"
    cat >"$tmp/slurmctld.sh" <<-'END'
	busybox ip link set lo up
	busybox ip addr add 10.0.0.1/32 dev lo # or getaddrinfo takes it for a host without a network
	mkdir /tmp/slurm
	slurmctld
	tries=0
	until scontrol ping >/dev/null 2>&1 || [ $((tries += 1)) = 100 ]; do sleep 0.1; done
	. "$1"
	END
}

with_slurmctld() { within sh /tmp/slurmctld.sh "$@"; } # with_slurmctld SCRIPT: runs it where a new controller answers

# ---- what was guessed, what was seen ----

version() { echo "version:  $*"; }

expected() { echo "expected: $*"; }

seen() { # seen OUTPUT WANTED: shows the one; red if it is not the other any more
    echo "seen:     ${1//$'\n'/$'\n          '}"
    [ "$1" = "$2" ] || {
        echo "CHANGED, it was: ${2//$'\n'/$'\n          '}" >&2
        exit 1
    }
}
