#!/bin/bash
# dropbear 2025.89: a command of more than 9000 bytes is not run; one of more than 32 kB ends the connection.
# Expected: as with OpenSSH, whose limit is the kernel's 128 KiB for one argument; RFC 4254 names none.
# The client hears that the request failed or that the connection was reset; the longest is one packet of a size that RFC 4253
# obliges no server to take. Nothing says "too long" on either side.
# Why it matters: what sends a script as the command (`ssh host "$(cat script)"`) works until the script grows, and then seems to
# meet a broken server. On stdin any length goes.
. "$(dirname "$0")/common.sh"
with_debian trixie dropbear-bin=2025.89-1~deb13u1 openssh-client=1:10.0p1-7+deb13u4 busybox-static dash coreutils

mkdir -p "$root"/etc/dropbear "$root"/root/.ssh
echo /bin/sh >"$root/etc/shells"
cat >"$tmp/log-in.sh" <<'END'
busybox ip link set lo up
ssh-keygen -q -t ed25519 -N '' -f /tmp/key
cp /tmp/key.pub /root/.ssh/authorized_keys
chmod -R go= /root
dropbear -R -F -p 127.0.0.1:2222 2>/dev/null &
tries=0
until busybox nc 127.0.0.1 2222 </dev/null >/dev/null 2>&1 || [ $((tries += 1)) = 100 ]; do sleep 0.1; done
for length in 1000 9000 9001 40000; do
    command="echo $(head -c $((length - 5)) /dev/zero | tr '\0' x)"
    printf '%s: ' "${#command}"
    ssh -i /tmp/key -p 2222 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR 127.0.0.1 "$command" >/tmp/out 2>/dev/null
    echo "exit code $?, $(wc -c </tmp/out) bytes"
done
END
version "$(within dropbear -V 2>&1)"
expected "exit code 0 and the bytes, for each"
seen "$(within sh /tmp/log-in.sh)" "1000: exit code 0, 996 bytes
9000: exit code 0, 8996 bytes
9001: exit code 255, 0 bytes
40000: exit code 255, 0 bytes"
