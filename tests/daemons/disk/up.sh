#!/bin/bash
# Installs the tools to mount small disks and quotas on the host $HOST.
. "$(dirname "$0")/../common.sh"
bounded 200 "$@"
HOST=${HOST:?the host to run on}
[ -c /dev/loop-control ] || not_had "no loop devices here"
grep -qw btrfs /proc/filesystems || modprobe btrfs 2>/dev/null || not_had "this kernel has no btrfs, whose quotas need nothing else"
host_once "$HOST" btrfs-progs
on "$HOST" mkfs.btrfs --version
