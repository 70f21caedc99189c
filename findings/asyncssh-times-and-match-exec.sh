#!/bin/bash
# asyncssh 2.24.1: times with a unit and an "=" in the command of Match exec are errors.
# Expected: `ConnectTimeout 1m` is a minute: ssh_config(5) takes every time in the formats of sshd_config(5), and asyncssh itself
# knows them (connect_timeout="1m", and the second value of RekeyLimit). The keywords of the file are read as integers.
# And `Match exec "test a = a"`: asyncssh takes the first "=" of every line for the one that may stand between a keyword and its
# value, before it looks at quotes; most commands of Match exec are comparisons.
# Why it matters: 30s and 1m are what people write; the second is an exception for every host of that file.
. "$(dirname "$0")/common.sh"
with_debian trixie openssh-client=1:10.0p1-7+deb13u4 dash coreutils
with_pip asyncssh==2.24.1
cd "$tmp"

cat >slow <<'END'
Host slow
    ConnectTimeout 1m
END
cat >match <<'END'
Match exec "test a = a"
    User alice
END
cat >look.py <<'END'
import asyncssh

def look(config, **options):
    try:
        found = asyncssh.SSHClientConnectionOptions(host="slow", config=config, **options)
    except asyncssh.ConfigParseError as error:
        return f"ConfigParseError: {error}"
    return f"{found.connect_timeout or 0:.0f} {found.username}"

print(look([], connect_timeout="1m", username="bob"))
print(look("slow"))
print(look("match"))
END
expected "60 seconds, alice"
version "$(within ssh -V 2>&1 | cut -d' ' -f1)"
seen "$(within ssh -G -F /tmp/slow slow 2>/dev/null | grep ^connecttimeout; within ssh -G -F /tmp/match slow 2>/dev/null | grep '^user ')" "connecttimeout 60
user alice"
version "asyncssh 2.24.1: as an argument, in the file, Match exec"
seen "$(python look.py)" "60 bob
ConfigParseError: slow line 2: Invalid ConnectTimeout integer value: 1m
ConfigParseError: match line 1: Invalid match condition  a"
