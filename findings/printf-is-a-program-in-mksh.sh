#!/bin/bash
# mksh R59c: printf is no builtin; each one is a process, and its arguments have the kernel's limit.
# Expected: a builtin, as in dash, busybox, bash and zsh; portable scripts prefer printf to echo for what it prints, and reckon
# that it costs the same. mksh offers a builtin print of its own instead, and the programs on PATH.
# Why it matters: a loop over a thousand records starts a thousand processes; a secret in printf's arguments is in the
# process list; and a value longer than 128 KiB is "Argument list too long" in mksh alone. Where PATH is empty there is no printf at all.
. "$(dirname "$0")/common.sh"
with_debian trixie mksh=59c-41+b2 dash=0.5.12-12 coreutils

cat >"$tmp/printf.sh" <<'END'
case $(type printf) in
*builtin*) echo "printf is a builtin" ;;
*) echo "printf is a program" ;;
esac
value=x
while [ ${#value} -lt 200000 ]; do value=$value$value; done
printf '%s' "$value" >/tmp/value 2>/dev/null
echo "exit code $?, $(wc -c </tmp/value) of ${#value} bytes"
END
expected "printf is a builtin, exit code 0, 262144 of 262144 bytes"
version "dash 0.5.12"
seen "$(within dash /tmp/printf.sh)" "printf is a builtin
exit code 0, 262144 of 262144 bytes"
version "mksh 59c"
seen "$(within mksh /tmp/printf.sh)" "printf is a program
exit code 126, 0 of 262144 bytes"
