#!/bin/sh
# sbatch ./slurm/job FIRST COUNT, from the submission's directory: one copy of the COUNT that begin with copy FIRST.
# Nothing but what the payload asked for may reach it, so what is set here has names of ours. shellcheck shell=sh
unset -f command cd exit kill ln printf read rm sh trap 2>/dev/null
unalias -a 2>/dev/null
set +aefuvxC
case $- in *m*) set +m ;; esac # job control gives every child a process group of its own
IFS=' 	
'
# Slurm signals every process of a job. This one must outlive the wrapper, which writes down how the payload ended.
trap : HUP INT QUIT USR1 USR2 TERM XCPU

# ic_not_started: end as Slurm shows what it could not launch itself. No payload's end is told by a signal of the job's.
ic_not_started() {
    kill -53 $$
    exit 126
}

cd "$SLURM_SUBMIT_DIR" || ic_not_started
ic_index=$1 ic_job=$SLURM_JOB_ID ic_native=$SLURM_JOB_ID
if [ "$2" -gt 1 ]; then # else whoever submitted may be in an array, and its variables be here
    ic_index=$(($1 + SLURM_ARRAY_TASK_ID)) ic_job=$SLURM_ARRAY_JOB_ID ic_native=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
fi

# ic_is_ours FIRST: whether this job owns that chunk's copies. The first that begins notes it, in one step, unless it was
# noted when it was found. Where it was not found there is a directory, and somebody may have submitted the copies again.
ic_is_ours() {
    ic_owner=./slurm/owner-$1
    if [ ! -e "$ic_owner" ]; then
        ic_note=$ic_owner.job.$SLURM_JOB_ID
        rm -f "$ic_note" # of an attempt that was cut off: it may be the owner's note by another name
        printf '%s\n' "$ic_job ${SLURM_CLUSTER_NAME:--}" >"$ic_note" && [ -s "$ic_note" ] && ln "$ic_note" "$ic_owner"
        rm -f "$ic_note"
    fi
    read -r ic_number _ <"$ic_owner" && [ "$ic_number" = "$ic_job" ]
} 2>/dev/null

# ic_ended: whether a record tells how the copy ended; sets ic_what and ic_number.
ic_ended() {
    { read -r ic_what ic_number _ <"./copies/$ic_index/exit"; } 2>/dev/null
}

# A site may queue jobs anew by their exit code. What has run does not run again, and is not to be queued for ever.
! ic_ended || [ "$ic_what" != code ] || exit 0
{ [ -r ./wrapper ] && [ -d "./copies/$ic_index" ] && ic_is_ours "$1"; } || ic_not_started
IC_NATIVE=$ic_native sh ./wrapper "$ic_index"
ic_code=$?

# The job ends as the payload did: Slurm calls it COMPLETED or FAILED, and is right where the record is not seen yet.
if ! ic_ended; then
    [ "$ic_code" != 126 ] || [ -e "./copies/$ic_index/exit" ] || ic_not_started # it could not even reserve its record
    exit "$ic_code"                                                             # the payload's, if its record cannot be written
fi
[ "$ic_what" != signal ] || ic_number=$((128 + ic_number))
exit "$ic_number"
