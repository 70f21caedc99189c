#!/bin/bash
# ssh_config, a comment behind a value: OpenSSH 10.0 leaves it out, paramiko 5.1.0 takes it as part of the value, asyncssh 2.24.1
# refuses the line.
# Expected: three readers of one format read one value. OpenSSH strips it from nearly every keyword.
# paramiko logs in as "alice # the gateway", or to a host of such a name: the server's answer is "denied", "unknown host", and
# nothing points at the file. asyncssh says where it stands, and that host cannot be reached.
# Why it matters: a file that `ssh` has read for years is wrong in Fabric and whatever else is built on either library.
. "$(dirname "$0")/common.sh"
with_debian trixie openssh-client=1:10.0p1-7+deb13u4
with_pip asyncssh==2.24.1 paramiko==5.1.0

cat >"$tmp/config" <<'END'
Host gateway
    User alice # the gateway
Host other
    User bob
END
cat >"$tmp/users.py" <<'END'
import os
import asyncssh, paramiko

def with_asyncssh(host):
    try:
        return asyncssh.SSHClientConnectionOptions(host=host, config="config").username
    except asyncssh.ConfigParseError as error:
        return f"ConfigParseError: {error}"

os.environ["HOME"] = os.curdir
for host in "gateway", "other":
    print(f"paramiko, {host}:", paramiko.SSHConfig.from_path("config").lookup(host)["user"])
    print(f"asyncssh, {host}:", with_asyncssh(host))
END
cd "$tmp"
expected "gateway: alice; other: bob"
version "$(within ssh -V 2>&1 | cut -d' ' -f1)"
seen "$(for host in gateway other; do echo "ssh, $host: $(within ssh -G -F /tmp/config $host 2>/dev/null | sed -n 's/^user //p')"; done)" "ssh, gateway: alice
ssh, other: bob"
version "paramiko 5.1.0, asyncssh 2.24.1"
seen "$(python users.py)" "paramiko, gateway: alice # the gateway
asyncssh, gateway: ConfigParseError: config line 2: Extra data at end: # the gateway
paramiko, other: bob
asyncssh, other: bob"
