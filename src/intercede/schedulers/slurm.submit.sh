# Queues one array after the other. Input variables: slurm_submission_id; slurm_copies; slurm_size, the maximum number
# of copies in an array, or empty: Slurm is asked; slurm_clusters; slurm_job, the text of the job. Input function:
# slurm_sbatch OPTION... SCRIPT ARGUMENT...
# shellcheck shell=sh
mkdir slurm && printf '%s\n' '#!/bin/sh' "$ic_api" "$slurm_job" >slurm/job || exit

# slurm_find_size: print the maximum number of tasks in an array. MaxArraySize is one more than the highest index, and 0
# if arrays are disabled. max_array_tasks is the number of tasks. If Slurm reports neither, it is Slurm's default.
slurm_find_size() {
    ic_tool scontrol ${slurm_clusters:+"--clusters=$slurm_clusters"} show config </dev/null | awk '
        function lower_to(number) {
            number = number < 1 ? 1 : number + 0
            if (least == "" || number < least) least = number
        }
        $1 == "MaxArraySize" && $3 ~ /^[0-9]+$/ { lower_to($3) }
        $1 == "SchedulerParameters" && match($0, /max_array_tasks=[0-9]+/) {
            lower_to(substr($0, RSTART + 16, RLENGTH - 16))
        }
        END { print least == "" ? 1001 : least }'
}

# slurm_print_border WORD...: print a line of our own to stdout and stderr, between the outputs of tools.
slurm_print_border() {
    printf '\n%s %s\n' "$slurm_submission_id" "$*"
    printf '\n%s %s\n' "$slurm_submission_id" "$*" >&2
}

# slurm_write_chunk: write down that a chunk will be queued, in one step, so that its job can be found by its name if
# the answer is lost. It fails if slurm.list.sh has made a directory in the place of the file, so that no chunk follows.
slurm_write_chunk() {
    printf '%s\n' "$slurm_count" >slurm/note && [ -s slurm/note ] && mv slurm/note "slurm/chunk-$slurm_first" &&
        [ -f "slurm/chunk-$slurm_first" ] && return
    slurm_why="slurm/chunk-$slurm_first cannot be written"
    [ ! -d "slurm/chunk-$slurm_first" ] ||
        slurm_why="meanwhile a client searched for this submission and was told that no further copy starts"
    printf '%s\n' "copy $slurm_first and all after it are not queued: $slurm_why" >&2
    return 1
}

# slurm_queue_chunk: queue one array. Its tasks count from 0, because the highest index is limited as well. A single
# copy is queued as a plain job.
slurm_queue_chunk() {
    set -- "--job-name=ic-$slurm_submission_id-$slurm_first"
    [ "$slurm_count" = 1 ] || set -- "$@" "--array=0-$((slurm_count - 1))"
    slurm_sbatch "$@" ./slurm/job "$slurm_first" "$slurm_count" </dev/null
}

[ "$slurm_copies" -gt 1 ] || slurm_size=1
slurm_size=${slurm_size:-$(slurm_find_size)}
slurm_first=0 slurm_code=0
while [ "$slurm_first" -lt "$slurm_copies" ] && [ "$slurm_code" = 0 ]; do
    slurm_count=$((slurm_copies - slurm_first))
    [ "$slurm_count" -le "$slurm_size" ] || slurm_count=$slurm_size
    slurm_write_chunk || exit
    slurm_print_border chunk "$slurm_first" "$slurm_count"
    slurm_queue_chunk
    slurm_code=$?
    slurm_print_border end "$slurm_code"
    slurm_first=$((slurm_first + slurm_count))
done
exit "$slurm_code"
