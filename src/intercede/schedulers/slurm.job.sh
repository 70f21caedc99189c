# sbatch ./slurm/job FIRST COUNT, from the submission's directory: run one of the COUNT copies that begin with copy
# FIRST. The payload must not see any variable that it did not ask for. So all variables here begin with slurm_, and
# none is exported.
# shellcheck shell=sh
unset -f command cd exit kill ln printf read rm sh trap 2>/dev/null
unalias -a 2>/dev/null
set +aefuvxC
case $- in *m*) set +m ;; esac # job control gives every child a process group of its own
IFS=' 	
'
# Slurm signals every process of a job. This one must outlive the wrapper, which records how the payload ended.
trap : HUP INT QUIT USR1 USR2 TERM XCPU

# slurm_fail_launch: end like a job that Slurm itself could not launch. No payload ends this job by a signal.
slurm_fail_launch() {
    kill -53 $$
    exit 126
}

cd "$SLURM_SUBMIT_DIR" || slurm_fail_launch
slurm_index=$1 slurm_job=$SLURM_JOB_ID slurm_native=$SLURM_JOB_ID
if [ "$2" -gt 1 ]; then # otherwise these variables may come from the job that submitted this one
    slurm_index=$(($1 + SLURM_ARRAY_TASK_ID)) slurm_job=$SLURM_ARRAY_JOB_ID
    slurm_native=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
fi

# slurm_is_owner FIRST: succeed if this job is the owner of the chunk. The first job that begins becomes the owner, in
# one step, unless slurm.list.sh has found a job before. If it found none, there is a directory, a fence: the copies may
# have been submitted again.
slurm_is_owner() {
    slurm_owner=./slurm/owner-$1
    if [ ! -e "$slurm_owner" ]; then
        slurm_note=$slurm_owner.job.$SLURM_JOB_ID
        rm -f "$slurm_note" # left by an interrupted attempt; it may be a link to the file of the owner
        printf '%s\n' "$slurm_job ${SLURM_CLUSTER_NAME:--}" >"$slurm_note" && [ -s "$slurm_note" ] &&
            ln "$slurm_note" "$slurm_owner"
        rm -f "$slurm_note"
    fi
    read -r slurm_number _ <"$slurm_owner" && [ "$slurm_number" = "$slurm_job" ]
} 2>/dev/null

# A site may requeue jobs because of their exit code. A copy that has run does not run again, and exits with 0, so that
# it is not requeued for ever.
! ic_read_record . "$slurm_index" || [ "$ic_end" != code ] || exit 0
{ [ -r ./wrapper ] && [ "$ic_end" != gone ] && slurm_is_owner "$1"; } || slurm_fail_launch
IC_NATIVE=$slurm_native sh ./wrapper "$slurm_index"
slurm_code=$?

# The job ends as the payload did, so that Slurm's COMPLETED or FAILED is right as long as the record is not visible.
if ! ic_read_record . "$slurm_index"; then
    [ "$slurm_code" != 126 ] || [ "$ic_end" = begun ] || slurm_fail_launch # the wrapper could not reserve its record
    exit "$slurm_code" # the payload's code, if the record cannot be written
fi
[ "$ic_end" != signal ] || exit "$((128 + ic_number))"
exit "$ic_number"
