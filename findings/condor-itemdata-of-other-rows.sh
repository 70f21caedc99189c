#!/bin/bash
# HTCondor, `queue a,b,c from FILE`: fields that a row lacks are those of the row before (23.9.6); an empty line is one more job,
# in 25.14.1 with the whole row before.
# Expected: a missing field is empty or an error, and empty lines are skipped, as in the rest of a submit description.
# In both, blanks and commas separate each for itself, so "x , y" has an empty field in the middle, and a backslash at the end
# joins two rows into one job. The exit code is 0; 23.9.6 warns on stderr. -dry-run shows without a daemon what would be queued.
# Why it matters: a job gets another one's value, which may be the path of its data or of its secret, and there are more or fewer
# jobs than rows. Fill every field of every row, or pass one number and let the job look up the rest.
. "$(dirname "$0")/common.sh"

cat >"$tmp/job.sub" <<'END'
executable = /bin/true
transfer_executable = false
My.A = "$(a)"
My.B = "$(b)"
My.C = "$(c)"
queue a,b,c from /tmp/rows
END
cat >"$tmp/rows" <<'END'
1,2,3
only

x , y
trail\
next
END
cat >"$tmp/jobs.py" <<'END'
"""The values of each job: the first block is the cluster's, and each of the others says what differs in one job."""
import re, sys
cluster, *jobs = re.split(r"^ProcId=.*\n", sys.stdin.read(), flags=re.MULTILINE)
for job in jobs:
    found = dict(re.findall(r'^([ABC])="(.*)"$', cluster, re.MULTILINE) + re.findall(r'^([ABC])="(.*)"$', job, re.MULTILINE))
    print(*(found[name] or "-" for name in "ABC"))
END
queued() { # queued RELEASE PIN
    rm -rf "$root"
    with_debian "$1" "condor=$2" dash busybox-static
    mkdir -p "$root/etc/condor"
    echo 'NETWORK_INTERFACE = 127.0.0.1' >"$root/etc/condor/condor_config"
    within sh -c 'busybox ip link set lo up; exec condor_submit -dry-run - /tmp/job.sub' >"$tmp/ads" 2>/dev/null
    python3 "$tmp/jobs.py" <"$tmp/ads"
}
version "HTCondor 23.9.6"
expected "1 2 3; only - -; x y -; trail\\ - -; next - -"
seen "$(queued trixie 23.9.6+dfsg-2.1+b10)" "1 2 3
only 2 3
- 2 3
x - y
trailnext - y"
version "HTCondor 25.14.1"
seen "$(queued sid 25.14.1+dfsg-1)" "1 2 3
only - -
only - -
x - y
trailnext - -"
