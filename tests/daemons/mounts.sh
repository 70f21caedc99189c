#!/bin/bash
# mounts.sh ROOT [COMMAND...]: in a mount namespace of its own, mounts the file systems that programs of a chroot expect.
set -eu
root=$1
shift
mount --bind "$root" "$root" # HTCondor unshares mounts for each job, which the kernel refuses unless / is a mount point
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /dev "$root/dev"
[ $# = 0 ] || exec "$@"
