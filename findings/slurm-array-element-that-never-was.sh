#!/bin/bash
# Slurm 24.11.5: an array's element that is cancelled while it waits is in no answer any more, nor anywhere else.
# Expected: as for a whole job or a running element, a row that says CANCELLED, for MinJobAge (300 s) at least; `squeue -t all -r`
# lists the elements of the array, one a line. The controller only takes the number out of the array's set: squeue, scontrol
# and later sacct know the others. 22.05.8 and 26.05.5 were seen to do the same.
# Why it matters: a monitor that takes absence for "finished" counts it as done, one that takes it for "lost" waits; scancel
# cannot help, since it answers 0, in silence, for elements that are, were or never were there.
. "$(dirname "$0")/common.sh"
with_debian trixie slurmctld=24.11.5-4+deb13u1 slurm-client=24.11.5-4+deb13u1 dash coreutils busybox-static
slurm

cat >"$tmp/cancel.sh" <<'END'
sbatch --quiet --hold --array=1-4 --wrap true
for id in 1_2 1_7 99; do
    scancel $id
    echo "scancel $id: exit code $?"
done
squeue --noheader --states=all --array --format='%i %T'
scontrol show job 1_2 2>&1
END
version "$(within sinfo --version)"
expected "1_1 PENDING, 1_2 CANCELLED, 1_3 PENDING, 1_4 PENDING; and errors for 1_7 and 99"
seen "$(with_slurmctld /tmp/cancel.sh)" "scancel 1_2: exit code 0
scancel 1_7: exit code 0
scancel 99: exit code 0
1_1 PENDING
1_3 PENDING
1_4 PENDING
Job 1_2 not found"
