#!/bin/bash
# host.sh NAME N ROOT: in new namespaces, makes a host of them. Its own files are in memory and go with it.
set -eu
recipes=$(cd "$(dirname "$0")" && pwd)
name=$1 n=$2 root=$3

exec 9<"$recipes" # which may lie below what the host gets anew

hostname "$name"
ip link set lo up
[ "$root" = / ] || bash "$recipes/mounts.sh" "$root"

mount -t tmpfs -o mode=755 etc "$root/mnt"
cp -a "$root/etc/." "$root/mnt/"
mount --bind "$root/mnt" "$root/etc"
umount "$root/mnt"
for directory in home run var/log var/spool; do
    mount -t tmpfs -o mode=755 own "$root/$directory"
done
mount -t tmpfs -o mode=1777 own "$root/tmp"

printf '127.0.0.1 localhost\n10.77.%s.1 %s\n10.77.%s.254 machine\n' "$n" "$name" "$n" >"$root/etc/hosts"
echo "$name" >"$root/etc/hostname"
mkdir "$root/run/daemons"
mount --bind /proc/self/fd/9 "$root/run/daemons"
