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

# slurm_not_started: end as Slurm shows what it could not launch itself. No payload's end is told by a signal of the job's.
slurm_not_started() {
    kill -53 $$
    exit 126
}

cd "$SLURM_SUBMIT_DIR" || slurm_not_started
slurm_index=$1 slurm_job=$SLURM_JOB_ID slurm_native=$SLURM_JOB_ID
if [ "$2" -gt 1 ]; then # else whoever submitted may be in an array, and its variables be here
    slurm_index=$(($1 + SLURM_ARRAY_TASK_ID)) slurm_job=$SLURM_ARRAY_JOB_ID slurm_native=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
fi

# slurm_is_ours FIRST: whether this job owns that chunk's copies. The first that begins notes it, in one step, unless it was
# noted when it was found. Where it was not found there is a directory, and somebody may have submitted the copies again.
slurm_is_ours() {
    slurm_owner=./slurm/owner-$1
    if [ ! -e "$slurm_owner" ]; then
        slurm_note=$slurm_owner.job.$SLURM_JOB_ID
        rm -f "$slurm_note" # of an attempt that was cut off: it may be the owner's note by another name
        printf '%s\n' "$slurm_job ${SLURM_CLUSTER_NAME:--}" >"$slurm_note" && [ -s "$slurm_note" ] && ln "$slurm_note" "$slurm_owner"
        rm -f "$slurm_note"
    fi
    read -r slurm_number _ <"$slurm_owner" && [ "$slurm_number" = "$slurm_job" ]
} 2>/dev/null

# A site may queue jobs anew by their exit code. What has run does not run again, and is not to be queued for ever.
! ic_read_record . "$slurm_index" || [ "$ic_end" != code ] || exit 0
{ [ -r ./wrapper ] && [ "$ic_end" != gone ] && slurm_is_ours "$1"; } || slurm_not_started
IC_NATIVE=$slurm_native sh ./wrapper "$slurm_index"
slurm_code=$?

# The job ends as the payload did: Slurm calls it COMPLETED or FAILED, and is right where the record is not seen yet.
if ! ic_read_record . "$slurm_index"; then
    [ "$slurm_code" != 126 ] || [ "$ic_end" = begun ] || slurm_not_started # it could not even reserve its record
    exit "$slurm_code"                                                     # the payload's, if its record cannot be written
fi
[ "$ic_end" != signal ] || exit "$((128 + ic_number))"
exit "$ic_number"
