#!/bin/bash
# Slurm 24.11.5: `sbatch --export=ALL,A=1,B=it's,C=3` submits a job in which B is "it's,C=3" and C is not set, exit code 0.
# Expected: B is "it's", or the submission is refused. A comma separates and quotes group; a quote that is not closed takes the
# rest of the list with it, "Improperly formed environment variable" goes to stderr, and the job is queued. Quotes that are closed
# stay in the value (B='x,y' with them), and a backslash escapes nothing, so no value with a comma can be written here.
# Why it matters: one value with an apostrophe (a name, a path, a generated word) takes away each variable behind it. Pass names,
# --export=ALL,B, and the values in sbatch's own environment: that is exact.
. "$(dirname "$0")/common.sh"
with_debian trixie slurmctld=24.11.5-4+deb13u1 slurm-client=24.11.5-4+deb13u1 dash coreutils busybox-static
slurm

cat >"$tmp/submit.sh" <<'END'
job=0
for list in "A=1,B=it's,C=3" "A=1,B='x,y',C=3" 'A=1,B=x\,y,C=3'; do
    sbatch --quiet --hold --export="ALL,$list" --wrap true
    echo "$list: exit code $?"
    job=$((job + 1))
    tr '\0' '\n' </tmp/slurm/hash.$job/job.$job/environment | busybox grep '^[ABC]='
done
B="it's" sbatch --quiet --hold --export=ALL,B --wrap true
tr '\0' '\n' </tmp/slurm/hash.4/job.4/environment | busybox grep '^[ABC]='
END
version "$(within sinfo --version)"
expected "A, B and C each time, B without its quotes; or an exit code"
seen "$(with_slurmctld /tmp/submit.sh 2>/dev/null)" "A=1,B=it's,C=3: exit code 0
A=1
B=it's,C=3
A=1,B='x,y',C=3: exit code 0
A=1
B='x,y'
C=3
A=1,B=x\\,y,C=3: exit code 0
A=1
B=x\\
C=3
B=it's"
