#!/bin/bash
# Slurm 24.11.5: `squeue -j` of one unknown job is an error, of two it is an empty list with exit code 0.
# Expected: the same answer for one and for many: an error that names what is unknown, or none. With --json the one prints
# nothing at all, not even an empty document, and the two print a document without jobs. scontrol refuses an unknown job in text
# (1) and answers in JSON with an empty list (0).
# Why it matters: a client that was tried with one job learns that 1 means gone and meets 0 in bulk; and where one of many is
# left to ask for, its poll begins to fail.
. "$(dirname "$0")/common.sh"
with_debian trixie slurmctld=24.11.5-4+deb13u1 slurm-client=24.11.5-4+deb13u1 dash coreutils busybox-static
slurm

cat >"$tmp/ask.sh" <<'END'
ask() {
    "$@" >/tmp/out 2>/dev/null
    echo "$*: exit code $?, $(wc -l </tmp/out | busybox sed 's/^0$/nothing/; s/^[0-9].*/something/') on stdout"
}
ask squeue --noheader -j 98
ask squeue --noheader -j 98,99
ask squeue --json -j 98
ask squeue --json -j 98,99
ask scontrol show job 98
ask scontrol --json show job 98
END
version "$(within sinfo --version)"
expected "one exit code"
seen "$(with_slurmctld /tmp/ask.sh)" "squeue --noheader -j 98: exit code 1, nothing on stdout
squeue --noheader -j 98,99: exit code 0, nothing on stdout
squeue --json -j 98: exit code 1, nothing on stdout
squeue --json -j 98,99: exit code 0, something on stdout
scontrol show job 98: exit code 1, nothing on stdout
scontrol --json show job 98: exit code 0, something on stdout"
